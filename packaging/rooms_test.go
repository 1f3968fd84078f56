package packaging_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-ha/holdfast/test/demo/ledger"
	"github.com/holdfast-ha/holdfast/test/demo/programs"
	"github.com/holdfast-ha/holdfast/test/demo/remains"
	"github.com/holdfast-ha/holdfast/test/demo/stage"
	"github.com/holdfast-ha/holdfast/test/power"
	"github.com/holdfast-ha/holdfast/test/vm/image"
)

// What the two systems have, and what the cluster promises: enough for a machine that
// has other things to do.
const (
	roomsWithin   = 25 * time.Second
	roomsBite     = 5 * time.Second
	roomsPatience = 3 * time.Minute
)

// TestRooms is the life of the packages at this machine's speed: two Debian systems,
// each with a systemd of its own, in namespaces. Kernel and clock are this machine's,
// and the power emulator plays firmware and watchdogs, so it tells of every feed that
// a close does, and of every stop.
func TestRooms(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: boots two Debian systems; make test runs it")
	}
	if err := stage.Able(); err != nil {
		t.Skipf("this machine cannot put up systems with disks and networks: %v", err)
	}
	needs(t, "git", "debootstrap", "nsenter")
	if swept, err := remains.Sweep(); err != nil || len(swept) > 0 {
		t.Logf("removed what killed runs had left: %v, %v", swept, err)
	}
	old, newer := versions(t)
	openRooms(t, old, newer).life(t)
}

// namespaces is the ground of two systems on this machine's kernel.
type namespaces struct {
	*stage.Stage
	client *ledger.Client
}

func openRooms(t *testing.T, old, newer string) *town {
	t.Helper()
	cache, err := image.OpenCache()
	if err != nil {
		t.Fatal(err)
	}
	tree, err := cache.System()
	if err != nil {
		t.Fatal(err)
	}
	// The folder of the programs is one that both systems see.
	bin, err := os.MkdirTemp("", "hfdemo-packages-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(bin) })
	if err := programs.Build(bin); err != nil {
		t.Fatal(err)
	}
	for from, to := range map[string]string{old: "old", newer: "newer"} {
		if err := os.CopyFS(filepath.Join(bin, to), os.DirFS(from)); err != nil {
			t.Fatal(err)
		}
	}
	g := &namespaces{}
	logs := t.TempDir()
	g.Stage, err = stage.Raise(t.Context(), stage.Options{
		Bin: bin, Names: []string{"alpha", "beta"}, Root: true, Timeout: roomsBite, Within: roomsWithin, Logs: logs,
		Machines: &stage.Machines{Tree: tree, Bare: true, Furnish: keepDisk},
		Scenery:  &stage.Scenery{Disks: []stage.DataDisk{{Name: "data", Size: 64 << 20}}, Unformed: true},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := g.Close(); err != nil {
			t.Errorf("left behind: %v", err)
		}
		if t.Failed() {
			showLogs(t, logs)
		}
	})
	w := &town{ground: g, t: t, began: time.Now(), site: site{
		flags: func(s *server) string {
			return fmt.Sprintf(" --link 10.77.0.%d --link 10.77.1.%[1]d --pause-bound 0s --emulated --emulator %s --watchdog %s:%s --watchdog %s:%[4]s",
				s.number, g.PowerSocket(), stage.SoftChip, roomsBite, stage.HardChip)
		},
		quorum: g.QuorumPath(1), data: g.DiskPath("data"), served: "10.77.2.200/24", packages: bin,
		within: roomsWithin, patience: roomsPatience,
	}}
	for i, n := range g.Nodes {
		w.nodes = append(w.nodes, &server{host: &room{g.Stage, n}, name: n.Name, number: i + 1})
	}
	return w
}

// showLogs prints the end of what the systems have printed.
func showLogs(t *testing.T, dir string) {
	t.Helper()
	files, _ := filepath.Glob(filepath.Join(dir, "*", "*-machine")) // fails only for a bad pattern
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			t.Error(err)
		}
		lines := strings.Split(strings.TrimSpace(string(text)), "\n")
		t.Logf("%s:\n%s", filepath.Base(f), strings.Join(lines[max(0, len(lines)-30):], "\n"))
	}
}

// kept is where a system's disk is while the system is off.
func kept(s *stage.Stage, n *stage.Node) string { return s.File(n.Name + ".disk") }

// keepDisk gives a system a disk with its name, and later that of its former life.
func keepDisk(s *stage.Stage, n *stage.Node, root string) error {
	if _, err := os.Stat(kept(s, n)); errors.Is(err, os.ErrNotExist) {
		return errors.Join(os.Mkdir(filepath.Join(root, "etc"), 0o755), os.WriteFile(filepath.Join(root, "etc/hostname"), []byte(n.Name+"\n"), 0o644))
	}
	return errors.Join(os.Remove(root), os.Rename(kept(s, n), root))
}

func (g *namespaces) ask(_ context.Context, url string) error {
	cmd := exec.Command("nsenter", "--net="+g.Outside(), filepath.Join(g.Bin, "demo"), "client", "-url", url, "-every", "50ms", "-patience", "10s")
	cmd.Env = append(os.Environ(), remains.Mark+"="+filepath.Base(g.File(""))) // it ends with the stage
	in, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	// Not a pipe of cmd: that one is closed at the process's end, read or not.
	out, theirs, err := os.Pipe()
	if err != nil {
		return err
	}
	cmd.Stdout = theirs
	if err := errors.Join(cmd.Start(), theirs.Close()); err != nil {
		return errors.Join(err, out.Close())
	}
	go func() { _ = cmd.Wait() }() // ends with the verdict, or the stage
	g.client = ledger.Follow(in, out)
	return nil
}

func (g *namespaces) records() ([]ledger.Record, error) { return g.client.Records(), nil }

func (g *namespaces) verdict(context.Context) (*ledger.Verdict, error) {
	return g.client.Verify(time.Minute)
}

func (g *namespaces) superblock() ([]byte, error) {
	f, err := os.Open(g.File("shared/quorum"))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return superblock(f)
}

// room is a system in namespaces.
type room struct {
	stage *stage.Stage
	node  *stage.Node
}

func (r *room) run(ctx context.Context, command string) (string, error) {
	out, err := r.node.Run(ctx, "/bin/sh", "-c", "exec 2>&1; "+command)
	if err != nil {
		err = fmt.Errorf("%w: %s", err, out)
	}
	return out, err
}

// boot gives the system, after its first life, its power back.
func (r *room) boot(_ context.Context, n int) error {
	if n == 1 {
		return nil
	}
	if err := r.stage.Power.PowerOff(r.node.Name, "until it boots again"); err != nil {
		return err
	}
	if err := os.Rename(r.stage.File(r.node.Name+"/machine/upper"), kept(r.stage, r.node)); err != nil {
		return err
	}
	return r.node.PowerUp()
}

// furnish puts the records of the emulated watchdogs where the guard looks for them.
func (r *room) furnish(ctx context.Context) error {
	_, err := r.run(ctx, "mkdir -p /var/lib/holdfast/watchdogs && cp "+r.stage.File(r.node.Name+"/state/watchdogs")+"/*.json /var/lib/holdfast/watchdogs/")
	return err
}

// events are what the power emulator tells of the node.
func (r *room) events() (list []power.Event, err error) {
	text, err := os.ReadFile(r.stage.File("log/power"))
	for _, line := range bytes.Split(text, []byte("\n")) {
		var e power.Event
		if json.Unmarshal(line, &e) == nil && e.Node == r.node.Name {
			list = append(list, e)
		}
	}
	return list, err
}

// present are those since the power came on.
func (r *room) present() ([]power.Event, error) {
	list, err := r.events()
	for i := len(list) - 1; i >= 0; i-- {
		if list[i].What == power.PowerOn {
			return list[i:], err
		}
	}
	return list, err
}

func (r *room) dogs(context.Context) (string, error) {
	list, err := r.present()
	soft, hard := "inactive", "inactive"
	for _, e := range list {
		dog := &soft
		if e.Device == stage.HardChip {
			dog = &hard
		}
		switch e.What {
		case power.Opened:
			*dog = "active"
		case power.Disarmed:
			*dog = "inactive"
		}
	}
	return soft + " " + hard, err
}

func (r *room) disarmed(context.Context) (n int, err error) {
	list, err := r.present()
	for _, e := range list {
		if e.What == power.Disarmed || e.What == power.ClosePet {
			n++
		}
	}
	return n, err
}

// crash stops every process where it is, as a kernel does that schedules none.
func (r *room) crash(context.Context) error { return r.node.Freeze() }

// own begins what the emulator is told of a system that has ended by itself: it keeps
// the power on, for it cannot know.
const own = "own end: "

func (r *room) ends() (list []string, err error) {
	if st, err := r.stage.Power.State(r.node.Name); err == nil && st.State == power.On && len(r.node.PIDs()) == 0 {
		if err := r.stage.Power.PowerOff(r.node.Name, own+"its first process has ended"); err != nil {
			return nil, err
		}
	}
	all, err := r.events()
	for _, e := range all {
		switch e.What {
		case power.Bite:
			list = append(list, fmt.Sprintf("watchdog %s has expired: %s", e.Device, e.Text))
		case power.ResetRequested:
			list = append(list, "its guard has reset it: "+e.Text)
		case power.PowerOff:
			list = append(list, e.Text)
		}
	}
	return list, err
}
