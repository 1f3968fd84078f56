package vm_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-ha/holdfast/test/vm/disk"
	"github.com/holdfast-ha/holdfast/test/vm/image"
	"github.com/holdfast-ha/holdfast/test/vm/lab"
	"github.com/holdfast-ha/holdfast/test/vm/machine"
	"github.com/holdfast-ha/holdfast/test/vm/wire"
)

// TestQualify measures the two watchdogs of a machine with the command of the administrator: each resets it four times, by
// QEMU's word too, and the command is given again after each boot until it has its record.
func TestQualify(t *testing.T) {
	whole(t)
	program, err := image.Program(t.Context(), t.TempDir(), "cmd/holdfast")
	if err != nil {
		t.Fatal(err)
	}
	tools, err := image.HostPrograms("blkid")
	if err != nil {
		t.Fatal(err)
	}
	l := lab.Open(t, image.Content{Files: map[string]string{"usr/bin/holdfast": program}, Records: tools, Modules: []string{"ext4", "crc32c_generic"}})
	own := l.Disk("OWN1", 32<<20)
	if out, err := exec.Command("mkfs.ext4", "-q", "-F", own.Path()).CombinedOutput(); err != nil {
		t.Fatalf("mkfs.ext4 (package e2fsprogs; test/setup.sh installs it): %v: %s", err, out)
	}
	m := l.Machine(lab.Plan{
		Name: "n1", Number: 1, Watchdog: true, Disks: []*disk.Disk{own, l.Disk("watchdog0", 1<<20), l.Disk("watchdog1", 1<<20)}, Modules: []string{"crc32c_generic", "ext4", "i6300esb", "softdog"},
	})
	l.PowerOn(m)
	for _, d := range []struct{ device, identity string }{{"watchdog0", "i6300ESB timer"}, {"watchdog1", "Software Watchdog"}} {
		t.Run(d.identity, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
			defer cancel()
			began := m.Boots()
			q, err := qualify(ctx, m, d.device)
			if err != nil {
				t.Fatal(err)
			}
			t.Logf("%+v", q)
			if len(q.Runs) != 4 || m.Boots() != began+4 {
				t.Errorf("a record of %d runs after %d resets", len(q.Runs), m.Boots()-began)
			}
			if q.TMax < q.Timeout || q.Emulated {
				t.Errorf("it resets after %v at most, its timeout is %v; emulated: %v", q.TMax, q.Timeout, q.Emulated)
			}
		})
	}
}

// record is what counts in a watchdog's record.
type record struct {
	Timeout  time.Duration `json:"timeout_ns"`
	TMax     time.Duration `json:"t_max_ns"`
	Emulated bool          `json:"emulated"`
	Runs     []struct {
		Kind   string        `json:"kind"`
		Actual time.Duration `json:"actual_ns"`
	} `json:"runs"`
}

// qualify gives the command again after every boot, until it has measured.
func qualify(ctx context.Context, m *machine.Machine, device string) (q record, err error) {
	const state = "/var/lib/holdfast"
	for range 8 {
		boots := m.Boots()
		if err := mountOnce(ctx, m, state); err != nil {
			return q, err
		}
		out, err := m.Ask(ctx, wire.Request{Op: wire.Run, Timeout: time.Minute, Args: []string{
			"/usr/bin/holdfast", "watchdog", "qualify", "/dev/" + device, "--node", "n1", "--timeout", "2s", "--beacons", "/dev/disk/by-id/virtio-" + device, "--yes", "--json",
		}})
		switch {
		case err == nil && out.Code == 0:
			text, err := m.Read(ctx, state+"/watchdogs/"+device+".json")
			return q, errors.Join(err, json.Unmarshal([]byte(text), &q))
		case err == nil:
			return q, fmt.Errorf("exit status %d: %s", out.Code, out.Output)
		}
		if _, bad := m.AwaitBoot(ctx, boots+1); bad != nil {
			return q, errors.Join(err, bad)
		}
	}
	return q, errors.New("eight resets, and no record")
}

// mountOnce mounts the machine's own disk where Holdfast keeps its records, if that is not done since the boot.
func mountOnce(ctx context.Context, m *machine.Machine, at string) error {
	text, err := m.Read(ctx, "/proc/mounts")
	if err != nil || strings.Contains(text, " "+at+" ") {
		return err
	}
	if _, err := m.Ask(ctx, wire.Request{Op: wire.Mkdir, Args: []string{at}}); err != nil {
		return err
	}
	_, err = m.Ask(ctx, wire.Request{Op: wire.Mount, Args: []string{"ext4", at, "/dev/disk/by-id/virtio-OWN1"}})
	return err
}
