package faults

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestBuilds: every broken build can be made of the program as it is, and its fault is there.
func TestBuilds(t *testing.T) {
	for _, b := range Builds() {
		if _, err := b.Overlay(filepath.Join("..", "..", ".."), t.TempDir()); err != nil {
			t.Errorf("%s: %v", b.Name, err)
		}
		if _, err := Find(b.Fault); err != nil {
			t.Errorf("%s: %v", b.Name, err)
		}
	}
}

// TestDraws: a seed gives the same draws again, every kind has come twice when those that make a step have, and what is made
// at once breaks different parts.
func TestDraws(t *testing.T) {
	draw := func(seed uint64) (list []string, counts map[string]int) {
		d := NewDraw(seed)
		counts = map[string]int{}
		for range 2 * len(d.hard.kinds) {
			pair := d.Next()
			var names []string
			var parts Part
			for _, f := range pair {
				if parts&f.Parts != 0 {
					t.Errorf("%v break the same part", pair)
				}
				parts |= f.Parts
				names = append(names, f.Name)
				counts[f.Name]++
			}
			extra := d.Extra()
			if extra.Want != Stays || extra.Parts&Whole != 0 {
				t.Errorf("%s is made while nodes come back", extra.Name)
			}
			counts[extra.Name]++
			list = append(list, strings.Join(names, " + "))
		}
		return list, counts
	}
	first, counts := draw(7)
	again, _ := draw(7)
	other, _ := draw(8)
	if !slices.Equal(first, again) || slices.Equal(first, other) {
		t.Error("the draws do not follow from the seed")
	}
	for seed := uint64(1); seed < 20; seed++ {
		for _, f := range All() {
			if n := counts[f.Name]; n < 2 || f.Seldom && n > 2 {
				t.Errorf("seed %d: %s was drawn %d times", seed, f.Name, n)
			}
		}
		_, counts = draw(seed)
	}
	d := NewDraw(1)
	missed := d.Next()
	if d.Back(missed...); d.Next()[0].Name != missed[0].Name {
		t.Errorf("%s could not be made and does not come back", missed[0].Name)
	}
}

// TestPage: what came of a fault stands between the marks of the page, and the rest of it stays.
func TestPage(t *testing.T) {
	page := filepath.Join(t.TempDir(), "page.md")
	if err := os.WriteFile(page, []byte("before\n"+begin+"old\n"+end+"behind\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	f := All()[0]
	r := Result{Fault: f, Owner: 1, Next: 2, Gap: 1234 * time.Millisecond, Proof: "E4 power off", Told: []string{"RESET 1.0 s"}, Settled: 3 * time.Second}
	if err := Write(page, []Result{r}); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	row := "| " + f.Name + " | " + f.Does + " | another node takes over | another node takes over | 1.2 | E4 power off | RESET 1.0 s | 3 |\n"
	if err := Write(page, nil); err != nil { // rows of other faults stay
		t.Fatal(err)
	}
	if missing, err := Missing(page); err != nil || len(missing) != len(listed())-1 || slices.Contains(missing, f.Name) {
		t.Errorf("%d rows are missing: %v", len(missing), err)
	}
	if got := string(text); !strings.HasPrefix(got, "before\n"+begin+"| fault") || !strings.HasSuffix(got, row+end+"behind\n") {
		t.Errorf("%s", got)
	}
	if r.Wrong() != nil {
		t.Error(r.Wrong())
	}
	r.Next = 0
	if r.Wrong() == nil {
		t.Error("nobody took over, and nothing is wrong")
	}
	r.Next, r.Fault.Proof = 2, []string{"E3 time"}
	if r.Wrong() == nil {
		t.Error("another proof, and nothing is wrong")
	}
}

// TestDocumented: every fault has its row in the documentation, with what was measured; and what the matrix was to have is
// there.
func TestDocumented(t *testing.T) {
	missing, err := Missing(filepath.Join("..", "..", "..", "docs", "VM.md"))
	if err != nil || len(missing) > 0 {
		t.Errorf("no measured row in docs/VM.md (HOLDFAST_VM=all go test ./test/vm -document -run 'TestMatrix$' -fault NAME writes it; "+
			"for iSCSI it is -run TestServiceOnISCSI): %q, %v", missing, err)
	}
	for wanted, list := range map[string][]string{
		"nodes":       {"node killed", "everything frozen, thawed after the takeover", "processes frozen", "kernel panic", "reboot faster than detection", "power off, controller included"},
		"links":       {"first link cut", "second link cut", "both links cut", "one-way loss, out", "one-way loss, in", "30 % loss", "delay"},
		"disks":       {"quorum disks cut", "quorum disks hung", "quorum disks slow just under the bound", "quorum disks read-only", "quorum disks out of space", "data disks cut"},
		"sets":        {"one of three quorum disks lost", "two of three quorum disks lost", "a quorum disk replaced", "a clone of a quorum disk mapped", "a hiccup of everything"},
		"iSCSI":       {"iSCSI target restarted", "iSCSI path lost", "iSCSI ISID changed"},
		"controllers": {"controllers dead", "controller lying, node frozen", "controller says off of a node that runs"},
		"programs": {
			"guard killed", "guard stopped first, killed just before the bite", "guard and daemon stopped", "daemon killed", "daemon killed in the middle of a start", "out of memory", "full disk",
		},
		"clocks":   {"clock stepped on", "clock stepped back", "clock slewed"},
		"clusters": {"blackout, one missing", "blackout, all back", "rolling restart with services", "two faults: owner killed, a survivor's link cut", "two faults: quorum disks and both links cut"},
	} {
		for _, name := range list {
			if _, err := Find(name); err != nil {
				t.Errorf("%s: %v", wanted, err)
			}
		}
	}
}
