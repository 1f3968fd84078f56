package advice_test

import (
	"strings"
	"testing"

	"github.com/holdfast-ha/holdfast/cluster"
	"github.com/holdfast-ha/holdfast/cluster/advice"
)

// TestDiskAdvice: a disk that fails is said to fail, with the command that
// replaces it where a majority is left that can decide that.
func TestDiskAdvice(t *testing.T) {
	const bad = "input/output error"
	for _, c := range []struct {
		errs     []string
		want     int
		replaced bool
	}{
		{[]string{""}, 0, false},
		{[]string{bad}, 1, false},
		{[]string{"", bad, ""}, 1, true},
		{[]string{"", bad, bad}, 2, false},
	} {
		v := &cluster.View{}
		for i, text := range c.errs {
			d := cluster.DiskView{Index: i, Err: text}
			d.UUID[0] = byte(i)
			v.Disks = append(v.Disks, d)
		}
		got := advice.Of(v)
		if len(got) != c.want {
			t.Errorf("%v: %q", c.errs, got)
		}
		for _, text := range got {
			if !strings.Contains(text, bad) || strings.Contains(text, "holdfast disk replace 01000000-0000-") != c.replaced {
				t.Errorf("%v: %q", c.errs, text)
			}
		}
	}
}
