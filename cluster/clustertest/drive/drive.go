// Package drive is one quorum disk of a simulated cluster with what is wrong with it,
// apart from what only one node sees: its content is package media's.
package drive

import (
	"time"

	"github.com/holdfast-ha/holdfast/cluster/clustertest/media"
	"github.com/holdfast-ha/holdfast/cluster/ident"
)

// Disk is one shared quorum disk.
type Disk struct {
	UUID   ident.UUID
	Slow   float64 // factor on every latency; zero: 1
	Errors float64 // share of requests that fail; half of those have landed
	// ReadOnly refuses every write, Full those that need new space: the bodies of
	// the register and the status blobs.
	ReadOnly, Full bool
	// Gone says that nobody reaches it any more: it was taken away.
	Gone  bool
	Array Array
	On    *media.Disk
	Index int // among all that the world has ever had
}

// Array is what a disk stands on. While it holds, as during a failover of its
// controllers, no request of any host is carried out: each waits, also those of
// hosts that are reset meanwhile.
type Array struct {
	holds   bool
	since   time.Duration
	waiting []func()
}

// Hold makes the array hold every request back from now on.
func (a *Array) Hold(now time.Duration) { a.holds, a.since = true, now }

// Waits keeps a request for later, if the array holds.
func (a *Array) Waits(request func()) bool {
	if a.holds {
		a.waiting = append(a.waiting, request)
	}
	return a.holds
}

// Free lets the array carry everything out, and says since when it had held that back.
func (a *Array) Free() (since time.Duration) {
	list := a.waiting
	a.holds, a.waiting = false, nil
	for _, f := range list {
		f()
	}
	return a.since
}

// Landing is what a request does to a disk: all of it, or only its front part.
type Landing func(torn bool)

// Body lands the body of a block.
func (k *Disk) Body(b media.Block) Landing { return func(torn bool) { k.On.PutBody(b, torn) } }

// Beat lands a sector of the beat table.
func (k *Disk) Beat(id ident.NodeID, raw []byte) Landing {
	return func(torn bool) { k.On.PutBeat(id, raw, torn) }
}

// Snapshot is what a disk held at an instant.
type Snapshot struct{ on *media.Disk }

// Snapshot copies what a disk holds.
func (k *Disk) Snapshot() Snapshot { return Snapshot{k.On.Copy()} }

// Restore makes a disk forget what came after a snapshot.
func (k *Disk) Restore(s Snapshot) { k.On = s.on.Copy() }

// Wipe has somebody overwrite a disk: with zeros, or formatted anew under its name.
func (k *Disk) Wipe(formatted bool) { k.On = k.On.Wiped(formatted) }
