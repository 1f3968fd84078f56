package doctor

import (
	"fmt"
	"slices"
	"strings"
)

func linkChecks() []check {
	const s = "links"
	return []check{
		{s, "count", real(linkCount)},
		{s, "card", real(card)},
		{s, "mtu", real(mtu)},
		{s, "separate", real(separate)},
		{s, "loss", real(loss)},
		{s, "heard", heard},
	}
}

func linkCount(f *Facts) []Finding {
	if len(f.Links) == 1 {
		return list(warn("", "holdfast join --help", "one link only: one cable or switch that fails makes every node look silent on the network; write a second address under links in node.yaml"))
	}
	return nil
}

func card(f *Facts) []Finding {
	var found []Finding
	for _, l := range f.Links {
		switch {
		case l.Card == "":
			found = append(found, fail(l.Address, "ip address", "no network card of this machine has this address"))
		case !l.Up:
			found = append(found, fail(l.Address, "ip link show "+l.Card, "%s is down, or has no carrier", l.Card))
		default:
			found = append(found, ok(l.Address, "%s is up", l.Card))
		}
	}
	return found
}

// packet is the largest heartbeat, with its headers, bytes.
const packet = 1200 + 48

// mtu: beats are never fragmented, and both ends of a network should agree.
func mtu(f *Facts) []Finding {
	var found []Finding
	for i, l := range f.Links {
		if l.MTU == 0 {
			continue
		}
		if l.MTU < packet {
			found = append(found, fail(l.Address, fmt.Sprintf("ip link set %s mtu 1500", l.Card), "its MTU of %d is below the %d bytes of a beat", l.MTU, packet))
			continue
		}
		var differ []string
		for _, p := range f.Cluster.Peers {
			if i < len(p.MTU) && p.MTU[i] != 0 && p.MTU[i] != l.MTU {
				differ = append(differ, fmt.Sprintf("%s has %d", p.Name, p.MTU[i]))
			}
		}
		if len(differ) > 0 {
			found = append(found, warn(l.Address, fmt.Sprintf("ip link set %s mtu 1500", l.Card), "its MTU is %d, but %s: large packets of services are lost between them without a word", l.MTU, strings.Join(differ, ", ")))
			continue
		}
		found = append(found, ok(l.Address, "MTU %d", l.MTU))
	}
	return found
}

// separate: two links that share a card, a switch port or a subnet fail together.
func separate(f *Facts) []Finding {
	var found []Finding
	for i, a := range f.Links {
		for _, b := range f.Links[i+1:] {
			if a.Card == "" || b.Card == "" {
				continue
			}
			both := slices.DeleteFunc(slices.Clone(a.Leaves), func(s string) bool { return !slices.Contains(b.Leaves, s) })
			switch on := a.Address + " and " + b.Address; {
			case a.Card == b.Card:
				found = append(found, warn(on, "ip -d link show "+a.Card, "both are on %s: they fail together", a.Card))
			case len(both) > 0:
				found = append(found, warn(on, "ip -d link show "+a.Card, "both go over %s: they fail together", strings.Join(both, ", ")))
			case a.Subnet != "" && a.Subnet == b.Subnet:
				found = append(found, warn(on, "ip route get "+host(b.Address), "both are in %s: the kernel sends to it by one card, whichever link is meant", a.Subnet))
			default:
				found = append(found, ok(on, "on cards of their own: %s, %s", a.Card, b.Card))
			}
		}
	}
	return found
}

func host(address string) string {
	if i := strings.LastIndexByte(address, ':'); i > 0 {
		return strings.Trim(address[:i], "[]")
	}
	return address
}

// loss: a card that loses one packet in a thousand since boot has a bad cable.
func loss(f *Facts) []Finding {
	var found []Finding
	for _, l := range f.Links {
		switch {
		case l.Card == "" || l.Packets == 0:
		case l.Errors*1000 > l.Packets:
			found = append(found, warn(l.Address, "ip -s link show "+l.Card, "%s has lost %d of %d packets since boot", l.Card, l.Errors, l.Packets+l.Errors))
		default:
			found = append(found, ok(l.Address, "%s has lost %d of %d packets since boot", l.Card, l.Errors, l.Packets+l.Errors))
		}
	}
	return found
}

// heard: what the daemon hears.
func heard(f *Facts) []Finding {
	if f.Cluster.Status == nil {
		return nil
	}
	var found []Finding
	for _, l := range f.Cluster.Status.Links {
		on := fmt.Sprintf("%s to %s", l.Local, l.Peer)
		switch {
		case l.Up:
			found = append(found, ok(on, "%s is heard", l.Peer))
		default:
			found = append(found, warn(on, "ping -c 3 -I "+host(l.Local)+" "+host(l.Remote), "%s is not heard at %s: %s", l.Peer, l.Remote, orWord(l.Error, "nothing arrives; is UDP let through?")))
		}
	}
	return found
}
