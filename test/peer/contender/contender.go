// Package contender says what a cluster manager has to offer to be compared:
// where it is put up, how it starts, how a service is moved. Two machines, alpha
// and beta, carry one service that prefers alpha: the same OCF dummy for everybody, and
// an address on it, by what each of them has for addresses.
package contender

import (
	"context"

	"github.com/holdfast-ha/holdfast/test/demo/stage"
)

// The service that all of them carry.
const (
	// Address of the service, on the network of the clients.
	Address = "10.77.2.200"
	// Card that carries it.
	Card = "lan"
	// StateFile is what the dummy keeps while it runs, on its machine.
	StateFile = "/run/dummy.state"
)

// ProgramsEnv names the environment variable with the folder of the programs.
const ProgramsEnv = "HOLDFAST_PEER_BIN"

// Machines are the names of the two, the service's own first.
func Machines() []string { return []string{"alpha", "beta"} }

// About is who a contender is.
type About struct {
	Manager string
	Setting string
	Daemons []string // how the names of its processes begin, as in /proc/PID/comm
}

// Contender is one cluster manager in one setting.
type Contender interface {
	// About says who it is.
	About() About
	// Raise puts it up, on fresh machines over a Debian tree, and returns once the
	// service runs on the first and both would survive the loss of one.
	Raise(ctx context.Context, tree string) (*stage.Stage, error)
	// Move moves the service to a machine as an administrator would. It may return
	// before it runs there.
	Move(ctx context.Context, s *stage.Stage, to *stage.Node) error
	// Close removes what outlives the stage; it is called after the stage's own.
	Close() error
}
