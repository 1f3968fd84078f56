package clock

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"

	"github.com/holdfast-ha/holdfast/cluster/ident"
)

// emulatorPatience bounds the wait for the emulator's answer.
const emulatorPatience = 5 * time.Second

// maxEmulatorMessage is the largest message of the emulator's protocol, bytes.
const maxEmulatorMessage = 64 << 10

// Emulated is a node of a power emulator: its identity and its reset line are
// the emulator's, its clock is this machine's, shifted so that it starts near
// zero at the node's power-on as a real one does. The protocol is described in
// test/power.
type Emulated struct {
	*Interval
	identity Identity
	socket   int
}

// hello is what a platform connection says first, and what it hears back.
type hello struct {
	Role string `json:"role"`
	Node string `json:"node"`
}

type helloReply struct {
	Error     string `json:"error"`
	BootID    string `json:"boot_id"`
	HostUUID  string `json:"host_uuid"`
	ClockZero int64  `json:"clock_zero_ns"`
}

// DialEmulator connects to the power emulator that listens on the Unix socket
// socketPath and returns the platform of the emulated node. It never opens the
// machine's own reset line, nor anything else of the machine.
func DialEmulator(socketPath, node string) (*Emulated, error) {
	fd, err := dialSeqpacket(socketPath)
	if err != nil {
		return nil, fmt.Errorf("power emulator %s: %w", socketPath, err)
	}
	e := &Emulated{socket: fd}
	if err := e.greet(node); err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("power emulator %s: node %s: %w", socketPath, node, err)
	}
	return e, nil
}

func (e *Emulated) greet(node string) error {
	var reply helloReply
	if err := e.ask(hello{Role: "platform", Node: node}, &reply); err != nil {
		return err
	}
	if reply.Error != "" {
		return errors.New(reply.Error)
	}
	boot, err := ident.ParseUUID(reply.BootID)
	if err != nil {
		return err
	}
	host, err := ident.ParseUUID(reply.HostUUID)
	if err != nil {
		return err
	}
	e.identity = Identity{Boot: ident.BootID(boot), Host: host, HostKind: HostEmulated, Emulated: true}
	e.Interval, err = newInterval(readClocks, -reply.ClockZero)
	return err
}

// ask sends one message and reads one answer.
func (e *Emulated) ask(question, answer any) error {
	out, err := json.Marshal(question)
	if err != nil {
		return err
	}
	err = uninterrupted(func() error { return unix.Sendto(e.socket, out, unix.MSG_NOSIGNAL, nil) })
	if err != nil {
		return fmt.Errorf("send: %w", err)
	}
	in := make([]byte, maxEmulatorMessage)
	n := 0
	err = uninterrupted(func() (err error) { n, err = unix.Read(e.socket, in); return err })
	switch {
	case err != nil:
		return fmt.Errorf("wait %v for the answer: %w", emulatorPatience, err)
	case n == 0:
		return errors.New("the emulator hung up")
	}
	return json.Unmarshal(in[:n], answer)
}

// Identity returns what the emulator gave this node at its last power-on.
func (e *Emulated) Identity() Identity { return e.identity }

// Reset asks the emulator to cut this node's power. The emulator kills this
// process; when Reset returns, it did not.
func (e *Emulated) Reset(why string) error { return e.end("reset", why) }

// PowerOff asks the emulator to switch this node off, as Reset does.
func (e *Emulated) PowerOff(why string) error { return e.end("off", why) }

func (e *Emulated) end(how, why string) error {
	request := struct {
		Op  string `json:"op"`
		Why string `json:"why"`
	}{how, why}
	var reply struct {
		Error string `json:"error"`
	}
	if err := e.ask(request, &reply); err != nil {
		return fmt.Errorf("emulated %s (%s): %w", how, why, err)
	}
	return fmt.Errorf("emulated %s (%s): this process was left running: %s", how, why, reply.Error)
}

// Close leaves the emulator; the node's power is not touched.
func (e *Emulated) Close() error { return unix.Close(e.socket) }

// uninterrupted repeats a system call that a signal interrupted; the runtime sends
// itself signals, and a socket with a time limit does not go on by itself.
func uninterrupted(call func() error) error {
	for {
		if err := call(); err != unix.EINTR {
			return err
		}
	}
}

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
