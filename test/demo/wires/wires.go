// Package wires makes the networks of emulated machines: bridges, cards and their
// cables, in network namespaces that are not this process's own.
package wires

import (
	"errors"
	"fmt"
	"net"
	"runtime"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
)

// Open returns a netlink handle in the network namespace at a path, as
// /proc/PID/ns/net, and never one in this process's own. The caller closes it.
func Open(path string) (*netlink.Handle, error) {
	ns, err := netns.GetFromPath(path)
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
		return nil, fmt.Errorf("%s is the network namespace of this process", path)
	}
	return netlink.NewHandleAt(ns)
}

// Bridge makes a bridge with addresses of its own, and switches it on.
func Bridge(h *netlink.Handle, name string, addresses ...string) error {
	bridge := &netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: name}}
	err := h.LinkAdd(bridge)
	if err == nil {
		err = h.LinkSetUp(bridge)
	}
	for _, a := range addresses {
		if err == nil {
			err = address(h, bridge, a)
		}
	}
	if err != nil {
		return fmt.Errorf("bridge %s: %w", name, err)
	}
	return nil
}

// address gives a card an address of a network of 256.
func address(h *netlink.Handle, link netlink.Link, ip string) error {
	a := &netlink.Addr{IPNet: &net.IPNet{IP: net.ParseIP(ip), Mask: net.CIDRMask(24, 32)}}
	if err := h.AddrAdd(link, a); err != nil {
		return fmt.Errorf("address %s on %s: %w", ip, link.Attrs().Name, err)
	}
	return nil
}

// Cable is what joins a machine to a bridge.
type Cable struct {
	Bridge    string
	Port      string   // its end at the bridge
	Card      string   // its end at the machine, still without power
	Machine   int      // a process in the machine's network namespace
	Addresses []string // of the card
}

// Plug joins a machine to a bridge: out is the bridge's namespace, in the machine's.
func Plug(out, in *netlink.Handle, c Cable) error {
	bridge, err := out.LinkByName(c.Bridge)
	if err != nil {
		return fmt.Errorf("bridge %s: %w", c.Bridge, err)
	}
	port := &netlink.Veth{
		LinkAttrs: netlink.LinkAttrs{Name: c.Port, MasterIndex: bridge.Attrs().Index},
		PeerName:  c.Card, PeerNamespace: netlink.NsPid(c.Machine),
	}
	err = out.LinkAdd(port)
	if err == nil {
		err = out.LinkSetUp(port)
	}
	var card netlink.Link
	if err == nil {
		card, err = in.LinkByName(c.Card)
	}
	for _, a := range c.Addresses {
		if err == nil {
			err = address(in, card, a)
		}
	}
	if err != nil {
		return fmt.Errorf("cable %s: %w", c.Port, err)
	}
	return nil
}

// Switch switches a port on or off: a card at the other end loses its carrier.
func Switch(h *netlink.Handle, port string, up bool) error {
	link, err := h.LinkByName(port)
	if err == nil && up {
		err = h.LinkSetUp(link)
	} else if err == nil {
		err = h.LinkSetDown(link)
	}
	if err != nil {
		return fmt.Errorf("port %s: %w", port, err)
	}
	return nil
}

// Listen listens on an address and port inside the network namespace at a path.
func Listen(path, at string) (l net.Listener, err error) {
	err = inside(path, func() (err error) { l, err = net.Listen("tcp", at); return err })
	return l, err
}

// Dial connects to an address and port inside the network namespace at a path.
func Dial(path, at string) (c net.Conn, err error) {
	err = inside(path, func() (err error) { c, err = net.Dial("tcp", at); return err })
	return c, err
}

// inside makes a socket inside the network namespace at a path.
func inside(path string, makeSocket func() error) error {
	runtime.LockOSThread() // a thread that cannot be brought back must not be used again: then it stays locked and ends with its goroutine
	own, err := netns.Get()
	if err != nil {
		return err
	}
	defer own.Close()
	outside, err := netns.GetFromPath(path)
	if err == nil {
		defer outside.Close()
		err = netns.Set(outside)
	}
	if err != nil {
		return err
	}
	err = makeSocket()
	if back := netns.Set(own); back != nil {
		return errors.Join(err, back)
	}
	runtime.UnlockOSThread()
	return err
}
