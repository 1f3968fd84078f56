package cluster

import "github.com/holdfast-ha/holdfast/cluster/ident"

// DiskStage is how far a change of the set of quorum disks has come.
type DiskStage uint8

// A set is settled; another is offered, and members show that they reach it; or
// both count.
const (
	DisksSettled DiskStage = iota
	DisksOffered
	DisksJoint
)

// String is the word that status shows.
func (s DiskStage) String() string {
	return [...]string{"settled", "offered", "joint", "?"}[s&3]
}

// DiskChange is the change of the set of quorum disks that is under way; see
// package cluster/diskset.
type DiskChange struct {
	Stage DiskStage
	// Disks is the set to come while it is offered, and the set that goes while
	// both count; State.Disks is the other one.
	Disks []ident.UUID
	// Paths tells, for every disk of the newest set, where who asked for it
	// found it; empty where that is not known. A node looks there first.
	Paths []string
	Was   []string // the same for the older set, until the change has settled
	By    ident.NodeID
	Inc   ident.Incarnation // of By: an offer ends with it
	Text  string            // why the latest offer was withdrawn, for people
}

// DiskUse is one disk that a node opens. The order that carries it names every
// disk; those that are not named are closed.
type DiskUse struct {
	Place int // the number that tables and the register's work give the disk
	UUID  ident.UUID
	Path  string // where it may be found; empty: where it was
	Sets  uint8  // bit i: it counts in set i; 0: it is opened, and beaten on, and does not count
}

// ChangeDisks offers a set of quorum disks in the place of the present one.
// From is the set that it was made for.
type ChangeDisks struct {
	From, To []ident.UUID
	Paths    []string // of To
}

// KeepDisks withdraws the offer of another set of quorum disks.
type KeepDisks struct{ Why string }

func (ChangeDisks) request() {}
func (KeepDisks) request()   {}

// Epoch is how often a cluster was recovered onto new disks after the majority of
// the former ones was lost for good. It is the upper 16 bits of the generation of
// the set, so that superblocks, beats, proofs and messages carry it. Disks of a
// lower epoch were given up: what they hold is out of date, however many of them
// come back.
func Epoch(gen uint32) uint32 { return gen >> 16 }

// NextEpoch is the first generation of the epoch after that of gen.
func NextEpoch(gen uint32) uint32 { return (Epoch(gen)+1)<<16 + 1 }
