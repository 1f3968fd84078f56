// Package task is a program that a driver has started and waits for.
package task

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// KillPatience bounds the wait for the end of a killed process.
const KillPatience = 10 * time.Second

// Task is a process that was started. A goroutine waits for its end.
type Task struct {
	Name  string
	Ended <-chan struct{} // closed once it was reaped

	cmd *exec.Cmd
	log string // path of what it prints to standard error
	err error  // how it ended; to be read after Ended
}

// Start starts a command. What it prints goes to the file log, with standard output
// as well unless that is wanted otherwise. Its environment is cmd.Env alone.
func Start(name, log string, cmd *exec.Cmd) (*Task, error) {
	ended := make(chan struct{})
	t := &Task{Name: name, Ended: ended, cmd: cmd, log: log}
	out, err := os.OpenFile(log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, err
	}
	defer out.Close()
	cmd.Stderr = out
	if cmd.Stdout == nil {
		cmd.Stdout = out
	}
	if cmd.SysProcAttr == nil {
		// A terminal's Ctrl-C is for the driver alone.
		cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	go func() { // ends with the process
		t.err = cmd.Wait()
		close(ended)
	}()
	return t, nil
}

// PID is its process number.
func (t *Task) PID() int { return t.cmd.Process.Pid }

// Gone says whether it has ended.
func (t *Task) Gone() bool {
	select {
	case <-t.Ended:
		return true
	default:
		return false
	}
}

// Err is how it ended, once it is gone.
func (t *Task) Err() error { return t.err }

// Kill ends it, if it was ever started, and waits for that.
func (t *Task) Kill() error {
	if t == nil || t.Gone() {
		return nil
	}
	if err := t.cmd.Process.Signal(unix.SIGKILL); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("kill %s: %w", t.Name, err)
	}
	return t.Await(KillPatience)
}

// Await waits for its end.
func (t *Task) Await(patience time.Duration) error {
	select {
	case <-t.Ended:
		return nil
	case <-time.After(patience):
		return fmt.Errorf("%s (process %d) has not ended after %v", t.Name, t.PID(), patience)
	}
}

// LastWords are the last lines of what it has printed.
func (t *Task) LastWords() string {
	text, _ := os.ReadFile(t.log)
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	return strings.Join(lines[max(0, len(lines)-5):], " | ")
}
