package guard

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/holdfast-ha/holdfast/cluster/ident"
)

// The files of the run directory, which must not outlive a boot (a tmpfs).
const (
	lockFile   = "guard.lock"
	socketFile = "guard.sock"
	markFile   = "bound"
)

// writeMark says, before a claim is obeyed, that this boot is bound to inc: one
// line "boot-id number". It is durable as far as another process can tell; it
// need not survive the boot.
func writeMark(dir string, inc ident.Incarnation) error {
	path := filepath.Join(dir, markFile)
	text := fmt.Sprintf("%v %d\n", inc.Boot, inc.N)
	if err := os.WriteFile(path+".new", []byte(text), 0o600); err != nil {
		return fmt.Errorf("mark of the bound incarnation: %w", err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		return fmt.Errorf("mark of the bound incarnation: %w", err)
	}
	return nil
}

// readMark says whether an incarnation of this boot is marked as bound. A mark
// of another boot is removed. One that does not parse counts as bound: whoever
// wrote it was about to claim.
func readMark(dir string, boot ident.BootID) (ident.Incarnation, bool, error) {
	path := filepath.Join(dir, markFile)
	text, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return ident.Incarnation{}, false, nil
	}
	if err != nil {
		return ident.Incarnation{}, false, fmt.Errorf("mark of the bound incarnation: %w", err)
	}
	var id string
	var inc ident.Incarnation
	if _, err := fmt.Sscanf(string(text), "%s %d\n", &id, &inc.N); err != nil {
		return inc, true, nil
	}
	u, err := ident.ParseUUID(id)
	if err != nil {
		return inc, true, nil
	}
	if inc.Boot = ident.BootID(u); inc.Boot == boot {
		return inc, true, nil
	}
	return inc, false, removeMark(dir)
}

func removeMark(dir string) error {
	err := os.Remove(filepath.Join(dir, markFile))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("mark of the bound incarnation: %w", err)
	}
	return nil
}

// lock takes the lock that makes this process the one guard of its node. It is
// held for life, also across an upgrade: the descriptor is not closed on exec.
func lock(dir string) (fd int, err error) {
	path := filepath.Join(dir, lockFile)
	if fd, err = unix.Open(path, unix.O_RDWR|unix.O_CREAT|unix.O_CLOEXEC, 0o600); err != nil {
		return -1, fmt.Errorf("lock %s: %w", path, err)
	}
	if err := unix.Flock(fd, unix.LOCK_EX|unix.LOCK_NB); err != nil {
		_ = unix.Close(fd) // the lock's own error is the one that matters
		return -1, fmt.Errorf("lock %s: another guard runs on this node, or its last disk request has not ended: %w", path, err)
	}
	return fd, nil
}
