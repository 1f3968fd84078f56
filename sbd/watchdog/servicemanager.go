package watchdog

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// serviceManager is systemd's descriptor store as a Keeper: FDSTORE=1 messages on
// $NOTIFY_SOCKET, see sd_notify(3) and sd_pid_notify_with_fds(3). The messages
// are not acknowledged and a store of size 0 drops descriptors silently, so Keep
// waits for a BARRIER and then looks whether process 1 really holds them.
type serviceManager struct {
	socket string // $NOTIFY_SOCKET
	proc   string
	pid    int // the manager's process id
}

// StoreInServiceManager keeps the devices in the descriptor store of the service
// manager that started this process; ErrNoKeeper when none did.
func StoreInServiceManager(devices ...Named) error {
	socket := os.Getenv("NOTIFY_SOCKET")
	if socket == "" {
		return ErrNoKeeper
	}
	return newServiceManager(socket).Keep(devices...)
}

func newServiceManager(socket string) serviceManager {
	return serviceManager{socket: socket, proc: "/proc", pid: 1}
}

// String names the store.
func (serviceManager) String() string { return "service manager's descriptor store" }

// Keep stores duplicates. FDPOLL=0 keeps the manager from dropping an emulated
// device when its emulator hangs up.
func (s serviceManager) Keep(devices ...Named) error {
	for _, d := range devices {
		if strings.ContainsAny(d.Name, ":\n") || d.Name == "" {
			return fmt.Errorf("%s: %q is not a name that it takes", s, d.Name)
		}
		message := "FDSTORE=1\nFDPOLL=0\nFDNAME=" + d.Name
		if err := s.send(message, d.FD); err != nil {
			return fmt.Errorf("%s: store %s: %w", s, d.Name, err)
		}
	}
	if err := s.barrier(); err != nil {
		return fmt.Errorf("%s: %w", s, err)
	}
	for _, d := range devices {
		if err := s.verify(d); err != nil {
			return fmt.Errorf("%s: %w", s, err)
		}
	}
	return nil
}

// Drop removes what is stored under the names.
func (s serviceManager) Drop(names ...string) error {
	for _, n := range names {
		if err := s.send("FDSTOREREMOVE=1\nFDNAME=" + n); err != nil {
			return fmt.Errorf("%s: remove %s: %w", s, n, err)
		}
	}
	if err := s.barrier(); err != nil {
		return fmt.Errorf("%s: %w", s, err)
	}
	return nil
}

// Fetch returns what the manager passed at the start of this process: descriptors
// 3 and up, by $LISTEN_PID, $LISTEN_FDS and $LISTEN_FDNAMES of sd_listen_fds(3).
func (s serviceManager) Fetch() ([]Named, error) { return Passed() }

// Passed returns the descriptors that the service manager passed to this process
// when it started, with the names under which they were stored. They are marked
// to close on exec. It is empty when nothing was passed; it asks nobody, so call
// it once.
func Passed() ([]Named, error) {
	return passed(os.Getpid(), os.Getenv("LISTEN_PID"), os.Getenv("LISTEN_FDS"), os.Getenv("LISTEN_FDNAMES"))
}

// firstPassed is SD_LISTEN_FDS_START.
const firstPassed = 3

func passed(self int, pid, fds, names string) ([]Named, error) {
	if pid != strconv.Itoa(self) || fds == "" {
		return nil, nil
	}
	n, err := strconv.Atoi(fds)
	if err != nil || n < 0 {
		return nil, fmt.Errorf("descriptors passed by the service manager: LISTEN_FDS=%q is no number", fds)
	}
	name := strings.Split(names, ":")
	out := make([]Named, 0, n)
	for i := range n {
		d := Named{FD: firstPassed + i}
		if i < len(name) {
			d.Name = name[i]
		}
		unix.CloseOnExec(d.FD)
		out = append(out, d)
	}
	return out, nil
}

// barrier waits until the manager has handled everything sent so far: it closes
// the descriptor that came with the message.
func (s serviceManager) barrier() error {
	var p [2]int
	if err := unix.Pipe2(p[:], unix.O_CLOEXEC); err != nil {
		return err
	}
	defer unix.Close(p[0])
	err := s.send("BARRIER=1", p[1])
	unix.Close(p[1])
	if err != nil {
		return err
	}
	deadline := time.Now().Add(emulatorPatience)
	for {
		left := time.Until(deadline)
		poll := []unix.PollFd{{Fd: int32(p[0])}}
		n, err := unix.Poll(poll, int(max(left, 0).Milliseconds()))
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return err
		}
		if n == 0 {
			return errors.New("it did not handle our messages within 5 s")
		}
		return nil
	}
}

// verify looks for the descriptor among the manager's own.
func (s serviceManager) verify(d Named) error {
	var mine unix.Stat_t
	if err := unix.Fstat(d.FD, &mine); err != nil {
		return err
	}
	fds, _ := filepath.Glob(fmt.Sprintf("%s/%d/fd/*", s.proc, s.pid))
	for _, fd := range fds {
		var st unix.Stat_t
		if unix.Stat(fd, &st) == nil && st.Dev == mine.Dev && st.Ino == mine.Ino && st.Rdev == mine.Rdev {
			return nil
		}
	}
	return fmt.Errorf("process %d does not hold %s, or we may not look: "+
		"set FileDescriptorStoreMax=4 in the unit and run as root", s.pid, d.Name)
}

func (s serviceManager) send(message string, fds ...int) error {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	var rights []byte
	if len(fds) > 0 {
		rights = unix.UnixRights(fds...)
	}
	// x/sys turns a leading '@' into the abstract namespace, as the variable means it.
	return uninterrupted(func() error {
		return unix.Sendmsg(fd, []byte(message), rights, &unix.SockaddrUnix{Name: s.socket}, unix.MSG_NOSIGNAL)
	})
}
