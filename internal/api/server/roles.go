package server

import (
	"context"
	"errors"
	"net"
	"net/http"
	"os"

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
	PID      int
	UID, GID int
}

// Roles says who may do what. The zero value: root and the daemon's own user are
// admin, everybody else whom the socket's mode lets in may read.
type Roles struct {
	OperateGroups []int // primary group IDs
	AdminGroups   []int
}

// Of gives the role of a peer.
func (r Roles) Of(p Peer) Role {
	in := func(groups []int) bool {
		for _, g := range groups {
			if g == p.GID {
				return true
			}
		}
		return false
	}
	switch {
	case p.UID == 0, p.UID == os.Geteuid(), in(r.AdminGroups):
		return Admin
	case in(r.OperateGroups):
		return Operate
	}
	return Read
}

// peerOf asks the kernel who connected (SO_PEERCRED, unix(7)).
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
	var failed error
	err = raw.Control(func(fd uintptr) {
		cred, failed = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	})
	if err = errors.Join(err, failed); err != nil {
		return Peer{}, err
	}
	return Peer{PID: int(cred.Pid), UID: int(cred.Uid), GID: int(cred.Gid)}, nil
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
	p, ok := r.Context().Value(peerKey{}).(Peer)
	if !ok {
		return NoRole
	}
	return s.roles.Of(p)
}
