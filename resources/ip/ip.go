// Package ip moves an address between nodes as a member of a service.
//
//	ip: {address: 192.0.2.10/24, reach: 192.0.2.1}
//
// Without interface it goes to the one that has another address of the same
// subnet. Before it is taken, its neighbours are asked whether somebody else has
// it (RFC 5227 for IPv4, a neighbour solicitation for IPv6), and then told where
// it is now: gratuitous ARP requests and replies, or unsolicited neighbour
// advertisements, several times, because a switch that has just changed its mind
// may lose the first.
//
// The check is more than presence: the interface must have a carrier, and the
// address in reach, mostly the gateway, must answer. The one question that
// matters to a client is whether the network knows this node by that address.
package ip

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/holdfast-ha/holdfast/resources"
)

// Spec is what the configuration says of an ip member.
type Spec struct {
	Address   netip.Prefix `json:"address"` // with the length of its subnet: 192.0.2.10/24
	Interface string       `json:"interface,omitempty"`
	Reach     netip.Addr   `json:"reach,omitzero"` // must answer for the check to pass
	// ARP is how often the new place is announced, default 3.
	ARP int `json:"arp,omitempty"`
	// DuplicateCheck asks before the start whether somebody else has the
	// address; default true. It costs a quarter of a second.
	DuplicateCheck *bool `json:"duplicate_check,omitempty"`
}

const (
	defaultAnnounce = 3
	announceEvery   = 100 * time.Millisecond
	// asks and askWait bound the search for another owner, reachAsks and
	// reachWait the patience with a gateway that drops some requests.
	asks      = 2
	askWait   = 120 * time.Millisecond
	reachAsks = 4
	reachWait = 500 * time.Millisecond
)

// Agent is the kind "ip".
type Agent struct{}

var (
	_ resources.Agent    = Agent{}
	_ resources.Fitter   = Agent{}
	_ resources.Reloader = Agent{}
)

// Start implements resources.Agent.
func (Agent) Start(ctx context.Context, req resources.Request) resources.Report {
	spec, err := parse(req)
	if err != nil {
		return resources.Failure("%v", err)
	}
	link, err := spec.link()
	if err != nil {
		return resources.Failure("%v", err)
	}
	if err := usable(link); err != nil {
		return resources.Failure("%v", err)
	}
	if err := spec.take(ctx, link, req.Handed); err != nil {
		return resources.Failure("%v", err)
	}
	if speaks(link) {
		owner, err := spec.announce(ctx, link, req.Handed && spec.checks())
		switch {
		case owner != nil:
			return spec.yield(owner)
		case err != nil:
			return resources.Failure("%s is on %s, but could not be announced: %v", spec.Address, link.Attrs().Name, err)
		}
	}
	return resources.Done("%s is on %s", spec.Address, link.Attrs().Name)
}

// Stop implements resources.Agent. The address is removed from every interface
// that has it, whatever the specification says now.
func (Agent) Stop(_ context.Context, req resources.Request) resources.Report {
	spec, err := parse(req)
	if err != nil {
		return resources.Failure("%v", err)
	}
	present, err := spec.present()
	if err != nil {
		return resources.Failure("addresses of this host: %v", err)
	}
	for _, a := range present {
		if err := remove(a); err != nil {
			return resources.Failure("%v", err)
		}
	}
	present, err = spec.present()
	if err != nil {
		return resources.Failure("addresses of this host: %v", err)
	}
	if len(present) > 0 {
		return resources.Failure("%s is still on this host after it was removed; somebody else sets it", spec.Address.Addr())
	}
	return resources.Done("%s is not on this host", spec.Address.Addr())
}

// Check implements resources.Agent.
func (Agent) Check(ctx context.Context, req resources.Request) resources.Report {
	spec, err := parse(req)
	if err != nil {
		return resources.Failure("%v", err)
	}
	present, err := spec.present()
	if err != nil {
		return resources.Unsure("addresses of this host: %v", err)
	}
	if len(present) == 0 {
		return resources.Absent("%s is not on this host", spec.Address.Addr())
	}
	link, err := netlink.LinkByIndex(present[0].LinkIndex)
	if err != nil {
		return resources.Unsure("interface %d: %v", present[0].LinkIndex, err)
	}
	name := link.Attrs().Name
	if spec.Interface != "" && spec.Interface != name {
		return resources.Failure("%s is on %s, not on %s", spec.Address.Addr(), name, spec.Interface)
	}
	if present[0].Flags&unix.IFA_F_DADFAILED != 0 {
		return resources.Failure("%s on %s: another machine has it (duplicate address detection failed)", spec.Address.Addr(), name)
	}
	if err := usable(link); err != nil {
		return resources.Failure("%v", err)
	}
	if spec.Reach.IsValid() {
		if err := spec.reach(ctx, link); err != nil {
			return resources.Failure("%v", err)
		}
	}
	return resources.Done("%s is on %s", spec.Address, name)
}

// Probe implements resources.Agent.
func (Agent) Probe(_ context.Context, req resources.Request) resources.Report {
	spec, err := parse(req)
	if err != nil {
		return resources.Unsure("%v", err)
	}
	present, err := spec.present()
	switch {
	case err != nil:
		return resources.Unsure("addresses of this host: %v", err)
	case len(present) == 0:
		return resources.Absent("%s is not on this host", spec.Address.Addr())
	}
	return resources.Done("%s is on this host", spec.Address.Addr())
}

// Reload implements resources.Reloader: whom the check asks may change.
func (Agent) Reload(_ context.Context, req resources.Request) resources.Report {
	return resources.TakesOver(req, func(s *Spec) { s.Reach, s.ARP, s.DuplicateCheck = netip.Addr{}, 0, nil })
}

// Fit implements resources.Fitter: it asks for the interface and its carrier, and
// not whether the address is in use, for it is, where the service runs now.
func (Agent) Fit(_ context.Context, req resources.Request) resources.Report {
	spec, err := parse(req)
	if err != nil {
		return resources.Report{Outcome: resources.Failed, Severity: resources.Fatal, Text: err.Error()}
	}
	link, err := spec.link()
	if err != nil {
		return resources.Missing("%v", err)
	}
	if err := usable(link); err != nil {
		return resources.Failure("%v", err)
	}
	return resources.Done("%s fits on %s", spec.Address, link.Attrs().Name)
}

func parse(req resources.Request) (Spec, error) {
	var s Spec
	if err := resources.DecodeSpec(req.Spec, &s); err != nil {
		return s, err
	}
	switch a := s.Address.Addr(); {
	case !s.Address.IsValid():
		return s, errors.New("ip needs address with the length of its subnet, such as 192.0.2.10/24")
	case a.Is4In6() || a.IsUnspecified() || a.IsMulticast():
		return s, fmt.Errorf("%s cannot be the address of a service", a)
	case s.Reach.IsValid() && s.Reach.Is4() != a.Is4():
		return s, fmt.Errorf("reach %s and address %s are of different families", s.Reach, a)
	case s.Reach == a:
		return s, fmt.Errorf("reach %s is the address itself, which always answers", s.Reach)
	case s.ARP < 0 || s.ARP > 20:
		return s, fmt.Errorf("arp: %d announcements; want 1 to 20", s.ARP)
	}
	return s, nil
}

// present are the entries of this host that carry the address, with whatever
// length of subnet.
func (s Spec) present() ([]netlink.Addr, error) {
	all, err := netlink.AddrList(nil, netlink.FAMILY_ALL)
	if err != nil {
		return nil, err
	}
	want := net.IP(s.Address.Addr().AsSlice())
	return slices.DeleteFunc(all, func(a netlink.Addr) bool { return !a.IP.Equal(want) }), nil
}

// link is the interface that the address belongs on.
func (s Spec) link() (netlink.Link, error) {
	if s.Interface != "" {
		link, err := netlink.LinkByName(s.Interface)
		if err != nil {
			return nil, fmt.Errorf("interface %s: %w; there are %s", s.Interface, err, strings.Join(interfaceNames(), ", "))
		}
		return link, nil
	}
	all, err := netlink.AddrList(nil, netlink.FAMILY_ALL)
	if err != nil {
		return nil, fmt.Errorf("addresses of this host: %w", err)
	}
	var found []int
	own := net.IP(s.Address.Addr().AsSlice())
	for _, a := range all {
		if a.IPNet != nil && a.IPNet.Contains(own) && !slices.Contains(found, a.LinkIndex) {
			found = append(found, a.LinkIndex)
		}
	}
	var links []netlink.Link
	var names []string
	for _, index := range found {
		if link, err := netlink.LinkByIndex(index); err == nil {
			links, names = append(links, link), append(names, link.Attrs().Name)
		}
	}
	switch len(links) {
	case 1:
		return links[0], nil
	case 0:
		return nil, fmt.Errorf("no interface has an address in %s; name one with interface: %s",
			s.Address.Masked(), strings.Join(interfaceNames(), ", "))
	}
	return nil, fmt.Errorf("%s fits more than one interface; name one with interface: %s", s.Address, strings.Join(names, ", "))
}

func interfaceNames() []string {
	var names []string
	links, _ := netlink.LinkList()
	for _, l := range links {
		names = append(names, l.Attrs().Name)
	}
	slices.Sort(names)
	return names
}

// usable says why nothing sent over the interface would arrive.
func usable(link netlink.Link) error {
	a := link.Attrs()
	switch {
	case a.Flags&net.FlagUp == 0:
		return fmt.Errorf("interface %s is down; ip link set %s up", a.Name, a.Name)
	case a.OperState != netlink.OperUp && a.OperState != netlink.OperUnknown:
		return fmt.Errorf("interface %s has no carrier (state %s)", a.Name, a.OperState)
	}
	return nil
}

// speaks says whether the interface has neighbours that can be asked and told.
func speaks(link netlink.Link) bool {
	a := link.Attrs()
	return a.Flags&net.FlagLoopback == 0 && a.RawFlags&unix.IFF_NOARP == 0 && len(a.HardwareAddr) == 6
}

// checks says that duplicates are looked for.
func (s Spec) checks() bool { return s.DuplicateCheck == nil || *s.DuplicateCheck }

// yield gives an address back that another machine has.
func (s Spec) yield(owner error) resources.Report {
	present, err := s.present()
	for _, a := range present {
		err = errors.Join(err, remove(a))
	}
	if err != nil {
		return resources.Failure("%v; and here it could not be taken off again: %v", owner, err)
	}
	return resources.Failure("%v", owner)
}

// take makes the address ours on the link, unless another machine has it. One that was
// handed over is taken at once: the node that had it until a moment ago has verified that
// it is gone there, so nobody is expected to have it, and announce asks.
func (s Spec) take(ctx context.Context, link netlink.Link, handed bool) error {
	present, err := s.present()
	if err != nil {
		return fmt.Errorf("addresses of this host: %w", err)
	}
	index := link.Attrs().Index
	for _, a := range present {
		if a.LinkIndex != index {
			return fmt.Errorf("%s is on interface %d of this host already; remove it there", s.Address.Addr(), a.LinkIndex)
		}
	}
	want := &netlink.Addr{IPNet: &net.IPNet{
		IP:   s.Address.Addr().AsSlice(),
		Mask: net.CIDRMask(s.Address.Bits(), s.Address.Addr().BitLen()),
	}}
	if len(present) == 0 && speaks(link) && s.checks() && !handed {
		asked, err := s.refuseDuplicate(ctx, link, nil)
		if err != nil {
			return err
		}
		if asked && s.Address.Addr().Is6() {
			want.Flags = unix.IFA_F_NODAD // the kernel's own check takes seconds
		}
	} else if s.Address.Addr().Is6() {
		want.Flags = unix.IFA_F_NODAD
	}
	if err := netlink.AddrReplace(link, want); err != nil {
		return fmt.Errorf("add %s to %s: %w", s.Address, link.Attrs().Name, err)
	}
	return s.awaitUsable(ctx)
}

// awaitUsable waits until the kernel has checked a new IPv6 address by itself.
func (s Spec) awaitUsable(ctx context.Context) error {
	for {
		present, err := s.present()
		switch {
		case err != nil:
			return fmt.Errorf("addresses of this host: %w", err)
		case len(present) == 0:
			return fmt.Errorf("%s vanished as soon as it was added; somebody else removes it", s.Address.Addr())
		case present[0].Flags&unix.IFA_F_DADFAILED != 0:
			_ = remove(present[0])
			return fmt.Errorf("%s: another machine has it (duplicate address detection failed)", s.Address.Addr())
		case present[0].Flags&unix.IFA_F_TENTATIVE == 0:
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s: the kernel has not finished its duplicate address detection", s.Address.Addr())
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// remove deletes one address. When the first IPv4 address of a subnet goes, the
// kernel deletes the others of that subnet with it, unless told to promote one:
// without that, one service would take the addresses of others down.
func remove(a netlink.Addr) error {
	link, err := netlink.LinkByIndex(a.LinkIndex)
	if err != nil {
		return fmt.Errorf("interface %d: %w", a.LinkIndex, err)
	}
	if a.IP.To4() != nil && a.Flags&unix.IFA_F_SECONDARY == 0 {
		path := filepath.Join("/proc/sys/net/ipv4/conf", link.Attrs().Name, "promote_secondaries")
		if err := os.WriteFile(path, []byte("1"), 0); err != nil && hasSecondary(link, a) {
			return fmt.Errorf("%s carries other addresses that would vanish with %s: %w", link.Attrs().Name, a.IP, err)
		}
	}
	err = netlink.AddrDel(link, &netlink.Addr{IPNet: a.IPNet})
	if err != nil && !errors.Is(err, unix.EADDRNOTAVAIL) {
		return fmt.Errorf("remove %s from %s: %w", a.IPNet, link.Attrs().Name, err)
	}
	return nil
}

func hasSecondary(link netlink.Link, first netlink.Addr) bool {
	all, err := netlink.AddrList(link, netlink.FAMILY_V4)
	return err != nil || slices.ContainsFunc(all, func(a netlink.Addr) bool {
		return a.Flags&unix.IFA_F_SECONDARY != 0 && first.IPNet.Contains(a.IP)
	})
}
