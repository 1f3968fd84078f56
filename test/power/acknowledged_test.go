package power_test

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/holdfast-ha/holdfast/test/demo/loop"
	"github.com/holdfast-ha/holdfast/test/power"
)

// keeperMain appends line after line and says so when each is on the disk.
func keeperMain(path string) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	fmt.Println("ready")
	for {
		_, err := f.WriteString("line\n")
		if err == nil {
			err = f.Sync()
		}
		if err == nil {
			_, err = fmt.Println("kept")
		}
		if err != nil {
			return nil // the power is gone
		}
	}
}

// TestWhatWasAcknowledgedIsThere: nothing that a node said before it lost its
// power may be untrue after. A kernel whose file system is shut down under an
// fsync lets some of those succeed; nobody may hear of it.
func TestWhatWasAcknowledgedIsThere(t *testing.T) {
	needRoot(t, "a file system on a loop device")
	disk, mountpoint := loopFS(t)
	image := filepath.Join(filepath.Dir(mountpoint), "image")
	for round := range 25 { // with the processes still at work, one in ten lied here
		path := filepath.Join(mountpoint, fmt.Sprint("book", round))
		marker := fmt.Sprint("HOLDFAST_POWER_TEST=keeper", round)
		keeper := startIn(t, 0, marker, "keeper", path)
		heard := make(chan int, 1)
		go func() {
			text, _ := io.ReadAll(keeper.out) // ends with the process
			heard <- bytes.Count(text, []byte("\n"))
		}()
		// Any moment of a write is as good as any other: the spread finds them all.
		<-time.After(time.Duration(5+rand.IntN(15_000)) * time.Microsecond)
		_, c, _ := testPower(t, power.Supply{Marker: marker, Mounts: []string{mountpoint}, Disks: []string{disk}})
		if err := c.PowerOff("alpha", "test"); err != nil {
			t.Fatal(err)
		}
		acknowledged := <-heard
		var err error
		if disk, err = loop.Attach(image); err != nil {
			t.Fatal(err)
		}
		if err := unix.Mount(disk, mountpoint, "ext4", 0, ""); err != nil {
			t.Fatal(err)
		}
		text, err := os.ReadFile(path)
		if kept := bytes.Count(text, []byte("\n")); err != nil && acknowledged > 0 || kept < acknowledged {
			t.Errorf("round %d: %d lines were acknowledged, %d are there (%v)", round, acknowledged, kept, err)
		}
	}
	t.Cleanup(func() { _ = loop.DetachAll(filepath.Dir(image), 5*time.Second) }) // before loopFS's, which knows the first device only
	if err := unix.Unmount(mountpoint, 0); err != nil {
		t.Error(err)
	}
}
