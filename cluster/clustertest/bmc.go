package clustertest

import (
	"github.com/holdfast-ha/holdfast/cluster"
	"github.com/holdfast-ha/holdfast/cluster/clustertest/controller"
)

// Controller is what a node's management controller does.
type Controller = controller.Kind

// The kinds of controller, as package controller tells them.
const (
	Honest, Unreachable, Hanging, SaysOffOnce = controller.Honest, controller.Unreachable, controller.Hanging, controller.SaysOffOnce
	SaysOff, SaysOn, DiesWithNode             = controller.SaysOff, controller.SaysOn, controller.DiesWithNode
)

// fence is the daemon's side of the controllers.
func (n *Node) fence(a cluster.Fence) {
	to := n.w.Nodes[a.Node-1]
	if a.Kind == cluster.FenceOff {
		n.w.happened(to, "its controller is asked to cut the power")
	}
	off := func() {
		if to.machine.up {
			n.w.happened(to, "was switched off by its controller")
			to.Resets++
			to.PowerOff()
		}
	}
	n.attempts = append(n.attempts, controller.Begin(a,
		controller.Machine{Kind: func() Controller { return to.BMC }, Up: to.Up, On: to.PowerOn, Off: off, After: n.w.After},
		controller.Daemon{Later: n.later, Clock: n.clock, Tell: func(e cluster.FenceDone) { n.Give(e) }}))
}

// stopFence calls an attempt off.
func (n *Node) stopFence(op uint64) {
	for _, t := range n.attempts {
		if t.Fence.Op == op {
			t.Stop()
		}
	}
}
