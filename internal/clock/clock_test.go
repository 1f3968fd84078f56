package clock

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/holdfast-ha/holdfast/cluster/ident"
)

// script plays readings one after the other and repeats the last.
func script(rs ...reading) func() (reading, error) {
	return func() (reading, error) {
		r := rs[0]
		if len(rs) > 1 {
			rs = rs[1:]
		}
		return r, nil
	}
}

func ms(n int64) int64 { return n * int64(time.Millisecond) }

func TestSampleIsRawPlusSuspended(t *testing.T) {
	c, err := newInterval(script(reading{mono1: ms(1000), boot: ms(5000), raw: ms(990), mono2: ms(1000)}), 0)
	if err != nil {
		t.Fatal(err)
	}
	s, err := c.Sample()
	if err != nil {
		t.Fatal(err)
	}
	want := Sample{Now: ident.Instant(ms(990 + 4000)), Suspended: 4 * time.Second}
	if s != want {
		t.Errorf("sample %+v, want %+v", s, want)
	}
}

func TestNoisySampleIsTheTightestAndAnError(t *testing.T) {
	noisy := make([]reading, tries, tries+1)
	for i := range noisy {
		noisy[i] = reading{mono1: ms(1000), boot: ms(1000), raw: ms(1000), mono2: ms(1000 + 5 + int64(i))}
	}
	noisy[6].mono2 = ms(1002)
	tightOne := reading{mono1: ms(1000), boot: ms(1000), raw: ms(1000), mono2: ms(1000)}
	c, err := newInterval(script(append([]reading{tightOne}, append(noisy, tightOne)...)...), 0)
	if err != nil {
		t.Fatal(err)
	}
	s, err := c.Sample()
	if !errors.Is(err, ErrNoisy) {
		t.Fatalf("10 readings of 2 ms and wider gave %+v, %v, want ErrNoisy", s, err)
	}
	if s.Width != 2*time.Millisecond {
		t.Errorf("width %v, want the tightest, 2 ms", s.Width)
	}
	if s, err := c.Sample(); err != nil || s.Width != 0 {
		t.Errorf("the next tight reading gave %+v, %v", s, err)
	}
}

// A stall between the clocks makes the time suspended look smaller by up to the
// stall; now() must not step back by it.
func TestNowNeverStepsBack(t *testing.T) {
	c, err := newInterval(script(
		reading{mono1: ms(1000), boot: ms(9000), raw: ms(1000), mono2: ms(1000)},
		reading{mono1: ms(1000), boot: ms(9000), raw: ms(1000), mono2: ms(1001) - 1},
	), 0)
	if err != nil {
		t.Fatal(err)
	}
	first, _ := c.Now()
	if first != ident.Instant(ms(9000)) {
		t.Fatalf("now() = %d after a sample of no width and a wider one, want the tight bound kept", first)
	}
}

func TestSuspendIsAStep(t *testing.T) {
	c, err := newInterval(script(
		reading{mono1: ms(1000), boot: ms(1000), raw: ms(1000), mono2: ms(1000)},
		reading{mono1: ms(1010), boot: ms(1010), raw: ms(1010), mono2: ms(1010)},
		reading{mono1: ms(1020), boot: ms(3020), raw: ms(1020), mono2: ms(1020)},
	), 0)
	if err != nil {
		t.Fatal(err)
	}
	a, _ := c.Sample()
	b, _ := c.Sample()
	if step := b.Suspended - a.Suspended; step != 2*time.Second || step <= 100*time.Millisecond {
		t.Errorf("suspended stepped by %v, want 2 s", step)
	}
	if b.Now.Sub(a.Now) != 2*time.Second+10*time.Millisecond {
		t.Errorf("now() advanced by %v, want awake plus suspended time", b.Now.Sub(a.Now))
	}
}

func TestRealClockAdvancesFromManyGoroutines(t *testing.T) {
	c, err := NewInterval()
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			var last ident.Instant
			for range 2000 {
				now, err := c.Now()
				if err != nil {
					continue // a noisy machine is not what this test is about
				}
				if now.Before(last) {
					t.Errorf("now() went from %d to %d", last, now)
					return
				}
				last = now
			}
		})
	}
	wg.Wait()
}

func TestNowDoesNotAllocate(t *testing.T) {
	c, err := NewInterval()
	if err != nil {
		t.Fatal(err)
	}
	if n := testing.AllocsPerRun(100, func() { c.Now() }); n != 0 {
		t.Errorf("Now allocates %v times; the guard's loop must not", n)
	}
}

func writeFiles(t *testing.T, files map[string]string) string {
	t.Helper()
	root := t.TempDir()
	for name, text := range files {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

func TestHostIdentity(t *testing.T) {
	const (
		boot    = "0f6bd5a7-6c61-4f0e-9a35-3a6a3b1f6f10\n"
		machine = "3d1219c7c4c5404aaa1f6d2a48adfda4\n"
		dmi     = "4C4C4544-0042-3510-8051-B4C04F4E3732\n"
	)
	for _, tt := range []struct {
		name  string
		files map[string]string
		kind  HostKind
		fails string
	}{
		{"firmware", map[string]string{bootIDFile: boot, productUUIDFile: dmi, machineIDFile: machine}, HostDMI, ""},
		{"no firmware", map[string]string{bootIDFile: boot, machineIDFile: machine}, HostMachineID, ""},
		{"zero", map[string]string{
			bootIDFile: boot, machineIDFile: machine,
			productUUIDFile: "00000000-0000-0000-0000-000000000000\n",
		}, HostMachineID, ""},
		{"all ones", map[string]string{
			bootIDFile: boot, machineIDFile: machine,
			productUUIDFile: "FFFFFFFF-FFFF-FFFF-FFFF-FFFFFFFFFFFF\n",
		}, HostMachineID, ""},
		{"AMI default", map[string]string{
			bootIDFile: boot, machineIDFile: machine,
			productUUIDFile: "03000200-0400-0500-0006-000700080009\n",
		}, HostMachineID, ""},
		{"words", map[string]string{
			bootIDFile: boot, machineIDFile: machine,
			productUUIDFile: "Not Settable\n",
		}, HostMachineID, ""},
		{"nothing", map[string]string{bootIDFile: boot}, "", "systemd-machine-id-setup"},
		{"unset machine id", map[string]string{bootIDFile: boot, machineIDFile: "uninitialized\n"}, "", "machine-id"},
		{"no boot id", map[string]string{machineIDFile: machine}, "", "boot"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			id, err := hostIdentity(writeFiles(t, tt.files))
			if tt.fails != "" {
				if err == nil || !strings.Contains(err.Error(), tt.fails) {
					t.Fatalf("identity %+v, error %v, want one that names %q", id, err, tt.fails)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if id.HostKind != tt.kind || id.Host.IsZero() || id.Boot.String()+"\n" != boot {
				t.Errorf("identity %+v, want kind %s", id, tt.kind)
			}
			if strings.ReplaceAll(id.Host.String(), "-", "") == strings.TrimSpace(machine) {
				t.Error("the machine id is published unhashed")
			}
		})
	}
}

func TestLinuxResetWritesThroughTheOpenDescriptor(t *testing.T) {
	line := filepath.Join(t.TempDir(), "reset-line")
	p, err := OpenLinux(func() (*os.File, error) { return os.Create(line) })
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	if err := os.Remove(line); err != nil { // what is open stays usable
		t.Fatal(err)
	}
	if err := p.Reset("test"); err == nil {
		t.Error("a reset that left the caller running reported success")
	}
	var got [4]byte
	if n, _ := p.reset.ReadAt(got[:], 0); string(got[:n]) != "b" {
		t.Errorf("wrote %q to the reset line, want b", got[:n])
	}
}

func TestNoResetLineIsAnError(t *testing.T) {
	p, err := OpenLinux(nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Reset("test"); err == nil {
		t.Error("reset without a reset line reported success")
	}
}
