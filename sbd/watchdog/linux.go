package watchdog

import (
	"errors"
	"fmt"
	"time"

	uroot "github.com/u-root/u-root/pkg/watchdog"
	"golang.org/x/sys/unix"
)

// kernel is the watchdog driver API of Linux, see Documentation/watchdog/
// watchdog-api.rst. A test stands in for it: opening a real device arms it.
type kernel interface {
	// open arms the device and returns a descriptor that no finalizer closes.
	open(path string) (int, error)
	support(fd int) (*unix.WatchdogInfo, error)
	setTimeout(fd, seconds int) error
	timeout(fd int) (time.Duration, error)
}

// interrupter is the part of the API for devices that interrupt before they reset
// the machine. Unlike a set-timeout none of it feeds.
type interrupter interface {
	setPretimeout(fd, seconds int) error
	pretimeout(fd int) (time.Duration, error)
}

// linuxDog is a device of the kernel. Only the owner of the device uses it; it
// has no lock.
type linuxDog struct {
	fd   int
	info Info
	can  uint32 // WDIOF_ options
	pet  [1]byte
}

// OpenLinux arms the kernel's watchdog device at path and sets its timeout, in
// whole seconds. Opening is what arms it; there is no way to look first. What the
// driver made of the timeout is in Info: it may round, or know only one value.
// OpenLinux refuses, before it arms anything where sysfs allows that, a timeout
// outside the driver's range and a driver that stops the device on every close
// (ErrStopsOnClose). A device in use is ErrBusy, with the holders in the message.
func OpenLinux(path string, timeout time.Duration) (Device, error) {
	return Open(Config{Device: path, Timeout: timeout})
}

func openLinux(k kernel, h host, path string, timeout time.Duration) (*linuxDog, error) {
	if timeout < time.Second || timeout%time.Second != 0 {
		return nil, fmt.Errorf("timeout %v: drivers take whole seconds, 1 s or more", timeout)
	}
	sys := h.find(path)
	if err := sys.accepts(timeout); err != nil {
		return nil, err
	}
	fd, err := k.open(path)
	if errors.Is(err, unix.EBUSY) {
		return nil, fmt.Errorf("%w: %s", ErrBusy, h.describeHolders(path))
	}
	if err != nil {
		return nil, err
	}
	d := &linuxDog{fd: fd, info: Info{Path: path}, pet: [1]byte{'1'}}
	if err := d.setUp(k, sys, timeout); err != nil {
		return nil, errors.Join(err, d.giveUp())
	}
	return d, nil
}

func (d *linuxDog) setUp(k kernel, sys Listed, timeout time.Duration) error {
	settable, err := d.inspect(k, sys)
	if err != nil {
		return err
	}
	if settable {
		if err := k.setTimeout(d.fd, int(timeout/time.Second)); err != nil {
			return fmt.Errorf("set the timeout to %v: %w", timeout, err)
		}
	}
	return d.readTimeout(k)
}

// inspect fills Info from the driver's answer and from sysfs; it pets nothing.
func (d *linuxDog) inspect(k kernel, sys Listed) (settable bool, err error) {
	w, err := k.support(d.fd)
	if err != nil {
		return false, fmt.Errorf("ask what the driver can do: %w", err)
	}
	d.can = w.Options
	d.info.Identity = cString(w.Identity[:])
	d.info.Driver = driverName(sys.Driver, d.info.Identity)
	d.info.Software = d.info.Driver == softdog
	d.info.MagicClose = w.Options&unix.WDIOF_MAGICCLOSE != 0
	d.info.NoWayOut = sys.NoWayOut
	if !d.info.MagicClose && !d.info.NoWayOut {
		return false, ErrStopsOnClose
	}
	if w.Options&unix.WDIOF_ALARMONLY != 0 {
		return false, errors.New("the device only raises an alarm, it does not reset the machine")
	}
	return w.Options&unix.WDIOF_SETTIMEOUT != 0, nil
}

// setPretimeout sets how long before the reset the device interrupts, where it can,
// and reads back what came of it.
func (d *linuxDog) setPretimeout(k interrupter, before time.Duration) {
	if d.can&unix.WDIOF_PRETIMEOUT == 0 {
		return
	}
	if before >= time.Second && before < d.info.Timeout {
		_ = k.setPretimeout(d.fd, int(before/time.Second)) // Info tells
	}
	d.info.Pretimeout, _ = k.pretimeout(d.fd) // 0: it does not tell
}

func (d *linuxDog) readTimeout(k kernel) error {
	got, err := k.timeout(d.fd)
	if err != nil {
		return fmt.Errorf("read the timeout back: %w", err)
	}
	if got <= 0 {
		return fmt.Errorf("read the timeout back: the driver says %v", got)
	}
	d.info.Timeout = got
	return nil
}

// giveUp leaves a device that was armed by opening it but cannot be used. Where
// that does not stop it, this machine restarts soon, and the message says so.
func (d *linuxDog) giveUp() error {
	if err := d.Disarm(); err != nil {
		return fmt.Errorf("the device is armed now, nobody feeds it, and this machine will restart: %w", err)
	}
	return nil
}

func (d *linuxDog) Info() Info { return d.info }
func (d *linuxDog) FD() int    { return d.fd }

func (d *linuxDog) Feed() error {
	if d.fd < 0 {
		return ErrClosed
	}
	return d.write(d.pet[:], "feed")
}

// write does not give up for a signal, which the runtime sends to itself.
func (d *linuxDog) write(b []byte, what string) error {
	for {
		_, err := unix.Write(d.fd, b)
		switch err {
		case nil:
			return nil
		case unix.EINTR:
		default:
			return fmt.Errorf("%s %s: %w", what, d.info.Path, err)
		}
	}
}

func (d *linuxDog) Disarm() error {
	if d.fd < 0 {
		return ErrClosed
	}
	if err := d.write([]byte{'V'}, "disarm"); err != nil {
		return errors.Join(err, d.Close())
	}
	if err := d.Close(); err != nil {
		return err
	}
	if d.info.NoWayOut {
		return fmt.Errorf("disarm %s: nowayout is set: it runs on", d.info.Path)
	}
	return nil
}

func (d *linuxDog) Close() error {
	if d.fd < 0 {
		return ErrClosed
	}
	fd := d.fd
	d.fd = -1
	if err := unix.Close(fd); err != nil {
		return fmt.Errorf("close %s: %w", d.info.Path, err)
	}
	return nil
}

// realKernel goes through u-root's watchdog package where that is right.
type realKernel struct{}

// open keeps a duplicate of the descriptor instead of u-root's *os.File: a file
// that becomes unreachable is closed by the garbage collector, and that is a pet.
// Closing one of two duplicates does not reach the driver.
func (realKernel) open(path string) (int, error) {
	w, err := uroot.Open(path)
	if err != nil {
		return -1, err
	}
	fd, err := unix.FcntlInt(w.File.Fd(), unix.F_DUPFD_CLOEXEC, 3)
	if err != nil {
		return -1, errors.Join(fmt.Errorf("duplicate the descriptor: %w", err), w.MagicClose())
	}
	return fd, w.Close()
}

func (realKernel) support(fd int) (*unix.WatchdogInfo, error) {
	return unix.IoctlGetWatchdogInfo(fd)
}

// setTimeout does not use u-root's SetTimeout, which hands the driver
// nanoseconds where it wants seconds and gets EINVAL for every value.
func (realKernel) setTimeout(fd, seconds int) error {
	return unix.IoctlSetPointerInt(fd, unix.WDIOC_SETTIMEOUT, seconds)
}

func (realKernel) setPretimeout(fd, seconds int) error {
	return unix.IoctlSetPointerInt(fd, unix.WDIOC_SETPRETIMEOUT, seconds)
}

func (realKernel) pretimeout(fd int) (time.Duration, error) {
	seconds, err := unix.IoctlGetUint32(fd, unix.WDIOC_GETPRETIMEOUT)
	return time.Duration(seconds) * time.Second, err
}

func (realKernel) timeout(fd int) (time.Duration, error) {
	seconds, err := unix.IoctlGetUint32(fd, unix.WDIOC_GETTIMEOUT)
	return time.Duration(seconds) * time.Second, err
}

func cString(b []byte) string {
	for i, c := range b {
		if c == 0 {
			return string(b[:i])
		}
	}
	return string(b)
}
