// Package groups keeps processes together so that all of them can be found and
// killed, also by a daemon that knows nothing but the groups.
package groups

import (
	"errors"
	"fmt"
	"os/exec"
	"time"
)

// Parts of a service's group.
const (
	RunPart  = "run" // groups below it hold what starts left running
	OpPrefix = "op-" // groups of one operation each
)

// Group names a set of processes: those of one operation (Part "op-7-start-fs")
// or those that a member left running (Part "run/web"). With the Part "run", or
// none at all, it means everything below.
type Group struct {
	Service string
	Term    uint32
	Part    string
}

// String is service/term/part.
func (g Group) String() string {
	if g.Part == "" {
		return fmt.Sprintf("%s/%d", g.Service, g.Term)
	}
	return fmt.Sprintf("%s/%d/%s", g.Service, g.Term, g.Part)
}

// Held is a group that exists, with the processes in it; there may be none.
type Held struct {
	Group
	PIDs []int
}

// Keeper keeps processes together. Cgroups is the real one;
// ProcessGroups is weaker and for emulated platforms. Both pass one suite.
type Keeper interface {
	// Launch starts cmd inside the group g, which must not exist yet. It is in
	// there before its first instruction.
	Launch(g Group, cmd *exec.Cmd) error
	// Move puts every process of from into to, which is created if missing and
	// stays also when it is empty, and removes from.
	Move(from, to Group) error
	// Kill sends SIGKILL to everything in g and below, waits at most so long
	// until it is empty and removes it. What is left is an error that wraps
	// *StuckError. A group that does not exist is empty.
	Kill(g Group, within time.Duration) error
	// List returns the operations and run groups that exist, in order: with a Service
	// alone those of it, with a Part too that group alone, with neither all. What is
	// not asked for costs nothing.
	List(of Group) ([]Held, error)
}

// ErrGroupExists is returned by Launch for a group that was left by somebody.
var ErrGroupExists = errors.New("the process group exists already")

// StuckError says which processes outlived SIGKILL: they wait inside the kernel,
// mostly for a disk, and may still write when it comes back.
type StuckError struct {
	Group Group
	PIDs  []int
}

// Error names the processes and the remedy.
func (e *StuckError) Error() string {
	return fmt.Sprintf("%s: processes %v cannot be killed (waiting in the kernel, mostly for a disk); only a reset ends them", e.Group, e.PIDs)
}
