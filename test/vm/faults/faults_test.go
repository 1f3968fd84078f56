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
