package ip

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"time"

	"github.com/mdlayher/arp"
	"github.com/mdlayher/ethernet"
	"github.com/mdlayher/ndp"
	"github.com/mdlayher/packet"
	probing "github.com/prometheus-community/pro-bing"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// refuseDuplicate asks whether another machine has the address. asked is false
// when that was impossible: an IPv6 interface without a usable link-local
// address; the kernel then checks by itself. Beside each question something may be done.
func (s Spec) refuseDuplicate(ctx context.Context, link netlink.Link, beside func() error) (asked bool, err error) {
	var owner net.HardwareAddr
	addr := s.Address.Addr()
	ifi := interfaceOf(link)
	if addr.Is4() {
		// RFC 5227, 2.1.1: a probe has the sender 0.0.0.0, so that it changes
		// nobody's mind about who has the address.
		owner, err = askARP(ctx, ifi, netip.IPv4Unspecified(), addr, question{asks, askWait, beside})
	} else {
		owner, err = askNDP(ctx, ifi, ndp.LinkLocal, addr, question{asks, askWait, beside})
		if err != nil {
			return false, nil
		}
	}
	if err != nil {
		return false, fmt.Errorf("ask on %s whether %s is in use: %w", ifi.Name, addr, err)
	}
	if owner != nil {
		return true, fmt.Errorf("%s is in use by the machine with hardware address %s on %s; it must give it up first", addr, owner, ifi.Name)
	}
	return true, nil
}

// announce tells the neighbours where the address is now. Where it asks as well, it asks
// them meanwhile whether another machine has it, and owner says so.
func (s Spec) announce(ctx context.Context, link netlink.Link, ask bool) (owner, err error) {
	left := s.ARP
	if left == 0 {
		left = defaultAnnounce
	}
	send, done, err := announcer(interfaceOf(link), s.Address.Addr())
	if err != nil {
		return nil, err
	}
	defer done()
	begun := false
	once := func() error {
		if left == 0 {
			return nil
		}
		left, begun = left-1, true
		return send()
	}
	if ask {
		if asked, err := s.refuseDuplicate(ctx, link, once); err != nil {
			if asked {
				return err, nil
			}
			return nil, err
		}
	}
	for left > 0 {
		if begun {
			select {
			case <-time.After(announceEvery):
			case <-ctx.Done():
				return nil, ctx.Err()
			}
		}
		if err := once(); err != nil {
			return nil, err
		}
	}
	return nil, nil
}

// reach asks the address that must answer: by ARP or neighbour solicitation if
// it is on the link, which cannot be filtered, and else by an echo request.
func (s Spec) reach(ctx context.Context, link netlink.Link) error {
	ifi := interfaceOf(link)
	var found net.HardwareAddr
	var err error
	switch {
	case !s.onLink(link) || !speaks(link):
		return s.ping(ctx)
	case s.Reach.Is4():
		found, err = askARP(ctx, ifi, s.Address.Addr(), s.Reach, question{reachAsks, reachWait, nil})
	default:
		found, err = askNDP(ctx, ifi, ndp.Addr(s.Address.Addr().String()), s.Reach, question{reachAsks, reachWait, nil})
	}
	if err != nil {
		return fmt.Errorf("ask %s over %s: %w", s.Reach, ifi.Name, err)
	}
	if found == nil {
		return fmt.Errorf("%s does not answer over %s (%d requests in %v)", s.Reach, ifi.Name, reachAsks, reachAsks*reachWait)
	}
	return nil
}

func (s Spec) onLink(link netlink.Link) bool {
	if s.Address.Contains(s.Reach) {
		return true
	}
	addrs, _ := netlink.AddrList(link, netlink.FAMILY_ALL)
	for _, a := range addrs {
		if a.IPNet != nil && a.IPNet.Contains(s.Reach.AsSlice()) {
			return true
		}
	}
	return false
}

func (s Spec) ping(ctx context.Context) error {
	p, err := probing.NewPinger(s.Reach.String())
	if err != nil {
		return fmt.Errorf("reach %s: %w", s.Reach, err)
	}
	p.SetPrivileged(true)
	p.Source = s.Address.Addr().String()
	p.Count, p.Interval, p.Timeout = reachAsks, reachWait/2, reachAsks*reachWait
	p.OnRecv = func(*probing.Packet) { p.Stop() } // one answer is an answer
	if err := p.RunWithContext(ctx); err != nil {
		return fmt.Errorf("reach %s: %w", s.Reach, err)
	}
	if p.Statistics().PacketsRecv == 0 {
		return fmt.Errorf("%s does not answer echo requests from %s", s.Reach, s.Address.Addr())
	}
	return nil
}

func interfaceOf(link netlink.Link) *net.Interface {
	a := link.Attrs()
	return &net.Interface{Index: a.Index, MTU: a.MTU, Name: a.Name, HardwareAddr: a.HardwareAddr, Flags: a.Flags}
}

// question is how patiently to ask: so many times, waiting so long each time, and
// what is done with each; nil: nothing.
type question struct {
	times  int
	wait   time.Duration
	beside func() error
}

// put sends the question once, and does what goes with it.
func (q question) put(send func() error) error {
	if err := send(); err != nil || q.beside == nil {
		return err
	}
	return q.beside()
}

// askARP asks who has target and returns the hardware address of another machine
// that says so, or nil. Requests sent from the target's address count too: that
// machine is about to use it (RFC 5227).
func askARP(ctx context.Context, ifi *net.Interface, sender, target netip.Addr, q question) (net.HardwareAddr, error) {
	conn, err := packet.Listen(ifi, packet.Raw, unix.ETH_P_ARP, nil)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	ask, err := arpFrame(arp.OperationRequest, ifi.HardwareAddr, sender, target)
	if err != nil {
		return nil, err
	}
	buf := make([]byte, 256)
	for range q.times {
		if err := q.put(func() error { return sendFrame(conn, ask) }); err != nil {
			return nil, err
		}
		if err := conn.SetReadDeadline(deadline(ctx, q.wait)); err != nil {
			return nil, err
		}
		for {
			n, _, err := conn.ReadFrom(buf)
			if errors.Is(err, os.ErrDeadlineExceeded) {
				break
			}
			if err != nil {
				return nil, err
			}
			from, ok := arpSender(buf[:n], target)
			if ok && from.String() != ifi.HardwareAddr.String() {
				return from, nil
			}
		}
	}
	return nil, nil
}

// arpSender returns the hardware address of the sender of an ARP packet if it
// speaks for addr.
func arpSender(frame []byte, addr netip.Addr) (net.HardwareAddr, bool) {
	var f ethernet.Frame
	var p arp.Packet
	if f.UnmarshalBinary(frame) != nil || f.EtherType != ethernet.EtherTypeARP || p.UnmarshalBinary(f.Payload) != nil {
		return nil, false
	}
	return p.SenderHardwareAddr, p.SenderIP == addr
}

// arpFrame is a broadcast ARP packet in its Ethernet frame.
func arpFrame(op arp.Operation, hw net.HardwareAddr, sender, target netip.Addr) ([]byte, error) {
	p, err := arp.NewPacket(op, hw, sender, ethernet.Broadcast, target)
	if err != nil {
		return nil, err
	}
	body, err := p.MarshalBinary()
	if err != nil {
		return nil, err
	}
	f := ethernet.Frame{Destination: ethernet.Broadcast, Source: hw, EtherType: ethernet.EtherTypeARP, Payload: body}
	return f.MarshalBinary()
}

func sendFrame(conn *packet.Conn, frame []byte) error {
	_, err := conn.WriteTo(frame, &packet.Addr{HardwareAddr: ethernet.Broadcast})
	return err
}

// askNDP is askARP for IPv6, with a neighbour solicitation (RFC 4861) from one of
// the interface's addresses.
func askNDP(ctx context.Context, ifi *net.Interface, sender ndp.Addr, target netip.Addr, q question) (net.HardwareAddr, error) {
	conn, _, err := ndp.Listen(ifi, sender)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	group, err := ndp.SolicitedNodeMulticast(target)
	if err != nil {
		return nil, err
	}
	ask := &ndp.NeighborSolicitation{TargetAddress: target, Options: []ndp.Option{
		&ndp.LinkLayerAddress{Direction: ndp.Source, Addr: ifi.HardwareAddr},
	}}
	for range q.times {
		if err := q.put(func() error { return conn.WriteTo(ask, nil, group) }); err != nil {
			return nil, err
		}
		if err := conn.SetReadDeadline(deadline(ctx, q.wait)); err != nil {
			return nil, err
		}
		for {
			m, _, _, err := conn.ReadFrom()
			if errors.Is(err, os.ErrDeadlineExceeded) {
				break
			}
			if err != nil {
				return nil, err
			}
			if na, ok := m.(*ndp.NeighborAdvertisement); ok && na.TargetAddress == target && linkAddress(na).String() != ifi.HardwareAddr.String() {
				return linkAddress(na), nil
			}
		}
	}
	return nil, nil
}

// linkAddress is the hardware address in an advertisement; it may leave it out.
func linkAddress(na *ndp.NeighborAdvertisement) net.HardwareAddr {
	for _, o := range na.Options {
		if l, ok := o.(*ndp.LinkLayerAddress); ok {
			return l.Addr
		}
	}
	return net.HardwareAddr{0, 0, 0, 0, 0, 0}
}

// announcer returns what sends one announcement, and what ends it.
func announcer(ifi *net.Interface, addr netip.Addr) (send func() error, done func() error, err error) {
	if addr.Is4() {
		return arpAnnouncer(ifi, addr)
	}
	conn, _, err := ndp.Listen(ifi, ndp.Addr(addr.String()))
	if err != nil {
		return nil, nil, err
	}
	// RFC 4861, 7.2.6: to all nodes, overriding what they have in mind.
	na := &ndp.NeighborAdvertisement{Override: true, TargetAddress: addr, Options: []ndp.Option{
		&ndp.LinkLayerAddress{Direction: ndp.Target, Addr: ifi.HardwareAddr},
	}}
	return func() error { return conn.WriteTo(na, nil, netip.IPv6LinkLocalAllNodes()) }, conn.Close, nil
}

// arpAnnouncer sends both forms of gratuitous ARP (RFC 5227, section 3): some
// machines learn only from requests, some only from replies.
func arpAnnouncer(ifi *net.Interface, addr netip.Addr) (send func() error, done func() error, err error) {
	var frames [][]byte
	for _, op := range []arp.Operation{arp.OperationRequest, arp.OperationReply} {
		frame, err := arpFrame(op, ifi.HardwareAddr, addr, addr)
		if err != nil {
			return nil, nil, err
		}
		frames = append(frames, frame)
	}
	conn, err := packet.Listen(ifi, packet.Raw, unix.ETH_P_ARP, nil)
	if err != nil {
		return nil, nil, err
	}
	return func() error {
		return errors.Join(sendFrame(conn, frames[0]), sendFrame(conn, frames[1]))
	}, conn.Close, nil
}

// deadline is so long from now, or the end of the context if that is sooner.
func deadline(ctx context.Context, wait time.Duration) time.Time {
	t := time.Now().Add(wait)
	if end, limited := ctx.Deadline(); limited && end.Before(t) {
		return end
	}
	return t
}
