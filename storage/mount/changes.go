package mount

import (
	"context"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// Changes calls changed whenever something was mounted, unmounted or mounted anew in
// the mount namespace of the caller, until ctx ends: within the time that the kernel
// takes to wake a process (proc(5): mountinfo is readable with POLLPRI). Several
// changes in short succession may be told as one. It holds a thread.
func Changes(ctx context.Context, changed func()) error {
	table, err := unix.Open("/proc/thread-self/mountinfo", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("mount table: %w", err)
	}
	defer unix.Close(table)
	end, err := unix.Eventfd(0, unix.EFD_CLOEXEC)
	if err != nil {
		return fmt.Errorf("watch the mount table: %w", err)
	}
	told := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(told)
		_, _ = unix.Write(end, []byte{1, 0, 0, 0, 0, 0, 0, 0})
	})
	defer func() {
		if !stop() {
			<-told // it is about to write to a descriptor that must not be another's by then
		}
		unix.Close(end)
	}()
	for {
		fds := []unix.PollFd{{Fd: int32(table), Events: unix.POLLPRI}, {Fd: int32(end), Events: unix.POLLIN}}
		switch _, err := unix.Poll(fds, -1); {
		case errors.Is(err, unix.EINTR):
		case err != nil:
			return fmt.Errorf("watch the mount table: %w", err)
		case fds[1].Revents != 0:
			return nil
		default:
			changed()
		}
	}
}
