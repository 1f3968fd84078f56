// Package wire is the network of a simulated cluster: which beats arrive, how
// often, and how late; and what carries them. It knows no node but by its number.
package wire

import (
	"time"

	"github.com/holdfast-ha/holdfast/cluster"
	"github.com/holdfast-ha/holdfast/cluster/ident"
)

// Net is what becomes of network beats. The zero value delivers every one of
// them once. It is used by one goroutine.
type Net struct {
	// Loss and Dup are the shares of all beats that are lost and doubled.
	Loss, Dup float64
	// Lag is how much longer than usual one may be on its way.
	Lag time.Duration
	// Dropped counts the beats that a link which was cut, or that loses some, has kept.
	Dropped int
	links   map[way]float64 // share of the beats that is lost, one way
}

// Links turn network beats into packets and back, for one life of a daemon.
type Links interface {
	// Seal makes the packets of a message.
	Seal(to ident.NodeID, m *cluster.Message) ([][]byte, error)
	// Open returns what a packet completes: nil if that is nothing, and whether it
	// was refused because it had been seen, or is of a former life of its sender.
	Open(packet []byte) (m *cluster.Message, replayed bool)
}

type way struct{ from, to ident.NodeID }

// Lose has a share of what from sends to to lost from now on: 0 mends the link,
// and 1 cuts it.
func (n *Net) Lose(from, to ident.NodeID, share float64) {
	if n.links == nil {
		n.links = map[way]float64{}
	}
	if n.links[way{from, to}] = share; share == 0 {
		delete(n.links, way{from, to})
	}
}

// Cut cuts (or mends) what from sends to to.
func (n *Net) Cut(from, to ident.NodeID, cut bool) {
	share := 0.0
	if cut {
		share = 1
	}
	n.Lose(from, to, share)
}

// CutAll cuts (or mends) every link between so many nodes.
func (n *Net) CutAll(nodes int, cut bool) {
	for a := range nodes {
		for b := range nodes {
			n.Cut(ident.NodeID(a+1), ident.NodeID(b+1), cut)
		}
	}
}

// Mend ends everything that is wrong with it.
func (n *Net) Mend() { *n = Net{Dropped: n.Dropped} }

// Copies is how often a beat arrives: once, but for faults. chance is drawn from
// 0 to 1, as often as a fault asks for it.
func (n *Net) Copies(from, to ident.NodeID, chance func() float64) int {
	if share := n.links[way{from, to}]; share == 1 || share > 0 && chance() < share {
		n.Dropped++
		return 0
	}
	copies := 1
	if n.Loss > 0 && chance() < n.Loss {
		copies--
	}
	if n.Dup > 0 && chance() < n.Dup {
		copies++
	}
	return copies
}
