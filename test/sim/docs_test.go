package sim

import (
	"flag"
	"os"
	"slices"
	"strings"
	"testing"
)

var _ = flag.Bool("update", false, "of TestFaultsAreListed: write the list into the document")

// TestFaultsAreListed: the document names every kind of fault, and no other.
func TestFaultsAreListed(t *testing.T) {
	const path, begin, end = "../../docs/SIMULATION.md", "<!-- faults -->\n", "<!-- end of faults -->"
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(text), begin)
	old, after, closed := strings.Cut(rest, end)
	if !ok || !closed {
		t.Fatalf("%s has no place for the list: %q to %q", path, begin, end)
	}
	var list strings.Builder
	for _, k := range slices.Sorted(slices.Values(kinds())) {
		if list.WriteString("- " + k); slices.Contains(biting(), k) {
			list.WriteString(" *")
		}
		list.WriteByte('\n')
	}
	switch {
	case old == list.String():
	case value[bool]("update"):
		if err := os.WriteFile(path, []byte(before+begin+list.String()+end+after), 0o644); err != nil {
			t.Fatal(err)
		}
	default:
		t.Errorf("%s is out of date: go test ./test/sim -run TestFaultsAreListed -update", path)
	}
}
