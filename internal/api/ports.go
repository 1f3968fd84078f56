package api

import (
	"context"
	"time"

	"github.com/holdfast-ha/holdfast/cluster"
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
	Token(ctx context.Context) (Token, time.Duration, error)
}

// Store is what the server needs of the daemon's files.
type Store interface {
	// Events calls each for the stored events that fit, the oldest first, and
	// with q.Follow goes on until ctx ends or each fails.
	Events(ctx context.Context, q EventQuery, each func(Event) error) error
	// Versions lists the kept copies of the configuration, the oldest first.
	Versions() ([]ConfigVersion, error)
	// Version reads one of them. It fails with os.ErrNotExist.
	Version(config uint64) ([]byte, error)
}

// Facts is everything that a status is made from.
type Facts struct {
	View          cluster.View
	Name          string // of this node
	Cluster       string // UUID
	Build         string
	Emulated      bool
	Holder        string // second holder of the watchdogs' descriptors
	RealTime      string // what the kernel refused to the guard
	Guard         string // "connected", or what is wrong
	Watchdogs     []Watchdog
	Links         []Link
	DiskPaths     []string
	Last          *Measured
	ConfigProblem string // why the committed configuration cannot be read here
	Warnings      []string
}
