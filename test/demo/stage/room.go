package stage

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/holdfast-ha/holdfast/test/demo/task"
)

// ready is the line that a room prints once it is furnished.
const ready = "ready"

// room is a process that keeps a mount namespace and a network namespace.
type room struct {
	*task.Task
	stdin io.Closer
}

// openRoom starts a room. disks is the folder with the node's own view of the
// disks, which everybody in the room finds at shown; both empty: none. Each of the
// fresh folders is an empty one there.
func (s *Stage) openRoom(name, disks, shown string, fresh ...string) (*room, error) {
	cmd := exec.Command(s.program("demo"), "room")
	if disks != "" {
		cmd.Args = append(cmd.Args, "-disks", disks, "-shown", shown)
	}
	cmd.Args = append(cmd.Args, fresh...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNS | unix.CLONE_NEWNET, Setpgid: true}
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	p, err := s.start("room-"+name, cmd, nil)
	if err != nil {
		return nil, err
	}
	if err := awaitReady(out); err != nil {
		return nil, errors.Join(fmt.Errorf("room %s: %w; %s", name, err, p.LastWords()), p.Kill())
	}
	return &room{Task: p, stdin: in}, nil
}

func awaitReady(out io.Reader) error {
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		return fmt.Errorf("it ended before it was ready: %w", err)
	}
	if strings.TrimSpace(line) != ready {
		return fmt.Errorf("it says %q", line)
	}
	return nil
}

func (r *room) netNS() string { return fmt.Sprintf("/proc/%d/ns/net", r.PID()) }
