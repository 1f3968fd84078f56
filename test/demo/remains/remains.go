// Package remains knows everything that a stage leaves on this machine by its
// name alone: processes by their cgroup or by a mark in their environment, loop
// devices, mounts, files. It ends and removes them, also those of a run that was
// killed and could not.
package remains

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/holdfast-ha/holdfast/resources/groups"
	"github.com/holdfast-ha/holdfast/test/demo/loop"
)

// Prefix begins the name of everything that a stage makes.
const Prefix = "hfdemo-"

// Mark is the variable, in the environment of every process of a stage, that has
// the stage's name.
const Mark = "HFDEMO_STAGE"

// killPatience bounds the wait for the end of killed processes.
const killPatience = 10 * time.Second

// sweepPatience bounds the wait for loop devices whose users were just killed.
const sweepPatience = 15 * time.Second

// Claim takes the lock of a stage, which its driver holds for as long as it
// lives; nil without an error: somebody holds it.
func Claim(lock string) (*os.File, error) {
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
		locks, _ := filepath.Glob(filepath.Join(root, Prefix+"*.lock")) // fails only for a bad pattern
		for _, path := range locks {
			lock, err := Claim(path)
			if errors.Is(err, os.ErrPermission) || err == nil && lock == nil {
				continue // somebody else's, or at work
			}
			if err != nil {
				errs = append(errs, err)
				continue
			}
			base := strings.TrimSuffix(path, ".lock")
			errs = append(errs, Clear(base), os.Remove(path), lock.Close())
			swept = append(swept, filepath.Base(base))
		}
	}
	return swept, errors.Join(errs...)
}

// Clear removes everything of the stage whose files stand at base. It needs no
// knowledge of the stage but its name.
func Clear(base string) error {
	id := filepath.Base(base)
	var errs []error
	if group, err := groups.FindCgroup2(); err == nil && os.Geteuid() == 0 {
		errs = append(errs, EmptyCgroup(filepath.Join(group, id)))
	}
	errs = append(errs, killMarked(Mark+"="+id))
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
		pids := Marked(entry)
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

// InCgroup lists the processes of a cgroup and of all below it.
func InCgroup(dir string) []int {
	var pids []int
	_ = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.Name() != "cgroup.procs" {
			return nil
		}
		text, _ := os.ReadFile(path)
		for _, f := range strings.Fields(string(text)) {
			if pid, err := strconv.Atoi(f); err == nil && pid > 0 {
				pids = append(pids, pid)
			}
		}
		return nil
	})
	return pids
}

// Marked lists the processes, but for this one, that were started with an
// entry in their environment.
func Marked(entry string) []int {
	var pids []int
	dirs, _ := filepath.Glob("/proc/[0-9]*/environ") // fails only for a bad pattern
	for _, f := range dirs {
		text, err := os.ReadFile(f)
		if err != nil || !slices.Contains(strings.Split(string(text), "\x00"), entry) {
			continue
		}
		if pid, err := strconv.Atoi(filepath.Base(filepath.Dir(f))); err == nil && pid != os.Getpid() {
			pids = append(pids, pid)
		}
	}
	return pids
}

// EmptyCgroup kills everything in a cgroup and below, and removes it.
func EmptyCgroup(dir string) error {
	deadline := time.Now().Add(killPatience)
	for {
		if _, err := os.Stat(dir); errors.Is(err, os.ErrNotExist) {
			return nil
		}
		// The whole tree at once where the kernel can (5.14), one by one else.
		if os.WriteFile(filepath.Join(dir, "cgroup.kill"), []byte("1"), 0) != nil {
			for _, pid := range InCgroup(dir) {
				_ = unix.Kill(pid, unix.SIGKILL)
			}
		}
		err := removeCgroup(dir)
		if err == nil {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("cgroup %s: %w; processes %v", dir, err, InCgroup(dir))
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// removeCgroup removes an empty tree of cgroups, the deepest first.
func removeCgroup(dir string) error {
	var dirs []string
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() {
			dirs = append(dirs, path)
		}
		return nil
	})
	for _, d := range slices.Backward(dirs) {
		if e := unix.Rmdir(d); e != nil && !errors.Is(e, unix.ENOENT) {
			err = errors.Join(err, e)
		}
	}
	return err
}
