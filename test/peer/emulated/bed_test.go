package emulated_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-ha/holdfast/test/vm/disk"
	"github.com/holdfast-ha/holdfast/test/vm/image"
	"github.com/holdfast-ha/holdfast/test/vm/lab"
	"github.com/holdfast-ha/holdfast/test/vm/machine"
	"github.com/holdfast-ha/holdfast/test/vm/network"
	"github.com/holdfast-ha/holdfast/test/vm/wire"
)

// What the two machines have: two links and the network of the clients.
const (
	quorumPath = "/dev/disk/by-id/virtio-QUORUM1"
	address    = "10.78.2.200"
	card       = "eth2"
	stateFile  = "/run/dummy.state"

	patience = 4 * time.Minute // for every single step
	settle   = 15 * time.Second
	lookEach = 50 * time.Millisecond
)

// names are those of the machines; the records of their watchdogs count for these.
func names() []string { return []string{"n1", "n2"} }

// bed is two machines with Debian.
type bed struct {
	*lab.Lab
	t     *testing.T
	nodes []*machine.Machine
}

// open boots them. Holdfast's programs are on a disk, under /programs.
func open(t *testing.T) *bed {
	t.Helper()
	cache, err := image.OpenCache()
	if err != nil {
		t.Fatal(err)
	}
	root, err := cache.Root("corosync", "pacemaker", "pacemaker-cli-utils", "sbd", "cluster-glue", "resource-agents", "systemd",
		"iputils-arping", "procps", "e2fsprogs")
	if err != nil {
		t.Fatal(err)
	}
	b := &bed{t: t, Lab: lab.Open(t, image.Content{Modules: []string{"ext4", "crc32c_generic"}})}
	disks := []*disk.Disk{b.Disk("QUORUM1", 80<<20), b.programs()}
	networks := []*network.Switch{b.Network("hb0"), b.Network("hb1"), b.Network("lan")}
	for i, name := range names() {
		b.nodes = append(b.nodes, b.Machine(lab.Plan{
			Name: name, Number: i + 1, Root: root, Memory: 768, Watchdog: true, Networks: networks, Disks: disks,
			Modules: []string{"crc32c_generic", "ext4", "i6300esb", "softdog"}, UUID: fmt.Sprintf("48464e4f-4445-4000-8000-00000000000%d", i+1),
		}))
	}
	b.PowerOn(b.nodes...)
	for _, m := range b.nodes {
		b.booted(m)
	}
	return b
}

func (b *bed) programs() *disk.Disk {
	b.t.Helper()
	dir := filepath.Join(b.Dir, "programs")
	if err := os.Mkdir(dir, 0o755); err != nil {
		b.t.Fatal(err)
	}
	for _, pkg := range []string{"cmd/holdfast", "cmd/holdfastd", "cmd/holdfast-guard", "test/demo"} {
		if _, err := image.Program(b.t.Context(), dir, pkg); err != nil {
			b.t.Fatal(err)
		}
	}
	d := b.Disk("PROGRAMS", 128<<20)
	if err := image.Files(dir, d.Path(), "128M"); err != nil {
		b.t.Fatal(err)
	}
	return d
}

// booted waits until systemd has started everything.
func (b *bed) booted(m *machine.Machine) {
	b.t.Helper()
	b.await(m.Name+" is up", func(ctx context.Context) error {
		out, _ := m.Run(ctx, "/bin/systemctl", "is-system-running")
		if s := strings.TrimSpace(out); s != "running" && s != "degraded" {
			return fmt.Errorf("it is %q", s)
		}
		return nil
	})
	b.must(m, "udevadm settle -t 120")
	for _, r := range []wire.Request{
		{Op: wire.Mkdir, Args: []string{"/programs"}},
		{Op: wire.Mount, Args: []string{"ext4", "/programs", "/dev/disk/by-id/virtio-PROGRAMS"}},
	} {
		if _, err := m.Ask(b.t.Context(), r); err != nil {
			b.t.Fatal(err)
		}
	}
}

// must runs a shell command that has to be done.
func (b *bed) must(m *machine.Machine, command string) string {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.t.Context(), patience)
	defer cancel()
	out, err := m.Run(ctx, "/bin/sh", "-c", command)
	if err != nil {
		b.t.Fatal(err)
	}
	return out
}

// put writes a file inside.
func (b *bed) put(m *machine.Machine, path, text string) {
	b.t.Helper()
	for _, r := range []wire.Request{
		{Op: wire.Mkdir, Args: []string{filepath.Dir(path)}},
		{Op: wire.Write, Args: []string{path}, Data: []byte(text), Mode: 0o644},
	} {
		if _, err := m.Ask(b.t.Context(), r); err != nil {
			b.t.Fatal(err)
		}
	}
}

// await polls until met returns nil.
func (b *bed) await(what string, met func(context.Context) error) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.t.Context(), patience)
	defer cancel()
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		err := met(ctx)
		if err == nil {
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			b.t.Fatalf("%s: not in %v: %v", what, patience, err)
		}
	}
}

// runs says that the service runs on a machine: by the dummy's file and by the kernel's
// table of addresses.
func runs(ctx context.Context, m *machine.Machine) error {
	if _, err := m.Read(ctx, stateFile); err != nil {
		return err
	}
	table, err := m.Read(ctx, "/proc/net/fib_trie")
	if err == nil && !strings.Contains(table, address) {
		err = errors.New("no address")
	}
	return err
}

// took is how long it takes from an event until the service runs on a machine. The event
// goes on meanwhile: a command under emulation takes long to end.
func (b *bed) took(m *machine.Machine, event func() error) time.Duration {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.t.Context(), patience)
	defer cancel()
	began, ended := time.Now(), make(chan error, 1)
	go func() { ended <- event() }() // ends with the command, whose time is bounded
	tick := time.NewTicker(lookEach)
	defer tick.Stop()
	for {
		err := runs(ctx, m)
		if err == nil {
			break
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			b.t.Fatalf("the service does not run on %s: %v; the event: %v", m.Name, err, <-ended)
		}
	}
	took := time.Since(began)
	if err := <-ended; err != nil {
		b.t.Fatal(err)
	}
	return took
}

// rest lets the machines become quiet.
func (b *bed) rest() {
	select {
	case <-time.After(settle):
	case <-b.t.Context().Done():
	}
}
