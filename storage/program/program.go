// Package program calls the programs of the system with a deadline that holds,
// also where one of them hangs in the kernel, and keeps what they print.
package program

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Result is what a program has printed and how it ended.
type Result struct {
	Stdout, Stderr string // at most 64 KiB of the beginning of each
	Code           int    // exit code
}

// Said is the end of what it printed as errors, or else as output, on one line.
func (r Result) Said() string {
	text := strings.TrimSpace(r.Stderr)
	if text == "" {
		text = strings.TrimSpace(r.Stdout)
	}
	if len(text) > 1000 {
		text = "..." + text[len(text)-1000:]
	}
	return strings.ToValidUTF8(strings.ReplaceAll(text, "\n", " / "), "?")
}

// Command is one call.
type Command struct {
	Argv  []string
	Env   []string // added to this process's own
	Stdin string
}

// Runner calls a program. The result has its exit code, whatever that is; an error
// means that there is none: the program is not installed (errors.Is
// exec.ErrNotFound), was killed, or had not ended when the context did.
type Runner func(ctx context.Context, c Command) (Result, error)

// kept is how much of each of the two outputs is kept, in bytes.
const kept = 64 << 10

// Run is the Runner that calls real programs, each in a process group of its own
// and with an empty standard input unless one is given. Outputs are files in
// memory of a fixed size, not pipes: a process that stays behind may hold them for
// ever, and must neither keep the caller waiting nor fill the memory.
func Run(ctx context.Context, c Command) (Result, error) {
	var outputs [2]*os.File
	for i := range outputs {
		f, err := capture()
		if err != nil {
			return Result{}, err
		}
		defer f.Close()
		outputs[i] = f
	}
	cmd := exec.Command(c.Argv[0], c.Argv[1:]...)
	cmd.Env = append(append(os.Environ(), "LC_ALL=C"), c.Env...)
	cmd.Stdout, cmd.Stderr = outputs[0], outputs[1]
	if c.Stdin != "" {
		cmd.Stdin = strings.NewReader(c.Stdin)
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		return Result{}, err
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }() // ends with the program, which the kernel may hold
	var err error
	select {
	case err = <-ended:
	case <-ctx.Done():
		_ = unix.Kill(-cmd.Process.Pid, unix.SIGKILL)
		select {
		case <-ended:
		case <-time.After(100 * time.Millisecond):
		}
		return result(outputs, -1), fmt.Errorf("%s: it had not ended when its time was over: %w", strings.Join(c.Argv, " "), ctx.Err())
	}
	var exit *exec.ExitError
	if err != nil && !(errors.As(err, &exit) && exit.Exited()) {
		return result(outputs, -1), fmt.Errorf("%s: %w", strings.Join(c.Argv, " "), err)
	}
	return result(outputs, cmd.ProcessState.ExitCode()), nil
}

func result(outputs [2]*os.File, code int) Result {
	return Result{Stdout: text(outputs[0]), Stderr: text(outputs[1]), Code: code}
}

func text(f *os.File) string {
	buf := make([]byte, kept)
	n, err := f.ReadAt(buf, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return ""
	}
	whole, _, _ := bytes.Cut(buf[:n], []byte{0})
	return string(whole)
}

// capture is a file in memory that cannot grow.
func capture() (*os.File, error) {
	fd, err := unix.MemfdCreate("holdfast-program", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		return nil, fmt.Errorf("memory file: %w", err)
	}
	f := os.NewFile(uintptr(fd), "output")
	if err = f.Truncate(kept); err == nil {
		_, err = unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, unix.F_SEAL_GROW|unix.F_SEAL_SHRINK)
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("memory file: %w", err)
	}
	return f, nil
}
