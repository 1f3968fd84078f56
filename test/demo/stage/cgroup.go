package stage

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/holdfast-ha/holdfast/test/demo/remains"
)

// nodeMark is the variable in the environment of every process of a node.
const nodeMark = "HFDEMO_NODE"

// adopt makes the command part of the node. The result gives back what was
// needed until the command has started.
func (n *Node) adopt(name string, cmd *exec.Cmd, namespaces uintptr) (undo func(), err error) {
	cmd.Env = append(cmd.Env, nodeMark+"="+n.mark())
	undo = func() {}
	if !n.stage.Root {
		return undo, nil
	}
	dir := filepath.Join(n.cgroup(), strings.TrimPrefix(name, n.Name+"-"))
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return undo, err
	}
	d, err := os.Open(dir)
	if err != nil {
		return undo, err
	}
	undo = func() { _ = d.Close() }
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, UseCgroupFD: true, CgroupFD: int(d.Fd()), Cloneflags: namespaces}
	if n.machine != nil {
		return undo, n.enterMachine(cmd)
	}
	cmd.Args = append([]string{n.stage.program("demo"), "enter", "-room", strconv.Itoa(n.room.PID()), cmd.Path}, cmd.Args[1:]...)
	cmd.Path = n.stage.program("demo")
	return undo, nil
}

// mark distinguishes the node's processes from those of all other nodes.
func (n *Node) mark() string { return n.stage.id + "-" + n.Name }

// cgroup is the folder of everything that loses its power with the node.
func (n *Node) cgroup() string { return filepath.Join(n.stage.cgroup, n.Name) }

// Cgroup is the folder of the cgroup of everything on the node.
func (n *Node) Cgroup() string { return n.cgroup() }

// PIDs lists the processes of the node.
func (n *Node) PIDs() []int {
	if n.stage.Root {
		return remains.InCgroup(n.cgroup())
	}
	return remains.Marked(nodeMark + "=" + n.mark())
}

// Freeze stops every process of the node where it is, as a kernel does that no
// longer schedules anything: also those that are made meanwhile. Nothing else of
// the node changes; what it has mounted stays mounted.
func (n *Node) Freeze() error {
	deadline := time.Now().Add(freezePatience)
	for {
		running := 0
		for _, pid := range n.PIDs() {
			// Zombies wait for a parent that is stopped.
			if strings.Contains("TZX", stateOf(pid)) {
				continue
			}
			running++
			if err := unix.Kill(pid, unix.SIGSTOP); err != nil && !errors.Is(err, unix.ESRCH) {
				return fmt.Errorf("stop process %d of %s: %w", pid, n.Name, err)
			}
		}
		if running == 0 {
			return n.signalCaches(unix.SIGSTOP)
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%s cannot be frozen: %d processes were still running after %v", n.Name, running, freezePatience)
		}
		time.Sleep(100 * time.Microsecond)
	}
}

// signalCaches stops the caches of the node's disks, or lets them go on: a kernel that
// does not run writes nothing back.
func (n *Node) signalCaches(sig unix.Signal) error {
	for _, pid := range n.cachePIDs() {
		if err := unix.Kill(pid, sig); err != nil && !errors.Is(err, unix.ESRCH) {
			return fmt.Errorf("%v to the cache of a disk of %s: %w", sig, n.Name, err)
		}
	}
	return nil
}

// freezePatience bounds the wait until the last process of a node has stopped.
const freezePatience = time.Second

// Thaw lets whatever is left of a frozen node go on.
func (n *Node) Thaw() error {
	if err := n.signalCaches(unix.SIGCONT); err != nil {
		return err
	}
	for _, pid := range append(n.PIDs(), n.spare...) {
		if err := unix.Kill(pid, unix.SIGCONT); err != nil && !errors.Is(err, unix.ESRCH) {
			return fmt.Errorf("continue process %d of %s: %w", pid, n.Name, err)
		}
	}
	return nil
}

// stateOf is a process's state as in /proc/PID/stat, "" for one that is gone.
func stateOf(pid int) string {
	text, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	end := strings.LastIndexByte(string(text), ')')
	if err != nil || end < 0 || end+2 >= len(text) {
		return ""
	}
	return string(text[end+2])
}
