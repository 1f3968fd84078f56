package outage

import (
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// Bounds of the steps of a power loss. They are generous: a step that takes
// longer is reported as Trouble and the next one begins.
const (
	shutdownPatience = 2 * time.Second
	killPatience     = 10 * time.Second
	unmountPatience  = 2 * time.Second
)

// loss is one power loss at work.
type loss struct {
	supply Supply
	report func(error)
}

// Run takes everything from the node, in this order: processes are stopped, caches
// of disks killed, file systems shut down without flushing, disks made read-only, processes killed,
// mounts removed, loop devices detached, links taken down. It calls cut before the
// processes are killed, when no write of the node can land any more, and trouble for each
// step that did not work; the next one is done all the same. It returns the disks
// that a spared process holds: they stay read-only until Unguard.
func Run(s Supply, cut func(), trouble func(error)) (guarded []string) {
	l := loss{supply: s, report: trouble}
	s.stop()
	for _, pid := range s.Caches {
		_ = unix.Kill(pid, unix.SIGKILL) // gone is as good as killed
	}
	views := l.openViews()
	defer closeViews(views)
	l.bounded("shut the file systems down", shutdownPatience, func() error {
		return l.inViews(views, l.shutdownFilesystems)
	})
	l.trouble("protect the disks", l.guardDisks())
	cut()
	l.trouble("kill the processes", l.supply.kill())
	l.bounded("unmount", 2*unmountPatience, func() error {
		return l.inViews(views, l.unmount)
	})
	guarded = l.detachDisks()
	l.trouble("take the links down", l.supply.linksDown())
	return guarded
}

func (l *loss) trouble(step string, err error) {
	if err != nil {
		l.report(fmt.Errorf("%s: %w", step, err))
	}
}

// bounded runs a step that a broken file system can hang. A hung step keeps its
// goroutine and thread until the kernel lets go of it; nobody waits for it.
func (l *loss) bounded(step string, patience time.Duration, f func() error) {
	done := make(chan error, 1)
	go func() { done <- f() }()
	select {
	case err := <-done:
		l.trouble(step, err)
	case <-time.After(patience):
		l.report(fmt.Errorf("%s: still not done after %v", step, patience))
	}
}

// guardDisks makes the disks read-only for descriptors that are open already: the
// block layer checks at each write. (File systems on them are shut down.)
func (l *loss) guardDisks() error {
	var errs []error
	for _, d := range l.supply.Disks {
		errs = append(errs, setReadOnly(d, 1))
	}
	return errors.Join(errs...)
}

func setReadOnly(disk string, value int) error {
	return onDisk(disk, func(fd int) error { return unix.IoctlSetPointerInt(fd, unix.BLKROSET, value) })
}

func onDisk(disk string, f func(fd int) error) error {
	fd, err := unix.Open(disk, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return &os.PathError{Op: "open", Path: disk, Err: err}
	}
	defer unix.Close(fd)
	if err := f(fd); err != nil {
		return &os.PathError{Op: "ioctl", Path: disk, Err: err}
	}
	return nil
}

// detachDisks detaches the loop devices. One that a spared process has open
// detaches when that closes it; until then it stays write-protected and is
// returned. A block device that is no loop device stays as well.
func (l *loss) detachDisks() (guarded []string) {
	for _, d := range l.supply.Disks {
		err := onDisk(d, func(fd int) error {
			_, _, e := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.LOOP_CLR_FD, 0)
			if e != 0 && e != unix.ENXIO {
				return e
			}
			return nil
		})
		l.trouble("detach", err)
		if !Unguard(d) {
			guarded = append(guarded, d)
		}
	}
	return guarded
}

// Unguard lifts the write protection of a disk that has nothing attached, or is
// gone, and says whether it did. The next to use the loop device finds it writable.
func Unguard(disk string) bool {
	detached := false
	err := onDisk(disk, func(fd int) error {
		_, err := unix.IoctlLoopGetStatus64(fd)
		detached = errors.Is(err, unix.ENXIO)
		if !detached {
			return nil
		}
		return unix.IoctlSetPointerInt(fd, unix.BLKROSET, 0)
	})
	return errors.Is(err, os.ErrNotExist) || err == nil && detached
}

// Writable lifts the write protection of a disk whatever is attached to it.
func Writable(disk string) error { return setReadOnly(disk, 0) }
