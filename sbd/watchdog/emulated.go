package watchdog

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// emulatorPatience bounds the wait for the emulator's answer.
const emulatorPatience = 5 * time.Second

// maxEmulatorMessage is the largest message of the emulator's protocol, bytes.
const maxEmulatorMessage = 64 << 10

// emulatedDog is a device of a power emulator. Its connection is the open file:
// the emulator notices a close when the last duplicate of it is closed, as the
// kernel does. The protocol is described in test/power.
type emulatedDog struct {
	fd   int
	info Info
	pet  [1]byte
}

type emulatorRequest struct {
	Role    string `json:"role,omitempty"`
	Node    string `json:"node,omitempty"`
	Device  string `json:"device,omitempty"`
	Op      string `json:"op,omitempty"`
	Timeout int64  `json:"timeout_ns,omitempty"`
}

type emulatorReply struct {
	Error    string `json:"error"`
	Busy     bool   `json:"busy"`
	Path     string `json:"path"`
	Identity string `json:"identity"`
	Timeout  int64  `json:"timeout_ns"`
	Before   int64  `json:"pretimeout_ns"`
	Magic    bool   `json:"magic_close"`
	NoWayOut bool   `json:"nowayout"`
	Software bool   `json:"software"`
}

// OpenEmulated arms the device of an emulated node at the power emulator that
// listens on the Unix socket socketPath, and sets its timeout; milliseconds are
// possible. It refuses the path of a real device. A device in use is ErrBusy.
func OpenEmulated(socketPath, node, device string, timeout time.Duration) (Device, error) {
	return Open(Config{Emulator: socketPath, Node: node, Device: device, Timeout: timeout})
}

func openEmulated(socketPath, node, device string, timeout time.Duration) (*emulatedDog, error) {
	if device == "" || node == "" || strings.Contains(device, "/") {
		return nil, errors.New("an emulated platform takes a node's name and a device's name, never a device of this machine")
	}
	if timeout <= 0 {
		return nil, fmt.Errorf("timeout %v: must be positive", timeout)
	}
	fd, err := dialSeqpacket(socketPath)
	if err != nil {
		return nil, err
	}
	d := &emulatedDog{fd: fd, pet: [1]byte{'1'}}
	_, err = d.ask(emulatorRequest{Role: "watchdog", Node: node, Device: device})
	if err == nil {
		_, err = d.ask(emulatorRequest{Op: "settimeout", Timeout: int64(timeout)})
	}
	if err == nil {
		err = d.inspect()
	}
	if err != nil {
		// What was armed by opening must not bite a node that goes without.
		unix.Sendto(fd, []byte{'V'}, unix.MSG_NOSIGNAL, nil)
		return nil, errors.Join(err, unix.Close(fd))
	}
	return d, nil
}

// setPretimeout asks for an interrupt; what came of it is read back.
func (d *emulatedDog) setPretimeout(before time.Duration) {
	if before <= 0 {
		return
	}
	if _, err := d.ask(emulatorRequest{Op: "setpretimeout", Timeout: int64(before)}); err == nil {
		_ = d.inspect() // it has answered before
	}
}

// inspect fills Info; it pets nothing.
func (d *emulatedDog) inspect() error {
	r, err := d.ask(emulatorRequest{Op: "info"})
	if err != nil {
		return err
	}
	d.info = Info{
		Path: r.Path, Identity: r.Identity, Driver: driverEmulated,
		Timeout:    time.Duration(r.Timeout),
		Pretimeout: time.Duration(r.Before),
		MagicClose: r.Magic, NoWayOut: r.NoWayOut, Software: r.Software, Emulated: true,
	}
	if !r.Magic && !r.NoWayOut {
		return ErrStopsOnClose
	}
	return nil
}

// driverEmulated is the Driver of every device of a power emulator.
const driverEmulated = "emulated"

func (d *emulatedDog) ask(q emulatorRequest) (emulatorReply, error) {
	var r emulatorReply
	out, err := json.Marshal(q)
	if err != nil {
		return r, err
	}
	err = uninterrupted(func() error { return unix.Sendto(d.fd, out, unix.MSG_NOSIGNAL, nil) })
	if err != nil {
		return r, fmt.Errorf("send: %w", err)
	}
	in := make([]byte, maxEmulatorMessage)
	n := 0
	err = uninterrupted(func() (err error) { n, err = unix.Read(d.fd, in); return err })
	if err != nil {
		return r, fmt.Errorf("wait %v for the emulator's answer: %w", emulatorPatience, err)
	}
	if n == 0 {
		return r, errors.New("the emulator hung up")
	}
	if err := json.Unmarshal(in[:n], &r); err != nil {
		return r, fmt.Errorf("the emulator's answer: %w", err)
	}
	switch {
	case r.Busy:
		return r, fmt.Errorf("%w: %s", ErrBusy, r.Error)
	case r.Error != "":
		return r, errors.New(r.Error)
	}
	return r, nil
}

func (d *emulatedDog) Info() Info { return d.info }
func (d *emulatedDog) FD() int    { return d.fd }

// Feed does not wait for an emulator that does not read: a chip never blocks.
func (d *emulatedDog) Feed() error {
	if d.fd < 0 {
		return ErrClosed
	}
	return d.write(d.pet[:], "feed")
}

func (d *emulatedDog) write(b []byte, what string) error {
	for {
		_, err := unix.SendmsgN(d.fd, b, nil, nil, unix.MSG_NOSIGNAL|unix.MSG_DONTWAIT)
		switch err {
		case nil:
			return nil
		case unix.EINTR:
		default:
			return fmt.Errorf("%s %s: %w", what, d.info.Path, err)
		}
	}
}

func (d *emulatedDog) Disarm() error {
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

func (d *emulatedDog) Close() error {
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

// uninterrupted repeats a system call that a signal interrupted; the runtime sends
// itself signals, and a socket with a time limit does not go on by itself.
func uninterrupted(call func() error) error {
	for {
		if err := call(); err != unix.EINTR {
			return err
		}
	}
}

// dialSeqpacket connects to a Unix socket that keeps message boundaries; waits
// for answers on it are bounded by emulatorPatience.
func dialSeqpacket(path string) (int, error) {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("socket: %w", err)
	}
	patience := unix.NsecToTimeval(emulatorPatience.Nanoseconds())
	if err := errors.Join(
		unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &patience),
		unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_SNDTIMEO, &patience),
		uninterrupted(func() error { return unix.Connect(fd, &unix.SockaddrUnix{Name: path}) }),
	); err != nil {
		unix.Close(fd)
		return -1, fmt.Errorf("connect: %w", err)
	}
	return fd, nil
}
