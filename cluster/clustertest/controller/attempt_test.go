package controller_test

import (
	"testing"
	"time"

	"github.com/holdfast-ha/holdfast/cluster"
	"github.com/holdfast-ha/holdfast/cluster/clustertest/agenda"
	"github.com/holdfast-ha/holdfast/cluster/clustertest/controller"
	"github.com/holdfast-ha/holdfast/cluster/ident"
)

// ask has a daemon ask a controller of this kind, of a machine that is on.
func ask(kind controller.Kind, what cluster.FenceKind) (up bool, told []cluster.FenceDone) {
	var a agenda.Agenda
	now := time.Duration(0)
	later := func(d time.Duration, f func()) { a.Note(now+d, f) }
	up = true
	controller.Begin(cluster.Fence{Op: 1, Kind: what, Within: 20 * time.Second},
		controller.Machine{Kind: func() controller.Kind { return kind }, Up: func() bool { return up }, On: func() { up = true }, Off: func() { up = false }, After: later},
		controller.Daemon{Later: later, Clock: func() ident.Instant { return ident.Instant(now + 1) }, Tell: func(e cluster.FenceDone) { told = append(told, e) }})
	for {
		at, run, ok := a.Next(time.Minute)
		if !ok {
			return up, told
		}
		now = at
		run()
	}
}

func TestAttempts(t *testing.T) {
	for _, c := range []struct {
		name    string
		kind    controller.Kind
		what    cluster.FenceKind
		up      bool
		outcome cluster.FenceOutcome
		off     bool // it was read as off
	}{
		{"an honest one switches", controller.Honest, cluster.FenceOff, false, cluster.FenceProven, true},
		{"one that is not there does nothing", controller.Unreachable, cluster.FenceOff, true, cluster.FenceUnknown, false},
		{"one that hangs switches and never answers", controller.Hanging, cluster.FenceOff, false, cluster.FenceUnknown, false},
		{"one that dies with its node cannot say that it is off", controller.DiesWithNode, cluster.FenceOff, false, cluster.FenceUnknown, false},
		{"one that lies is believed", controller.SaysOff, cluster.FenceOff, true, cluster.FenceProven, true},
		{"a check shows the lie", controller.SaysOff, cluster.FenceCheck, true, cluster.FenceProven, true},
		{"and the truth", controller.Honest, cluster.FenceCheck, true, cluster.FenceProven, false},
	} {
		up, told := ask(c.kind, c.what)
		if len(told) != 1 || up != c.up || told[0].Outcome != c.outcome || told[0].First != 0 != c.off {
			t.Errorf("%s: up %v, told %+v", c.name, up, told)
		}
	}
}
