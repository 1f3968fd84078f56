package cluster

import (
	"fmt"
	"time"

	"github.com/holdfast-ha/holdfast/cluster/ident"
)

// keyMark is the first byte of every reservation key of Holdfast: 'H'.
const keyMark = 0x48

// KeyOf is the reservation key of one incarnation of a node, readable in the
// output of any tool: 'H', the first three bytes of the cluster's identity, the
// node's number, and the low three bytes of its incarnation. No other
// incarnation of the node uses it again.
func KeyOf(cluster ident.UUID, node ident.NodeID, inc ident.Incarnation) uint64 {
	return keyMark<<56 | clusterBits(cluster)<<32 | uint64(node)<<24 | uint64(inc.N)&0xffffff
}

func clusterBits(u ident.UUID) uint64 { return uint64(u[0])<<16 | uint64(u[1])<<8 | uint64(u[2]) }

// OwnKey says whether key was made by KeyOf for some node of this cluster.
func OwnKey(cluster ident.UUID, key uint64) bool {
	return key>>32 == keyMark<<24|clusterBits(cluster)
}

// KeyText is a key in words: whose it is, as far as the key itself says.
func KeyText(key uint64) string {
	if key>>56 != keyMark {
		return fmt.Sprintf("%#016x", key)
	}
	return fmt.Sprintf("%#016x (node %d, incarnation %d of cluster %06x)", key, key>>24&0xff, key&0xffffff, key>>32&0xffffff)
}

// ReserveKind is what a Reserve does.
type ReserveKind uint8

// The kinds of Reserve. All read keys and reservation back at the end.
const (
	ReserveRegister ReserveKind = iota + 1 // register Key on every path, and hold the reservation
	ReserveTake                            // take every other key of the cluster away, but those of Keep, and abort their commands
	ReserveCheck                           // change nothing
)

// String is the word used in timelines.
func (k ReserveKind) String() string {
	return [...]string{"?", "register", "preempt and abort", "check"}[k&3]
}

// Reserve works on the persistent reservations of every LUN below the storage of
// a service. It ends in a ReserveDone.
type Reserve struct {
	Op      uint64
	Kind    ReserveKind
	Service *Service
	Key     uint64   // of this incarnation
	Keep    []uint64 // for ReserveTake: keys that may stay
	Victim  uint64   // for ReserveTake: the key whose commands have to be aborted; 0: none in particular
	Within  time.Duration
}

// ReserveDone is the end of a Reserve.
type ReserveDone struct {
	Op uint64
	// Outcome is FenceProven only if everything was read back as it should be on
	// every LUN: this node is registered on every path and the reservation is held
	// and, of a ReserveTake, no key but Key and Keep is there. A part of the LUNs is
	// no proof.
	Outcome FenceOutcome
	// InFlight says that a REGISTER has not returned yet and may still take effect.
	// Another ReserveDone follows when all have.
	InFlight bool
	// Drain says that commands of a key that was taken away, or of Victim where this
	// node did not find its key any more, may not have been aborted: what they write has landed only when the drain time has passed since Gone.
	Drain bool
	// Forgets says that one of the LUNs loses all keys, and with them the reservation,
	// when its target loses power.
	Forgets bool          `json:",omitempty"`
	Gone    ident.Instant // of a ReserveTake: no earlier than when the keys were read as gone
	LUNs    []string      // exactly those that the outcome is about
	Text    string        // evidence, or what is wrong, in words
}

func (Reserve) action()    {}
func (ReserveDone) event() {}
