// Package cluster makes a Holdfast cluster of machines of the rig: the real programs, one quorum disk and one data disk that
// all of them have, two separate networks, a watchdog card and softdog in each, and a disk of its own for what a node keeps
// across boots. There is no service manager in the machines: guard and daemon are started by the rig, after every boot.
//
// The service of the cluster is the writer of package witness, straight on the data disk, each node in a
// region of its own, so that a Watch sees in the file behind that disk who wrote when.
package cluster
