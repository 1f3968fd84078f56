package stage

import (
	"errors"
	"fmt"
	"net"
	"runtime"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"

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

// handleIn returns a netlink handle in the room's network namespace, and never
// one in this process's own.
func (r *room) handleIn() (*netlink.Handle, error) {
	ns, err := netns.GetFromPath(r.netNS())
	if err != nil {
		return nil, err
	}
	defer ns.Close()
	own, err := netns.Get()
	if err != nil {
		return nil, err
	}
	defer own.Close()
	if ns.Equal(own) {
		return nil, fmt.Errorf("room %s has no network namespace of its own", r.name)
	}
	return netlink.NewHandleAt(ns)
}

// makeOutside makes the bridges, and the address of those who call from outside.
func (s *Stage) makeOutside() error {
	h, err := s.outside.handleIn()
	if err != nil {
		return err
	}
	defer h.Close()
	for i, name := range networks() {
		bridge := &netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: name}}
		if err := h.LinkAdd(bridge); err != nil {
			return fmt.Errorf("bridge %s: %w", name, err)
		}
		if err := h.LinkSetUp(bridge); err != nil {
			return fmt.Errorf("bridge %s: %w", name, err)
		}
		if name == lan {
			if err := errors.Join(addAddress(h, bridge, address(i, outsideHost)), addAddress(h, bridge, public(1))); err != nil {
				return err
			}
		}
	}
	return nil
}

func addAddress(h *netlink.Handle, link netlink.Link, ip string) error {
	a := &netlink.Addr{IPNet: &net.IPNet{IP: net.ParseIP(ip), Mask: net.CIDRMask(24, 32)}}
	if err := h.AddrAdd(link, a); err != nil {
		return fmt.Errorf("address %s on %s: %w", ip, link.Attrs().Name, err)
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
	in := n.cardsOf
	for i, name := range networks() {
		bridge, err := out.LinkByName(name)
		if err != nil {
			return fmt.Errorf("bridge %s: %w", name, err)
		}
		port := &netlink.Veth{
			LinkAttrs: netlink.LinkAttrs{Name: n.Name + "-" + name, MasterIndex: bridge.Attrs().Index},
			PeerName:  name, PeerNamespace: netlink.NsPid(n.room.pid()),
		}
		if err := out.LinkAdd(port); err != nil {
			return fmt.Errorf("link %s of %s: %w", name, n.Name, err)
		}
		if err := out.LinkSetUp(port); err != nil {
			return fmt.Errorf("link %s of %s: %w", name, n.Name, err)
		}
		card, err := in.LinkByName(name)
		if err != nil {
			return fmt.Errorf("card %s of %s: %w", name, n.Name, err)
		}
		if err := addAddress(in, card, address(i, n.ID)); err != nil {
			return err
		}
		if name == lan {
			if err := addAddress(in, card, public(n.publicHost())); err != nil {
				return err
			}
		}
	}
	return nil
}

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
			port, err := h.LinkByName(n.Name + "-" + name)
			if err == nil && up {
				err = h.LinkSetUp(port)
			} else if err == nil {
				err = h.LinkSetDown(port)
			}
			if err != nil {
				return fmt.Errorf("link %s of %s: %w", name, n.Name, err)
			}
		}
	}
	return nil
}

// Listen listens on the address of those who call from outside, which all nodes
// reach, at a port of the kernel's choice. Only a stage made by root has it.
func (s *Stage) Listen() (net.Listener, error) {
	runtime.LockOSThread() // a thread that cannot be brought back must not be used again: then it stays locked and ends with its goroutine
	own, err := netns.Get()
	if err != nil {
		return nil, err
	}
	defer own.Close()
	outside, err := netns.GetFromPath(s.outside.netNS())
	if err == nil {
		defer outside.Close()
		err = netns.Set(outside)
	}
	if err != nil {
		return nil, err
	}
	l, err := net.Listen("tcp", net.JoinHostPort(address(len(networks())-1, outsideHost), "0"))
	if back := netns.Set(own); back != nil {
		return l, errors.Join(err, back)
	}
	runtime.UnlockOSThread()
	return l, err
}
