package mount

import (
	"errors"
	"fmt"
	"runtime"

	um "github.com/u-root/u-root/pkg/mount"
	"golang.org/x/sys/unix"
)

// Unmount takes the device out of one namespace: first what is mounted on top of
// it, deepest first, then itself, as often as it is there. It is never lazy: an
// error that wraps unix.EBUSY means that somebody uses it. In a foreign namespace
// it acts from a thread of its own that goes there and does not come back.
//
// The caller finds out what happened from Released, not from here: a namespace
// may end, or unmount by itself, at any moment.
func (d Device) Unmount(ns Namespace) error {
	if ns.Own {
		return d.unmountHere()
	}
	done := make(chan error, 1)
	go onThreadOfItsOwn(func() error { return d.unmountIn(ns) }, done)
	return <-done
}

// onThreadOfItsOwn runs what changes a thread for good. The thread stays locked,
// so that the runtime ends it with the goroutine and nobody else gets it. The
// first thread of a process cannot be ended, and it is what /proc/self shows: if
// it is the one, it is held here while another does the work.
func onThreadOfItsOwn(work func() error, done chan<- error) {
	runtime.LockOSThread()
	if unix.Gettid() != unix.Getpid() {
		done <- work()
		return
	}
	inner := make(chan error, 1)
	go onThreadOfItsOwn(work, inner)
	done <- <-inner
	runtime.UnlockOSThread()
}

func (d Device) unmountIn(ns Namespace) error {
	fd, err := unix.Open(fmt.Sprintf("/proc/%d/ns/mnt", ns.PID), unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if errors.Is(err, unix.ENOENT) {
		return nil // the process, and with it perhaps the namespace, has ended
	}
	if err != nil {
		return fmt.Errorf("mount namespace of process %d: %w", ns.PID, err)
	}
	defer unix.Close(fd)
	// Entering a mount namespace needs a working directory not shared with the
	// other threads.
	if err := unix.Unshare(unix.CLONE_FS); err != nil {
		return fmt.Errorf("unshare the working directory: %w", err)
	}
	if err := unix.Setns(fd, unix.CLONE_NEWNS); err != nil {
		return fmt.Errorf("enter the mount namespace of process %d (%s): %w", ns.PID, commandOf(ns.PID), err)
	}
	return d.unmountHere()
}

// unmountHere works on the namespace of the calling thread.
func (d Device) unmountHere() error {
	mounts, err := table("thread-self")
	if err != nil {
		return err
	}
	own := d.Of(mounts)
	var errs []error
	for i := len(own) - 1; i >= 0; i-- { // later mounts may lie on earlier ones
		for _, m := range append(Below(mounts, own[i]), own[i]) {
			err := um.Unmount(m.Point, false, false)
			if err != nil && !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.ENOENT) {
				errs = append(errs, err)
			}
		}
	}
	return errors.Join(errs...)
}
