package realtime

import (
	"strings"
	"testing"
)

func TestFromFile(t *testing.T) {
	for line, size := range map[string]uintptr{
		"00400000-00452000 r-xp 00000000 08:02 173521      /usr/sbin/holdfast-guard\n": 0x52000,
		"c000000000-c000400000 rw-p 00000000 00:00 0 \n":                               0,
		"7ffd1000-7ffd3000 r-xp 00000000 00:00 0                   [vdso]\n":           0,
		"00452000-00453000 ---p 00000000 08:02 173521      /usr/sbin/holdfast-guard\n": 0,
		"x-y r-xp 00000000 08:02 173521      /usr/sbin/holdfast-guard\n":               0,
		"": 0,
	} {
		if _, got, ok := fromFile(line); got != size || ok != (size > 0) {
			t.Errorf("%q: %#x bytes, %v; want %#x", line, got, ok, size)
		}
	}
}

func TestLoadProgramNeedsItsMap(t *testing.T) {
	if err := loadProgram("/proc/self/no-such-map"); err == nil || !strings.Contains(err.Error(), "no-such-map") {
		t.Errorf("an unreadable map gave %v", err)
	}
}

// A thread that comes while the others are being reached is reached as well.
func TestEveryThread(t *testing.T) {
	reached := map[int]bool{}
	if err := everyThread(func(tid int) error { reached[tid] = true; return nil }); err != nil || len(reached) == 0 {
		t.Errorf("reached %d threads, %v", len(reached), err)
	}
}
