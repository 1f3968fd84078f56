package stage

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"time"

	"github.com/vishvananda/netlink"

	"github.com/holdfast-ha/holdfast/internal/api"
	"github.com/holdfast-ha/holdfast/sbd/watchdog"
	"github.com/holdfast-ha/holdfast/test/demo/remains"
	"github.com/holdfast-ha/holdfast/test/demo/task"
	"github.com/holdfast-ha/holdfast/test/power"
)

// The watchdogs of every node, by the names that the power emulator knows: a pair
// as softdog and a chip are, both measured.
const (
	SoftChip = "soft"
	HardChip = "hard"
)

// Node is one emulated machine.
type Node struct {
	Name string
	ID   int // from 1, also its slot on the quorum disk

	stage   *Stage
	room    *room             // root only
	cardsOf *netlink.Handle   // its network namespace, root only
	loops   map[string]string // of the present life: disk to loop device, root only
	spare   []int
	caches  []*task.Task // of its disks, in its present life

	holder, guard, daemon *task.Task
	machine               *task.Task // its first process, where it has a tree of its own
}

// dir is a folder of the node's own.
func (n *Node) dir(name string) string { return filepath.Join(n.stage.base, n.Name, name) }

// Config is the path of the node's node.yaml.
func (n *Node) Config() string { return filepath.Join(n.dir("etc"), "node.yaml") }

// Log is the path of what a process of the node prints: "holdfastd",
// "holdfast-guard" or "holder".
func (n *Node) Log(program string) string {
	return filepath.Join(n.stage.base, "log", n.Name+"-"+program)
}

func (n *Node) holderSocket() string { return filepath.Join(n.dir("run"), "holder.sock") }

// build makes what outlives the node's power losses: its room, cards and files.
func (n *Node) build() error {
	for _, d := range []string{"etc", "state/watchdogs", "disks"} {
		if err := os.MkdirAll(n.dir(d), 0o755); err != nil {
			return err
		}
	}
	if n.stage.Root {
		var err error
		if n.room, err = n.stage.openRoom(n.Name, n.dir("disks"), n.stage.shown(), n.stage.fresh()...); err != nil {
			return err
		}
		if n.cardsOf, err = n.room.handleIn(); err != nil {
			return err
		}
		if err := n.connect(); err != nil {
			return err
		}
	}
	if err := n.register(); err != nil {
		return err
	}
	return n.qualify()
}

// register tells the power emulator what the node consists of now.
func (n *Node) register() error {
	m := power.Node{Name: n.Name, Chips: []power.Chip{
		{Name: SoftChip, Identity: "Software Watchdog", Software: true, Min: time.Second},
		{Name: HardChip, Identity: "Emulated TCO", Min: time.Second},
	}}
	if n.stage.Root {
		m.Supply = power.Supply{
			Cgroups: []string{n.cgroup()}, MountNS: fmt.Sprintf("/proc/%d/ns/mnt", n.inside()),
			Mounts: []string{filepath.Join(n.stage.base, "mnt")}, Caches: n.cachePIDs(), Disks: slices.Sorted(maps.Values(n.loops)),
			NetNS: n.room.netNS(), Links: n.cards(), Spare: n.spare,
		}
	} else {
		m.Supply = power.Supply{Marker: nodeMark + "=" + n.mark(), Spare: n.spare}
	}
	return n.stage.Power.Register(m)
}

// qualify has the emulator issue the records of the node's watchdogs.
func (n *Node) qualify() error {
	for _, chip := range []string{SoftChip, HardChip} {
		q, err := n.stage.Power.Qualify(n.Name, chip, n.stage.Options.Timeout)
		if err == nil {
			err = watchdog.SaveQualification(filepath.Join(n.dir("state/watchdogs"), chip+".json"), q)
		}
		if err != nil {
			return fmt.Errorf("%s: qualify %s: %w", n.Name, chip, err)
		}
		n.stage.tMax = max(n.stage.tMax, q.TMax)
	}
	return nil
}

// Root is the root of the file system as the node sees it, for a look from
// outside. Not root it is this machine's own.
func (n *Node) Root() string {
	if n.room == nil {
		return "/"
	}
	return fmt.Sprintf("/proc/%d/root", n.inside())
}

// Spare makes the power emulator leave processes of the node running when its
// power goes. They lose their disks all the same.
func (n *Node) Spare(pids ...int) error {
	n.spare = pids
	return n.register()
}

// PowerUp gives the node its power back, with disks and links as at a boot, and
// no process but the second holder of its watchdogs.
func (n *Node) PowerUp() error {
	for _, p := range append([]*task.Task{n.daemon, n.guard, n.holder}, n.caches...) {
		if err := p.Kill(); err != nil { // without power they have ended already
			return err
		}
	}
	n.machine = nil
	if err := os.RemoveAll(n.dir("run")); err != nil {
		return err
	}
	if err := os.MkdirAll(n.dir("run"), 0o755); err != nil {
		return err
	}
	if n.stage.Root {
		if err := remains.EmptyCgroup(n.cgroup()); err != nil {
			return err
		}
		if err := os.MkdirAll(filepath.Join(n.cgroup(), "services"), 0o755); err != nil {
			return err
		}
	}
	if err := n.attachDisks(); err != nil {
		return err
	}
	if err := n.register(); err != nil {
		return err
	}
	if _, err := n.stage.Power.PowerOn(n.Name); err != nil {
		return err
	}
	if n.stage.Machines != nil {
		if err := errors.Join(n.startMachine(), n.register()); err != nil {
			return err
		}
	}
	if n.stage.OneHolder || n.stage.bare() {
		return nil
	}
	cmd := exec.Command(n.stage.program("demo"), "holder", "-socket", n.holderSocket())
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if n.holder, err = n.stage.start(n.Name+"-holder", cmd, n); err != nil {
		return err
	}
	return awaitReady(out)
}

// Start starts the guard and the daemon, and waits until the daemon answers.
func (n *Node) Start(ctx context.Context) error {
	if err := n.StartGuard(); err != nil {
		return err
	}
	return n.StartDaemon(ctx)
}

// StartGuard starts holdfast-guard.
func (n *Node) StartGuard() (err error) {
	cmd := exec.Command(n.stage.program("holdfast-guard"), "-config", filepath.Join(n.dir("etc"), "guard.conf"))
	n.guard, err = n.stage.start(n.Name+"-holdfast-guard", cmd, n)
	return err
}

// StartDaemon starts holdfastd, and waits until it answers.
func (n *Node) StartDaemon(ctx context.Context) (err error) {
	cmd := exec.Command(n.stage.program("holdfastd"), "-config", n.Config())
	cmd.Env = n.stage.DaemonEnv
	if n.daemon, err = n.stage.start(n.Name+"-holdfastd", cmd, n); err != nil {
		return err
	}
	return Await(ctx, n.Name+": holdfastd answers", func() error {
		if n.daemon.Gone() {
			return Giveup(fmt.Errorf("it ended (%v): %s", n.daemon.Err(), n.daemon.LastWords()))
		}
		if n.guard != nil && n.guard.Gone() {
			return Giveup(fmt.Errorf("the guard ended (%v): %s", n.guard.Err(), n.guard.LastWords()))
		}
		c, err := n.API()
		if err != nil {
			return err
		}
		defer c.Close()
		_, err = c.Status(ctx)
		return err
	})
}

// Boot gives the node its power back and starts it.
func (n *Node) Boot(ctx context.Context) error {
	if err := n.PowerUp(); err != nil {
		return err
	}
	return n.Start(ctx)
}

// API connects to the node's daemon. The caller closes it.
func (n *Node) API() (*api.Client, error) { return api.Dial(filepath.Join(n.dir("run"), "api.sock")) }

// Status asks the node's daemon.
func (n *Node) Status(ctx context.Context) (*api.Status, error) {
	c, err := n.API()
	if err != nil {
		return nil, err
	}
	defer c.Close()
	return c.Status(ctx)
}

// GuardPID is the process of the node's guard, DaemonPID that of its daemon.
func (n *Node) GuardPID() int { return n.guard.PID() }

// DaemonPID is the process of the node's daemon.
func (n *Node) DaemonPID() int { return n.daemon.PID() }

// KillDaemon kills holdfastd alone, as a crash does, and waits for its end.
func (n *Node) KillDaemon() error { return n.daemon.Kill() }

// KillGuard kills holdfast-guard alone, and waits for its end.
func (n *Node) KillGuard() error { return n.guard.Kill() }

// Command makes a command for Launch.
func (n *Node) Command(program string, args ...string) *exec.Cmd {
	return exec.Command(n.stage.program(program), args...)
}

// Launch starts a command of Command inside the node and returns its process
// number, and a channel that is closed at its end.
func (n *Node) Launch(name string, cmd *exec.Cmd) (pid int, ended <-chan struct{}, err error) {
	p, err := n.stage.start(n.Name+"-"+name, cmd, n)
	if err != nil {
		return 0, nil, err
	}
	n.stage.keep(p)
	return p.PID(), p.Ended, nil
}

// Holdfast runs the command holdfast on the node and returns what it prints. A
// failure carries what it says on standard error.
func (n *Node) Holdfast(ctx context.Context, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, n.stage.program("holdfast"), append([]string{"--config", n.Config()}, args...)...)
	out, err := n.stage.output(n.Name+"-holdfast", cmd, n)
	if err != nil {
		return out, fmt.Errorf("%s: holdfast %s: %w", n.Name, args[0], err)
	}
	return out, nil
}

// errGiveup marks a condition that cannot come true any more.
type errGiveup struct{ error }

func (e errGiveup) Unwrap() error { return e.error }

// Giveup makes Await return at once.
func Giveup(err error) error { return errGiveup{err} }

// Await polls until met returns nil; its last error says what was missing when
// ctx ended.
func Await(ctx context.Context, what string, met func() error) error {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		err := met()
		if err == nil {
			return nil
		}
		if over := (errGiveup{}); errors.As(err, &over) {
			return fmt.Errorf("%s: never: %w", what, err)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s: not in time (%w): %w", what, ctx.Err(), err)
		case <-tick.C:
		}
	}
}
