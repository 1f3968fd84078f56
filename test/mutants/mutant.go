package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"
)

// Mutant is one deliberate break of the program.
type Mutant struct {
	Name string // what is wrong now, in words
	File string // below the module root
	Old  string // stands in File exactly once
	New  string
	// By is the rule of safety that the oracle of the simulator has to find
	// broken: the value of an oracle.Kind, or several of which any will do, with
	// "|" between them. Empty: a story notices it.
	By string
	// Focus is the trouble to hunt with: see sim.ParseFocus. Seed is the first
	// seed to try; 0: 1.
	Focus string
	Seed  uint64
	// Story is the package and, after a space, the test that has to fail
	// instead; empty: the simulator.
	Story string
	// Note says what a reader has to know besides.
	Note string
}

// row is what became of a mutant.
type row struct {
	Mutant
	Caught string // the rule that was broken, or the test that failed; empty: nothing noticed it
	At     string // the seed
	Steps  string
	Told   string // how many stories it took
	Err    error  // the mutant could not be tried, or the program as it is fails too
}

func (r row) good() bool {
	return r.Err == nil && r.Caught != "" && (r.By == "" || slices.Contains(strings.Split(r.By, "|"), r.Caught))
}

// String is a line for people.
func (r row) String() string {
	switch {
	case r.Err != nil:
		return fmt.Sprintf("NOT TRIED   %s (%s): %v", r.Name, r.File, r.Err)
	case r.Caught == "":
		return fmt.Sprintf("NOT CAUGHT  %s (%s) in %s stories", r.Name, r.File, r.Told)
	case !r.good():
		return fmt.Sprintf("WRONG RULE  %s: %s, want %s (seed %s)", r.Name, r.Caught, r.By, r.At)
	case r.Story != "":
		return fmt.Sprintf("caught      %s: by %s", r.Name, r.Caught)
	}
	return fmt.Sprintf("caught      %s: %s, seed %s, %s steps, story %s", r.Name, r.Caught, r.At, r.Steps, r.Told)
}

// apply returns the broken text of a file.
func (m Mutant) apply(text []byte) ([]byte, error) {
	if n := bytes.Count(text, []byte(m.Old)); n != 1 {
		return nil, fmt.Errorf("%q stands %d times in %s, want once: the table is out of date", m.Old, n, m.File)
	}
	return bytes.Replace(text, []byte(m.Old), []byte(m.New), 1), nil
}

// hunter builds mutants and looks for a test that notices them. It is safe for
// concurrent use.
type hunter struct {
	root  string
	seeds int
	limit time.Duration // for the seeds of one mutant
	dir   string        // of what is built
	sound map[string]func() (string, error)
	mu    sync.Mutex
}

func newHunter(root string, seeds int, limit time.Duration) (*hunter, error) {
	dir, err := os.MkdirTemp("", "mutants")
	return &hunter{root: root, seeds: seeds, limit: limit, dir: dir, sound: map[string]func() (string, error){}}, err
}

func (h *hunter) close() error { return os.RemoveAll(h.dir) }

// hunt builds a mutant, looks for a test that notices it, and makes sure that the
// program as it is passes that very test.
func (h *hunter) hunt(ctx context.Context, m Mutant) (r row) {
	r.Mutant = m
	dir, err := os.MkdirTemp(h.dir, "m")
	if err != nil {
		r.Err = err
		return r
	}
	defer func() { r.Err = errors.Join(r.Err, os.RemoveAll(dir)) }()
	overlay, err := m.overlay(h.root, dir)
	if err != nil {
		r.Err = err
		return r
	}
	pkg, test := m.test()
	broken := filepath.Join(dir, "test.bin")
	if r.Err = h.build(ctx, broken, pkg, "-overlay", overlay); r.Err != nil {
		return r
	}
	first := fmt.Sprint(max(m.Seed, 1))
	out, failed := h.run(ctx, broken, pkg, h.args(m, test, first, h.seeds))
	if r.read(out); !failed || ctx.Err() != nil {
		r.Caught, r.Err = "", ctx.Err()
		return r
	}
	whole, err := h.whole(ctx, pkg)
	if err != nil {
		r.Err = err
		return r
	}
	if out, failed := h.run(ctx, whole, pkg, h.args(m, test, r.At, 1)); failed {
		r.Err = fmt.Errorf("the program as it is fails too:\n%s", out[max(0, len(out)-2000):])
	}
	return r
}

// test is the package and the test that have to notice the mutant.
func (m Mutant) test() (pkg, test string) {
	if m.Story == "" {
		return "./test/sim", "^TestHunt$"
	}
	pkg, test, _ = strings.Cut(m.Story, " ")
	return pkg, test
}

func (h *hunter) args(m Mutant, test, first string, seeds int) []string {
	args := []string{"-test.run", test, "-test.v", "-test.timeout", "10m"}
	if m.Story != "" {
		return append(args, "-test.failfast")
	}
	return append(args, "-focus", m.Focus+", unhealed", "-seeds", fmt.Sprint(seeds), "-seed", first, "-for", h.limit.String())
}

// whole builds the tests of a package as they are, once.
func (h *hunter) whole(ctx context.Context, pkg string) (string, error) {
	h.mu.Lock()
	once := h.sound[pkg]
	if once == nil {
		binary := filepath.Join(h.dir, strings.ReplaceAll(pkg, "/", "_")+".bin")
		once = sync.OnceValues(func() (string, error) { return binary, h.build(ctx, binary, pkg) })
		h.sound[pkg] = once
	}
	h.mu.Unlock()
	return once()
}

func (h *hunter) build(ctx context.Context, binary, pkg string, flags ...string) error {
	args := append([]string{"test", "-c", "-vet=off", "-o", binary}, flags...)
	build := exec.CommandContext(ctx, "go", append(args, pkg)...)
	build.Dir = h.root
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("build: %w\n%s", err, out)
	}
	return nil
}

func (h *hunter) run(ctx context.Context, binary, pkg string, args []string) (out string, failed bool) {
	run := exec.CommandContext(ctx, binary, args...)
	run.Dir = filepath.Join(h.root, pkg)
	text, err := run.CombinedOutput()
	return string(text), err != nil
}

// overlay writes the broken file and the list that puts it in place.
func (m Mutant) overlay(root, dir string) (string, error) {
	at, err := filepath.Abs(filepath.Join(root, m.File))
	if err != nil {
		return "", err
	}
	text, err := os.ReadFile(at)
	if err != nil {
		return "", err
	}
	if text, err = m.apply(text); err != nil {
		return "", err
	}
	broken, list := filepath.Join(dir, filepath.Base(m.File)), filepath.Join(dir, "overlay.json")
	if err := os.WriteFile(broken, text, 0o600); err != nil {
		return "", err
	}
	b, err := json.Marshal(map[string]map[string]string{"Replace": {at: broken}})
	if err != nil {
		return "", err
	}
	return list, os.WriteFile(list, b, 0o600)
}

// read finds in a test's output what was noticed.
func (r *row) read(out string) {
	find := func(pattern string) string {
		if m := regexp.MustCompile(pattern).FindStringSubmatch(out); m != nil {
			return m[1]
		}
		return ""
	}
	if r.Story != "" {
		r.Caught = find(`(?m)^ +--- FAIL: (\S+)`)
		if r.Caught == "" {
			r.Caught = find(`(?m)^--- FAIL: (\S+)`)
		}
		return
	}
	r.Caught, r.At, r.Steps, r.Told = find(`broken: (.*)`), find(`-seed (\d+)`), find(`steps: (\d+)`), find(`told: (\d+)`)
}

// page is the table as a document.
func page(rows []row) []byte {
	var b bytes.Buffer
	b.WriteString(`# Mutants: what the tests notice

Generated by ` + "`make mutants`" + `. Each row is a deliberate break of the program, built for the test alone. The last columns say which rule an
oracle of the simulator found broken (docs/SIMULATION.md), in the story of which seed, after how many steps of it and in the how manieth story
of the hunt, or which test failed instead. The program as it is passes every one of these stories.

| what is wrong | file | noticed by | seed | steps | story |
|---|---|---|---|---|---|
`)
	for _, r := range rows {
		caught, name := r.Caught, r.Name
		if caught == "" {
			caught = "**nothing**"
		}
		if r.Note != "" {
			name += " (" + r.Note + ")"
		}
		fmt.Fprintf(&b, "| %s | `%s` | %s | %s | %s | %s |\n", name, r.File, caught, r.At, r.Steps, r.Told)
	}
	return b.Bytes()
}
