package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
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
// filled is not made up.
func TestTables(t *testing.T) {
	record := filepath.Join(t.TempDir(), "record")
	f, err := os.Create(record)
	if err != nil {
		t.Fatal(err)
	}
	out := json.NewEncoder(f)
	for _, r := range []rounds.Result{
		{Manager: "Pacemaker", Setting: "default", Event: rounds.Kill, Seconds: 20},
		{Manager: "Pacemaker", Setting: "default", Event: rounds.Kill, Seconds: 18},
		{Manager: "Pacemaker", Setting: "default", Event: rounds.Kill, Seconds: 1, Error: "it did not start"},
		{Manager: "Holdfast", Setting: "default", Event: rounds.Kill, Seconds: 8},
		{Manager: "Holdfast", Setting: "bmc", Event: rounds.Move, Seconds: 0.25},
		{Manager: "Holdfast", Setting: "default", Event: rounds.Idle, Cost: &rounds.Cost{Processes: 2, PSS: 31.25}},
	} {
		if err := out.Encode(r); err != nil {
			t.Fatal(err)
		}
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	var got bytes.Buffer
	if err := tables(record, &got); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"| kill | default | 19.00 s (18.00 to 20.00, 2), 1 failed | 8.00 s (8.00 to 8.00, 1) | 0.42 |",
		"| move | bmc | - | 0.25 s (0.25 to 0.25, 1) | - |",
		"| Holdfast, default | 2 | 31.2 |",
	} {
		if !strings.Contains(got.String(), want) {
			t.Errorf("no %q in\n%s", want, got.String())
		}
	}
	if err := os.WriteFile(record, []byte("{\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := tables(record, &got); err == nil {
		t.Error("a damaged record was read")
	}
}
