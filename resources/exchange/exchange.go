// Package exchange is what passes between the daemon and the process of an agent: its
// request, its report, and what it prints meanwhile.
//
// What the agent writes are files in memory, not pipes: a program that stays running
// may hold the error output open for ever, and must neither keep the daemon waiting
// for its end nor die of a closed pipe. Its request comes through a pipe, so that it
// can wait for that: it ends without one when the daemon has ended.
package exchange

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// kept is how much of what an operation prints is held in memory, and told how
	// much of its end goes into a text. Both in bytes.
	kept = 64 << 10
	told = 4 << 10
)

// Files are those of one process. They are used by one goroutine.
type Files struct{ request, ask, report, printed *os.File }

// New makes them; the caller closes them.
func New() (*Files, error) {
	f := &Files{}
	var err error
	if f.request, f.ask, err = os.Pipe(); err != nil {
		return nil, fmt.Errorf("pipe for a request: %w", err)
	}
	if f.report, err = memory("report"); err == nil {
		f.printed, err = memory("printed")
	}
	if err == nil {
		// Fixed in size: what stays running cannot fill the memory.
		err = f.printed.Truncate(kept)
	}
	if err == nil {
		_, err = unix.FcntlInt(f.printed.Fd(), unix.F_ADD_SEALS, unix.F_SEAL_GROW|unix.F_SEAL_SHRINK)
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("memory file: %w", err)
	}
	return f, nil
}

func memory(name string) (*os.File, error) {
	fd, err := unix.MemfdCreate("holdfast-"+name, unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), name), nil
}

// Give gives a command its ends: the request on descriptor 0, what it prints on 1 and
// 2, the report on 3, and output, where what stays running may write, on 4.
func (f *Files) Give(cmd *exec.Cmd, output *os.File) {
	cmd.Stdin, cmd.Stdout, cmd.Stderr = f.request, f.printed, f.printed
	cmd.ExtraFiles = []*os.File{f.report, output}
}

// Ask sends the request, within so long. One who has died, or hangs and does not read,
// is found out by its report, or by the want of one.
func (f *Files) Ask(request []byte, within time.Duration) {
	f.request.Close() // the process has its own: when that has ended nobody reads
	_ = f.ask.SetWriteDeadline(time.Now().Add(within))
	_, _ = f.ask.Write(request)
	f.ask.Close()
}

// Report is what the process has reported; none is an error.
func (f *Files) Report() ([]byte, error) { return read(f.report) }

func read(file *os.File) ([]byte, error) {
	info, err := file.Stat()
	if err != nil {
		return nil, err
	}
	if info.Size() == 0 {
		return nil, errors.New("it is empty")
	}
	buf := make([]byte, info.Size())
	_, err = file.ReadAt(buf, 0)
	return buf, err
}

// Printed is the end of what the process and its children have printed, on one line.
func (f *Files) Printed() string {
	buf, err := read(f.printed)
	if err != nil {
		return ""
	}
	if end := bytes.IndexByte(buf, 0); end >= 0 {
		buf = buf[:end]
	}
	buf = bytes.TrimSpace(buf)
	if len(buf) > told {
		buf = append([]byte("..."), buf[len(buf)-told:]...)
	}
	return strings.ToValidUTF8(strings.ReplaceAll(string(buf), "\n", " / "), "?")
}

// Close closes them; a process that waits for its request ends.
func (f *Files) Close() {
	for _, file := range []*os.File{f.request, f.ask, f.report, f.printed} {
		if file != nil {
			file.Close()
		}
	}
}
