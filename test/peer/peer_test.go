package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/holdfast-ha/holdfast/test/peer/rounds"
)

func TestMedian(t *testing.T) {
	for _, c := range []struct {
		of   []float64
		want float64
	}{{[]float64{3}, 3}, {[]float64{9, 1, 2}, 2}, {[]float64{4, 1, 2, 9}, 3}} {
		if got := median(c.of); got != c.want {
			t.Errorf("median %v is %v, want %v", c.of, got, c.want)
		}
	}
}

// TestTables: a failed round is counted and is in no median; a cell that nobody
// filled is not made up; what was played in parts is one table.
func TestTables(t *testing.T) {
	dir := t.TempDir()
	kills := write(t, dir, "kills",
		rounds.Result{Manager: "Pacemaker", Setting: "default", Event: rounds.Kill, Seconds: 20},
		rounds.Result{Manager: "Pacemaker", Setting: "default", Event: rounds.Kill, Seconds: 1, Error: "it did not start"},
		rounds.Result{Manager: "Holdfast", Setting: "default", Event: rounds.Kill, Seconds: 8},
		rounds.Result{Manager: "sanlock", Setting: "sanlock-tight", Event: rounds.Kill, Seconds: 70},
	)
	others := write(t, dir, "others",
		rounds.Result{Manager: "Pacemaker", Setting: "default", Event: rounds.Kill, Seconds: 18},
		rounds.Result{Manager: "Holdfast", Setting: "bmc", Event: rounds.Move, Seconds: 0.25},
		rounds.Result{Manager: "Holdfast", Setting: "default", Event: rounds.Idle, Cost: &rounds.Cost{Processes: 2, PSS: 31.25}},
	)
	var got bytes.Buffer
	if err := tables([]string{kills, others}, &got); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"| kill | default | 19.00 s (18.00 to 20.00, 2), 1 failed | 8.00 s (8.00 to 8.00, 1) | 0.42 |",
		"| kill | sanlock-tight | 70.00 s (70.00 to 70.00, 1) | | |",
		"| move | bmc | - | 0.25 s (0.25 to 0.25, 1) | - |",
		"| Holdfast, default | 2 | 31.2 |",
	} {
		if !strings.Contains(got.String(), want) {
			t.Errorf("no %q in\n%s", want, got.String())
		}
	}
	damaged := filepath.Join(dir, "damaged")
	if err := os.WriteFile(damaged, []byte("{\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := tables([]string{kills, damaged}, &got); err == nil {
		t.Error("a damaged record was read")
	}
}

// write makes a record and returns its path.
func write(t *testing.T, dir, name string, results ...rounds.Result) string {
	t.Helper()
	path := filepath.Join(dir, name)
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	out := json.NewEncoder(f)
	for _, r := range results {
		if err := out.Encode(r); err != nil {
			t.Fatal(err)
		}
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestWorthwhile: nothing is played twice that tells nothing new.
func TestWorthwhile(t *testing.T) {
	for _, c := range []struct {
		round          int
		setting, event string
		want           bool
	}{
		{0, "default", rounds.Idle, true},
		{1, "default", rounds.Idle, false},
		{0, "tight", rounds.Idle, false},
		{3, "bmc", rounds.Move, true},
		{0, "sanlock", rounds.Kill, true},
		{0, "sanlock-tight", rounds.Move, false},
	} {
		if got := worthwhile(c.round, c.setting, c.event); got != c.want {
			t.Errorf("round %d of %s in %s: %v", c.round, c.event, c.setting, got)
		}
	}
	for setting := range contenders() {
		if !slices.Contains(settingNames(), setting) {
			t.Errorf("the setting %s is in no table", setting)
		}
	}
}
