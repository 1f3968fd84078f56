package vm

import (
	"cmp"
	"context"
	"slices"

	"github.com/holdfast-ha/holdfast/resources"
)

// arriving are the reasons that libvirt gives for a copy that a migration has brought,
// or is bringing. It gives "user" too for what a person has paused.
func arriving(reason string) bool {
	return slices.Contains([]string{"user", "migrating", "starting up", "unknown", ""}, reason)
}

// arrived deals with a guest that is found paused when it is to start here: resumed, if
// the former owner has handed it to the owner of this very term. stale says that it was
// not, and is destroyed: the guest boots from its disks. One that is paused for another
// reason has run here, and is left to a stop.
func (g guest) arrived(ctx context.Context, req resources.Request, reason string) (report resources.Report, stale bool) {
	m, has, err := g.marked(ctx, g.Domain)
	if err != nil {
		return resources.Unsure("%v", err), false
	}
	if !has && !arriving(reason) {
		return resources.Failure("%s is paused (%s); it has to be stopped first", g.Domain, reason), false
	}
	uuid, err := g.say(ctx, "domuuid", g.Domain)
	if err != nil {
		return resources.Unsure("%v", err), false
	}
	id, err := g.say(ctx, "domid", g.Domain)
	if err != nil {
		return resources.Unsure("%v", err), false
	}
	why := "it carries no mark of its former owner"
	if has {
		err := m.fits(req, uuid, id)
		if err == nil {
			return g.goOn(ctx, m), false
		}
		why = err.Error()
	}
	if err := g.end(ctx, uuid); err != nil {
		return resources.Failure("%s is paused here, and may not go on: %s; it could not be destroyed: %v", g.Domain, why, err), false
	}
	return resources.Done("a paused copy of it was destroyed, for %s", why), true
}

// goOn resumes a copy that was handed to this node for this term. The mark goes first:
// what carries one has never run where it is.
func (g guest) goOn(ctx context.Context, m mark) resources.Report {
	if err := g.unmark(ctx, m.UUID); err != nil {
		return resources.Unsure("%v", err)
	}
	if err := g.do(ctx, "resume", m.UUID); err != nil {
		return resources.Failure("what was handed over cannot go on: %v", err)
	}
	state, err := g.state(ctx, g.Domain)
	if err != nil {
		return resources.Unsure("%v", err)
	} else if !runs(state) {
		return resources.Failure("%s was resumed, and is %s", g.Domain, word(state))
	}
	report := resources.Done("%s goes on as it ran on %s", g.Domain, cmp.Or(m.From, "another node"))
	report.Notable = true
	return report
}

// probePaused says whether a paused guest is one that runs here, badly, or a copy that
// came by a migration and has never run here: one with a mark, or one that is coming
// while this node sends none.
func (g guest) probePaused(ctx context.Context, reason string) resources.Report {
	_, has, err := g.marked(ctx, g.Domain)
	if err != nil {
		return resources.Unsure("%v", err)
	}
	if has {
		return resources.Absent("what is paused here is a copy of %s that another node has handed over; it has never run here", g.Domain)
	}
	n, err := g.noted()
	if err != nil {
		return resources.Unsure("%v", err)
	}
	if reason == "migrating" && n.UUID == "" {
		return resources.Absent("what is paused here is a copy of %s that is arriving", g.Domain)
	}
	return resources.Done("%s is paused (%s)", g.Domain, reason)
}

// takenBack makes sure, before a guest starts here, that what this node has handed over
// in the same term cannot go on: a move may be called off, and its owner start again.
// Only the other node's libvirt can say that. Notes of other terms are over.
func (g guest) takenBack(ctx context.Context, req resources.Request) (resources.Report, bool) {
	n, err := g.noted()
	if err != nil {
		return resources.Unsure("%v", err), false
	}
	if n.Marked && n.Term == req.Term {
		if err := g.over(ctx, n); err != nil {
			return resources.Missing("%s was handed to %s in this term, %d, and that it cannot go on there is not known: %v; virsh -c %s destroy %s, or let %s have the service",
				g.Domain, n.Goal, n.Term, err, n.To, n.UUID, n.Goal), false
		}
	}
	if n.UUID == "" {
		return resources.Report{}, true
	}
	if err := g.forget(); err != nil {
		return resources.Failure("%v", err), false
	}
	return resources.Report{}, true
}

// ranOn sees to what earlier operations of this term have left on another node: a copy
// without a mark is removed, as well as that can be done. It makes sure of the same as takenBack before a stop of what runs although it was handed over:
// somebody has started it by hand. Else the next owner would resume what is older.
func (g guest) ranOn(ctx context.Context, req resources.Request) (resources.Report, bool) {
	n, err := g.noted()
	if err != nil {
		return resources.Unsure("%v", err), false
	}
	if n.Term != req.Term || n.UUID == "" {
		return resources.Report{}, true
	}
	if !n.Marked {
		if !req.Emergency { // a migration that was cut off has left it, or a stop before could not reach it
			tidy, cancel := context.WithTimeout(ctx, tidyWithin)
			defer cancel()
			_ = host{g.virsh, n.To}.clear(tidy, n.UUID, n.UUID) // it may never go on: where it is, it is destroyed before a start
		}
		return resources.Report{}, true
	}
	state, err := g.state(ctx, g.Domain)
	switch {
	case err != nil:
		return resources.Unsure("%v", err), false
	case down(state):
		return resources.Report{}, true
	}
	if err := g.over(ctx, n); err != nil {
		return resources.Failure("%s is %s, although it was handed to %s in this term, %d, and that it cannot go on there is not known: %v; virsh -c %s destroy %s",
			g.Domain, state, n.Goal, n.Term, err, n.To, n.UUID), false
	}
	return resources.Report{}, true
}

// over ends the copy that a note speaks of, and verifies that.
func (g guest) over(ctx context.Context, n note) error {
	ctx, cancel := context.WithTimeout(ctx, lookWithin)
	defer cancel()
	there := host{g.virsh, n.To}
	state, err := there.state(ctx, n.UUID)
	if err != nil || down(state) {
		return err
	}
	return there.end(ctx, n.UUID)
}
