package daemon

import (
	"net/netip"

	"github.com/holdfast-ha/holdfast/cluster"
	"github.com/holdfast-ha/holdfast/cluster/ident"
	"github.com/holdfast-ha/holdfast/heartbeat"
	"github.com/holdfast-ha/holdfast/internal/clock"
	"github.com/holdfast-ha/holdfast/internal/guardwire"
)

// Clock is the part of clock.Platform that the daemon may use: it resets nobody.
type Clock interface {
	// Now is the interval clock; see clock.Platform.
	Now() (ident.Instant, error)
	// Identity is who this machine is, and which boot of it.
	Identity() clock.Identity
}

// Guard is a connection to the guard; guardwire.Client is one.
type Guard interface {
	// Snapshot is what the guard said when the connection was made.
	Snapshot() *guardwire.Snapshot
	// Send sends an order and returns the number that its echo repeats.
	Send(o guardwire.Order) (uint64, error)
	// Receive waits for the next message.
	Receive() (guardwire.Message, error)
	// Close ends the connection.
	Close() error
}

// Heard is what arrives by the heartbeat links.
type Heard interface {
	// Messages gives what was received.
	Messages() <-chan heartbeat.Received
	// LinkStates tells how every link to every peer is doing.
	LinkStates() []heartbeat.LinkState
}

// Links are the heartbeat links; heartbeat.Links are some.
type Links interface {
	Heard
	// Send sends to a peer on every link, and never waits.
	Send(to ident.NodeID, m *cluster.Message) error
	// SetPeers replaces the peers and their addresses.
	SetPeers(peers map[ident.NodeID][]netip.AddrPort)
	// SetKeys changes the keys: one to seal with, all to open with.
	SetKeys(key heartbeat.Key, others ...heartbeat.Key)
}

// Core decides; core.Core is one.
type Core interface {
	// Step takes one event and returns what is to be done.
	Step(now ident.Instant, ev cluster.Event) []cluster.Action
	// NextDeadline is when it wants a Tick.
	NextDeadline() ident.Instant
	// View is its world.
	View(now ident.Instant) cluster.View
}

// Recorder keeps what the core was told and what it answered; decisions.Log is
// one. It never waits.
type Recorder interface {
	// Step records one step.
	Step(now ident.Instant, ev cluster.Event, actions []cluster.Action)
	// Looked records that the core was asked for its View.
	Looked(now ident.Instant)
}
