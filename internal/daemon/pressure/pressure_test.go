package pressure_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/holdfast-ha/holdfast/internal/daemon/pressure"
)

func TestBetween(t *testing.T) {
	for _, c := range []struct {
		name string
		s    pressure.Sample // after 10 s
		want string
	}{
		{"nothing", pressure.Sample{}, ""},
		{"a little of everything", pressure.Sample{IO: 3 * time.Second, Mem: time.Second, CPU: 9 * time.Second}, ""},
		{"I/O", pressure.Sample{IO: 8 * time.Second}, "all its tasks waited for I/O 80% of the time"},
		{"memory", pressure.Sample{Mem: 2 * time.Second}, "all its tasks waited for memory 20% of the time"},
		{"processors", pressure.Sample{CPU: 10 * time.Second}, "tasks waited for a processor 100% of the time"},
		{"two of them", pressure.Sample{IO: 5 * time.Second, Mem: 5 * time.Second}, "all its tasks waited for I/O 50% of the time; all its tasks waited for memory 50% of the time"},
	} {
		c.s.At = 10 * time.Second
		if got := pressure.Between(pressure.Sample{}, c.s); got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
	if got := pressure.Between(pressure.Sample{At: 5}, pressure.Sample{At: 6, IO: time.Hour}); got != "" {
		t.Errorf("a nanosecond says %q", got)
	}
}

func TestFiles(t *testing.T) {
	dir := t.TempDir()
	text := "some avg10=0.93 avg60=7.45 avg300=4.91 total=313591429\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=67482002\n"
	for _, name := range []string{"io", "cpu"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	got := pressure.Files{Dir: dir, Now: func() time.Duration { return 7 }}.Read()
	if want := (pressure.Sample{At: 7, IO: 67482002 * time.Microsecond, CPU: 313591429 * time.Microsecond}); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
}

// TestKept: what is recent is read again after a second, and not before.
func TestKept(t *testing.T) {
	dir, now := t.TempDir(), time.Duration(0)
	file := filepath.Join(dir, "io")
	say := func(total string) {
		if err := os.WriteFile(file, []byte("full avg10=0.00 avg60=0.00 avg300=0.00 total="+total+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	k := &pressure.Kept{Files: pressure.Files{Dir: dir, Now: func() time.Duration { return now }}}
	say("1000")
	first := k.Recent()
	say("2000")
	if now = time.Second - 1; k.Recent() != first || first.IO != time.Millisecond {
		t.Errorf("%+v, want %+v within a second", k.Recent(), first)
	}
	if fresh := k.Read(); fresh.IO != 2*time.Millisecond {
		t.Errorf("%+v is not what the kernel says", fresh)
	}
	if now = time.Second; k.Recent().IO != 2*time.Millisecond || k.Recent().At != now {
		t.Errorf("%+v after a second", k.Recent())
	}
}
