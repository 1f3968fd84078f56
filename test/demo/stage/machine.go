package stage

import (
	"context"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// machinePatience bounds the start of a machine's systemd.
const machinePatience = 60 * time.Second

// startMachine lets systemd boot the node's tree, in namespaces of its own, as the
// first process of them. What the node had written into its tree before is gone.
func (n *Node) startMachine() error {
	scratch := n.dir("machine")
	if err := os.RemoveAll(scratch); err != nil {
		return err
	}
	for _, d := range []string{"upper", "work", "root"} {
		if err := os.MkdirAll(filepath.Join(scratch, d), 0o755); err != nil {
			return err
		}
	}
	if n.stage.Machines.Furnish != nil {
		if err := n.stage.Machines.Furnish(n.stage, n, filepath.Join(scratch, "upper")); err != nil {
			return fmt.Errorf("%s: its own files: %w", n.Name, err)
		}
	}
	args := []string{"boot", "-name", n.Name, "-tree", n.stage.Machines.Tree, "-scratch", scratch}
	for _, dev := range slices.Sorted(maps.Values(n.loops)) {
		args = append(args, "-device", dev)
	}
	args = append(args,
		"-bind", n.stage.base+"="+n.stage.base, "-bind", n.dir("disks")+"="+n.stage.shown(), "-bind", n.stage.Bin+"="+n.stage.Bin,
		"-bind", filepath.Join(n.cgroup(), "services")+"="+n.servicesCgroup())
	if f := n.stage.Machines.Watchdogs[n.Name]; f != "" {
		args = append(args, "-bind", f+"=/dev/watchdog")
	}
	// It becomes the first process of its machine at once: nothing of the driver's
	// is in there.
	cmd := exec.Command(n.stage.program("demo"), args...)
	p, err := n.stage.startWith(n.Name+"-machine", cmd, n, unix.CLONE_NEWPID)
	if err != nil {
		return err
	}
	n.stage.keep(p)
	ctx, cancel := context.WithTimeout(context.Background(), machinePatience)
	defer cancel()
	n.machine = p
	return Await(ctx, n.Name+": systemd has booted", func() error {
		if p.Gone() {
			return Giveup(fmt.Errorf("it ended (%v): %s", p.Err(), p.LastWords()))
		}
		out, err := n.Run(ctx, "systemctl", "is-system-running")
		if out == "running\n" || out == "degraded\n" {
			return nil
		}
		return fmt.Errorf("it is %q (%v)", out, err)
	})
}

// bare says that nothing of Holdfast's is to run on the machines.
func (s *Stage) bare() bool { return s.Machines != nil && s.Machines.Bare }

// servicesCgroup is where the node's daemons find the cgroup of their services.
func (n *Node) servicesCgroup() string {
	if n.stage.Machines == nil {
		return filepath.Join(n.cgroup(), "services")
	}
	return n.dir("cgroup")
}

// inside is the process whose namespaces are the node's: that of its room, or the
// first one of its machine.
func (n *Node) inside() int {
	if n.machine != nil {
		return n.machine.PID()
	}
	return n.room.PID()
}

// enterMachine makes a command that starts a program inside the node's machine.
// The process is a child of the one that is started, which waits for it.
func (n *Node) enterMachine(cmd *exec.Cmd) error {
	nsenter, err := exec.LookPath("nsenter")
	if err != nil {
		return fmt.Errorf("nsenter is not installed (package util-linux): %w", err)
	}
	cmd.Args = append([]string{nsenter, "-t", strconv.Itoa(n.inside()), "-m", "-u", "-i", "-n", "-p", "-C", "--", cmd.Path}, cmd.Args[1:]...)
	cmd.Path = nsenter
	return nil
}

// Run runs a program of the node's tree inside of it, and returns what it prints.
func (n *Node) Run(ctx context.Context, program string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Path, cmd.Err = program, nil // found inside, not here
	out, err := n.stage.output(n.Name+"-"+filepath.Base(program), cmd, n)
	if err != nil {
		return out, fmt.Errorf("%s: %s %v: %w", n.Name, program, args, err)
	}
	return out, nil
}

// Device is the path of the node's device of a disk, as "quorum"; empty: it has
// none.
func (n *Node) Device(disk string) string { return n.loops[disk] }
