package ip_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/netip"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/mdlayher/arp"
	"github.com/mdlayher/ethernet"
	"github.com/mdlayher/ndp"
	"github.com/mdlayher/packet"
	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"github.com/holdfast-ha/holdfast/resources"
	"github.com/holdfast-ha/holdfast/resources/agenttest"
	"github.com/holdfast-ha/holdfast/resources/ip"
)

// wire is two network namespaces joined by a cable: near, where the agent works,
// and far, where a gateway and an observer are. The test's goroutine is on a
// thread of its own; at moves that thread.
type wire struct {
	t         *testing.T
	near, far netns.NsHandle
}

func newWire(t *testing.T) *wire {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("not root: network namespaces cannot be made; run this test as root")
	}
	t.Parallel()
	runtime.LockOSThread()
	home, err := netns.Get()
	if err != nil {
		t.Fatal(err)
	}
	w := &wire{t: t}
	t.Cleanup(func() {
		if err := netns.Set(home); err != nil {
			t.Errorf("back to the first namespace: %v", err)
			return // the thread stays locked and ends with the goroutine
		}
		runtime.UnlockOSThread()
		home.Close()
		w.near.Close()
		w.far.Close()
	})
	if w.far, err = netns.New(); err != nil {
		t.Skipf("no network namespace (%v): run as root on a kernel with CONFIG_NET_NS; in a container: --privileged", err)
	}
	w.near, err = netns.New()
	w.must(err)
	w.must(netlink.LinkAdd(&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "near0"}, PeerName: "far0"}))
	w.must(netlink.LinkSetNsFd(w.link("far0"), int(w.far)))
	w.must(netlink.LinkSetUp(w.link("near0")))
	w.at(w.far)
	w.must(netlink.LinkSetUp(w.link("far0")))
	w.add("far0", "192.0.2.1/24")
	w.add("far0", "2001:db8::1/64")
	w.at(w.near)
	w.until("the cable carries", func() bool { return w.link("near0").Attrs().OperState == netlink.OperUp })
	return w
}

func (w *wire) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *wire) at(ns netns.NsHandle) { w.t.Helper(); w.must(netns.Set(ns)) }

func (w *wire) link(name string) netlink.Link {
	w.t.Helper()
	l, err := netlink.LinkByName(name)
	w.must(err)
	return l
}

func (w *wire) add(link, addr string) {
	w.t.Helper()
	a, err := netlink.ParseAddr(addr)
	w.must(err)
	if a.IP.To4() == nil {
		a.Flags = unix.IFA_F_NODAD
	}
	w.must(netlink.AddrAdd(w.link(link), a))
}

func (w *wire) has(addr string) bool {
	w.t.Helper()
	all, err := netlink.AddrList(nil, netlink.FAMILY_ALL)
	w.must(err)
	for _, a := range all {
		if a.IP.Equal(net.ParseIP(addr)) {
			return true
		}
	}
	return false
}

func (w *wire) until(what string, condition func() bool) {
	w.t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(20 * time.Second)
	for !condition() {
		select {
		case <-tick.C:
		case <-deadline:
			w.t.Fatalf("waited in vain until %s", what)
		}
	}
}

// linkLocalReady waits until both ends have a link-local address that the kernel
// has finished checking.
func (w *wire) linkLocalReady() {
	w.t.Helper()
	for _, end := range []struct {
		ns   netns.NsHandle
		name string
	}{{w.far, "far0"}, {w.near, "near0"}} {
		w.at(end.ns)
		w.until("the link-local address is usable", func() bool {
			all, _ := netlink.AddrList(w.link(end.name), netlink.FAMILY_V6)
			for _, a := range all {
				if a.IP.IsLinkLocalUnicast() && a.Flags&unix.IFA_F_TENTATIVE == 0 {
					return true
				}
			}
			return false
		})
	}
}

// do calls the agent on this thread.
func (w *wire) do(verb resources.Verb, spec map[string]any) resources.Report {
	w.t.Helper()
	raw, err := json.Marshal(spec)
	w.must(err)
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	req := resources.Request{Service: "orders", Member: "ip", Spec: raw, Timeout: 20 * time.Second}
	switch verb {
	case "start":
		return ip.Agent{}.Start(ctx, req)
	case "stop":
		return ip.Agent{}.Stop(ctx, req)
	case "check":
		return ip.Agent{}.Check(ctx, req)
	}
	return ip.Agent{}.Probe(ctx, req)
}

func (w *wire) want(verb resources.Verb, spec map[string]any, want resources.Outcome, words string) {
	w.t.Helper()
	if r := w.do(verb, spec); r.Outcome != want || !strings.Contains(r.Text, words) {
		w.t.Fatalf("%s: %v: %s; want %v, with %q", verb, r.Outcome, r.Text, want, words)
	}
}

func TestLifeOfAnIPv4Address(t *testing.T) {
	w := newWire(t)
	w.add("near0", "192.0.2.5/24")
	spec := map[string]any{"address": "192.0.2.10/24", "reach": "192.0.2.1"}
	agenttest.Run(t, ip.Agent{}, spec)
	if w.has("192.0.2.10") || !w.has("192.0.2.5") {
		t.Error("after the stop the node's own address must be left, and only that")
	}
}

// What clients see: the observer at the far end receives both forms of
// gratuitous ARP, each as often as configured.
func TestTheNewPlaceIsAnnounced(t *testing.T) {
	w := newWire(t)
	w.at(w.far)
	ifi, err := net.InterfaceByName("far0")
	w.must(err)
	conn, err := packet.Listen(ifi, packet.Raw, unix.ETH_P_ARP, nil)
	w.must(err)
	defer conn.Close()
	w.at(w.near)
	mac := w.link("near0").Attrs().HardwareAddr
	w.want("start", map[string]any{"address": "192.0.2.10/24", "interface": "near0", "arp": 2}, resources.OK, "")

	w.must(conn.SetReadDeadline(time.Now().Add(20 * time.Second)))
	seen := make(map[arp.Operation]int)
	probes := 0
	buf := make([]byte, 256)
	for seen[arp.OperationRequest] < 2 || seen[arp.OperationReply] < 2 {
		n, _, err := conn.ReadFrom(buf)
		if err != nil {
			t.Fatalf("announcements seen: %v: %v", seen, err)
		}
		var f ethernet.Frame
		var p arp.Packet
		w.must(f.UnmarshalBinary(buf[:n]))
		w.must(p.UnmarshalBinary(f.Payload))
		switch {
		case p.TargetIP.String() != "192.0.2.10" || p.SenderHardwareAddr.String() != mac.String():
		case p.SenderIP == netip.IPv4Unspecified():
			probes++
		case p.SenderIP == p.TargetIP:
			seen[p.Operation]++
			if f.Destination.String() != ethernet.Broadcast.String() {
				t.Errorf("announced to %s, not to all", f.Destination)
			}
		}
	}
	if probes == 0 {
		t.Error("nobody was asked whether the address is in use")
	}
}

func TestMain(m *testing.M) { agenttest.Main(m, resources.Kinds{"ip": ip.Agent{}}) }

// Operations in processes of their own, which enter the namespace first.
func TestLives(t *testing.T) {
	for _, address := range []string{"192.0.2.10/24", "2001:db8::10/64"} {
		t.Run(address, func(t *testing.T) {
			w := newWire(t)
			w.linkLocalReady()
			agenttest.Lives(t, agenttest.Case{
				Kind: "ip", Spec: map[string]any{"address": address, "interface": "near0"}, Brief: true,
				Prefix: []string{"nsenter", fmt.Sprintf("--net=/proc/%d/fd/%d", os.Getpid(), int(w.near)), "--"},
				Lose: func(*testing.T) {
					a, err := netlink.ParseAddr(address)
					w.must(err)
					w.must(netlink.AddrDel(w.link("near0"), a))
				},
			})
		})
	}
}

func TestAnAddressInUseIsRefused(t *testing.T) {
	w := newWire(t)
	w.at(w.far)
	w.add("far0", "192.0.2.10/24")
	w.add("far0", "2001:db8::10/64")
	w.linkLocalReady()
	for _, address := range []string{"192.0.2.10/24", "2001:db8::10/64"} {
		spec := map[string]any{"address": address, "interface": "near0"}
		w.want("start", spec, resources.Failed, "in use by the machine")
		w.want("probe", spec, resources.NotRunning, "")
		spec["duplicate_check"] = false
		w.want("start", spec, resources.OK, "")
		w.want("stop", spec, resources.OK, "")
	}
}

// An address that another node has just released is there before anybody was asked,
// and given back if a third machine has it all the same.
func TestAnAddressThatWasHandedOver(t *testing.T) {
	w := newWire(t)
	w.linkLocalReady()
	start := func(address string, handed bool) (r resources.Report, took time.Duration) {
		raw, err := json.Marshal(map[string]any{"address": address, "interface": "near0", "arp": 1})
		w.must(err)
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		began, there := time.Now(), make(chan time.Duration, 1)
		watch := make(chan netlink.AddrUpdate, 16)
		done := make(chan struct{})
		defer close(done)
		w.must(netlink.AddrSubscribeAt(w.near, watch, done))
		go func() { // ends with the first address, or with the subscription
			for u := range watch {
				if u.NewAddr {
					there <- time.Since(began)
					return
				}
			}
		}()
		r = ip.Agent{}.Start(ctx, resources.Request{Service: "orders", Member: "ip", Spec: raw, Timeout: 20 * time.Second, Handed: handed})
		if r.Outcome == resources.OK {
			took = <-there
		}
		return r, took
	}
	for _, address := range []string{"192.0.2.10/24", "2001:db8::10/64"} {
		w.at(w.near)
		r, asked := start(address, false)
		if r.Outcome != resources.OK {
			t.Fatalf("%s: %s", address, r.Text)
		}
		w.want("stop", map[string]any{"address": address}, resources.OK, "")
		r, handed := start(address, true)
		if r.Outcome != resources.OK || 2*handed > asked {
			t.Errorf("%s: %v %s; it was there after %v, and after %v where everybody was asked first", address, r.Outcome, r.Text, handed, asked)
		}
		w.want("stop", map[string]any{"address": address}, resources.OK, "")
		w.at(w.far)
		w.add("far0", address)
		w.at(w.near)
		if r, _ := start(address, true); r.Outcome != resources.Failed || !strings.Contains(r.Text, "in use by the machine") {
			t.Errorf("%s: %v %s", address, r.Outcome, r.Text)
		}
		w.want("probe", map[string]any{"address": address}, resources.NotRunning, "")
	}
}

func TestLifeOfAnIPv6Address(t *testing.T) {
	w := newWire(t)
	w.linkLocalReady()
	w.at(w.far)
	ifi, err := net.InterfaceByName("far0")
	w.must(err)
	conn, _, err := ndp.Listen(ifi, ndp.LinkLocal)
	w.must(err)
	defer conn.Close()
	w.must(conn.JoinGroup(netip.IPv6LinkLocalAllNodes()))
	w.at(w.near)
	spec := map[string]any{"address": "2001:db8::10/64", "interface": "near0", "reach": "2001:db8::1"}
	w.want("start", spec, resources.OK, "near0")
	w.want("check", spec, resources.OK, "")

	w.must(conn.SetReadDeadline(time.Now().Add(20 * time.Second)))
	for {
		m, _, _, err := conn.ReadFrom()
		if err != nil {
			t.Fatalf("no unsolicited advertisement was seen: %v", err)
		}
		if na, ok := m.(*ndp.NeighborAdvertisement); ok && na.TargetAddress.String() == "2001:db8::10" && na.Override && !na.Solicited {
			break
		}
	}
	w.want("stop", spec, resources.OK, "")
	w.want("probe", spec, resources.NotRunning, "")
}

// Without a link-local address the question cannot be asked; the kernel's own
// detection then decides.
func TestIPv6WithoutLinkLocalWaitsForTheKernel(t *testing.T) {
	w := newWire(t)
	w.at(w.far)
	w.add("far0", "2001:db8::10/64")
	w.at(w.near)
	w.must(netlink.LinkSetIP6AddrGenMode(w.link("near0"), nl.IN6_ADDR_GEN_MODE_NONE))
	addrs, err := netlink.AddrList(w.link("near0"), netlink.FAMILY_V6)
	w.must(err)
	for _, a := range addrs {
		w.must(netlink.AddrDel(w.link("near0"), &a))
	}
	w.want("start", map[string]any{"address": "2001:db8::10/64", "interface": "near0"}, resources.Failed, "another machine has it")
	w.want("start", map[string]any{"address": "2001:db8::11/64", "interface": "near0"}, resources.OK, "")
}

func TestTheCheckSeesTheNetwork(t *testing.T) {
	w := newWire(t)
	spec := map[string]any{"address": "192.0.2.10/24", "interface": "near0", "reach": "192.0.2.1"}
	w.want("start", spec, resources.OK, "")
	w.want("check", spec, resources.OK, "")
	w.want("check", map[string]any{"address": "192.0.2.10/24", "reach": "192.0.2.77"}, resources.Failed, "192.0.2.77 does not answer")
	w.want("check", map[string]any{"address": "192.0.2.10/24", "interface": "other0"}, resources.Failed, "not on other0")
	w.at(w.far)
	w.must(netlink.LinkSetDown(w.link("far0")))
	w.at(w.near)
	w.until("the carrier is gone", func() bool { return w.link("near0").Attrs().OperState == netlink.OperDown })
	w.want("check", spec, resources.Failed, "no carrier")
	w.want("start", map[string]any{"address": "192.0.2.11/24", "interface": "near0"}, resources.Failed, "no carrier")
	w.want("stop", spec, resources.OK, "")
}

// The gateway is not on the link: an echo request has to do.
func TestReachBeyondTheLink(t *testing.T) {
	w := newWire(t)
	w.at(w.far)
	w.must(netlink.LinkSetUp(w.link("lo")))
	w.add("lo", "198.51.100.1/32")
	w.at(w.near)
	w.add("near0", "192.0.2.5/24")
	w.must(netlink.RouteAdd(&netlink.Route{Gw: net.ParseIP("192.0.2.1")}))
	spec := map[string]any{"address": "192.0.2.10/24", "reach": "198.51.100.1"}
	w.want("start", spec, resources.OK, "")
	w.want("check", spec, resources.OK, "")
	spec["reach"] = "198.51.100.2"
	w.want("check", spec, resources.Failed, "198.51.100.2")
}

// Removing the first address of a subnet must not take the others along.
func TestStopLeavesTheOtherAddresses(t *testing.T) {
	w := newWire(t)
	first := map[string]any{"address": "192.0.2.10/24", "interface": "near0"}
	second := map[string]any{"address": "192.0.2.11/24", "interface": "near0"}
	w.want("start", first, resources.OK, "")
	w.want("start", second, resources.OK, "")
	w.want("stop", first, resources.OK, "")
	if !w.has("192.0.2.11") {
		t.Error("the second address vanished with the first")
	}
	w.want("check", second, resources.OK, "")
}

func TestTheInterfaceIsFoundOrAskedFor(t *testing.T) {
	w := newWire(t)
	spec := map[string]any{"address": "192.0.2.10/24"}
	w.want("start", spec, resources.Failed, "name one with interface: lo, near0")
	w.want("start", map[string]any{"address": "192.0.2.10/24", "interface": "eth9"}, resources.Failed, "there are lo, near0")
	w.must(netlink.LinkAdd(&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "second0"}, PeerName: "third0"}))
	w.add("near0", "192.0.2.5/24")
	w.add("second0", "192.0.2.6/24")
	w.want("start", spec, resources.Failed, "more than one interface")
	w.want("start", map[string]any{"address": "192.0.2.10/24", "interface": "second0"}, resources.Failed, "is down")
	w.must(netlink.LinkSetUp(w.link("lo")))
	w.want("start", map[string]any{"address": "203.0.113.9/32", "interface": "lo"}, resources.OK, "on lo")
}

func TestBadSpecifications(t *testing.T) {
	for name, spec := range map[string]string{
		"no address":      `{}`,
		"no length":       `{"address": "192.0.2.10"}`,
		"unspecified":     `{"address": "0.0.0.0/0"}`,
		"multicast":       `{"address": "224.0.0.1/24"}`,
		"mixed families":  `{"address": "192.0.2.10/24", "reach": "2001:db8::1"}`,
		"reach is itself": `{"address": "192.0.2.10/24", "reach": "192.0.2.10"}`,
		"unknown key":     `{"address": "192.0.2.10/24", "nic": "eth0"}`,
		"too many":        `{"address": "192.0.2.10/24", "arp": 1000}`,
	} {
		req := resources.Request{Spec: json.RawMessage(spec), Timeout: time.Second}
		if r := (ip.Agent{}).Start(context.Background(), req); r.Outcome != resources.Failed {
			t.Errorf("%s: %v: %s; want failed", name, r.Outcome, r.Text)
		}
	}
}
