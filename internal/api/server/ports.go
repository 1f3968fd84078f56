// Package server answers for holdfastd on its Unix socket: the routes, who may
// use them, and how statuses, explanations and plans are made from what the core
// knows. The types of the answers are package api's.
package server

import (
	"context"
	"time"

	"github.com/holdfast-ha/holdfast/cluster"
	"github.com/holdfast-ha/holdfast/internal/api"
)

// Daemon is what the server needs of the daemon behind it.
type Daemon interface {
	// Facts is what the daemon knows now. It fails when the daemon ends.
	Facts(ctx context.Context) (Facts, error)
	// Ask puts a request to the core and waits for its reply. An error means
	// that there was none: the request may still take effect.
	Ask(ctx context.Context, r cluster.Request) (cluster.Reply, error)
	// Parse reads a cluster configuration; the nodes' names are checked where
	// they are not nil. The error is for people, with file, line and remedy. A
	// configuration that does not fit the quorum disks is refused here too.
	Parse(file string, text []byte, state *cluster.State) (*cluster.Config, error)
	// Token makes a join token, valid for a while.
	Token(ctx context.Context) (api.Token, time.Duration, error)
}

// Store is what the server needs of the daemon's files.
type Store interface {
	// Events calls each for the stored events that fit, the oldest first, and
	// with q.Follow goes on until ctx ends or each fails.
	Events(ctx context.Context, q api.EventQuery, each func(api.Event) error) error
	// Versions lists the kept copies of the configuration, the oldest first.
	Versions() ([]api.ConfigVersion, error)
	// Version reads one of them. It fails with os.ErrNotExist.
	Version(config uint64) ([]byte, error)
	// Lasted is what the latest operations of services took, by name.
	Lasted() map[string]api.Lasted
}

// Drills breaks things on purpose; drills.Drills does.
type Drills interface {
	// Step takes one step of a drill of fencing on a node.
	Step(ctx context.Context, v *cluster.View, node string, q api.DrillRequest) (*api.DrillStep, error)
	// Begin begins what a drill breaks, which ends by itself.
	Begin(ctx context.Context, v *cluster.View, q api.DrillStart) (*api.DrillRun, error)
	// Record keeps what came of a drill.
	Record(r api.DrillRecord) error
}

// Facts is everything that a status is made from.
type Facts struct {
	View          cluster.View
	Name          string // of this node
	Cluster       string // UUID
	Build         string
	Life          uint64 // of this daemon: no two of one boot have the same
	Emulated      bool
	Holder        string // second holder of the watchdogs' descriptors
	RealTime      string // what the kernel refused to the guard
	Guard         string // "connected", or what is wrong
	Watchdogs     []api.Watchdog
	Links         []api.Link
	DiskPaths     []string
	ConfigProblem string // why the committed configuration cannot be read here
	Warnings      []string
	Past
}

// Past is what has been shown of takeovers.
type Past struct {
	Last   *api.Measured // the latest one; nil: none
	Drills *api.Drills   // what is known of drills; nil: nothing
}
