package sbdcmd_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-ha/holdfast/internal/ctl/sbdcmd"
	"github.com/holdfast-ha/holdfast/sbd/watchdog"
	"github.com/holdfast-ha/holdfast/storage"
	"github.com/holdfast-ha/holdfast/storage/storagetest"
)

// codeError is what the command line makes of an exit code.
type codeError int

func (c codeError) Error() string { return fmt.Sprint(int(c)) }

// TestMain lets this program be holdfast sbd when it starts itself.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "sbd" {
		os.Exit(program(os.Args[2:]))
	}
	os.Exit(m.Run())
}

func program(args []string) int {
	c := sbdcmd.Command(func(code int) error { return codeError(code) })
	c.SetArgs(args)
	c.SilenceErrors, c.SilenceUsage = true, true
	err := c.ExecuteContext(context.Background())
	var code codeError
	switch {
	case errors.As(err, &code):
		return int(code)
	case err != nil:
		return 99
	}
	return 0
}

// result is what a command line printed and returned.
type result struct {
	code     int
	out, err string
}

// says fails the test unless the command ended like this and said all of that.
func (r result) says(t *testing.T, code int, texts ...string) {
	t.Helper()
	all := r.out + r.err
	if r.code != code {
		t.Errorf("exit code %d, want %d:\n%s", r.code, code, all)
	}
	for _, text := range texts {
		if !strings.Contains(all, text) {
			t.Errorf("it does not say %q:\n%s", text, all)
		}
	}
}

// bench runs command lines on disks in memory, with time that passes at once.
type bench struct {
	t      *testing.T
	disks  map[string]*storagetest.Memory
	faults map[string]storagetest.Fault // on every handle of a disk
	slept  chan time.Duration           // all that was waited for; nil: nobody asks
	sys    sbdcmd.System
	during func() // called while the command waits
}

func newBench(t *testing.T, paths ...string) *bench {
	b := &bench{t: t, disks: map[string]*storagetest.Memory{}, faults: map[string]storagetest.Fault{}}
	for _, p := range paths {
		b.disks[p] = storagetest.NewMemory(4<<20, 512)
	}
	b.sys = sbdcmd.Host(strings.NewReader(""), nil, nil)
	b.sys.Getenv = func(string) string { return "" }
	b.sys.Hostname = func() (string, error) { return "here", nil }
	b.sys.Open = b.open
	b.sys.InUse = func(string) ([]string, error) { return nil, nil }
	b.sys.Sleep = func(_ context.Context, d time.Duration) {
		if b.slept != nil {
			b.slept <- d
		}
		if b.during != nil {
			b.during()
		}
	}
	b.sys.Dogs = sbdcmd.Dogs{
		List: func() ([]watchdog.Listed, error) { return nil, nil },
		Arm: func(string, time.Duration) (watchdog.Device, error) {
			return nil, errors.New("a test armed a watchdog")
		},
		Guards: func() ([]string, error) { return nil, nil },
	}
	return b
}

func (b *bench) open(path string, opts storage.Options) (storage.Disk, error) {
	m := b.disks[path]
	if m == nil {
		return nil, &storage.OpError{Op: "open", Path: path, Err: os.ErrNotExist}
	}
	h := m.Open("here")
	if h.Info().SectorSize != opts.SectorSize {
		return nil, &storage.OpError{Op: "open", Path: path, Err: errors.New("another sector size")}
	}
	if f, ok := b.faults[path]; ok {
		h.Inject(f)
	}
	return h, nil
}

func (b *bench) run(args ...string) result {
	b.t.Helper()
	var out, errOut bytes.Buffer
	b.sys.Out, b.sys.Err = &out, &errOut
	code := sbdcmd.Run(b.t.Context(), args, b.sys)
	return result{code, out.String(), errOut.String()}
}
