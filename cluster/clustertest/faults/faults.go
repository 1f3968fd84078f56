// Package faults is what a test does to a simulated node: which of its parts fail,
// hang, lie or take long, and the deliberate mistakes by which a test sees that the
// oracles notice anything at all.
package faults

import (
	"time"

	"github.com/holdfast-ha/holdfast/cluster/clustertest/controller"
	"github.com/holdfast-ha/holdfast/cluster/clustertest/luns"
	"github.com/holdfast-ha/holdfast/cluster/clustertest/members"
)

// Broken are deliberate mistakes. A test switches one of them on to see that
// the oracles notice it: without that, a green simulator would mean nothing.
type Broken struct {
	WaitLess          time.Duration // every proof by time is this much too early
	StampAtCompletion bool          // the lease counts from the completion of a beat, not from its issue
	NoConfirm         bool          // a read that was issued before the verdict counts as its confirmation
	FeedOn            bool          // the guard feeds whatever the lease says
}

// Faults are what a test does to a node. They may be changed at any time.
type Faults struct {
	Frozen bool // nothing of it executes; see Freeze and Thaw
	Disks
	members.Faults
	NoReboot bool            // stays off after a reset
	LUNs     luns.Faults     // between it and the data LUNs
	OrderLag time.Duration   // how much longer than usual an order is on its way to the guard
	Poison   uint64          // the version of the register that its core panics on; 0: none
	BMC      controller.Kind // what its management controller does, where it has one
	Register
}

// Disks are what is wrong between a node and each of the disks.
type Disks struct {
	DiskCut  []bool        // requests fail, and do nothing
	DiskHang []bool        // requests do not complete; see Unhang
	ReadOnly []bool        // writes fail: the disk is write-protected for this node
	Clones   []bool        // the path leads to a clone of it, which is not opened
	DiskLag  time.Duration // how much longer than usual every request takes, as over a bad path
}

// New returns a node without faults, in a world of so many disks at most.
func New(disks int) Faults {
	return Faults{
		Disks:  Disks{DiskCut: make([]bool, disks), DiskHang: make([]bool, disks), ReadOnly: make([]bool, disks), Clones: make([]bool, disks)},
		Faults: members.Faults{Pace: members.Pace{StartTime: 300 * time.Millisecond, StopTime: 200 * time.Millisecond}},
	}
}

// Register are shares of a node's register writes.
type Register struct {
	RegDrops float64 // are reported as failed although they landed
	RegLate  float64 // are reported as failed and land much later
}
