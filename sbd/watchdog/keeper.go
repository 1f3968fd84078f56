package watchdog

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"golang.org/x/sys/unix"
)

// Keeper is the second holder of the watchdogs' descriptors. The kernel pets a
// watchdog when its last descriptor is closed; so when a hung guard is killed
// late, the kernel would grant the node one more full timeout. While a Keeper
// holds a duplicate, the guard's end closes nothing.
type Keeper interface {
	// Keep hands over duplicates and returns once they are known to be held.
	Keep(devices ...Named) error
	// Drop gives the duplicates up, by name. It comes before Disarm, which
	// stops a device only by closing its last descriptor.
	Drop(names ...string) error
	// Fetch returns duplicates of what is held, for a guard that starts
	// anew; Adopt makes devices of them.
	Fetch() ([]Named, error)
	// String says which keeper it is, for status and logs.
	String() string
}

// Named is a descriptor under the name that its Keeper knows it by.
type Named struct {
	Name string
	FD   int
}

// NameOf returns the name and the descriptor under which d is kept: the last part
// of its path, such as watchdog0. It fails for a Device without a descriptor.
func NameOf(d Device) (Named, error) {
	holder, ok := d.(Descriptor)
	if !ok {
		return Named{}, fmt.Errorf("watchdog %s: it has no descriptor to hand over", d.Info().Path)
	}
	return Named{Name: filepath.Base(d.Info().Path), FD: holder.FD()}, nil
}

// ErrNoKeeper says that nobody can hold the descriptors. The node then counts one
// whole watchdog period more after its lease.
var ErrNoKeeper = errors.New("watchdog: no second holder: no holder process is configured, " +
	"and no service manager with a descriptor store started this process (FileDescriptorStoreMax=)")

// FindKeeper returns the holder process that listens on the Unix socket
// holderSocket or, when that is empty, the service manager that started this
// process. Without either it is ErrNoKeeper.
func FindKeeper(holderSocket string) (Keeper, error) {
	if holderSocket != "" {
		return Holding{Socket: holderSocket}, nil
	}
	if socket := os.Getenv("NOTIFY_SOCKET"); socket != "" {
		return newServiceManager(socket), nil
	}
	return nil, ErrNoKeeper
}

// Holding is a Keeper that is a process which only sleeps, in a cgroup of its
// own. It speaks one JSON object per packet on a SOCK_SEQPACKET Unix socket:
//
//	{"op":"keep","names":["watchdog0"]}  with the descriptors in SCM_RIGHTS
//	{"op":"drop","names":["watchdog0"]}
//	{"op":"fetch"}
//
// and answers {"names":[...]}, what it holds after that, with the descriptors in
// SCM_RIGHTS after a fetch; or {"error":"..."}.
type Holding struct{ Socket string }

type holderMessage struct {
	Op    string   `json:"op"`
	Names []string `json:"names,omitempty"`
}

type holderAnswer struct {
	Names []string `json:"names"`
	Error string   `json:"error"`
}

// maxKept is the most descriptors in one message.
const maxKept = 16

// SendToHolder hands devices to the holder process that listens on socket, and
// returns once it has acknowledged them.
func SendToHolder(socket string, devices ...Named) error {
	return Holding{Socket: socket}.Keep(devices...)
}

// String names the holder by its socket.
func (h Holding) String() string { return "holder process at " + h.Socket }

// Keep sends duplicates of the descriptors and waits for the acknowledgement.
func (h Holding) Keep(devices ...Named) error {
	m := holderMessage{Op: "keep"}
	fds := make([]int, 0, len(devices))
	for _, d := range devices {
		m.Names = append(m.Names, d.Name)
		fds = append(fds, d.FD)
	}
	a, _, err := h.exchange(m, fds)
	if err != nil {
		return err
	}
	for _, d := range devices {
		if !slices.Contains(a.Names, d.Name) {
			return fmt.Errorf("%s: it does not hold %s, only %v", h, d.Name, a.Names)
		}
	}
	return nil
}

// Drop makes the holder close what it holds under the names.
func (h Holding) Drop(names ...string) error {
	a, _, err := h.exchange(holderMessage{Op: "drop", Names: names}, nil)
	if err != nil {
		return err
	}
	for _, n := range names {
		if slices.Contains(a.Names, n) {
			return fmt.Errorf("%s: it still holds %s", h, n)
		}
	}
	return nil
}

// Fetch returns a duplicate of everything held.
func (h Holding) Fetch() ([]Named, error) {
	a, fds, err := h.exchange(holderMessage{Op: "fetch"}, nil)
	if err != nil {
		return nil, err
	}
	if len(fds) != len(a.Names) {
		return nil, errors.Join(fmt.Errorf("%s: %d descriptors for %d names", h, len(fds), len(a.Names)), closeAll(fds))
	}
	out := make([]Named, len(fds))
	for i := range fds {
		out[i] = Named{Name: a.Names[i], FD: fds[i]}
	}
	return out, nil
}

func (h Holding) exchange(m holderMessage, fds []int) (holderAnswer, []int, error) {
	a, got, err := h.converse(m, fds)
	if err != nil {
		return a, nil, fmt.Errorf("%s: %s: %w", h, m.Op, err)
	}
	return a, got, nil
}

func (h Holding) converse(m holderMessage, fds []int) (holderAnswer, []int, error) {
	var a holderAnswer
	conn, err := dialSeqpacket(h.Socket)
	if err != nil {
		return a, nil, err
	}
	defer unix.Close(conn)
	out, err := json.Marshal(m)
	if err != nil {
		return a, nil, err
	}
	var rights []byte
	if len(fds) > 0 {
		rights = unix.UnixRights(fds...)
	}
	err = uninterrupted(func() error { return unix.Sendmsg(conn, out, rights, nil, unix.MSG_NOSIGNAL) })
	if err != nil {
		return a, nil, fmt.Errorf("send: %w", err)
	}
	in, oob := make([]byte, maxEmulatorMessage), make([]byte, unix.CmsgSpace(4*maxKept))
	n, oobn := 0, 0
	err = uninterrupted(func() (err error) {
		n, oobn, _, _, err = unix.Recvmsg(conn, in, oob, unix.MSG_CMSG_CLOEXEC)
		return err
	})
	switch {
	case err != nil:
		return a, nil, fmt.Errorf("wait %v for the answer: %w", emulatorPatience, err)
	case n == 0:
		return a, nil, errors.New("it hung up")
	}
	got, err := rightsOf(oob[:oobn])
	if err != nil {
		return a, nil, err
	}
	if err := json.Unmarshal(in[:n], &a); err != nil {
		return a, nil, errors.Join(err, closeAll(got))
	}
	if a.Error != "" {
		return a, nil, errors.Join(errors.New(a.Error), closeAll(got))
	}
	return a, got, nil
}

func rightsOf(oob []byte) ([]int, error) {
	messages, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return nil, err
	}
	var out []int
	for _, m := range messages {
		fds, err := unix.ParseUnixRights(&m)
		if err != nil {
			return nil, errors.Join(err, closeAll(out))
		}
		out = append(out, fds...)
	}
	return out, nil
}

func closeAll(fds []int) error {
	var errs []error
	for _, fd := range fds {
		errs = append(errs, unix.Close(fd))
	}
	return errors.Join(errs...)
}
