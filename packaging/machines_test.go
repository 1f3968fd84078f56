package packaging_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-ha/holdfast/internal/api"
	"github.com/holdfast-ha/holdfast/test/vm/disk"
	"github.com/holdfast-ha/holdfast/test/vm/image"
	"github.com/holdfast-ha/holdfast/test/vm/lab"
	"github.com/holdfast-ha/holdfast/test/vm/machine"
	"github.com/holdfast-ha/holdfast/test/vm/network"
	"github.com/holdfast-ha/holdfast/test/vm/wire"
)

// What the two machines have, and what the cluster promises: as much as emulated
// processors keep that other programs slow down. Nothing takes as long as patience,
// which bounds every step, unless it never comes.
const (
	quorumPath = "/dev/disk/by-id/virtio-QUORUM1"
	dataPath   = "/dev/disk/by-id/virtio-DATA1"
	served     = "10.78.0.100"
	within     = 300 * time.Second
	bite       = 30 * time.Second
	patience   = 15 * time.Minute
)

// town is two servers with Debian, what they share, and somebody outside who
// asks their service.
type town struct {
	*lab.Lab
	t      *testing.T
	quorum *disk.Disk
	nodes  []*server
	client *machine.Machine
	began  time.Time
}

// server is a machine with a whole Debian on its disk.
type server struct {
	*machine.Machine
	number int
}

// openTown boots everything. On the disk PACKAGES are the packages of both
// versions, and the program of the service.
func openTown(t *testing.T, old, newer string) *town {
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
	w := &town{t: t, began: time.Now(), Lab: lab.Open(t, image.Content{
		Files: map[string]string{"usr/bin/demo": demo}, Modules: []string{"ext4", "crc32c_generic"},
	})}
	w.quorum = w.Disk("QUORUM1", 80<<20)
	shared := []*disk.Disk{w.quorum, w.Disk("DATA1", 64<<20), w.shelf(old, newer, demo)}
	networks := []*network.Switch{w.Network("hb0"), w.Network("hb1")}
	machines := []*machine.Machine{}
	for i, name := range []string{"alpha", "beta"} {
		m := w.Machine(lab.Plan{
			Name: name, Number: i + 1, Root: root, Memory: 512, Watchdog: true, Networks: networks, Disks: shared,
			Modules: []string{"crc32c_generic", "ext4", "i6300esb", "softdog"},
		})
		w.nodes, machines = append(w.nodes, &server{m, i + 1}), append(machines, m)
	}
	w.client = w.Machine(lab.Plan{Name: "client", Number: 9, Networks: networks[:1]})
	w.PowerOn(append(machines, w.client)...)
	return w
}

// shelf makes the disk with what is installed.
func (w *town) shelf(old, newer, demo string) *disk.Disk {
	w.t.Helper()
	dir := w.t.TempDir()
	for from, to := range map[string]string{old: "old", newer: "newer"} {
		if err := os.CopyFS(filepath.Join(dir, to), os.DirFS(from)); err != nil {
			w.t.Fatal(err)
		}
	}
	if err := os.Link(demo, filepath.Join(dir, "demo")); err != nil {
		w.t.Fatal(err)
	}
	d := w.Disk("PACKAGES", 160<<20)
	if err := image.Files(dir, d.Path(), "160M"); err != nil {
		w.t.Fatal(err)
	}
	return d
}

// step says in the test's log what begins, and when.
func (w *town) step(format string, args ...any) {
	w.t.Helper()
	w.t.Logf("%4.0f s  %s", time.Since(w.began).Seconds(), fmt.Sprintf(format, args...))
}

// sh runs a shell command on the server.
func (s *server) sh(ctx context.Context, command string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	out, err := s.Run(ctx, "/bin/sh", "-c", command)
	return strings.TrimSpace(out), err
}

// must runs a shell command that has to be done.
func (w *town) must(s *server, command string) string {
	w.t.Helper()
	out, err := s.sh(w.t.Context(), command)
	if err != nil {
		w.t.Fatal(err)
	}
	return out
}

// refuses runs a command that has to be refused with words.
func (w *town) refuses(s *server, command, words string) {
	w.t.Helper()
	out, err := s.sh(w.t.Context(), command)
	if err == nil || !strings.Contains(out, words) {
		w.t.Errorf("%s: %s: want a refusal with %q: %v, %s", s.Name, command, words, err, out)
	}
}

// await polls until met returns nil.
func (w *town) await(what string, met func() error) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), patience)
	defer cancel()
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		err := met()
		if err == nil {
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			w.t.Fatalf("%s: not in %v: %v", what, patience, err)
		}
	}
}

// booted waits until systemd has started everything that is enabled.
func (w *town) booted(s *server) {
	w.t.Helper()
	w.await(s.Name+" is up", func() error {
		out, _ := s.sh(w.t.Context(), "systemctl is-system-running")
		if out != "running" && out != "degraded" {
			return fmt.Errorf("it is %q", out)
		}
		return nil
	})
	if out, _ := s.sh(w.t.Context(), "systemctl --failed --no-legend --plain"); out != "" {
		w.t.Errorf("%s: units that failed: %s", s.Name, out)
	}
	w.must(s, "udevadm settle -t 600")
	for _, r := range []wire.Request{
		{Op: wire.Mkdir, Args: []string{"/packages"}},
		{Op: wire.Mount, Args: []string{"ext4", "/packages", "/dev/disk/by-id/virtio-PACKAGES"}},
		{Op: wire.Mount, Args: []string{"tracefs", "/sys/kernel/tracing"}},
	} {
		if _, err := s.Ask(w.t.Context(), r); err != nil {
			w.t.Fatal(err)
		}
	}
}

// status asks the server's daemon.
func (s *server) status(ctx context.Context) (*api.Status, error) {
	out, err := s.sh(ctx, "holdfast status --json")
	var st api.Status
	if bad := json.Unmarshal([]byte(out), &st); bad != nil {
		return nil, errors.Join(err, bad)
	}
	return &st, nil
}
