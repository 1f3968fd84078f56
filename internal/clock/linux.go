package clock

import (
	"errors"
	"fmt"
	"os"
)

// Linux is this machine as it is.
type Linux struct {
	*Interval
	identity Identity
	reset    *os.File // sysrq-trigger, opened beforehand; nil: no reset line
}

// OpenLinux returns the platform of this machine. openReset opens the reset line
// now, because at the time of need the root file system may hang: OpenSysrq for
// the guard, nil for a program that has no business resetting anybody.
func OpenLinux(openReset func() (*os.File, error)) (*Linux, error) {
	identity, err := hostIdentity("/")
	if err != nil {
		return nil, err
	}
	interval, err := NewInterval()
	if err != nil {
		return nil, fmt.Errorf("read the interval clock: %w", err)
	}
	l := &Linux{Interval: interval, identity: identity}
	if openReset == nil {
		return l, nil
	}
	if l.reset, err = openReset(); err != nil {
		return nil, fmt.Errorf("open the reset line: %w", err)
	}
	return l, nil
}

// OpenSysrq opens the kernel's reset trigger, /proc/sysrq-trigger, for writing.
// Opening it does nothing; root needs no kernel.sysrq setting to use it. See
// the kernel's Documentation/admin-guide/sysrq.rst.
func OpenSysrq() (*os.File, error) {
	return os.OpenFile("/proc/sysrq-trigger", os.O_WRONLY, 0)
}

// Identity returns this boot and this host.
func (l *Linux) Identity() Identity { return l.identity }

// Reset writes 'b' to the reset line: an immediate restart without sync and
// without unmounting. reboot(2) is not used, not even as a fallback: its
// notifiers disarm many watchdogs while kernel threads can still write.
func (l *Linux) Reset(why string) error {
	if l.reset == nil {
		return errors.New("reset this host: no reset line was opened; let the watchdogs run out")
	}
	if _, err := l.reset.Write([]byte{'b'}); err != nil {
		return fmt.Errorf("reset this host (%s): write sysrq-trigger: %w", why, err)
	}
	return fmt.Errorf("reset this host (%s): the kernel took 'b' and went on", why)
}

// PowerOff writes 's', 'u' and 'o' to the reset line: what is cached is written,
// file systems become read-only, and the machine goes off. 's' and 'u' are begun
// and not waited for.
func (l *Linux) PowerOff(why string) error {
	if l.reset == nil {
		return errors.New("power this host off: no reset line was opened")
	}
	for _, key := range []byte("suo") {
		if _, err := l.reset.Write([]byte{key}); err != nil {
			return fmt.Errorf("power this host off (%s): write '%c' to sysrq-trigger: %w", why, key, err)
		}
	}
	return nil
}

// Close closes the reset line.
func (l *Linux) Close() error {
	if l.reset == nil {
		return nil
	}
	return l.reset.Close()
}
