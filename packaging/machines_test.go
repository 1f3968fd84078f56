package packaging_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-ha/holdfast/test/demo/ledger"
	"github.com/holdfast-ha/holdfast/test/vm/disk"
	"github.com/holdfast-ha/holdfast/test/vm/image"
	"github.com/holdfast-ha/holdfast/test/vm/lab"
	"github.com/holdfast-ha/holdfast/test/vm/machine"
	"github.com/holdfast-ha/holdfast/test/vm/network"
	"github.com/holdfast-ha/holdfast/test/vm/wire"
)

// What the two machines have, and what the cluster promises: as much as emulated
// processors keep that other programs slow down.
const (
	machineWithin   = 300 * time.Second
	machineBite     = 30 * time.Second
	machinePatience = 6 * time.Minute
)

// TestMachines is the life of the packages on emulated hardware: Debian with systemd
// on real kernels, a watchdog card that resets, and a quorum disk that both see.
func TestMachines(t *testing.T) {
	if os.Getenv("HOLDFAST_VM") != "all" {
		t.Skip("boots two whole Debian machines under emulation: make package-test runs it (HOLDFAST_VM=all)")
	}
	old, newer := versions(t)
	openMachines(t, old, newer).life(t)
}

// hardware is the ground of emulated machines.
type hardware struct {
	*lab.Lab
	disk   *disk.Disk
	client *machine.Machine
}

// openMachines boots everything. On the disk PACKAGES are the packages of both
// versions, and the program of the service.
func openMachines(t *testing.T, old, newer string) *town {
	t.Helper()
	cache, err := image.OpenCache()
	if err != nil {
		t.Fatal(err)
	}
	root, err := cache.Root()
	if err != nil {
		t.Fatal(err)
	}
	demo, err := image.Program(t.Context(), t.TempDir(), "test/demo")
	if err != nil {
		t.Fatal(err)
	}
	h := &hardware{Lab: lab.Open(t, image.Content{
		Files: map[string]string{"usr/bin/demo": demo}, Modules: []string{"ext4", "crc32c_generic"},
	})}
	w := &town{ground: h, t: t, began: time.Now(), site: site{
		flags: func(s *server) string {
			return fmt.Sprintf(" --link 10.78.0.%d --link 10.78.1.%[1]d --pause-bound 0s --watchdog /dev/watchdog0:%s --watchdog /dev/watchdog1:%[2]s", s.number, machineBite)
		},
		quorum: "/dev/disk/by-id/virtio-QUORUM1", data: "/dev/disk/by-id/virtio-DATA1", served: "10.78.0.100/24", packages: "/packages",
		within: machineWithin, patience: machinePatience, udev: true,
	}}
	h.disk = h.Disk("QUORUM1", 80<<20)
	shared := []*disk.Disk{h.disk, h.Disk("DATA1", 64<<20), h.shelf(t, old, newer, demo)}
	networks := []*network.Switch{h.Network("hb0"), h.Network("hb1")}
	machines := []*machine.Machine{}
	for i, name := range []string{"alpha", "beta"} {
		m := h.Machine(lab.Plan{
			Name: name, Number: i + 1, Root: root, Memory: 512, Watchdog: true, Networks: networks, Disks: shared,
			Modules: []string{"crc32c_generic", "ext4", "i6300esb", "softdog"},
		})
		w.nodes, machines = append(w.nodes, &server{host: &emulated{m}, name: name, number: i + 1}), append(machines, m)
	}
	h.client = h.Machine(lab.Plan{Name: "client", Number: 9, Networks: networks[:1]})
	h.PowerOn(append(machines, h.client)...)
	return w
}

// shelf makes the disk with what is installed.
func (h *hardware) shelf(t *testing.T, old, newer, demo string) *disk.Disk {
	t.Helper()
	d := h.Disk("PACKAGES", 160<<20)
	if err := image.Files(shelf(t, old, newer, demo), d.Path(), "160M"); err != nil {
		t.Fatal(err)
	}
	return d
}

// shelf makes the folder with what is installed.
func shelf(t *testing.T, old, newer, demo string) string {
	t.Helper()
	dir := t.TempDir()
	for from, to := range map[string]string{old: "old", newer: "newer"} {
		if err := os.CopyFS(filepath.Join(dir, to), os.DirFS(from)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Link(demo, filepath.Join(dir, "demo")); err != nil {
		t.Fatal(err)
	}
	return dir
}

func (h *hardware) ask(ctx context.Context, url string) error {
	return h.client.Start(ctx, "client", "/usr/bin/demo", "client", "-url", url, "-every", "100ms", "-patience", "20s")
}

func (h *hardware) records() (list []ledger.Record, err error) {
	text, err := os.ReadFile(h.client.Log())
	for _, line := range bytes.Split(text, []byte("\n")) {
		var r ledger.Record
		if line, is := bytes.CutPrefix(line, []byte("client: ")); is && json.Unmarshal(line, &r) == nil {
			list = append(list, r)
		}
	}
	return list, err
}

func (h *hardware) verdict(ctx context.Context) (*ledger.Verdict, error) {
	if _, err := h.client.Ask(ctx, wire.Request{Op: wire.Tell, Args: []string{"client"}, Data: []byte(ledger.Verify + "\n")}); err != nil {
		return nil, err
	}
	if _, err := h.client.AwaitEnd(ctx, "client"); err != nil {
		return nil, err
	}
	list, err := h.records()
	if err != nil || len(list) == 0 || list[len(list)-1].Verdict == nil {
		return nil, fmt.Errorf("the client has left no verdict (%w)", err)
	}
	return list[len(list)-1].Verdict, nil
}

func (h *hardware) superblock() ([]byte, error) { return superblock(h.disk.File()) }

// emulated is a server under emulation.
type emulated struct{ m *machine.Machine }

func (e *emulated) run(ctx context.Context, command string) (string, error) {
	return e.m.Run(ctx, "/bin/sh", "-c", command)
}

func (e *emulated) boot(ctx context.Context, n int) error {
	_, err := e.m.AwaitBoot(ctx, n)
	return err
}

// furnish has the kernel record every stop of a watchdog, which a look at its state
// from time to time could miss.
func (e *emulated) furnish(ctx context.Context) error {
	if _, err := e.run(ctx, "udevadm settle -t 300"); err != nil {
		return err
	}
	for _, r := range []wire.Request{
		{Op: wire.Mkdir, Args: []string{"/packages"}},
		{Op: wire.Mount, Args: []string{"ext4", "/packages", "/dev/disk/by-id/virtio-PACKAGES"}},
		{Op: wire.Mount, Args: []string{"tracefs", "/sys/kernel/tracing"}},
	} {
		if _, err := e.m.Ask(ctx, r); err != nil {
			return err
		}
	}
	_, err := e.run(ctx, `cd /sys/kernel/tracing && echo 'p:rig/stopped_card i6300esb:esb_timer_stop' >>kprobe_events &&
		echo 'p:rig/stopped_soft softdog:softdog_stop' >>kprobe_events && echo 1 >events/rig/enable`)
	return err
}

func (e *emulated) dogs(ctx context.Context) (string, error) {
	out, err := e.run(ctx, "cat /sys/class/watchdog/watchdog*/state")
	return strings.Join(strings.Fields(out), " "), err
}

func (e *emulated) disarmed(ctx context.Context) (int, error) {
	out, err := e.run(ctx, "cat /sys/kernel/tracing/trace")
	return strings.Count(out, " stopped_"), err
}

// crash makes the kernel panic.
func (e *emulated) crash(ctx context.Context) error { return e.m.Panic(ctx) }

// ends are the resets that QEMU tells of, each with whether the watchdog card did it.
func (e *emulated) ends() (list []string, err error) {
	var card string
	for _, v := range e.m.Events() {
		switch {
		case v.Name == "WATCHDOG":
			card = "the card has expired, "
		case v.Name == "RESET" && card == "" && strings.Contains(v.Data, "guest-reset"):
			list = append(list, "own reset: "+v.Data)
		case v.Name == "RESET":
			list, card = append(list, card+"RESET "+v.Data), ""
		}
	}
	return list, nil
}
