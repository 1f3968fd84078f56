// Package holder is the other side of watchdog.Holding: who keeps duplicates of the
// watchdogs' descriptors where no service manager has a descriptor store, and does
// nothing with them. As long as it has them, the end of a guard closes no device,
// and so feeds none.
package holder

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"

	"golang.org/x/sys/unix"
)

// maxPacket is the largest packet, in bytes.
const maxPacket = 64 << 10

// Holder takes descriptors and does nothing with them. It should run in a cgroup
// of its own, which is the node's all the same. The protocol is that of
// watchdog.Holding.
type Holder struct {
	listener *net.UnixListener
	tasks    sync.WaitGroup

	mu     sync.Mutex // guards all below
	closed bool
	conns  map[*net.UnixConn]struct{}
	held   []heldFD // in the order they came
}

type heldFD struct {
	name string
	fd   int
}

type holderRequest struct {
	Op    string   `json:"op"`
	Names []string `json:"names"`
}

type holderReply struct {
	Names []string `json:"names"`
	Error string   `json:"error,omitempty"`
}

// maxHeld bounds the descriptors in one message.
const maxHeld = 16

// Start makes a holder that listens on the Unix socket path.
func Start(path string) (*Holder, error) {
	l, err := net.ListenUnix("unixpacket", &net.UnixAddr{Name: path, Net: "unixpacket"})
	if err != nil {
		return nil, fmt.Errorf("holder: %w", err)
	}
	h := &Holder{listener: l, conns: map[*net.UnixConn]struct{}{}}
	h.tasks.Go(h.accept)
	return h, nil
}

// Held lists the names of what is held, in the order in which it came.
func (h *Holder) Held() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.names()
}

// Close ends the holder. What it holds is closed, which the watchdogs notice.
func (h *Holder) Close() error {
	h.mu.Lock()
	h.closed = true
	errs := []error{h.listener.Close()}
	for c := range h.conns {
		c.Close()
	}
	h.mu.Unlock()
	h.tasks.Wait()
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, k := range h.held {
		errs = append(errs, unix.Close(k.fd))
	}
	h.held = nil
	return errors.Join(errs...)
}

func (h *Holder) accept() {
	for {
		c, err := h.listener.AcceptUnix()
		if err != nil {
			return // closed; a holder that cannot accept keeps what it has
		}
		h.tasks.Go(func() { h.serve(c) })
	}
}

func (h *Holder) serve(c *net.UnixConn) {
	defer c.Close()
	h.mu.Lock()
	if h.closed {
		h.mu.Unlock()
		return
	}
	h.conns[c] = struct{}{}
	h.mu.Unlock()
	defer func() {
		h.mu.Lock()
		delete(h.conns, c)
		h.mu.Unlock()
	}()
	buf, oob := make([]byte, maxPacket), make([]byte, unix.CmsgSpace(4*maxHeld))
	for {
		n, oobn, _, _, err := c.ReadMsgUnix(buf, oob)
		if err != nil || n == 0 {
			return
		}
		answer, fds := h.handle(buf[:n], oob[:oobn])
		out, err := json.Marshal(answer)
		if err != nil {
			return
		}
		var rights []byte
		if len(fds) > 0 {
			rights = unix.UnixRights(fds...)
		}
		if _, _, err := c.WriteMsgUnix(out, rights, nil); err != nil {
			return
		}
	}
}

// handle obeys one message. The descriptors that it returns go with the answer
// and stay held.
func (h *Holder) handle(b, oob []byte) (holderReply, []int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	got, err := receivedFDs(oob)
	var q holderRequest
	if err == nil {
		err = json.Unmarshal(b, &q)
	}
	if err == nil && q.Op == "keep" && len(got) != len(q.Names) {
		err = fmt.Errorf("%d descriptors for %d names", len(got), len(q.Names))
	}
	if err != nil || q.Op != "keep" {
		for _, fd := range got {
			unix.Close(fd)
		}
	}
	if err != nil {
		return holderReply{Error: err.Error()}, nil
	}
	var fds []int
	switch q.Op {
	case "keep":
		for i, fd := range got {
			h.held = append(h.held, heldFD{name: q.Names[i], fd: fd})
		}
	case "drop":
		h.drop(q.Names)
	case "fetch":
		for _, k := range h.held {
			fds = append(fds, k.fd)
		}
	default:
		return holderReply{Error: fmt.Sprintf("unknown op %q", q.Op)}, nil
	}
	return holderReply{Names: h.names()}, fds
}

func (h *Holder) drop(names []string) {
	h.held = slices.DeleteFunc(h.held, func(k heldFD) bool {
		if !slices.Contains(names, k.name) {
			return false
		}
		unix.Close(k.fd)
		return true
	})
}

func (h *Holder) names() []string {
	names := []string{}
	for _, k := range h.held {
		names = append(names, k.name)
	}
	return names
}

func receivedFDs(oob []byte) ([]int, error) {
	messages, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return nil, err
	}
	var out []int
	for _, m := range messages {
		fds, err := unix.ParseUnixRights(&m)
		if err != nil {
			return out, err
		}
		for _, fd := range fds {
			unix.CloseOnExec(fd)
		}
		out = append(out, fds...)
	}
	return out, nil
}
