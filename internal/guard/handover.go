package guard

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/holdfast-ha/holdfast/cluster/lease"
	"github.com/holdfast-ha/holdfast/internal/guardwire"
	"github.com/holdfast-ha/holdfast/sbd/watchdog"
)

// A guard that is bound is never stopped to be upgraded: it replaces itself by
// execve, as the same process with the same descriptors, so that no watchdog is
// closed, opened or set, each of which would feed it. Nothing may be in flight
// to a disk. What it knows passes in a file in memory: one Snapshot packet.
const (
	handoverEnv  = "HOLDFAST_GUARD_HANDOVER" // "memory,lock,name=fd,name=fd": descriptors
	handoverTry  = 5 * time.Millisecond
	handoverWait = 100 // tries to find all workers between two cycles
)

// Handover is what one guard leaves to the program that replaces it.
type Handover struct {
	Snapshot *guardwire.Snapshot
	Dogs     []watchdog.Named
	Lock     int
}

// restore continues a lease. It counts from where it counted, so at most some
// cycles are forgotten.
func (s *state) restore(h *Handover) error {
	s.own.claimed = true
	snap, v := h.Snapshot, h.Snapshot.Lease
	if v.State == lease.Free {
		return nil
	}
	s.setPayload(snap.Payload, snap.Seq)
	s.params, s.killed = snap.Params, snap.Killed
	return s.with(func(l *lease.Lease) error {
		err := l.Claim(v.Start, v.Inc, max(v.Permission, v.Start), v.Params)
		if err == nil {
			err = l.Grace(v.Inc, v.Grace)
		}
		if err == nil {
			err = l.Change(snap.Now, v.Inc, v.Carry.New)
		}
		if err == nil && v.Frozen {
			err = l.Stopping(v.Inc)
		}
		if err == nil && v.Killed {
			l.Kill(v.Inc)
		}
		return err
	})
}

// upgrade replaces this program; it returns only if that failed, and everything
// goes on as before.
func (g *Guard) upgrade(path string) error {
	if g.deps.Upgrade == nil {
		return errUpgrade
	}
	for n := 0; !g.cycles.TryLock(); n++ {
		if n == handoverWait {
			return errors.New("a disk request does not end: try again when all disks answer")
		}
		<-time.After(handoverTry)
	}
	defer g.cycles.Unlock()
	var err error
	g.each(func(w *worker) {
		if w.disk == nil || err != nil {
			return
		}
		if err = w.disk.Close(); err == nil {
			w.disk = nil // opened again by the next cycle, here or there
		}
	})
	if err != nil {
		return err
	}
	h := Handover{}
	if h.Snapshot, err = g.Snapshot(); err != nil {
		return err
	}
	for _, d := range g.armed.Dogs {
		n, err := watchdog.NameOf(d)
		if err != nil {
			return err
		}
		h.Dogs = append(h.Dogs, n)
	}
	return g.deps.Upgrade(path, h)
}

// replace is Deps.Upgrade of a real guard: it executes the program at path, or
// this program's own file, with the same arguments.
func replace(path string, h Handover) error {
	if path == "" {
		path = os.Args[0]
	}
	memory, err := unix.MemfdCreate("holdfast-guard", 0)
	if err != nil {
		return fmt.Errorf("upgrade: %w", err)
	}
	defer unix.Close(memory)
	packet := guardwire.AppendMessage(nil, 0, 0, h.Snapshot)
	if _, err := unix.Pwrite(memory, packet, 0); err != nil {
		return fmt.Errorf("upgrade: %w", err)
	}
	pass := []string{strconv.Itoa(memory), strconv.Itoa(h.Lock)}
	keep := []int{h.Lock}
	for _, d := range h.Dogs {
		pass, keep = append(pass, d.Name+"="+strconv.Itoa(d.FD)), append(keep, d.FD)
	}
	for _, fd := range keep {
		if _, err := unix.FcntlInt(uintptr(fd), unix.F_SETFD, 0); err != nil {
			return fmt.Errorf("upgrade: %w", err)
		}
		defer unix.CloseOnExec(fd) // reached only if the program was not replaced
	}
	env := append(os.Environ(), handoverEnv+"="+strings.Join(pass, ","))
	return fmt.Errorf("upgrade: execute %s: %w", path, unix.Exec(path, os.Args, env))
}

// takeOver reads what the program before left; nil after an ordinary start.
func takeOver() (*Handover, error) {
	text := os.Getenv(handoverEnv)
	if text == "" {
		return nil, nil
	}
	if err := os.Unsetenv(handoverEnv); err != nil {
		return nil, err
	}
	h, err := parseHandover(text)
	if err != nil {
		return nil, fmt.Errorf("%s=%q: %w", handoverEnv, text, err)
	}
	return h, nil
}

func parseHandover(text string) (*Handover, error) {
	h := &Handover{}
	parts := strings.Split(text, ",")
	if len(parts) < 2 {
		return nil, errors.New("want two descriptors or more")
	}
	memory, err := strconv.Atoi(parts[0])
	if err != nil {
		return nil, err
	}
	if h.Lock, err = strconv.Atoi(parts[1]); err != nil {
		return nil, err
	}
	unix.CloseOnExec(h.Lock)
	for _, p := range parts[2:] {
		name, number, _ := strings.Cut(p, "=")
		fd, err := strconv.Atoi(number)
		if err != nil {
			return nil, err
		}
		h.Dogs = append(h.Dogs, watchdog.Named{Name: name, FD: fd})
	}
	packet := make([]byte, guardwire.MaxPacket)
	n, err := unix.Pread(memory, packet, 0)
	if err = errors.Join(err, unix.Close(memory)); err != nil {
		return nil, err
	}
	_, m, err := guardwire.DecodeMessage(packet[:n])
	if err != nil {
		return nil, err
	}
	var ok bool
	if h.Snapshot, ok = m.(*guardwire.Snapshot); !ok {
		return nil, guardwire.ErrKind
	}
	return h, nil
}
