package gather_test

import (
	"bytes"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/holdfast-ha/holdfast/internal/ctl"
	"github.com/holdfast-ha/holdfast/internal/doctor"
)

// written are the checks of the manual, which has a row for each, and whether it says
// that --fix does something about it.
func written(t *testing.T) map[string]bool {
	t.Helper()
	text, err := os.ReadFile("../../../docs/manual/doctor.md")
	if err != nil {
		t.Fatal(err)
	}
	rows := map[string]bool{}
	for line := range strings.Lines(string(text)) {
		if cells := strings.Split(line, "|"); len(cells) > 5 && strings.HasPrefix(strings.TrimSpace(cells[2]), "`") {
			rows[strings.Trim(strings.TrimSpace(cells[2]), "`")] = strings.TrimSpace(cells[4]) != ""
		}
	}
	if len(rows) < 45 {
		t.Fatalf("only %d rows", len(rows))
	}
	return rows
}

// TestComplete: a fault is planted for every check that the manual knows; what it says
// of --fix is true; and a remedy that is a command of holdfast is one that there is.
func TestComplete(t *testing.T) {
	t.Parallel()
	planted, fixed := map[string]bool{}, map[string]bool{}
	var remedies []string
	for _, c := range faults() {
		m := newMachine(t)
		c.plant(m)
		planted[c.check] = true
		_, found := find(doctor.Examine(m.facts()), c.check)
		for _, x := range found {
			fixed[c.check] = fixed[c.check] || x.Fix != nil
			remedies = append(remedies, x.Remedy)
		}
	}
	for name, fix := range written(t) {
		if !planted[name] {
			t.Errorf("no test plants a fault for %s", name)
		}
		if fix != fixed[name] {
			t.Errorf("%s: the manual says of --fix %t, and it is %t", name, fix, fixed[name])
		}
	}
	slices.Sort(remedies)
	for _, r := range slices.Compact(remedies) {
		r, _, _ = strings.Cut(r, ", ")
		words := strings.Fields(r)
		if len(words) < 2 || words[0] != "holdfast" {
			continue
		}
		var out bytes.Buffer
		if code := ctl.Main(append(words[1:], "--help"), strings.NewReader(""), &out, &out); code != 0 || !strings.Contains(out.String(), "Usage:") || strings.Contains(out.String(), "Available Commands") {
			t.Errorf("the remedy %q is no command: %s", r, out.String())
		}
	}
}
