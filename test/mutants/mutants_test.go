package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
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
	r.read("sim_test.go:1: broken: two owners\n seed 7 at 1s\n steps: 34495; schedule:\nagain: go test ./test/sim -run TestSeeds -seeds 1 -seed 7\n")
	if !r.good() || r.Seed != "7" || r.Steps != "34495" {
		t.Errorf("read %q, seed %q, steps %q", r.Caught, r.Seed, r.Steps)
	}
	if r.read("PASS"); r.good() {
		t.Error("a test that passes has caught something")
	}
	if p := string(page([]row{r})); !strings.Contains(p, "**nothing**") {
		t.Errorf("the page does not say that nothing was caught:\n%s", p)
	}
}
