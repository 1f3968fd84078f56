// Package contain runs a command that touches disks so that a disk that does not
// answer cannot hold whoever waits for the command.
//
// A process that left a request in the kernel does not end before the kernel has
// it back: the exit of the last thread waits for it, without end where a
// multipath device queues. Whoever waits for the process then waits as well,
// although the work is done and two of three disks have answered. So a child
// works, and reports what it prints and its exit code over a pipe as frames; the
// parent leaves with the exit code, whether or not the child can.
//
// A frame is one byte that says what it is, a length as unsigned varint, and the
// bytes.
package contain

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"strings"

	"golang.org/x/sys/unix"
)

const (
	frameEnd = 0 // one byte: the exit code; the last frame
	frameOut = 1 // for stdout
	frameErr = 2 // for stderr
)

// What the child finds in its environment: which descriptor is the pipe, and
// that it is one; and whether a person looks at the output.
const (
	reportVariable   = "HOLDFAST_REPORT_FD"
	terminalVariable = "HOLDFAST_REPORT_TERMINAL"
)

// reportFD is the first descriptor behind the standard ones.
const reportFD = "3"

// maxFrame bounds what the parent believes, in bytes.
const maxFrame = 1 << 20

// exitFailed is the exit code when there was no child to give one.
const exitFailed = 1

// Program is a command line of this program.
type Program struct {
	Name     string   // stands before what is printed here, as "holdfast"
	Args     []string // without the program's name
	In       io.Reader
	Out, Err io.Writer
	Terminal bool // a person looks at Out
	// Work does what Args say, in the child, and returns the exit code.
	Work func(ctx context.Context, out, errOut io.Writer) int
}

// Run runs a command line in a child process, which is this program again, and
// returns its exit code. In the child, where the same code comes to this place
// again, it does the work, with its output turned into frames. An interrupt ends
// the waiting, and kills the child if that can be killed.
func Run(ctx context.Context, p Program) int {
	if os.Getenv(reportVariable) == reportFD {
		pipe := os.NewFile(3, "report")
		looked := os.Getenv(terminalVariable) != ""
		code := p.Work(ctx, frames{pipe, frameOut, looked}, frames{pipe, frameErr, looked})
		_, _ = frames{pipe, frameEnd, false}.Write([]byte{byte(code)}) // nobody is left to be told
		return code
	}
	self, err := os.Executable()
	if err != nil {
		fmt.Fprintf(p.Err, "%s: the program's own path: %v\n", p.Name, err)
		return exitFailed
	}
	ctx, stop := signal.NotifyContext(ctx, unix.SIGINT, unix.SIGTERM)
	defer stop()
	cmd := exec.CommandContext(ctx, self, p.Args...)
	if f, ok := p.In.(*os.File); ok {
		cmd.Stdin = f // a copy would have to wait for the child
	}
	for _, e := range os.Environ() {
		if !strings.HasPrefix(e, reportVariable+"=") && !strings.HasPrefix(e, terminalVariable+"=") {
			cmd.Env = append(cmd.Env, e)
		}
	}
	cmd.Env = append(cmd.Env, reportVariable+"="+reportFD)
	if p.Terminal {
		cmd.Env = append(cmd.Env, terminalVariable+"=1")
	}
	code, err := follow(ctx, cmd, p.Out, p.Err)
	if err != nil {
		fmt.Fprintf(p.Err, "%s: %v\n", p.Name, err)
		return exitFailed
	}
	return code
}

// follow starts the child and passes on its frames until the last one. It does
// not wait for the child's end, which may never come, except where the child
// ended without a last frame.
func follow(ctx context.Context, cmd *exec.Cmd, out, errOut io.Writer) (int, error) {
	read, write, err := os.Pipe()
	if err != nil {
		return 0, fmt.Errorf("pipe: %w", err)
	}
	defer func() { _ = read.Close() }()
	cmd.ExtraFiles = []*os.File{write}
	err = cmd.Start()
	_ = write.Close() // the child has its own
	if err != nil {
		return 0, err
	}
	// A child that cannot be killed keeps the pipe open: the reading must end too.
	defer context.AfterFunc(ctx, func() { _ = read.Close() })()
	code, err := copyFrames(bufio.NewReader(read), out, errOut)
	switch {
	case err == nil:
		return code, nil
	case ctx.Err() != nil:
		return 0, errors.New("interrupted: what was sent to the devices by then is unknown")
	}
	return 0, errors.Join(fmt.Errorf("the process that works on the devices ended early: %w", err), cmd.Wait())
}

// copyFrames writes what the frames carry and returns the exit code.
func copyFrames(r *bufio.Reader, out, errOut io.Writer) (int, error) {
	for {
		kind, err := r.ReadByte()
		if err != nil {
			return 0, err
		}
		n, err := binary.ReadUvarint(r)
		if err != nil {
			return 0, err
		}
		to := out
		switch {
		case n > maxFrame, kind > frameErr, kind == frameEnd && n != 1:
			return 0, fmt.Errorf("frame of kind %d with %d bytes", kind, n)
		case kind == frameEnd:
			code, err := r.ReadByte()
			return int(code), err
		case kind == frameErr:
			to = errOut
		}
		if _, err := io.CopyN(to, r, int64(n)); err != nil {
			return 0, err
		}
	}
}

// frames is a writer whose every Write becomes a frame.
type frames struct {
	pipe     io.Writer
	kind     byte
	terminal bool
}

// Terminal says whether a person looks at what is written.
func (f frames) Terminal() bool { return f.terminal }

// Write implements io.Writer.
func (f frames) Write(b []byte) (int, error) {
	head := binary.AppendUvarint([]byte{f.kind}, uint64(len(b)))
	if _, err := f.pipe.Write(append(head, b...)); err != nil {
		return 0, err
	}
	return len(b), nil
}
