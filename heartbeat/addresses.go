package heartbeat

import (
	"net/netip"

	"github.com/holdfast-ha/holdfast/cluster"
	"github.com/holdfast-ha/holdfast/cluster/ident"
)

// PeersOf gives the addresses of every other node, by link. An address that does
// not parse leaves that link out.
func PeersOf(s *cluster.State, self ident.NodeID) map[ident.NodeID][]netip.AddrPort {
	peers := map[ident.NodeID][]netip.AddrPort{}
	for i := range s.Nodes {
		n := &s.Nodes[i]
		if n.ID == self {
			continue
		}
		addresses := make([]netip.AddrPort, min(len(n.Links), MostLinks))
		for k := range addresses {
			addresses[k], _ = netip.ParseAddrPort(n.Links[k])
		}
		peers[n.ID] = addresses
	}
	return peers
}
