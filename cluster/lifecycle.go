package cluster

import (
	"slices"
	"time"

	"github.com/holdfast-ha/holdfast/cluster/ident"
)

// Protocol is the version of the rules that daemons keep together. It is an
// ordered enumeration: a node that speaks one speaks all below it.
type Protocol uint8

// The protocols. A cluster begins to use one when every member speaks it, and
// from then on admits nobody who does not.
const (
	// Protocol1 is the first: membership, grants, proofs.
	Protocol1 Protocol = 1 + iota
	// Protocol2 has maintenance, quarantine and the planned stop. A node that
	// speaks less would start and stop services in spite of them.
	Protocol2
)

// Spoken is the protocol of this program.
const Spoken = Protocol2

// Life is what the cluster agrees on about its own course.
type Life struct {
	Protocol Protocol // in use; 0 stands for Protocol1
	// Clock is how long coordinators have counted while something was to end by
	// itself. It stands still otherwise, never falls, and is no time of day: what
	// ends, ends at a value of it. A change of coordinator loses at most ClockStep.
	Clock       time.Duration
	Maintenance Maintenance // of the whole cluster
	Stop        Stop
	Removed     []Removed // by ID: the last of those that had a slot which is free now
}

// ClockStep is the longest part of Life.Clock that is counted but not committed.
const ClockStep = time.Minute

// Maintenance leaves services as they are until it ends: nothing is started,
// stopped or moved. The zero value is none.
type Maintenance struct {
	Until  time.Duration // on Life.Clock
	Remind time.Duration // on Life.Clock: when to remind of its end; 0: done
	By     string        // who asked for it
}

// On says that there is a maintenance.
func (m *Maintenance) On() bool { return m.Until != 0 }

// Stop is the planned stop of the whole cluster.
type Stop struct {
	On bool
	By string // who asked for it
}

// Removed remembers what had a slot before, so that the next node in it begins
// above every incarnation that was ever registered there.
type Removed struct {
	ID   ident.NodeID
	Dead uint32 // highest incarnation that had the slot
}

// NodeLife is what the cluster remembers of a node beyond its incarnation.
type NodeLife struct {
	Protocol    Protocol // that its latest incarnation speaks; 0 stands for Protocol1
	Fenced      Fenced
	Crashes     []time.Duration // ends that nobody asked for, on Life.Clock, the oldest first
	Quarantine  Quarantine
	Maintenance Maintenance
}

// Fenced is the latest fencing of a node: it stays when the node comes back, so
// that the node and its admins can be told. What proved the end is the Proof of
// the same incarnation.
type Fenced struct {
	Inc   ident.Incarnation
	By    ident.NodeID // whose commit it was; 0: never fenced
	Ver   uint64       // register version that chose it
	Asked bool         // an administrator asked for it
	Why   string       // at most 200 bytes
}

// Quarantine keeps services from a node that has crashed or was fenced too
// often. It is a member all the same. The zero value is none.
type Quarantine struct {
	Until time.Duration // on Life.Clock
	Why   string        // at most 200 bytes
}

// On says that there is a quarantine.
func (q *Quarantine) On() bool { return q.Until != 0 }

// FlapRule says when a node is quarantined, and for how long.
type FlapRule struct {
	Budget               // a Count of 0 means never
	For    time.Duration // how long it lasts
}

// Uses says that the cluster has begun to use a protocol.
func (s *State) Uses(p Protocol) bool { return max(s.Life.Protocol, Protocol1) >= p }

// Maintained returns the maintenance that holds a service as it is, and what it
// is a maintenance of, in words; nil if there is none. A service that nobody
// owns is held by its latest owner's, so that a node which dies while somebody
// works on it is not failed over.
func (s *State) Maintained(g *Grant) (m *Maintenance, of string) {
	if s.Life.Maintenance.On() {
		return &s.Life.Maintenance, "the cluster"
	}
	if g.Maintenance.On() {
		return &g.Maintenance, "service " + g.Service
	}
	owner := g.Owner
	if owner == 0 && g.Proof.Kind != NoProof {
		owner = g.Proof.Node
	}
	if n := s.Node(owner); n != nil && n.Life.Maintenance.On() {
		return &n.Life.Maintenance, "node " + n.Name
	}
	return nil, ""
}

// Goes says that a service is to be stopped where it runs, in good order: the
// cluster is being stopped, its administrator or its configuration says so, it is
// to be elsewhere, or its node lets go of everything.
func (s *State) Goes(g *Grant) bool {
	if g.Owner == 0 {
		return false
	}
	if s.Life.Stop.On {
		return true
	}
	n := s.Node(g.Owner)
	if n != nil && n.Phase == Leaving {
		return true
	}
	if m, _ := s.Maintained(g); m != nil || g.Frozen {
		return false
	}
	_, known := s.Conf.Service(g.Service)
	return g.Stopped || g.Yield != "" || len(g.Uses) > 0 || g.Want != 0 && g.Want != g.Owner || n != nil && n.Standby || !known && s.Conf != nil
}

// Dependent returns a service that starts after this one and is to be stopped as
// well, and therefore first; empty if there is none. also says of a service that
// is still owned that it is to be stopped too, whatever the state says; it may be
// nil.
func (s *State) Dependent(service string, also func(*Grant) bool) string {
	of := service
	if c, ok := s.Conf.Service(service); ok && c.Copy.Of != "" {
		of = c.Copy.Of
	}
	for i := range s.Services {
		g := &s.Services[i]
		if g.Owner == 0 {
			continue
		}
		if c, ok := s.Conf.Service(g.Service); ok && slices.Contains(c.After, of) && (s.Goes(g) || also != nil && also(g)) {
			return g.Service
		}
	}
	return ""
}

// AnySole stands in Grant.Uses for what is not known, because the configuration
// that the service was started with could not be read where another was applied.
const AnySole = "*"

// InUse says what of a service another one may still use, and which: something that
// the configuration has given from one to the other. Until the term of the one is
// over the other starts nothing. Empty if there is nothing.
func (s *State) InUse(service string) (what, by string) {
	c, ok := s.Conf.Service(service)
	if !ok {
		return "", ""
	}
	for i := range s.Services {
		g := &s.Services[i]
		if len(g.Uses) == 0 || g.Service == service || g.Owner == 0 && len(g.Pending) == 0 {
			continue
		}
		for k := range c.Stack {
			if x := c.Stack[k].Sole; x != "" && (slices.Contains(g.Uses, x) || slices.Contains(g.Uses, AnySole)) {
				return x, g.Service
			}
		}
	}
	return "", ""
}

// Left is how long until an instant of Life.Clock, as far as it is counted.
func (s *State) Left(until time.Duration) time.Duration { return max(0, until-s.Life.Clock) }

// AllFree says that nobody owns any service.
func (s *State) AllFree() bool {
	for i := range s.Services {
		if s.Services[i].Owner != 0 {
			return false
		}
	}
	return true
}

// Stopped says that the cluster is, or is being, stopped as a whole.
func (s *State) Stopped() bool { return s != nil && s.Life.Stop.On }
