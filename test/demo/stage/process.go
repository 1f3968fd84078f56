package stage

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/holdfast-ha/holdfast/test/demo/remains"
)

// killPatience bounds the wait for the end of a killed process.
const killPatience = 10 * time.Second

// process is a program that the stage has started. A task waits for its end.
type process struct {
	name  string
	cmd   *exec.Cmd
	log   string        // path of what it prints to standard error
	ended chan struct{} // closed once it was reaped
	err   error         // how it ended; to be read after ended
}

// start starts a command. What it prints goes to a file of the given name, with
// standard output as well unless that is wanted otherwise. With a node the
// process becomes part of it: it enters the node's room and dies with its power.
func (s *Stage) start(name string, cmd *exec.Cmd, n *Node) (*process, error) {
	p := &process{name: name, cmd: cmd, log: filepath.Join(s.base, "log", name), ended: make(chan struct{})}
	log, err := os.OpenFile(p.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	cmd.Stderr = log
	if cmd.Stdout == nil {
		cmd.Stdout = log
	}
	if cmd.SysProcAttr == nil {
		// A terminal's Ctrl-C is for the driver alone.
		cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	}
	cmd.Env = append(append(cleanEnv(), cmd.Env...), remains.Mark+"="+s.id)
	if n != nil {
		undo, err := n.adopt(name, cmd)
		if err != nil {
			return nil, err
		}
		defer undo()
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	go func() { // ends with the process
		p.err = cmd.Wait()
		close(p.ended)
	}()
	return p, nil
}

// cleanEnv is this process's environment without marks of its own.
func cleanEnv() []string {
	var env []string
	for _, e := range os.Environ() {
		if !strings.HasPrefix(e, "HFDEMO_") {
			env = append(env, e)
		}
	}
	return env
}

func (p *process) pid() int { return p.cmd.Process.Pid }

// gone says whether the process has ended.
func (p *process) gone() bool {
	select {
	case <-p.ended:
		return true
	default:
		return false
	}
}

// kill ends the process and waits for that.
func (p *process) kill() error {
	if p == nil || p.gone() {
		return nil
	}
	if err := p.cmd.Process.Signal(unix.SIGKILL); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("kill %s: %w", p.name, err)
	}
	return p.await(killPatience)
}

// await waits for the end of the process.
func (p *process) await(patience time.Duration) error {
	select {
	case <-p.ended:
		return nil
	case <-time.After(patience):
		return fmt.Errorf("%s (process %d) has not ended after %v", p.name, p.pid(), patience)
	}
}

// lastWords are the last lines of what the process has printed.
func (p *process) lastWords() string {
	text, _ := os.ReadFile(p.log)
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	return strings.Join(lines[max(0, len(lines)-5):], " | ")
}
