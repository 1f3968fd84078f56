// Package guardhere says whether a guard runs on this machine, and keeps one from
// starting. What resets a machine on purpose asks first: the reset would take the
// services of a node with it.
package guardhere

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// Running lists the processes below proc, which is /proc, whose program is a
// guard, in words.
func Running(proc string) ([]string, error) {
	names, err := filepath.Glob(filepath.Join(proc, "[0-9]*/comm"))
	if err != nil {
		return nil, err
	}
	var found []string
	for _, name := range names {
		comm, err := os.ReadFile(name)
		if err != nil {
			continue // it has ended
		}
		if strings.TrimSpace(string(comm)) == "holdfast-guard" {
			found = append(found, "holdfast-guard runs as process "+filepath.Base(filepath.Dir(name)))
		}
	}
	return found, nil
}

// Keep takes the lock of the one guard of a node whose run directory is run, so
// that none starts meanwhile. The lock ends with the process, or with release.
// It fails if a guard has it. Without a run directory no guard can start either,
// and nothing is taken.
func Keep(run string) (release func(), err error) {
	path := filepath.Join(run, "guard.lock")
	fd, err := unix.Open(path, unix.O_RDWR|unix.O_CREAT|unix.O_CLOEXEC, 0o600)
	if errors.Is(err, unix.ENOENT) {
		return func() {}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("lock %s: %w", path, err)
	}
	if err := unix.Flock(fd, unix.LOCK_EX|unix.LOCK_NB); err != nil {
		_ = unix.Close(fd) // nothing was written
		return nil, fmt.Errorf("lock %s: the guard of this node runs: make the node leave its cluster first (holdfast node leave), and end holdfast-guard: %w", path, err)
	}
	return func() { _ = unix.Close(fd) }, nil
}
