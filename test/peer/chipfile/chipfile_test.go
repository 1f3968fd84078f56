package chipfile_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/holdfast-ha/holdfast/test/peer/chipfile"
	"github.com/holdfast-ha/holdfast/test/power"
)

// machine is an emulated one with a chip, and the file that stands for it.
func machine(t *testing.T) (*power.Control, string) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("a file system of our own needs root: run this test as root")
	}
	if _, err := os.Stat("/dev/fuse"); err != nil {
		t.Skipf("no /dev/fuse here (modprobe fuse; in a container: --device /dev/fuse): %v", err)
	}
	dir, err := os.MkdirTemp("", "hf-chip-") // a socket's path is at most 107 bytes long
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	socket := filepath.Join(dir, "power")
	e, err := power.Start(socket, nil)
	if err != nil {
		t.Fatal(err)
	}
	c, err := power.DialControl(socket)
	if err != nil {
		t.Fatal(err)
	}
	err = c.Register(power.Node{Name: "alpha", Chips: []power.Chip{{Name: "hard", Identity: "Emulated TCO", Min: 100 * time.Millisecond}}})
	if err == nil {
		_, err = c.PowerOn("alpha")
	}
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "watchdog")
	f, err := chipfile.Mount(path, chipfile.Chip{Socket: func() string { return socket }, Node: "alpha", Name: "hard"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := f.Close(); err != nil {
			t.Error(err)
		}
		c.Close()
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	})
	return c, path
}

func state(t *testing.T, c *power.Control) power.State {
	t.Helper()
	s, err := c.State("alpha")
	if err != nil {
		t.Fatal(err)
	}
	return s.State
}

// TestItBites: a device that is opened and never fed resets its node; fed, it does not.
func TestItBites(t *testing.T) {
	c, path := machine(t)
	before, err := c.State("alpha")
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := os.OpenFile(path, os.O_RDWR, 0); err == nil {
		t.Error("it can be opened twice")
	}
	if err := unix.IoctlSetPointerInt(int(f.Fd()), unix.WDIOC_SETTIMEOUT, 1); err != nil {
		t.Fatal(err)
	}
	if got, err := unix.IoctlGetInt(int(f.Fd()), unix.WDIOC_GETTIMEOUT); err != nil || got != 1 {
		t.Errorf("timeout %d, %v", got, err)
	}
	for range 6 { // three times as long as its timeout
		<-time.After(500 * time.Millisecond)
		if _, err := f.Write([]byte{'1'}); err != nil {
			t.Fatal(err)
		}
	}
	if now, err := c.State("alpha"); err != nil || now.State != before.State {
		t.Fatalf("fed, and the node is %+v, %v", now, err)
	}
	deadline := time.Now().Add(20 * time.Second)
	for state(t, c) == before.State {
		if time.Now().After(deadline) {
			t.Fatal("never fed again, and the node runs on")
		}
		<-time.After(20 * time.Millisecond)
	}
}

// TestMagicClose: with 'V' the close stops the device, without it the device runs on.
func TestMagicClose(t *testing.T) {
	c, path := machine(t)
	before := state(t, c)
	for _, last := range []string{"V", "1"} {
		f, err := os.OpenFile(path, os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		if err := unix.IoctlSetPointerInt(int(f.Fd()), unix.WDIOC_SETTIMEOUT, 1); err != nil {
			t.Fatal(err)
		}
		if _, err := f.WriteString(last); err != nil {
			t.Fatal(err)
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
		deadline := time.Now().Add(3 * time.Second)
		for state(t, c) == before && time.Now().Before(deadline) {
			<-time.After(20 * time.Millisecond)
		}
		if bitten := state(t, c) != before; bitten != (last == "1") {
			t.Errorf("closed after %q: bitten is %v", last, bitten)
		}
	}
}
