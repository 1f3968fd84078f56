package watchdog

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// Adopt makes a Device of a descriptor that somebody else opened and armed: the
// service manager's store, a holder, or this process before it replaced itself.
// It opens, closes and sets nothing, so it pets nothing; path is the name that
// Info carries. The descriptor is the Device's from then on, and is marked to
// close on exec. A descriptor that is no watchdog is refused and left as it is.
func Adopt(fd int, path string) (Device, error) {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return nil, fmt.Errorf("adopt descriptor %d as watchdog %s: %w", fd, path, err)
	}
	d, err := adopt(fd, path, st)
	if err != nil {
		return nil, fmt.Errorf("adopt descriptor %d as watchdog %s: %w", fd, path, err)
	}
	unix.CloseOnExec(fd)
	return d, nil
}

func adopt(fd int, path string, st unix.Stat_t) (Device, error) {
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFSOCK:
		d := &emulatedDog{fd: fd, pet: [1]byte{'1'}}
		return d, d.inspect()
	case unix.S_IFCHR:
		h := newHost()
		h.rdev = func(string) (uint64, error) { return st.Rdev, nil }
		return adoptLinux(realKernel{}, h, fd, path)
	}
	return nil, fmt.Errorf("it is neither a character device nor an emulator's socket")
}

func adoptLinux(k kernel, h host, fd int, path string) (*linuxDog, error) {
	d := &linuxDog{fd: fd, info: Info{Path: path}, pet: [1]byte{'1'}}
	if _, err := d.inspect(k, h.find(path)); err != nil {
		return nil, err
	}
	return d, d.readTimeout(k)
}
