package guard

import (
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// Files of the run directory, which must not outlive a boot (a tmpfs).
const lockFile, socketFile = "guard.lock", "guard.sock"

// lock takes the lock that makes this process the one guard of its node. It is
// held for life, also across an upgrade: the descriptor is not closed on exec.
func lock(dir string) (fd int, err error) {
	path := filepath.Join(dir, lockFile)
	if os.Mkdir(dir, 0o755) == nil { // a boot has taken it away
		_ = os.Chmod(dir, 0o755) // whatever the umask: people of the groups pass through
	}
	if fd, err = unix.Open(path, unix.O_RDWR|unix.O_CREAT|unix.O_CLOEXEC, 0o600); err != nil {
		return -1, fmt.Errorf("lock %s: %w", path, err)
	}
	if err := unix.Flock(fd, unix.LOCK_EX|unix.LOCK_NB); err != nil {
		_ = unix.Close(fd) // the lock's own error is the one that matters
		return -1, fmt.Errorf("lock %s: another guard runs on this node, or its last disk request has not ended: %w", path, err)
	}
	return fd, nil
}
