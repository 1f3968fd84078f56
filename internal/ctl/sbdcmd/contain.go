package sbdcmd

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

// A process that left a request in the kernel does not end before the kernel has
// it back: the exit of the last thread waits for it, without end where a
// multipath device queues. Whoever waits for the process then waits as well,
// although the work is done and two of three disks have the message. So a child
// works, and reports what it prints and its exit code over a pipe as frames; the
// parent leaves with the exit code, whether or not the child can.
//
// A frame is one byte that says what it is, a length as unsigned varint, and the
// bytes.
const (
	frameEnd = 0 // one byte: the exit code; the last frame
	frameOut = 1 // for stdout
	frameErr = 2 // for stderr
)

// reportVariable tells the child which descriptor is the pipe, and that it is one.
const reportVariable = "HOLDFAST_SBD_REPORT_FD"

// reportFD is the first descriptor behind the standard ones.
const reportFD = "3"

// maxFrame bounds what the parent believes, in bytes.
const maxFrame = 1 << 20

// runContained runs a command line in a child process and returns its exit code.
// In the child it is Run, with its output turned into frames.
func runContained(ctx context.Context, args []string, s System) int {
	if s.Getenv(reportVariable) == reportFD {
		pipe := os.NewFile(3, "report")
		s.Out, s.Err = frames{pipe, frameOut}, frames{pipe, frameErr}
		code := Run(ctx, args, s)
		_, _ = frames{pipe, frameEnd}.Write([]byte{byte(code)}) // nobody is left to be told
		return code
	}
	self, err := os.Executable()
	if err != nil {
		fmt.Fprintln(s.Err, "sbd: the program's own path:", err)
		return exitFailed
	}
	ctx, stop := signal.NotifyContext(ctx, unix.SIGINT, unix.SIGTERM)
	defer stop()
	cmd := exec.CommandContext(ctx, self, append([]string{"sbd"}, args...)...)
	var environment []string
	for _, e := range os.Environ() {
		if !strings.HasPrefix(e, reportVariable+"=") {
			environment = append(environment, e)
		}
	}
	cmd.Env = append(environment, reportVariable+"="+reportFD)
	code, err := follow(ctx, cmd, s.Out, s.Err)
	if err != nil {
		fmt.Fprintln(s.Err, "sbd:", err)
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
	pipe io.Writer
	kind byte
}

// Write implements io.Writer.
func (f frames) Write(b []byte) (int, error) {
	head := binary.AppendUvarint([]byte{f.kind}, uint64(len(b)))
	if _, err := f.pipe.Write(append(head, b...)); err != nil {
		return 0, err
	}
	return len(b), nil
}
