package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
)

// An event is one line of go test -json; the format is documented in "go doc test2json" and, for builds, in "go help
// buildjson".
type event struct {
	Action     string
	Package    string
	ImportPath string // of a build event
	Test       string
	Output     string
}

// A report follows the events of one run. What a package says is held back until the package ends, so that packages
// tested at the same time do not mix; of a test that passed only the verdict is printed.
type report struct {
	out     io.Writer
	held    map[string][]string // per package: lines to print when it ends
	said    map[testID][]string // per running test: its output so far
	passed  int
	failed  []testID
	skipped []skip
}

type testID struct{ pkg, test string }

type skip struct {
	testID
	reason string
}

func newReport(out io.Writer) *report {
	return &report{out: out, held: map[string][]string{}, said: map[testID][]string{}}
}

// read takes events until the end of the stream. A line that is no event is printed as it is.
func (r *report) read(events io.Reader) error {
	lines := bufio.NewReader(events)
	for {
		line, err := lines.ReadBytes('\n')
		if len(bytes.TrimSpace(line)) > 0 {
			var e event
			if json.Unmarshal(line, &e) != nil || e.Action == "" {
				fmt.Fprintf(r.out, "%s\n", bytes.TrimRight(line, "\r\n"))
			} else {
				r.take(e)
			}
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read what go test says: %w", err)
		}
	}
}

func (r *report) take(e event) {
	id := testID{e.Package, e.Test}
	switch {
	case e.Action == "build-output":
		fmt.Fprint(r.out, e.Output)
	case e.Action == "output" && e.Test == "":
		if e.Output != "PASS\n" {
			r.held[e.Package] = append(r.held[e.Package], e.Output)
		}
	case e.Action == "output":
		r.said[id] = append(r.said[id], e.Output)
	case e.Test != "" && (e.Action == "pass" || e.Action == "fail" || e.Action == "skip"):
		r.endTest(id, e.Action)
	case e.Test == "" && (e.Action == "pass" || e.Action == "fail" || e.Action == "skip"):
		if e.Action == "fail" {
			r.endPackage(e.Package)
		}
		r.flush(e.Package)
	}
}

func (r *report) endTest(id testID, action string) {
	said := r.said[id]
	delete(r.said, id)
	switch action {
	case "pass":
		r.passed++
		said = slices.DeleteFunc(said, func(s string) bool { return !strings.HasPrefix(s, "--- PASS") })
	case "fail":
		r.failed = append(r.failed, id)
		said = slices.DeleteFunc(said, isProgress)
	case "skip":
		said = slices.DeleteFunc(said, isProgress)
		r.skipped = append(r.skipped, skip{id, reason(said)})
	}
	r.held[id.pkg] = append(r.held[id.pkg], said...)
}

// endPackage gives up the tests of a failed package that did not end: the one that panicked or ran out of time.
func (r *report) endPackage(pkg string) {
	for _, id := range r.running() {
		if id.pkg == pkg {
			r.endTest(id, "fail")
		}
	}
}

// running gives the tests that have said something and not ended, in a fixed order.
func (r *report) running() []testID {
	var ids []testID
	for id := range r.said {
		ids = append(ids, id)
	}
	slices.SortFunc(ids, func(a, b testID) int { return strings.Compare(a.pkg+" "+a.test, b.pkg+" "+b.test) })
	return ids
}

func isProgress(s string) bool {
	return strings.HasPrefix(s, "=== ")
}

// reason finds why a test skipped itself: everything that it said, without verdict, file name and line.
func reason(said []string) string {
	var parts []string
	for _, s := range said {
		s = strings.TrimSpace(s)
		if s == "" || strings.HasPrefix(s, "--- SKIP") {
			continue
		}
		if file, rest, ok := strings.Cut(s, ": "); ok && strings.Contains(file, ".go:") {
			s = rest
		}
		parts = append(parts, s)
	}
	if len(parts) == 0 {
		return "no reason given"
	}
	return strings.Join(parts, " ")
}

func (r *report) flush(pkg string) {
	for _, s := range r.held[pkg] {
		fmt.Fprint(r.out, s)
	}
	delete(r.held, pkg)
}

// finish prints what an interrupted run left, then the summary: counts, failures, and what did not run, by reason.
func (r *report) finish() {
	for _, id := range r.running() {
		r.endTest(id, "fail")
	}
	for _, pkg := range slices.Sorted(maps.Keys(r.held)) {
		r.flush(pkg)
	}
	fmt.Fprintf(r.out, "\n%d tests passed, %d failed, %d did not run\n", r.passed, len(r.failed), len(r.skipped))
	for _, id := range r.failed {
		fmt.Fprintf(r.out, "FAILED: %s %s\n", id.pkg, id.test)
	}
	r.listSkipped()
}

func (r *report) listSkipped() {
	byReason := map[string][]string{}
	var reasons []string
	for _, s := range r.skipped {
		if byReason[s.reason] == nil {
			reasons = append(reasons, s.reason)
		}
		byReason[s.reason] = append(byReason[s.reason], s.pkg+" "+s.test)
	}
	slices.Sort(reasons)
	for _, why := range reasons {
		fmt.Fprintf(r.out, "DID NOT RUN (%d): %s\n", len(byReason[why]), why)
		for _, name := range byReason[why] {
			fmt.Fprintf(r.out, "\t%s\n", name)
		}
	}
}
