package gauge

import (
	"context"
	"encoding/binary"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

const ms = int64(time.Millisecond)

// TestMeter: gaps are those between two feeds of the same watchdog, and what is
// counted of the lease is what was left when its end moved on.
func TestMeter(t *testing.T) {
	var m Meter
	for i, at := range []int64{1000, 1100, 1200, 1900} {
		m.Fed(0, at*ms)
		m.Fed(1, (at+int64(i))*ms)
	}
	m.Fed(MostDogs, 5*ms) // one too many is none
	m.Lease(5000*ms, 1000*ms)
	m.Lease(5000*ms, 1500*ms) // not renewed
	m.Lease(6000*ms, 2000*ms) // 3 s were left
	m.Lease(7000*ms, 5900*ms) // 100 ms were left
	m.Lease(0, 6000*ms)       // retired
	m.Lease(20000*ms, 15000*ms)
	page := make([]byte, size)
	m.encode(page, 7)
	f, err := decode(page)
	if err != nil {
		t.Fatal(err)
	}
	if len(f.Gaps) != 2 || f.Written != 7 {
		t.Fatalf("%+v", f)
	}
	g, l := f.Gaps[0], f.Left
	if g.Count() != 3 || g.In[1] != 2 || g.In[5] != 1 || g.Sum != 900*time.Millisecond || g.Extreme != 700*time.Millisecond {
		t.Errorf("gaps %+v", g)
	}
	if f.Gaps[1].Extreme != 701*time.Millisecond {
		t.Errorf("the second's %+v", f.Gaps[1])
	}
	if l.Count() != 2 || l.Sum != 3100*time.Millisecond || l.Extreme != 100*time.Millisecond {
		t.Errorf("left %+v", l)
	}
	if n := testing.AllocsPerRun(100, func() { m.Fed(0, 1); m.Lease(1, 1) }); n != 0 {
		t.Errorf("counting allocates %v times", n)
	}
}

// TestFile: what is kept is read back; what somebody has spoiled is an error that
// names the file, and one that is not there is none.
func TestFile(t *testing.T) {
	dir := t.TempDir()
	if _, err := Read(dir); !os.IsNotExist(err) {
		t.Errorf("no file: %v", err)
	}
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		var m Meter
		m.Fed(0, 1)
		go func() { defer close(ended); Keep(ctx, dir, &m) }()
		<-time.After(2500 * time.Millisecond) // of the test's own clock
		f, err := Read(dir)
		if err != nil || f.Written != 3 || len(f.Gaps) != 1 {
			t.Errorf("%+v, %v", f, err)
		}
		cancel()
		<-ended
	})
	path := filepath.Join(dir, File)
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for what, spoil := range map[string]func(b []byte) []byte{
		"short":   func(b []byte) []byte { return b[:40] },
		"magic":   func(b []byte) []byte { b[0] = 'x'; return b },
		"a bit":   func(b []byte) []byte { b[60] ^= 1; return b },
		"another": func(b []byte) []byte { b[bucketsAt]++; binary.LittleEndian.PutUint32(b[crcAt:], sum(b)); return b },
	} {
		if err := os.WriteFile(path, spoil(append([]byte(nil), good...)), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Read(dir); err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: %v", what, err)
		}
	}
}
