package recovery

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/holdfast-ha/holdfast/internal/clock"
	"github.com/holdfast-ha/holdfast/internal/config"
	"github.com/holdfast-ha/holdfast/internal/guard/mark"
	"github.com/holdfast-ha/holdfast/internal/guardwire"
)

// held keeps daemon and guard of this node from starting while it is held.
type held []*os.File

func (h held) release() {
	for _, f := range h {
		// Closing alone would not do: a process that is just being started shares the
		// open file until it executes its program, and with it the lock.
		_ = unix.Flock(int(f.Fd()), unix.LOCK_UN)
		_ = f.Close()
	}
}

// offline takes the places of this node's daemon and guard. It refuses while the
// daemon runs, and unless the guard is free: nothing of the cluster's may run here.
func offline(n *config.Node) (held, error) {
	if err := os.MkdirAll(n.Dirs.Run, 0o755); err != nil {
		return nil, err
	}
	daemon, err := take(filepath.Join(n.Dirs.Run, "daemon.lock"))
	if err != nil {
		return nil, fmt.Errorf("holdfastd runs on this node: systemctl stop holdfastd (%w)", err)
	}
	h := held{daemon}
	guard, err := take(filepath.Join(n.Dirs.Run, "guard.lock"))
	if err == nil {
		h, err = append(h, guard), unbound(n)
	} else if errors.Is(err, unix.EWOULDBLOCK) {
		err = free(n)
	}
	if err != nil {
		h.release()
		return nil, err
	}
	return h, nil
}

func take(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return nil, errors.Join(fmt.Errorf("lock %s: %w", path, err), f.Close())
	}
	return f, nil
}

// errBound: services of the old set may run on this node.
var errBound = errors.New("the guard of this node is bound: services may run here by the old quorum disks. Keep holdfastd from starting (systemctl disable holdfastd) and reboot this node; after a boot the guard is free")

// free asks a guard that runs.
func free(n *config.Node) error {
	c, err := guardwire.Dial(filepath.Join(n.Dirs.Run, "guard.sock"))
	if err != nil {
		return fmt.Errorf("the guard of this node runs and does not answer, so it is not known to be free: reboot this node (%w)", err)
	}
	bound := !c.Snapshot().Lease.Inc.IsZero()
	if err := c.Close(); err != nil {
		return err
	}
	if bound {
		return errBound
	}
	return nil
}

// unbound looks for the mark of a guard that was bound in this boot and is gone.
func unbound(n *config.Node) error {
	p, err := clock.Open(clock.Config{Emulator: n.Platform.Emulator, Node: n.Name})
	if err != nil {
		return fmt.Errorf("the boot of this node is not known, so neither is whether its guard was bound in it: %w", err)
	}
	boot := p.Identity().Boot
	if c, ok := p.(interface{ Close() error }); ok {
		_ = c.Close() // it was only asked
	}
	if _, bound, err := mark.Read(n.Dirs.Run, boot); err != nil {
		return err
	} else if bound {
		return errBound
	}
	return nil
}
