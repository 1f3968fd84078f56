package play

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
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
			add(e, e.Kind, v.Name+" is verified stopped on "+owner)
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
	lines := append(t.moments, moment{p.struck, "FAULT: " + p.what},
		moment{p.first.At, fmt.Sprintf("first answer from %s", p.heir.Name)})
	if mounted, addressed := p.sights.of(p.heir); mounted > 0 {
		lines = append(lines, moment{mounted, fmt.Sprintf("%s is mounted on %s", p.service.Name, p.heir.Name)},
			moment{addressed, fmt.Sprintf("address %s is on %s", p.service.Address(), p.heir.Name)})
	}
	slices.SortStableFunc(lines, func(a, b moment) int { return cmp.Compare(a.at, b.at) })
	p.show.say("\ntimeline, in seconds from the fault")
	for _, l := range lines {
		p.show.say("%9.3f  %s", time.Duration(l.at-p.struck).Seconds(), l.text)
	}
	p.show.say("\n%-52s %-28s %s", "", "predicted", "measured")
	if t.granted > 0 {
		p.show.say("%-52s %-28s %.2f s", "from the fault to the permission ("+t.proof+")", prediction(predicted, t.proof), time.Duration(t.granted-p.struck).Seconds())
		p.show.say("%-52s %-28s %.2f s", "from the permission to the first answer", "depends on the service", time.Duration(p.first.At-t.granted).Seconds())
	}
	gap := p.client.LongestGap(p.struck)
	p.show.say("%-52s %-28s %.2f s, %d writes failed", "without an answer, as the client saw it", "", gap.Length().Seconds(), gap.Failed)
	p.show.say("")
}

// prediction is what was expected for a kind of proof.
func prediction(all []api.Expected, proof string) string {
	for _, e := range all {
		if e.Proof == proof || strings.HasPrefix(e.Proof, strings.Fields(proof + " ?")[0]+" ") {
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
