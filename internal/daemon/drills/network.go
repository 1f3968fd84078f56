package drills

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os/exec"
	"slices"
	"strings"
	"time"

	"github.com/holdfast-ha/holdfast/cluster"
	"github.com/holdfast-ha/holdfast/storage/program"
)

const (
	table   = "holdfast_drill" // of nftables, family inet: nobody else's
	nftTime = 10 * time.Second
)

// rules drops what nodes say to each other: UDP and TCP of the links' ports, to and
// from this node's addresses on them. The ports are elements of a set that the kernel
// forgets by itself after d (nft(8), "timeout"): the rules then match nothing, whatever
// has become of who made them.
func rules(links []netip.AddrPort, peers []uint16, d time.Duration) string {
	ports := append([]uint16{}, peers...)
	addresses := map[string][]string{}
	for _, l := range links {
		family := "ip"
		if l.Addr().Unmap().Is6() {
			family = "ip6"
		}
		addresses[family] = append(addresses[family], l.Addr().Unmap().WithZone("").String())
		ports = append(ports, l.Port())
	}
	slices.Sort(ports)
	var elements, hear, say []string
	for _, p := range slices.Compact(ports) {
		elements = append(elements, fmt.Sprintf("%d timeout %dms", p, d.Milliseconds()))
	}
	for _, family := range []string{"ip", "ip6"} {
		if list := addresses[family]; len(list) > 0 {
			slices.Sort(list)
			to := strings.Join(slices.Compact(list), ", ")
			hear = append(hear, fmt.Sprintf("%s daddr { %s } meta l4proto { tcp, udp } th dport @cut drop", family, to))
			say = append(say, fmt.Sprintf("%s saddr { %s } meta l4proto { tcp, udp } th dport @cut drop", family, to))
		}
	}
	return fmt.Sprintf(`table inet %[1]s
delete table inet %[1]s
table inet %[1]s {
	set cut {
		type inet_service
		flags timeout
		elements = { %[2]s }
	}
	chain hear {
		type filter hook input priority -310; policy accept;
		%[3]s
	}
	chain say {
		type filter hook output priority -310; policy accept;
		%[4]s
	}
}
`, table, strings.Join(elements, ", "), strings.Join(hear, "\n\t\t"), strings.Join(say, "\n\t\t"))
}

// cutNetwork puts the rules into force.
func (d *Drills) cutNetwork(ctx context.Context, v *cluster.View, length time.Duration) error {
	var peers []uint16
	for i := range v.State.Nodes {
		for _, l := range v.State.Nodes[i].Links {
			if a, err := netip.ParseAddrPort(l); err == nil {
				peers = append(peers, a.Port())
			}
		}
	}
	return d.nft(ctx, rules(d.Links, peers, length), "-f", "-")
}

// mendNetwork takes the rules away; that they are not there is no error.
func (d *Drills) mendNetwork(ctx context.Context) error {
	return d.nft(ctx, "", "table inet "+table+"; delete table inet "+table)
}

func (d *Drills) nft(ctx context.Context, stdin string, args ...string) error {
	ctx, cancel := context.WithTimeout(ctx, nftTime)
	defer cancel()
	res, err := d.Call(ctx, program.Command{Argv: append([]string{"nft"}, args...), Stdin: stdin})
	switch {
	case errors.Is(err, exec.ErrNotFound):
		return errors.New("nft is not installed, by which a drill cuts the network: apt-get install nftables")
	case err != nil:
		return fmt.Errorf("nft: %w", err)
	case res.Code != 0:
		return fmt.Errorf("nft: %s", res.Said())
	}
	return nil
}
