package cluster

import (
	"time"

	"github.com/holdfast-ha/holdfast/cluster/ident"
)

// Request is what an administrator asks for. Each is turned into one commit of
// the register by the node that was asked, or refused in words.
type Request interface{ request() }

// MoveService moves a running service to a node (empty: the best other one).
type MoveService struct{ Service, To string }

// StartService lets a stopped service run again.
type StartService struct{ Service string }

// StopService stops a service and keeps it stopped.
type StopService struct{ Service string }

// FreezeService leaves a service alone (On), or no longer.
type FreezeService struct {
	Service string
	On      bool
}

// ClearService forgets the failures that keep a service from a node.
type ClearService struct{ Service string }

// StandbyNode empties a node of services and keeps it empty (On), or no longer.
// Off ends its maintenance and its quarantine as well.
type StandbyNode struct {
	Node string
	On   bool
}

// FenceNode has a node fenced. By names the way to begin with; the others join
// in if that has proven nothing in the time of a suspicion. With DryRun nothing
// is changed: the answer says what would be done.
type FenceNode struct {
	Node, Why string
	By        string
	DryRun    bool
}

// ConfirmOff is the operator's word that a node is powered off: proof E7.
type ConfirmOff struct{ Node, Operator, How string }

// AddNode enters a node's name into the membership, so that it may join.
type AddNode struct {
	Name   string
	Host   ident.UUID
	Links  []string
	Switch string // where its power switch is; empty: not said
}

// RemoveNode takes a node that is out from the membership.
type RemoveNode struct{ Node string }

// ApplyConfig replaces the configuration. Conf is Config, parsed. Expect is the
// ConfigRev it was made for; zero: whatever it is.
type ApplyConfig struct {
	Config []byte
	Conf   *Config
	Expect uint64
}

// Maintain begins a maintenance of a node, of a service or, where both are empty,
// of the whole cluster; For zero ends it.
type Maintain struct {
	Node, Service string
	For           time.Duration
	By            string
}

// StopCluster is the planned stop of the whole cluster: services first, in
// reverse order, then every node leaves, and nothing begins again by itself.
type StopCluster struct{ By string }

// StartCluster ends the planned stop.
type StartCluster struct{}

// LeaveCluster takes the node that is asked out of the cluster, cleanly: its
// services move first. It ends in Exit.
type LeaveCluster struct{}

func (MoveService) request()   {}
func (StartService) request()  {}
func (StopService) request()   {}
func (FreezeService) request() {}
func (ClearService) request()  {}
func (StandbyNode) request()   {}
func (FenceNode) request()     {}
func (ConfirmOff) request()    {}
func (AddNode) request()       {}
func (RemoveNode) request()    {}
func (ApplyConfig) request()   {}
func (Maintain) request()      {}
func (StopCluster) request()   {}
func (StartCluster) request()  {}
func (LeaveCluster) request()  {}
