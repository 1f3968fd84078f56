package heartbeat

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"syscall"

	"golang.org/x/sys/unix"
)

// Socket is one link: datagrams that may be lost, repeated and reordered. The
// real one is UDP (ListenUDP), the other is heartbeattest's.
type Socket interface {
	// Send hands a datagram over and never waits: what cannot be sent at once
	// is dropped with an error.
	Send(b []byte, to netip.AddrPort) error
	// Receive waits for a datagram, and returns net.ErrClosed after Close.
	Receive(b []byte) (int, error)
	// Local is the address that others send to.
	Local() netip.AddrPort
	// Close ends a Receive that waits. A second Close returns net.ErrClosed.
	Close() error
}

// receiveBuffer holds what all peers send while this process is not scheduled.
const receiveBuffer = 1 << 20

type udpSocket struct {
	conn *net.UDPConn
	raw  syscall.RawConn
	v4   bool
}

// ListenUDP opens a link on a local address and port; port 0 takes a free one.
// The address need not be there yet (IP_FREEBIND): a node whose second network
// is down at boot sends on the first, and on both as soon as it can.
func ListenUDP(local netip.AddrPort) (Socket, error) {
	v4 := local.Addr().Unmap().Is4()
	network := "udp6"
	if v4 {
		network = "udp4"
	}
	lc := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error { return prepare(c, v4) }}
	pc, err := lc.ListenPacket(context.Background(), network, local.String())
	if err != nil {
		return nil, fmt.Errorf("heartbeat link %s: %w", local, err)
	}
	conn := pc.(*net.UDPConn)
	raw, err := conn.SyscallConn()
	if err != nil {
		return nil, errors.Join(fmt.Errorf("heartbeat link %s: %w", local, err), conn.Close())
	}
	return &udpSocket{conn: conn, raw: raw, v4: v4}, nil
}

func prepare(c syscall.RawConn, v4 bool) error {
	var failed error
	err := c.Control(func(fd uintptr) {
		level, option := unix.SOL_IPV6, unix.IPV6_FREEBIND
		if v4 {
			level, option = unix.SOL_IP, unix.IP_FREEBIND
		}
		failed = unix.SetsockoptInt(int(fd), level, option, 1)
		// The kernel may grant less; then more is lost in a stall, no more.
		_ = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF, receiveBuffer)
	})
	return errors.Join(err, failed)
}

func (s *udpSocket) Send(b []byte, to netip.AddrPort) error {
	var address unix.Sockaddr
	if s.v4 {
		address = &unix.SockaddrInet4{Port: int(to.Port()), Addr: to.Addr().Unmap().As4()}
	} else {
		address = &unix.SockaddrInet6{Port: int(to.Port()), Addr: to.Addr().As16(), ZoneId: zone(to.Addr())}
	}
	var failed error
	err := s.raw.Write(func(fd uintptr) bool {
		failed = unix.Sendto(int(fd), b, unix.MSG_DONTWAIT, address)
		return true // never wait for room
	})
	if err = errors.Join(err, failed); err != nil {
		return fmt.Errorf("heartbeat link %s: send to %s: %w", s.Local(), to, err)
	}
	return nil
}

func zone(a netip.Addr) uint32 {
	if a.Zone() == "" {
		return 0
	}
	i, err := net.InterfaceByName(a.Zone())
	if err != nil {
		return 0
	}
	return uint32(i.Index)
}

func (s *udpSocket) Receive(b []byte) (int, error) {
	n, _, err := s.conn.ReadFromUDPAddrPort(b)
	return n, err
}

func (s *udpSocket) Local() netip.AddrPort {
	a := s.conn.LocalAddr().(*net.UDPAddr).AddrPort()
	return netip.AddrPortFrom(a.Addr().Unmap(), a.Port())
}

func (s *udpSocket) Close() error { return s.conn.Close() }
