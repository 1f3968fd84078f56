package server

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/user"
	"slices"
	"strconv"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Role is what a peer may do. A higher one includes the lower ones.
type Role uint8

// NoRole may do nothing; Read looks; Operate works on services and standby;
// Admin does everything.
const (
	NoRole Role = iota
	Read
	Operate
	Admin
)

// String is the word in messages.
func (r Role) String() string { return [...]string{"none", "read", "operate", "admin"}[r&3] }

// Peer is the process at the other end of the socket, as the kernel says.
type Peer struct {
	PID    int
	UID    int
	Groups []int // the primary one and the supplementary ones
}

// The groups that the packages make.
const (
	readGroup    = "holdfast-read"
	operateGroup = "holdfast-operate"
	adminGroup   = "holdfast-admin"
)

// group is the one whose members have the role.
func (r Role) group() string { return [...]string{"", readGroup, operateGroup, adminGroup}[r&3] }

// Roles says who may do what, by the numbers of groups. The zero value: root and
// the daemon's own user are admin, and nobody else may do anything.
type Roles struct{ Read, Operate, Admin []int }

// GroupRoles looks up the groups holdfast-read, holdfast-operate and
// holdfast-admin in this machine's files; one that is not there has no members.
func GroupRoles() Roles {
	number := func(name string) []int {
		g, err := user.LookupGroup(name)
		if err != nil {
			return nil
		}
		n, err := strconv.Atoi(g.Gid)
		if err != nil {
			return nil
		}
		return []int{n}
	}
	return Roles{Read: number(readGroup), Operate: number(operateGroup), Admin: number(adminGroup)}
}

// Of gives the role of a peer.
func (r Roles) Of(p Peer) Role {
	in := func(groups []int) bool {
		return slices.ContainsFunc(groups, func(g int) bool { return slices.Contains(p.Groups, g) })
	}
	switch {
	case p.UID == 0, p.UID == os.Geteuid(), in(r.Admin):
		return Admin
	case in(r.Operate):
		return Operate
	case in(r.Read):
		return Read
	}
	return NoRole
}

// peerOf asks the kernel who connected (SO_PEERCRED and SO_PEERGROUPS, unix(7)).
func peerOf(c net.Conn) (Peer, error) {
	u, ok := c.(*net.UnixConn)
	if !ok {
		return Peer{}, errors.New("not a Unix socket")
	}
	raw, err := u.SyscallConn()
	if err != nil {
		return Peer{}, err
	}
	var cred *unix.Ucred
	var groups []int
	var failed error
	err = raw.Control(func(fd uintptr) {
		cred, failed = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
		if failed == nil {
			groups, failed = peerGroups(int(fd))
		}
	})
	if err = errors.Join(err, failed); err != nil {
		return Peer{}, err
	}
	return Peer{PID: int(cred.Pid), UID: int(cred.Uid), Groups: append([]int{int(cred.Gid)}, groups...)}, nil
}

// mostGroups is NGROUPS_MAX of Linux.
const mostGroups = 65536

// peerGroups are the supplementary groups of who connected, since Linux 4.13.
func peerGroups(fd int) ([]int, error) {
	for room := 64; ; room *= 4 {
		list := make([]uint32, room)
		size := uint32(len(list) * 4)
		_, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(fd), unix.SOL_SOCKET, unix.SO_PEERGROUPS,
			uintptr(unsafe.Pointer(&list[0])), uintptr(unsafe.Pointer(&size)), 0)
		switch {
		case errno == unix.ERANGE && room < mostGroups:
			continue
		case errno != 0:
			return nil, fmt.Errorf("groups of the peer: %w", errno)
		}
		groups := make([]int, 0, size/4)
		for _, g := range list[:size/4] {
			groups = append(groups, int(g))
		}
		return groups, nil
	}
}

// peerKey is the place of the Peer in a request's context.
type peerKey struct{}

// withPeer notes who connected; a peer that cannot be told has no role.
func withPeer(ctx context.Context, c net.Conn) context.Context {
	p, err := peerOf(c)
	if err != nil {
		return ctx
	}
	return context.WithValue(ctx, peerKey{}, p)
}

// role is that of a request's peer.
func (s *Server) role(r *http.Request) Role {
	if given, is := r.Context().Value(givenRole{}).(Role); is {
		return given
	}
	p, ok := r.Context().Value(peerKey{}).(Peer)
	if !ok {
		return NoRole
	}
	return s.roles.Of(p)
}
