package outage

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"
)

// FS_IOC_SHUTDOWN of linux/fs.h, known as EXT4_IOC_SHUTDOWN and
// XFS_IOC_GOINGDOWN before it was common: _IOR('X', 125, __u32).
const (
	fsShutdown = 0x8004587d
	noLogFlush = 2 // FS_SHUTDOWN_FLAGS_NOLOGFLUSH: what was not on disk never gets there
)

// view is one mount namespace, held open: it outlives its processes.
type view struct{ ns *os.File }

// openViews opens every mount namespace of the node once: the registered one or
// our own, and those that its processes are in. A mount in a namespace of its
// own is invisible elsewhere and keeps a file system writable.
func (l *loss) openViews() []view {
	if len(l.supply.Mounts) == 0 && len(l.supply.Disks) == 0 {
		return nil
	}
	paths := []string{"/proc/self/ns/mnt"}
	if l.supply.MountNS != "" {
		paths[0] = l.supply.MountNS
	}
	for _, pid := range l.supply.processes() {
		paths = append(paths, fmt.Sprintf("/proc/%d/ns/mnt", pid))
	}
	var views []view
	seen := map[uint64]bool{}
	for i, p := range paths {
		f, err := os.Open(p)
		if err != nil {
			if i == 0 {
				l.trouble("open the mount namespace", err)
			}
			continue // a process that has just ended
		}
		var st unix.Stat_t
		if err := unix.Fstat(int(f.Fd()), &st); err != nil || seen[st.Ino] {
			f.Close()
			continue
		}
		seen[st.Ino] = true
		views = append(views, view{ns: f})
	}
	return views
}

func closeViews(views []view) {
	for _, v := range views {
		v.ns.Close()
	}
}

// inViews runs f inside each namespace, with the node's mounts there.
func (l *loss) inViews(views []view, f func([]*mountinfo.Info) error) error {
	var errs []error
	for _, v := range views {
		errs = append(errs, v.enter(func() error {
			mounts, err := l.supply.mounts()
			return errors.Join(err, f(mounts))
		}))
	}
	return errors.Join(errs...)
}

// enter runs f on a thread in the namespace. When the view is our own no thread
// moves, so that nobody needs to be root for it.
func (v view) enter(f func() error) error {
	var own, theirs unix.Stat_t
	if err := errors.Join(unix.Stat("/proc/thread-self/ns/mnt", &own), unix.Fstat(int(v.ns.Fd()), &theirs)); err != nil {
		return err
	}
	if own.Ino == theirs.Ino {
		return f()
	}
	return onThrowAwayThread(func() error {
		err := unix.Unshare(unix.CLONE_FS)
		if err == nil {
			err = unix.Setns(int(v.ns.Fd()), unix.CLONE_NEWNS)
		}
		if err != nil {
			return fmt.Errorf("enter the mount namespace: %w", err)
		}
		return f()
	})
}

// onThrowAwayThread runs f on a thread that ends after it, for things that cannot
// be undone on a thread. The process's first thread never ends, and is what
// /proc/self shows; where the runtime offers that one it is kept busy meanwhile.
func onThrowAwayThread(f func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		if unix.Gettid() == unix.Getpid() {
			done <- onThrowAwayThread(f)
			runtime.UnlockOSThread()
			return
		}
		done <- f() // still locked: the thread ends with the goroutine
	}()
	return <-done
}

// mounts lists the node's mounts in the thread's namespace, the last one first.
func (s Supply) mounts() ([]*mountinfo.Info, error) {
	disks := map[uint64]bool{}
	for _, d := range s.Disks {
		var st unix.Stat_t
		if unix.Stat(d, &st) == nil && st.Mode&unix.S_IFMT == unix.S_IFBLK {
			disks[st.Rdev] = true
		}
	}
	f, err := os.Open("/proc/thread-self/mountinfo")
	if err != nil {
		return nil, err
	}
	defer f.Close()
	all, err := mountinfo.GetMountsFromReader(f, func(m *mountinfo.Info) (skip, stop bool) {
		return !disks[unix.Mkdev(uint32(m.Major), uint32(m.Minor))] && !s.below(m.Mountpoint), false
	})
	if err != nil {
		return nil, err
	}
	for i, j := 0, len(all)-1; i < j; i, j = i+1, j-1 {
		all[i], all[j] = all[j], all[i]
	}
	return all, nil
}

func (s Supply) below(mountpoint string) bool {
	for _, dir := range s.Mounts {
		dir = filepath.Clean(dir)
		if mountpoint == dir || strings.HasPrefix(mountpoint, dir+"/") {
			return true
		}
	}
	return false
}

func (l *loss) shutdownFilesystems(mounts []*mountinfo.Info) error {
	var errs []error
	for _, m := range mounts {
		errs = append(errs, shutdownFilesystem(m))
	}
	return errors.Join(errs...)
}

// shutdownFilesystem cuts one file system off its disk. One that cannot (tmpfs,
// proc) has no disk to be cut off from. EIO says that it is shut down already.
func shutdownFilesystem(m *mountinfo.Info) error {
	fd, err := unix.Open(m.Mountpoint, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		if errors.Is(err, unix.EIO) {
			return nil
		}
		return &os.PathError{Op: "open", Path: m.Mountpoint, Err: err}
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return &os.PathError{Op: "stat", Path: m.Mountpoint, Err: err}
	}
	if st.Dev != unix.Mkdev(uint32(m.Major), uint32(m.Minor)) {
		return fmt.Errorf("%s: another file system is mounted over it", m.Mountpoint)
	}
	switch err := unix.IoctlSetPointerInt(fd, fsShutdown, noLogFlush); err {
	case nil, unix.ENOTTY, unix.EOPNOTSUPP, unix.EINVAL, unix.EIO:
		return nil
	default:
		return &os.PathError{Op: "shut down", Path: m.Mountpoint, Err: err}
	}
}

// unmount removes the node's mounts. A mount that stays busy, by a spared process,
// is detached from the tree.
func (l *loss) unmount(mounts []*mountinfo.Info) error {
	var errs []error
	deadline := time.Now().Add(unmountPatience)
	if len(l.supply.Spare) > 0 {
		deadline = time.Now()
	}
	for _, m := range mounts {
		errs = append(errs, unmountOne(m.Mountpoint, deadline))
	}
	return errors.Join(errs...)
}

func unmountOne(path string, deadline time.Time) error {
	for {
		err := unix.Unmount(path, unix.UMOUNT_NOFOLLOW)
		switch {
		case err == nil, errors.Is(err, unix.EINVAL): // no mount point any more
			return nil
		case !errors.Is(err, unix.EBUSY):
			return &os.PathError{Op: "unmount", Path: path, Err: err}
		case time.Now().After(deadline):
			if err := unix.Unmount(path, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW); err != nil {
				return &os.PathError{Op: "detach", Path: path, Err: err}
			}
			return nil
		}
		time.Sleep(5 * time.Millisecond)
	}
}
