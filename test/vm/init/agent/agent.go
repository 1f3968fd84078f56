// Package agent carries out, inside a machine, what the rig asks for: package wire says what that is.
package agent

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/u-root/u-root/pkg/kmodule"
	"golang.org/x/sys/unix"

	"github.com/holdfast-ha/holdfast/test/vm/wire"
)

// agent has one line to the rig, on which whole answers follow each other.
type agent struct {
	log io.Writer

	sending sync.Mutex
	control io.Writer

	mu      sync.Mutex
	started map[string]int       // process groups by name
	ears    map[string]io.Writer // their standard inputs
}

// Run answers requests until the line breaks.
func Run() error {
	control, err := openPort(wire.Control)
	if err != nil {
		return err
	}
	log, err := openPort(wire.Log)
	if err != nil {
		return err
	}
	// The machine may be made busy on purpose; what asks it has to get through.
	_ = unix.Setpriority(unix.PRIO_PROCESS, 0, -15)
	a := &agent{control: control, log: &lines{to: log}, started: map[string]int{}, ears: map[string]io.Writer{}}
	id, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return err
	}
	a.send(wire.Answer{Event: wire.Ready, Output: id})
	in := bufio.NewReaderSize(control, 1<<16)
	for {
		line, err := in.ReadBytes('\n')
		if err != nil {
			return fmt.Errorf("the line to the rig: %w", err)
		}
		var r wire.Request
		if json.Unmarshal(line, &r) != nil {
			continue // the rest of what was said before a reset
		}
		go func() { a.send(a.do(r)) }() // ends with the request's own time
	}
}

// openPort finds a port of the virtio-serial device by its name; it may still be coming up.
func openPort(name string) (*os.File, error) {
	for deadline := time.Now().Add(10 * time.Second); ; {
		names, _ := filepath.Glob("/sys/class/virtio-ports/*/name")
		for _, n := range names {
			text, err := os.ReadFile(n)
			if err == nil && strings.TrimSpace(string(text)) == name {
				return os.OpenFile("/dev/"+filepath.Base(filepath.Dir(n)), os.O_RDWR, 0)
			}
		}
		if time.Now().After(deadline) {
			return nil, fmt.Errorf("no port %s", name)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

func (a *agent) send(w wire.Answer) {
	b, err := json.Marshal(w)
	if err != nil {
		b = fmt.Appendf(nil, `{"id":%d,"error":%q}`, w.ID, err)
	}
	a.sending.Lock()
	defer a.sending.Unlock()
	_, _ = a.control.Write(append(b, '\n')) // the rig notices the missing answer
}

// do carries out one request.
func (a *agent) do(r wire.Request) wire.Answer {
	w := wire.Answer{ID: r.ID}
	if len(r.Args) == 0 {
		w.Error = "a request about nothing"
		return w
	}
	if r.Timeout == 0 {
		r.Timeout = time.Minute
	}
	var err error
	switch name := r.Args[0]; r.Op {
	case wire.Run:
		w.Output, w.Code, err = a.run(r)
	case wire.Start:
		err = a.start(r)
	case wire.Signal:
		err = a.signal(name, unix.Signal(r.Code))
	case wire.Tell:
		err = a.tell(name, r.Data)
	case wire.Write:
		err = write(name, r)
	case wire.Read:
		w.Output, err = os.ReadFile(name)
	case wire.Put, wire.Get:
		w.Output, err = block(r)
	case wire.Mkdir:
		for _, d := range r.Args {
			err = errors.Join(err, os.MkdirAll(d, 0o755))
		}
	case wire.Symlink:
		err = os.Symlink(name, r.Args[1])
	case wire.Mount:
		err = unix.Mount(r.Args[len(r.Args)-1], r.Args[1], name, 0, "")
	case wire.Module:
		err = kmodule.Probe(name, strings.Join(r.Args[1:], " "))
	default:
		err = fmt.Errorf("nothing known of %q", r.Op)
	}
	if err != nil {
		w.Error = err.Error()
	}
	return w
}

// write writes all of the data at once, as files of the kernel want it.
func write(name string, r wire.Request) error {
	mode := os.FileMode(r.Mode)
	if mode == 0 {
		mode = 0o644
	}
	if strings.HasPrefix(name, "/proc/") || strings.HasPrefix(name, "/sys/") || strings.HasPrefix(name, "/dev/") {
		f, err := os.OpenFile(name, os.O_WRONLY, 0)
		if err != nil {
			return err
		}
		_, err = f.Write(r.Data)
		return errors.Join(err, f.Close())
	}
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return err
	}
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, mode)
	if err != nil {
		return err
	}
	// What the rig has written is there after a loss of power, as what an
	// administrator wrote some minutes before it is.
	_, err = f.Write(r.Data)
	return errors.Join(err, f.Sync(), f.Close())
}
