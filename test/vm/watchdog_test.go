package vm_test

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-ha/holdfast/test/vm/disk"
	"github.com/holdfast-ha/holdfast/test/vm/image"
	"github.com/holdfast-ha/holdfast/test/vm/lab"
	"github.com/holdfast-ha/holdfast/test/vm/machine"
	"github.com/holdfast-ha/holdfast/test/vm/wire"
)

// TestQualifyOnRealWatchdog measures a card that really resets its machine, as an
// administrator does: the same command after every boot, until it says that the
// device is measured.
func TestQualifyOnRealWatchdog(t *testing.T) {
	whole(t)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	program, err := image.Program(ctx, t.TempDir(), "cmd/holdfast")
	if err != nil {
		t.Fatal(err)
	}
	l := lab.Open(t, image.Content{Files: map[string]string{"bin/holdfast": program}})
	beacons := l.Disk("BEACONS", 1<<20)
	m := l.Machine(lab.Plan{Name: "n1", Number: 1, Disks: []*disk.Disk{beacons}, Watchdog: true})
	l.PowerOn(m)
	// An empty disk is looked at with blkid, which this machine has not got; half a
	// beacon is one whose writing was interrupted, and is written over without.
	torn := make([]byte, 4096)
	copy(torn, "HFBEACON\x01\x00\x00\x00")
	const device = "/dev/disk/by-id/virtio-BEACONS"
	if _, err := m.Ask(ctx, wire.Request{Op: wire.Put, Args: []string{device}, Data: torn}); err != nil {
		t.Fatal(err)
	}
	type state struct {
		State string  `json:"state"`
		TMax  float64 `json:"t_max_seconds"`
		Runs  []struct {
			Kind  string  `json:"kind"`
			Least float64 `json:"least_seconds"`
			Most  float64 `json:"most_seconds"`
		} `json:"runs"`
	}
	command := []string{"/bin/holdfast", "watchdog", "qualify", "/dev/watchdog0", "--node", "n1", "--timeout", "3s", "--beacons", device, "--json", "--yes"}
	look := func() (s state) {
		out, err := m.Run(ctx, append(command, "--show")...)
		if err == nil {
			err = json.Unmarshal([]byte(out), &s)
		}
		if err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		return s
	}
	for run := range 4 {
		load(ctx, t, m)
		if s := look(); len(s.Runs) != run {
			t.Fatalf("before run %d it says %+v", run+1, s)
		}
		if err := starve(ctx, m, command); err != nil {
			t.Fatalf("run %d: %v; %v", run+1, err, m.Events())
		}
		if _, err := m.AwaitBoot(ctx, run+2); err != nil {
			t.Fatal(err)
		}
	}
	load(ctx, t, m)
	out, err := m.Run(ctx, command...)
	var s state
	if err == nil {
		err = json.Unmarshal([]byte(out), &s)
	}
	if err != nil || s.State != "measured" || len(s.Runs) != 4 || s.Runs[3].Kind != "guard-death" {
		t.Fatalf("%v: %s", err, out)
	}
	for i, r := range s.Runs {
		t.Logf("run %d, %s: %.3f to %.3f s after the last feed", i+1, r.Kind, r.Least, r.Most)
		if r.Most < 2.7 || r.Least > 6 {
			t.Errorf("run %d: %.3f to %.3f s, a timeout of 3 s", i+1, r.Least, r.Most)
		}
	}
	if record, err := m.Read(ctx, "/var/lib/holdfast/watchdogs/watchdog0.json"); err != nil {
		t.Error(err)
	} else if !strings.Contains(record, `"driver": "i6300esb"`) {
		t.Errorf("the record names no driver: %s", record)
	}
}

// starve begins one run and waits until the card resets the machine. A run whose
// beacons a busy machine did not get to the disk in time ends without that, and is
// begun again: an administrator would give the command once more.
func starve(ctx context.Context, m *machine.Machine, command []string) error {
	const tries, each = 4, time.Minute // more than a run takes, with the wait for its bite
	var failed []error
	for range tries {
		begun := time.Now()
		if err := m.Start(ctx, "qualify", command...); err != nil {
			return errors.Join(append(failed, err)...)
		}
		waiting, cancel := context.WithTimeout(ctx, each)
		_, err := m.Await(waiting, "WATCHDOG", begun)
		cancel()
		if err == nil {
			return nil
		}
		failed = append(failed, err)
	}
	return errors.Join(failed...)
}

// load makes the machine's watchdog and identity what an installed one has.
func load(ctx context.Context, t *testing.T, m *machine.Machine) {
	t.Helper()
	if _, err := m.Ask(ctx, wire.Request{Op: wire.Module, Args: []string{"i6300esb"}}); err != nil {
		t.Fatal(err)
	}
	if err := m.Write(ctx, "/etc/machine-id", "3d1219c7c4c5404aaa1f6d2a48adfda4\n"); err != nil {
		t.Fatal(err)
	}
}
