package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-ha/holdfast/cluster/clustertest/oracle"
)

// TestTableFits: every mutant can be applied to the program as it is, and says
// something else than the program does.
func TestTableFits(t *testing.T) {
	names := map[string]bool{}
	for _, m := range table() {
		text, err := os.ReadFile(filepath.Join("..", "..", m.File))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := m.apply(text); err != nil {
			t.Errorf("%s: %v", m.Name, err)
		}
		if names[m.Name] || m.Old == m.New {
			t.Errorf("%s: it is there twice, or changes nothing", m.Name)
		}
		names[m.Name] = true
	}
}

// TestRead: the rule is taken from what the simulator prints.
func TestRead(t *testing.T) {
	r := row{Mutant: Mutant{By: "two owners"}}
	r.read("hunt_test.go:1: told: 3\nhunt_test.go:2: broken: two owners\n seed 7 at 1s\n steps: 34495; again: go test ./test/sim -run TestHunt -focus \"\" -seeds 1 -seed 7\n")
	if !r.good() || r.At != "7" || r.Told != "3" || r.Steps != "34495" {
		t.Errorf("read %q, seed %q, steps %q", r.Caught, r.At, r.Steps)
	}
	if r.read("PASS"); r.good() {
		t.Error("a test that passes has caught something")
	}
	if p := string(page([]row{r})); !strings.Contains(p, "**nothing**") {
		t.Errorf("the page does not say that nothing was caught:\n%s", p)
	}
}

// TestThreeAreCaught hunts three of the mutants, so that the hunt itself is tested
// with everything else; make mutants hunts them all.
func TestThreeAreCaught(t *testing.T) {
	if testing.Short() {
		t.Skip("builds the simulator three times; make test and make mutants do it")
	}
	h, err := newHunter(filepath.Join("..", ".."), 40, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := h.close(); err != nil {
			t.Error(err)
		}
	}()
	for _, name := range []string{"watchdog's time is left out", "after the end of the lease", "stop that failed"} {
		list, err := chosen(name)
		if err != nil || len(list) != 1 {
			t.Fatalf("%q names %d mutants, want one (%v)", name, len(list), err)
		}
		if r := h.hunt(t.Context(), list[0]); !r.good() {
			t.Error(r)
		}
	}
}

// TestSafetyIsMostOfIt: the table has as many breaks as it shall have, most of
// them for an oracle of safety.
func TestSafetyIsMostOfIt(t *testing.T) {
	all, safety := len(table()), 0
	for _, m := range table() {
		if (m.By == "") != (m.Story != "") {
			t.Errorf("%s: noticed either by an oracle or by a story", m.Name)
		}
		if m.By != "" {
			safety++
		}
		for kind := range strings.SplitSeq(m.By, "|") {
			if m.By != "" && !slices.Contains(rules(), kind) {
				t.Errorf("%s: there is no rule of safety %q", m.Name, kind)
			}
		}
	}
	if all < 30 || safety < 20 {
		t.Errorf("%d mutants, %d for an oracle of safety: want 30 and 20", all, safety)
	}
}

// rules are those of safety: all but the explanations.
func rules() (list []string) {
	for _, k := range []oracle.Kind{
		oracle.TwoOwners, oracle.Ghost, oracle.PowerEarly, oracle.FedDead, oracle.FedLate, oracle.BothLate,
		oracle.NoGrant, oracle.NoProof, oracle.TwoDecisions, oracle.Backwards, oracle.NotStopped,
	} {
		list = append(list, string(k))
	}
	return list
}
