// Package members says how the members of services behave on a simulated node.
package members

import (
	"time"

	"github.com/holdfast-ha/holdfast/cluster"
)

// Pace is how long the programs of a node take.
type Pace struct {
	StartTime time.Duration // a start
	StopTime  time.Duration // a stop
}

// Hang is what gives no answer in time, and what the runner has seen stall meanwhile.
type Hang struct {
	On    bool
	Stall string
	For   time.Duration // until the runner gives up; zero: at once, for a story that has no time to lose
}

// Faults are what is wrong with the members of services. The zero value is nothing.
type Faults struct {
	StopFails  bool             // every stop of a service fails
	StartFails bool             // every start of a service fails
	CheckFails bool             // every check of the last member of a service fails
	CheckHang  Hang             // checks give no answer in time
	Reach      cluster.Severity // how far the failures of starts and checks reach
	Rigid      string           // why new settings need a restart; empty: they are taken over
	Lacks      string           // what is missing for any service to run; empty: nothing
	FitHang    bool             // whether a service could run gets no answer
	Pace
}

// Takes is how long an operation takes that has no effect.
func (f *Faults) Takes(a cluster.Run) time.Duration {
	if a.Kind == cluster.RunCheck && f.CheckHang.On {
		return max(soon, f.CheckHang.For)
	}
	return soon
}

const soon = 10 * time.Millisecond

// Outcome is what comes of one operation, but for those that have an effect. up says
// that the service is wholly up: a check finds what is missing.
func (f *Faults) Outcome(a cluster.Run, up bool) (cluster.Outcome, string) {
	switch {
	case a.Kind == cluster.RunCheck && f.CheckHang.On:
		return cluster.Unknown, "nothing came within 20s"
	case a.Kind == cluster.RunCheck && (f.CheckFails || !up) && (a.To == 0 || a.To == len(a.Service.Stack)):
		return cluster.Failed, "no answer"
	case a.Kind == cluster.RunReload && f.Rigid != "":
		return cluster.Failed, f.Rigid
	case a.Kind == cluster.RunFit && f.FitHang:
		return cluster.Unknown, "nothing came within 20s"
	case a.Kind == cluster.RunFit && f.Lacks != "":
		return cluster.Failed, f.Lacks
	}
	return cluster.OK, ""
}
