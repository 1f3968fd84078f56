package stage

import (
	"fmt"
	"net"

	"github.com/vishvananda/netlink"

	"github.com/holdfast-ha/holdfast/test/demo/wires"
	"github.com/holdfast-ha/holdfast/test/power"
)

// The networks: two for heartbeats, one for clients. All live in namespaces of
// their own, so the addresses are the same on every machine.
const (
	lan         = "lan"
	outsideHost = 254 // the address of the clients, and what the services reach for
	servicePort = 7380
)

func networks() []string { return []string{"hb0", "hb1", lan} }

// public is the network lan by a second range of addresses: that of examples in
// documents (RFC 5737). Its first address is the one from outside.
func public(host int) string { return fmt.Sprintf("192.0.2.%d", host) }

// publicHost is the host number there of a node.
func (n *Node) publicHost() int { return 20 + n.ID }

// address is that of a host on a network, as 10.77.NETWORK.HOST.
func address(network, host int) string { return fmt.Sprintf("10.77.%d.%d", network, host) }

// handleIn returns a netlink handle in the room's network namespace.
func (r *room) handleIn() (*netlink.Handle, error) { return wires.Open(r.netNS()) }

// makeOutside makes the bridges, and the addresses of those who call from outside.
func (s *Stage) makeOutside() error {
	h, err := s.outside.handleIn()
	if err != nil {
		return err
	}
	defer h.Close()
	for i, name := range networks() {
		var own []string
		if name == lan {
			own = []string{address(i, outsideHost), public(1)}
		}
		if err := wires.Bridge(h, name, own...); err != nil {
			return err
		}
	}
	return nil
}

// connect gives the node a card on every network, still without power.
func (n *Node) connect() error {
	out, err := n.stage.outside.handleIn()
	if err != nil {
		return err
	}
	defer out.Close()
	for i, name := range networks() {
		c := wires.Cable{Bridge: name, Port: n.port(name), Card: name, Machine: n.room.PID(), Addresses: []string{address(i, n.ID)}}
		if name == lan {
			c.Addresses = append(c.Addresses, public(n.publicHost()))
		}
		if err := wires.Plug(out, n.cardsOf, c); err != nil {
			return err
		}
	}
	return nil
}

// port is the name of the node's end at a bridge.
func (n *Node) port(network string) string { return n.Name + "-" + network }

// cards are the node's network cards as its power emulator knows them.
func (n *Node) cards() []power.Link {
	var links []power.Link
	for i, name := range networks() {
		keep := []string{address(i, n.ID) + "/24"}
		if name == lan {
			keep = append(keep, public(n.publicHost())+"/24")
		}
		links = append(links, power.Link{Name: name, Keep: keep})
	}
	return links
}

// CutHeartbeats pulls the heartbeat cables of the nodes, all of them if none is
// named: their cards lose the carrier. Clients still reach them.
func (s *Stage) CutHeartbeats(nodes ...*Node) error { return s.setHeartbeats(nodes, false) }

// MendHeartbeats undoes CutHeartbeats.
func (s *Stage) MendHeartbeats(nodes ...*Node) error { return s.setHeartbeats(nodes, true) }

func (s *Stage) setHeartbeats(nodes []*Node, up bool) error {
	if !s.Root {
		return fmt.Errorf("links can be cut only where a node has some of its own: run as root")
	}
	if len(nodes) == 0 {
		nodes = s.Nodes
	}
	h, err := s.outside.handleIn()
	if err != nil {
		return err
	}
	defer h.Close()
	for _, n := range nodes {
		for _, name := range networks() {
			if name == lan {
				continue
			}
			if err := wires.Switch(h, n.port(name), up); err != nil {
				return err
			}
		}
	}
	return nil
}

// Listen listens on the address of those who call from outside, which all nodes
// reach, at a port of the kernel's choice. Only a stage made by root has it.
func (s *Stage) Listen() (net.Listener, error) {
	return s.ListenAt(net.JoinHostPort(address(len(networks())-1, outsideHost), "0"))
}

// Outside is the path of the network namespace of those outside.
func (s *Stage) Outside() string { return s.outside.netNS() }

// ListenAt is Listen at an address and port of those outside.
func (s *Stage) ListenAt(at string) (net.Listener, error) { return wires.Listen(s.outside.netNS(), at) }
