package doctor

import (
	"os"
	"strings"
	"testing"
	"time"
)

// TestManual: the manual has a line for every check, under its part, and for none
// that there is not.
func TestManual(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../docs/manual/doctor.md")
	if err != nil {
		t.Fatal(err)
	}
	rows := map[string]bool{}
	part := ""
	for line := range strings.Lines(string(text)) {
		if cells := strings.Split(line, "|"); len(cells) > 4 && strings.HasPrefix(strings.TrimSpace(cells[2]), "`") {
			if p := strings.TrimSpace(cells[1]); p != "" {
				part = p
			}
			rows[part+" "+strings.Trim(strings.TrimSpace(cells[2]), "`")] = true
		}
	}
	for _, c := range checks() {
		if !rows[c.section+" "+c.name] {
			t.Errorf("docs/manual/doctor.md has no row for %s, %s", c.section, c.name)
		}
		delete(rows, c.section+" "+c.name)
	}
	for r := range rows {
		t.Errorf("docs/manual/doctor.md has a row for %q, which is no check", r)
	}
}

func TestHistogram(t *testing.T) {
	t.Parallel()
	h := HistogramOf([]time.Duration{3 * time.Millisecond, time.Millisecond, 2 * time.Second, 3 * time.Millisecond})
	if h.Half != 3*time.Millisecond || h.Most != 2*time.Second || h.Buckets[0] != 1 || h.Buckets[2] != 2 || h.Buckets[10] != 1 {
		t.Errorf("%+v", h)
	}
	if want := "1 up to 1ms, 2 up to 5ms, 1 longer; the slowest 2s"; h.String() != want {
		t.Errorf("%q, want %q", h.String(), want)
	}
}
