package timing_test

import (
	"cmp"
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-ha/holdfast/cluster/timing"
)

const manual = "../../docs/TIMING.md"

// setting is one of the sites that docs/TIMING.md walks through.
type setting struct {
	key   string // of its parts in the document
	name  string
	in    timing.Input
	costs timing.Costs
}

// settings are those of the document: the smallest time that two measured
// watchdogs allow, the recommended one, and a machine about which little is known.
func settings() []setting {
	with := func(in timing.Input) timing.Input {
		in.Grace = timing.DefaultGrace
		return in
	}
	return []setting{
		{"pair-5s", "two measured watchdogs, 5 s", with(pairOf(5 * time.Second)), timing.Costs{BMC: 2 * time.Second, Preempt: 20 * time.Millisecond}},
		{"pair-10s", "two measured watchdogs, 10 s", with(pairOf(10 * time.Second)), timing.Costs{BMC: 3 * time.Second, Preempt: 20 * time.Millisecond}},
		{"one-14s", "one watchdog, not measured, 14 s", with(unqualified(one(14 * time.Second))), timing.Costs{}},
	}
}

func seconds(d time.Duration) string { return fmt.Sprintf("%.2f", d.Seconds()) }

// parts generates what stands in the document between its marks.
func parts(t *testing.T) map[string]string {
	t.Helper()
	out := map[string]string{}
	var all strings.Builder
	all.WriteString("| value | " + join(settings(), func(s setting) string { return s.name }) + " |\n|---|" + strings.Repeat("---|", len(settings())) + "\n")
	var tables []timing.Table
	for _, s := range settings() {
		tab, err := timing.Derive(s.in)
		if err != nil {
			t.Fatal(err)
		}
		tables = append(tables, tab)
		out[s.key] = walk(tab)
		out[s.key+"-proofs"] = proofs(tab, s.costs)
	}
	for i, row := range tables[0].Explain() {
		fmt.Fprintf(&all, "| %s | %s |\n", row.Name, join(tables, func(x timing.Table) string { return seconds(x.Explain()[i].Value) }))
	}
	out["values"], out["failures"] = all.String(), failures(tables)
	return out
}

// failures lists what each kind of failure needs from the fault to the permission, in
// each of the settings.
func failures(tables []timing.Table) string {
	var b strings.Builder
	b.WriteString("| what fails | " + join(settings(), func(s setting) string { return s.name }) + " | |\n|---|" + strings.Repeat("---|", len(settings())+1) + "\n")
	var lists [][]timing.Failure
	for i, t := range tables {
		lists = append(lists, t.Failures(settings()[i].costs))
	}
	for i, f := range lists[1] {
		fmt.Fprintf(&b, "| %s | %s | %s |\n", f.What, join(lists, func(l []timing.Failure) string {
			if l[i].Proof == "" {
				return "-"
			}
			proof, _, _ := strings.Cut(l[i].Proof, " ")
			return fmt.Sprintf("%s: %s, %s", proof, seconds(l[i].Typ), seconds(l[i].Worst))
		}), f.Why)
	}
	return b.String()
}

func join[T any](list []T, text func(T) string) string {
	var words []string
	for _, x := range list {
		words = append(words, text(x))
	}
	return strings.Join(words, " | ")
}

// walk tells a node's loss of power second by second, seen from a survivor: with
// the fault in the middle of a beat's period, and with everything as late as it
// may be.
func walk(t timing.Table) string {
	const io = timing.DefaultIO
	beat := -t.H / 2 // issue of the last beat before the fault
	sight := beat + t.HPoll/2 + io
	lateSight := t.HPoll + io // the last beat was issued at the fault, and read as late as possible
	type line struct {
		typ, worst time.Duration
		what, why  string
	}
	var lines []line
	row := func(typ, worst time.Duration, what, why string) { lines = append(lines, line{typ, worst, what, why}) }
	row(beat, 0, "the node writes its last beat", "one every h")
	row(0, 0, "**the node loses power**", "")
	row(sight, lateSight, "a survivor has read the last beat: its clock for the proof starts", "read every h_poll = h/2")
	early, late := t.Suspicion()
	row(sight+early, lateSight+late, "suspect: silent on disk and network; the decision to fence is committed and every way starts", "T_sus, and older than the survivor's own beat by 2h + F/4: a slow SAN accuses nobody")
	row(beat+t.F, t.F, "a node that only hung would stop feeding its watchdogs now", "F after the issue of its last beat")
	row(beat+t.F+time.Duration(t.M)*t.TMax, t.F+time.Duration(t.M)*t.TMax, "and would have been reset by now", fmt.Sprintf("F + %d x T_max", t.M))
	row(beat+t.F+time.Duration(t.M)*t.TMax+t.Tz, t.F+time.Duration(t.M)*t.TMax+t.Tz, "its last writes have reached the disks or never will", "+ T_z")
	for _, e := range t.Expect(timing.Costs{}) {
		if e.Proof == "E3 time" {
			row(e.Typ, e.Worst, "**proven dead: the permission to start elsewhere is committed**", "W after the first sight of the last beat, confirmed by one more read")
		}
	}
	slices.SortStableFunc(lines, func(a, b line) int { return cmp.Compare(a.worst, b.worst) })
	var b strings.Builder
	b.WriteString("| typically | at worst | what happens | where it comes from |\n|---|---|---|---|\n")
	for _, l := range lines {
		fmt.Fprintf(&b, "| %s | %s | %s | %s |\n", seconds(l.typ), seconds(l.worst), l.what, l.why)
	}
	return b.String()
}

// proofs lists what each kind of proof needs from the fault to the permission.
func proofs(t timing.Table, c timing.Costs) string {
	var b strings.Builder
	b.WriteString("| proof | typically | at worst | |\n|---|---|---|---|\n")
	for _, e := range t.Expect(c) {
		typ, worst := "-", "-"
		if e.Known {
			typ, worst = seconds(e.Typ), seconds(e.Worst)
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s |\n", e.Proof, typ, worst, e.Why)
	}
	return b.String()
}

// generated returns the document with its generated parts as they must be.
func generated(t *testing.T, text string) string {
	t.Helper()
	for key, part := range parts(t) {
		begin, end := "<!-- generated: "+key+" -->\n", "<!-- end: "+key+" -->"
		head, rest, ok := strings.Cut(text, begin)
		_, tail, closed := strings.Cut(rest, end)
		if !ok || !closed {
			t.Fatalf("%s has no part %q between its marks", manual, key)
		}
		text = head + begin + part + end + tail
	}
	return text
}

// TestManualIsCurrent: the tables of docs/TIMING.md are what Derive gives.
// go test ./cluster/timing -run Manual -write makes them so.
func TestManualIsCurrent(t *testing.T) {
	have, err := os.ReadFile(manual)
	if err != nil {
		t.Fatal(err)
	}
	want := generated(t, string(have))
	if string(have) == want {
		return
	}
	if f := flag.Lookup("write"); f != nil && f.Value.String() == "true" {
		if err := os.WriteFile(manual, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	t.Errorf("%s is not what the code derives: go test ./cluster/timing -run Manual -write", manual)
}

// TestWalkIsOrdered: what the document tells in order happens in order.
func TestWalkIsOrdered(t *testing.T) {
	for _, s := range settings() {
		tab, err := timing.Derive(s.in)
		if err != nil {
			t.Fatal(err)
		}
		var last float64
		for i, line := range strings.Split(strings.TrimSpace(walk(tab)), "\n")[3:] {
			var at float64
			if _, err := fmt.Sscanf(strings.Split(line, "|")[2], "%f", &at); err != nil {
				t.Fatalf("%s: %q: %v", s.name, line, err)
			}
			if at < last {
				t.Errorf("%s: row %d at %v comes after one at %v", s.name, i, at, last)
			}
			last = at
		}
		if b := tab.B.Seconds(); last > b {
			t.Errorf("%s: the permission comes at %v, promised was %v", s.name, last, b)
		}
	}
}
