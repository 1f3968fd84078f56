// Package leading tells at once when a program that a member of a service left running
// ends: its leading processes, those whose parent is none of the member's own, are
// watched by pidfd. It costs nothing while nothing happens. What it tells is a reason
// to check, and no verdict: a program may end a helper, or hand over to its successor.
package leading

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Of names a member of a service.
type Of struct{ Service, Member string }

// most bounds the processes that are watched of one member: one that has more leading
// ones is no program with a main process.
const most = 16

// process is one that is watched.
type process struct {
	of   Of
	pid  int
	name string
}

// Watch watches the leading processes of members.
type Watch struct {
	left func(Of) []int
	poll *os.File // an epoll instance, which itself waits in the runtime's poller

	mu    sync.Mutex
	known map[Of]bool       // under mu: which were looked at
	all   map[int32]process // under mu: by descriptor
}

// New returns a Watch. left lists the processes that a member has left running.
func New(left func(Of) []int) (*Watch, error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err == nil {
		err = unix.SetNonblock(fd, true)
	}
	if err != nil {
		return nil, fmt.Errorf("watch processes: %w", err)
	}
	return &Watch{left: left, poll: os.NewFile(uintptr(fd), "epoll"), known: map[Of]bool{}, all: map[int32]process{}}, nil
}

// Look takes which members there are now: those that are new are watched, and those
// that are gone are no longer.
func (w *Watch) Look(members []Of) {
	w.mu.Lock()
	defer w.mu.Unlock()
	now := make(map[Of]bool, len(members))
	for _, of := range members {
		now[of] = true
	}
	for fd, p := range w.all {
		if !now[p.of] {
			w.drop(fd)
		}
	}
	for _, of := range members {
		if !w.known[of] {
			w.scan(of)
		}
	}
	w.known = now
}

// Run tells of every leading process that ends, until ctx ends. changed must not block.
// Afterwards the Watch is spent.
func (w *Watch) Run(ctx context.Context, changed func(of Of, what string)) error {
	defer w.close()
	raw, err := w.poll.SyscallConn()
	if err != nil {
		return fmt.Errorf("watch processes: %w", err)
	}
	stop := context.AfterFunc(ctx, func() { _ = w.poll.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	events := make([]unix.EpollEvent, 32)
	for {
		var n int
		var failed error
		err := raw.Read(func(fd uintptr) bool {
			n, failed = unix.EpollWait(int(fd), events, 0)
			return n > 0 || failed != nil && !errors.Is(failed, unix.EINTR)
		})
		if err = errors.Join(err, failed); ctx.Err() != nil {
			return nil
		} else if err != nil {
			return fmt.Errorf("watch processes: %w", err)
		}
		for _, e := range events[:max(n, 0)] {
			if p, ok := w.ended(e.Fd); ok {
				changed(p.of, fmt.Sprintf("its process %d (%s) has ended", p.pid, p.name))
			}
		}
	}
}

// ended takes the end of a process, and looks what leads now.
func (w *Watch) ended(fd int32) (process, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	p, ok := w.all[fd]
	if !ok {
		return p, false // given up meanwhile
	}
	w.drop(fd)
	if w.scan(p.of) == 0 {
		delete(w.known, p.of) // it is looked for with the next Look
	}
	return p, true
}

func (w *Watch) close() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for fd := range w.all {
		w.drop(fd)
	}
	_ = w.poll.Close()
}

// drop is called under mu. The kernel takes a closed descriptor out of the instance.
func (w *Watch) drop(fd int32) {
	delete(w.all, fd)
	_ = unix.Close(int(fd))
}

// scan watches the leading processes of a member that are not watched yet, and says how
// many are. It is called under mu.
func (w *Watch) scan(of Of) int {
	watched := map[int]bool{}
	for _, p := range w.all {
		if p.of == of {
			watched[p.pid] = true
		}
	}
	pids := w.left(of)
	for _, pid := range pids {
		name, parent, ok := statOf(pid)
		if !ok || slices.Contains(pids, parent) || watched[pid] || len(watched) >= most {
			continue
		}
		fd, err := unix.PidfdOpen(pid, unix.PIDFD_NONBLOCK)
		if err != nil {
			continue // it has ended, and the check sees that
		}
		e := unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(fd)}
		if unix.EpollCtl(w.instance(), unix.EPOLL_CTL_ADD, fd, &e) != nil {
			_ = unix.Close(fd)
			continue
		}
		w.all[int32(fd)], watched[pid] = process{of: of, pid: pid, name: name}, true
	}
	return len(watched)
}

// instance is the descriptor of the epoll instance, -1 once it is closed.
func (w *Watch) instance() int {
	at := -1
	if raw, err := w.poll.SyscallConn(); err == nil {
		_ = raw.Control(func(fd uintptr) { at = int(fd) })
	}
	return at
}

// statOf reads name, parent and whether the process runs from /proc/PID/stat, fields 2
// to 4 (proc(5)).
func statOf(pid int) (name string, parent int, runs bool) {
	stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	open, end := bytes.IndexByte(stat, '('), bytes.LastIndexByte(stat, ')')
	if err != nil || open < 0 || end < open {
		return "", 0, false
	}
	fields := strings.Fields(string(stat[end+1:]))
	if len(fields) < 2 || fields[0] == "Z" || fields[0] == "X" {
		return "", 0, false
	}
	parent, _ = strconv.Atoi(fields[1])
	return string(stat[open+1 : end]), parent, true
}
