// Package post is the heartbeat links of a simulated daemon: the real codec, seal
// and memory of what was seen, over packets that the world carries.
package post

import (
	"fmt"
	"net"
	"net/netip"

	"github.com/holdfast-ha/holdfast/cluster"
	"github.com/holdfast-ha/holdfast/cluster/ident"
	"github.com/holdfast-ha/holdfast/heartbeat"
)

// Links are those of one life of a daemon. They are used by one goroutine.
type Links struct {
	links *heartbeat.Links
	out   *outbox
}

// outbox is the only link: it keeps what is sent.
type outbox struct{ packets [][]byte }

// Send keeps a packet.
func (o *outbox) Send(b []byte, _ netip.AddrPort) error {
	o.packets = append(o.packets, append([]byte(nil), b...))
	return nil
}

// Receive gives nothing: the world brings the packets.
func (o *outbox) Receive([]byte) (int, error) { return 0, net.ErrClosed }

// Local is an address that nobody looks at.
func (o *outbox) Local() netip.AddrPort { return address() }

// Close has nothing to close.
func (o *outbox) Close() error { return nil }

func address() netip.AddrPort { return netip.AddrPortFrom(netip.IPv6Loopback(), 1) }

// New opens the links of node self, in this boot, to nodes 1 to nodes. The first
// that now gives has to be later than that of any former life in the boot.
func New(self ident.NodeID, boot ident.BootID, nodes int, now func() ident.Instant) (*Links, error) {
	l := &Links{out: &outbox{}}
	var err error
	l.links, err = heartbeat.New(heartbeat.Config{
		Cluster: ident.UUID{1}, Node: self, Boot: boot, Key: heartbeat.Key{1}, Local: []netip.AddrPort{address()}, Now: now,
		Listen: func(netip.AddrPort) (heartbeat.Socket, error) { return l.out, nil },
	})
	if err != nil {
		return nil, fmt.Errorf("simulated links of node %d: %w", self, err)
	}
	peers := map[ident.NodeID][]netip.AddrPort{}
	for id := range nodes {
		if peer := ident.NodeID(id + 1); peer != self {
			peers[peer] = []netip.AddrPort{address()}
		}
	}
	l.links.SetPeers(peers)
	return l, nil
}

// Seal makes the packets of a message.
func (l *Links) Seal(to ident.NodeID, m *cluster.Message) ([][]byte, error) {
	l.out.packets = nil
	err := l.links.Send(to, m)
	return l.out.packets, err
}

// Open takes a packet that has arrived, and returns what it completes: nil if that
// is nothing. replayed says that it was refused, for it had been seen before, or was
// of a former life or boot of its sender.
func (l *Links) Open(packet []byte) (m *cluster.Message, replayed bool) {
	had := l.links.Refused().Replayed
	l.links.Arrived(packet, 0)
	select {
	case r := <-l.links.Messages():
		return r.Message, false
	default:
		return nil, l.links.Refused().Replayed > had
	}
}
