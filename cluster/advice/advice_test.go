package advice_test

import (
	"strings"
	"testing"
	"time"

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

// TestLatencyAdvice: a node that cannot decide by its disks says so; one slow disk of
// three keeps it from nothing.
func TestLatencyAdvice(t *testing.T) {
	const second = time.Second
	for _, c := range []struct {
		name string
		took []time.Duration // of the latest beat; 0: the disk fails
		said bool
	}{
		{"one disk, quick", []time.Duration{second / 10}, false},
		{"one disk, slow", []time.Duration{second}, true},
		{"one of three", []time.Duration{second, second / 10, second / 10}, false},
		{"two of three", []time.Duration{second, second, second / 10}, true},
		{"one slow, one fails", []time.Duration{second, 0, second / 10}, true},
		{"two fail", []time.Duration{second / 10, 0, 0}, false},
	} {
		v := &cluster.View{}
		for i, took := range c.took {
			d := cluster.DiskView{Index: i, Latency: took, Slow: took >= second}
			if took == 0 {
				d.Err = "input/output error"
			}
			v.Disks = append(v.Disks, d)
		}
		text := strings.Join(advice.Of(v), "\n")
		if strings.Contains(text, "a beat takes 1.0 s on disk 1") != c.said {
			t.Errorf("%s: %q", c.name, text)
		}
	}
}
