package main

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// verdict is what a search has to find, or has found.
type verdict string

// A model is safe within the bounds of its run, every state of which was
// visited; or an assertion is violated; or the search ended before either.
const (
	safe       verdict = "safe"
	violated   verdict = "violated"
	unfinished verdict = "not finished"
)

// run is one search: a model with its bounds and knobs.
type run struct {
	Model string // file name without .pml
	What  string // what is kept, or which condition is dropped, in words
	Flags string // for spin, separated by spaces
	Want  verdict
	Short bool // part of the Go test
	Big   bool // takes long, and so begins first
	Deep  bool // a violation that is looked for depth first: breadth first would take too much memory
}

func (r run) String() string { return r.Model + ": " + r.What }

// result is what became of a run.
type result struct {
	run
	Got    verdict
	States float64
	Depth  int           // of the deepest state; of a violation: its steps, the fewest that there are
	Took   time.Duration // of a processor: that does not depend on what else runs
	Log    string        // what the tools said where the run did not end as it should, and the steps of a violation
}

func (r result) good() bool { return r.Got == r.Want }

// search runs spin in folders of its own.
type search struct {
	folder string
	out    io.Writer
	trace  bool
	limit  time.Duration
}

// tools says what is missing, and how to get it.
func tools() error {
	for _, t := range [][2]string{{"spin", "spin"}, {"gcc", "gcc libc6-dev"}} {
		if _, err := exec.LookPath(t[0]); err != nil {
			return fmt.Errorf("the models are searched by %s, which is not installed; as root: apt-get install %s", t[0], t[1])
		}
	}
	return nil
}

// all runs the list, so many at a time, and returns the results in its order.
func (s *search) all(ctx context.Context, list []run, jobs int) []result {
	results := make([]result, len(list))
	slots := make(chan struct{}, max(jobs, 1))
	var wg sync.WaitGroup
	var mu sync.Mutex
	order := make([]int, len(list))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(size(list[a]), size(list[b])) })
	for _, i := range order {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			results[i] = s.one(ctx, list[i])
			mu.Lock()
			defer mu.Unlock()
			fmt.Fprintln(s.out, results[i].line())
		})
	}
	wg.Wait()
	return results
}

// size is 0 for the runs that begin first.
func size(r run) int {
	if r.Big {
		return 0
	}
	return 1
}

func (r result) line() string {
	text := fmt.Sprintf("%-12s %-70s %-12s %10.0f states, depth %d, %s", r.Model, r.What, r.Got, r.States, r.Depth, r.Took.Round(100*time.Millisecond))
	if !r.good() {
		text += fmt.Sprintf("\n  EXPECTED %s, with %s", r.Want, r.Flags)
	}
	if r.Log != "" {
		text += "\n" + r.Log
	}
	return text
}

func wrongs(list []result) int {
	n := 0
	for i := range list {
		if !list[i].good() {
			n++
		}
	}
	return n
}

// one generates, compiles and runs a verifier. What has to be safe is searched
// depth first with hash-compact states of 64 bits, every one of them; a violation
// is looked for breadth first, so that the trace is a shortest one, unless Deep.
func (s *search) one(ctx context.Context, r run) result {
	out := result{run: r, Got: unfinished}
	dir, err := os.MkdirTemp("", "holdfast-model-")
	if err != nil {
		out.Log = err.Error()
		return out
	}
	defer os.RemoveAll(dir)
	ctx, cancel := context.WithTimeout(ctx, s.limit)
	defer cancel()
	how := []string{"-O2", "-DHC4"}
	if r.Want == violated && !r.Deep {
		how = []string{"-O2", "-DBFS"}
	}
	log, err := s.build(ctx, dir, r, how)
	if err == nil {
		log, out.Took, err = command(ctx, dir, "./pan", "-E", "-n", "-m3000000")
	}
	out.read(log)
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) || out.Got == unfinished {
		out.Got, out.Log = unfinished, fmt.Sprintf("%v\n%s", err, tail(log))
	}
	if out.Got == violated && (s.trace || !out.good()) {
		steps, _, _ := command(ctx, dir, "spin", append(append([]string{"-t", "-T"}, strings.Fields(r.Flags)...), "model.pml")...)
		out.Log = cut(steps)
	}
	return out
}

func (s *search) build(ctx context.Context, dir string, r run, how []string) (string, error) {
	text, err := os.ReadFile(filepath.Join(s.folder, r.Model+".pml"))
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, "model.pml"), text, 0o600)
	}
	if err != nil {
		return "", err
	}
	if log, _, err := command(ctx, dir, "spin", append(append([]string{"-a"}, strings.Fields(r.Flags)...), "model.pml")...); err != nil {
		return log, err
	}
	log, _, err := command(ctx, dir, "gcc", append([]string{"-w", "-DSAFETY", "-DMEMLIM=4096", "-o", "pan", "pan.c"}, how...)...)
	return log, err
}

// command runs a program and returns what it says, and its time on a processor.
func command(ctx context.Context, dir, name string, args ...string) (string, time.Duration, error) {
	c := exec.CommandContext(ctx, name, args...)
	var log bytes.Buffer
	c.Dir, c.Stdout, c.Stderr = dir, &log, &log
	err := c.Run()
	if c.ProcessState == nil {
		return log.String(), 0, err
	}
	return log.String(), c.ProcessState.UserTime() + c.ProcessState.SystemTime(), err
}

// read takes the verdict from what the verifier prints. A search that ran out of
// depth, memory or time has visited not everything and proves nothing.
func (r *result) read(log string) {
	number := func(pattern string) float64 {
		m := regexp.MustCompile(pattern).FindStringSubmatch(log)
		if m == nil {
			return 0
		}
		f, _ := strconv.ParseFloat(m[1], 64) // the pattern admits numbers alone
		return f
	}
	r.States = number(`([0-9.e+]+) states, stored`)
	r.Depth = int(number(`depth reached ([0-9]+)`))
	switch {
	case strings.Contains(log, "assertion violated"):
		r.Got = violated
		r.Depth = int(number(`at depth ([0-9]+)`))
	case strings.Contains(log, "errors: 0") && !strings.Contains(log, "too small") && !strings.Contains(log, "reached -DMEMLIM") &&
		!strings.Contains(log, "Search not completed") && !strings.Contains(log, "out of memory"):
		r.Got = safe
	}
}

// cut leaves of a replayed violation what was done, without the values at its end.
func cut(steps string) string {
	head, _, _ := strings.Cut(steps, "#processes")
	var b strings.Builder
	for line := range strings.Lines(head) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "spin:") {
			fmt.Fprintf(&b, "    %s\n", line)
		}
	}
	return b.String()
}

func tail(log string) string {
	const most = 1200
	return log[max(0, len(log)-most):]
}
