package stage

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/holdfast-ha/holdfast/resources/groups"
	"github.com/holdfast-ha/holdfast/test/demo/loop"
)

// prefix begins the name of everything that a stage makes.
const prefix = "hfdemo-"

// sweepPatience bounds the wait for loop devices whose users were just killed.
const sweepPatience = 15 * time.Second

// claim takes the lock of a stage, which its driver holds for as long as it
// lives; nil without an error: somebody holds it.
func claim(lock string) (*os.File, error) {
	f, err := os.OpenFile(lock, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if err == nil {
		return f, nil
	}
	_ = f.Close()
	if errors.Is(err, unix.EWOULDBLOCK) {
		return nil, nil
	}
	return nil, fmt.Errorf("lock %s: %w", lock, err)
}

// Sweep removes what killed runs have left behind: their lock is free. It
// returns their names.
func Sweep() ([]string, error) {
	// Root's stages stand in /run, whose file system vanishes with a boot.
	return sweep("/run", os.TempDir())
}

func sweep(roots ...string) ([]string, error) {
	var swept []string
	var errs []error
	for _, root := range roots {
		locks, _ := filepath.Glob(filepath.Join(root, prefix+"*.lock")) // fails only for a bad pattern
		for _, path := range locks {
			lock, err := claim(path)
			if errors.Is(err, os.ErrPermission) || err == nil && lock == nil {
				continue // somebody else's, or at work
			}
			if err != nil {
				errs = append(errs, err)
				continue
			}
			base := strings.TrimSuffix(path, ".lock")
			errs = append(errs, clear(base), os.Remove(path), lock.Close())
			swept = append(swept, filepath.Base(base))
		}
	}
	return swept, errors.Join(errs...)
}

// clear removes everything of the stage whose files stand at base. It needs no
// knowledge of the stage but its name.
func clear(base string) error {
	id := filepath.Base(base)
	var errs []error
	if group, err := groups.FindCgroup2(); err == nil && os.Geteuid() == 0 {
		errs = append(errs, emptyCgroup(filepath.Join(group, id)))
	}
	errs = append(errs, killMarked(stageMark+"="+id))
	if os.Geteuid() == 0 {
		errs = append(errs, loop.DetachAll(base, sweepPatience))
		// The shared files stand on a file system of their own.
		for unix.Unmount(base, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW) == nil {
		}
	}
	return errors.Join(append(errs, os.RemoveAll(base))...)
}

// killMarked kills every process with an entry in its environment.
func killMarked(entry string) error {
	deadline := time.Now().Add(killPatience)
	for {
		pids := markedPIDs(entry)
		if len(pids) == 0 {
			return nil
		}
		for _, pid := range pids {
			_ = unix.Kill(pid, unix.SIGKILL)
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("processes %v cannot be killed", pids)
		}
		time.Sleep(5 * time.Millisecond)
	}
}
