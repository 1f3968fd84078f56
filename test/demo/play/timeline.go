package play

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/holdfast-ha/holdfast/internal/api"
	"github.com/holdfast-ha/holdfast/test/demo/stage"
)

// beforeFault is how much of the story before the fault is looked at: the last
// beat is at most one period of beats older.
const beforeFault = 3 * time.Second

// moment is a line of the timeline.
type moment struct {
	at   int64 // CLOCK_MONOTONIC, nanoseconds
	text string
}

// takeover is what the nodes' stories say of one takeover.
type takeover struct {
	moments []moment
	granted int64  // the permission to start; 0: unknown
	stopped int64  // the old owner has verified its stop; 0: it has not
	proof   string // its kind, as "E3 time"
}

// story picks what belongs to the takeover out of what the nodes tell. The same
// thing noted by two nodes counts once, when it was first known.
func story(events []stage.Event, v *stage.Service, owner, heir string, struck int64) takeover {
	var t takeover
	seen := map[string]bool{}
	add := func(e stage.Event, key, text string) bool {
		if seen[key] {
			return false
		}
		seen[key] = true
		t.moments = append(t.moments, moment{e.Mono, text})
		return true
	}
	for _, e := range events {
		ofNode, ofService := e.Node == owner, e.Service == v.Name
		switch {
		case e.Kind == "last-beat" && ofNode:
			add(e, e.Kind, fmt.Sprintf("last beat of %s on the quorum disk, seen by %s", owner, e.Observer))
		case e.Mono < struck:
		case e.Kind == "suspected" && ofNode:
			add(e, e.Kind, fmt.Sprintf("%s is suspected: %s", owner, e.Text))
		case e.Kind == "fencing" && ofNode:
			add(e, e.Kind, "the fencing of "+owner+" is committed")
		case e.Kind == "proof" && ofNode:
			add(e, e.Kind, fmt.Sprintf("proof that %s is dead: %s, %s", owner, e.Proof, e.Text))
		case e.Kind == "stopping" && ofService && e.Observer == owner:
			add(e, e.Kind, owner+" stops "+v.Name)
		case e.Kind == "stopped" && ofService && e.Observer == owner:
			if add(e, e.Kind, v.Name+" is verified stopped on "+owner) {
				t.stopped = e.Mono
			}
		case e.Kind == "released" && ofService:
			add(e, e.Kind, v.Name+" is released by "+owner)
		case e.Kind == "lease" && e.Observer == owner:
			add(e, e.Kind+e.Text, owner+": "+e.Text)
		case e.Kind == "grant" && ofService && e.Node == heir:
			if add(e, e.Kind, fmt.Sprintf("%s may start %s (proof: %s)", heir, v.Name, e.Proof)) {
				t.granted, t.proof = e.Mono, e.Proof
			}
		case e.Kind == "starting" && ofService && e.Observer == heir:
			add(e, e.Kind, heir+" starts "+v.Name)
		case e.Kind == "started" && ofService && e.Observer == heir:
			add(e, e.Kind, v.Name+" is started on "+heir)
		}
	}
	return t
}

// predicted asks a node what it expects for every kind of proof.
func (p *scene) predicted(ctx context.Context) ([]api.Expected, error) {
	c, err := p.heir.API()
	if err != nil {
		return nil, err
	}
	defer c.Close()
	t, err := c.Timing(ctx)
	if err != nil {
		return nil, err
	}
	return t.Expected, nil
}

// timeline prints what happened when, and the measured times beside the predicted.
func (p *scene) timeline(ctx context.Context, predicted []api.Expected) {
	t := story(p.stage.Story(ctx, p.struck-int64(beforeFault)), p.service, p.owner.Name, p.heir.Name, p.struck)
	lines := append(t.moments, moment{p.struck, "*** " + p.what},
		moment{p.first.At, fmt.Sprintf("first answer from %s", p.heir.Name)})
	if mounted, addressed := p.sights.of(p.heir); mounted > 0 {
		lines = append(lines, moment{mounted, fmt.Sprintf("%s is mounted on %s", p.service.Name, p.heir.Name)},
			moment{addressed, fmt.Sprintf("address %s is on %s", p.service.Address(), p.heir.Name)})
	}
	p.tell(lines)
	p.show.say("\n%-54s %-26s %s", "", "predicted", "measured")
	for _, r := range p.comparison(t, predicted) {
		p.show.say("%-54s %-26s %s", r[0], r[1], r[2])
	}
	p.show.say("")
}

// tell prints moments in their order.
func (p *scene) tell(lines []moment) {
	slices.SortStableFunc(lines, func(a, b moment) int { return cmp.Compare(a.at, b.at) })
	p.show.say("\ntimeline, in seconds from the fault")
	for _, l := range lines {
		p.show.say("%9.3f  %s", time.Duration(l.at-p.struck).Seconds(), l.text)
	}
}

// comparison are the rows of what was predicted and what was measured. A release
// can be predicted only from the stop on, which takes as long as the service wants.
func (p *scene) comparison(t takeover, predicted []api.Expected) [][3]string {
	seconds := func(from, to int64) string { return fmt.Sprintf("%.2f s", time.Duration(to-from).Seconds()) }
	const unknown = "depends on the service"
	var rows [][3]string
	from, begin := p.struck, "fault"
	if t.stopped > 0 && t.stopped < t.granted {
		rows = append(rows, [3]string{"from the fault to the verified stop", unknown, seconds(p.struck, t.stopped)})
		from, begin = t.stopped, "stop"
	}
	if t.granted > 0 {
		rows = append(rows,
			[3]string{"from the " + begin + " to the permission (" + t.proof + ")", prediction(predicted, t.proof), seconds(from, t.granted)},
			[3]string{"from the permission to the first answer", unknown, seconds(t.granted, p.first.At)})
	}
	gap := p.client.LongestGap(p.struck)
	return append(rows, [3]string{
		"without an answer, as the client saw it", "",
		fmt.Sprintf("%s, %d writes failed", seconds(gap.From, gap.To), gap.Failed),
	})
}

// prediction is what was expected for a kind of proof.
func prediction(all []api.Expected, proof string) string {
	for _, e := range all {
		if e.Proof == proof {
			if !e.Known {
				return "not predictable"
			}
			return fmt.Sprintf("%.2f s, at worst %.2f s", float64(e.Typical), float64(e.Worst))
		}
	}
	return "-"
}

// failover is one measured takeover.
type failover struct {
	permission, answer time.Duration // from the fault
	proof              string
}

func (p *scene) measured(ctx context.Context) failover {
	t := story(p.stage.Story(ctx, p.struck-int64(beforeFault)), p.service, p.owner.Name, p.heir.Name, p.struck)
	f := failover{answer: time.Duration(p.first.At - p.struck), proof: t.proof}
	if t.granted > 0 {
		f.permission = time.Duration(t.granted - p.struck)
	}
	return f
}
