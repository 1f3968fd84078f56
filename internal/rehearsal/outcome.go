package rehearsal

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/holdfast-ha/holdfast/internal/api"
	"github.com/holdfast-ha/holdfast/internal/incidents"
)

// Outcome is what a drill has done to one service, beside what was foretold.
type Outcome struct {
	Service string `json:"service"`
	From    string `json:"from"`
	To      string `json:"to"`
	Proof   string `json:"proof,omitempty"`
	// Foretold and Measured are from the fault to the permission to start, without the
	// service's own stop; absent where it stays.
	Foretold *api.Seconds `json:"foretold_seconds,omitempty"`
	Measured *api.Seconds `json:"measured_seconds,omitempty"`
	// Bound is by how much they may differ; see Bound.
	Bound *api.Seconds `json:"bound_seconds,omitempty"`
	Down  *api.Seconds `json:"down_seconds,omitempty"` // from the fault, or the beginning of its stop, to started
	OK    bool         `json:"ok"`
	Text  string       `json:"text"`
}

// Seen is what was seen of a drill.
type Seen struct {
	Began time.Time        // the order was given
	Told  []incidents.Told // what the nodes have noted since
	Stall time.Duration    // the longest that the watching process itself was late
}

// Bound is by how much a measurement may differ from what was foretold: the period of
// the beats and that of the reads, for a fault may come anywhere between two of them;
// what the timing table leaves between the typical and the worst case of the proof; and
// twice what the watching machine has stalled.
func Bound(t *api.Timing, proof string, stall time.Duration) time.Duration {
	bound := row(t, "h") + row(t, "h_poll") + 2*stall
	for _, e := range t.Expected {
		if e.Known && proof != "" && strings.HasPrefix(proof, e.Proof) {
			return bound + (e.Worst - e.Typical).Duration()
		}
	}
	// Nothing is foretold of this proof: the cluster's own promise is the bound.
	return bound + t.Within.Duration()
}

func row(t *api.Timing, name string) time.Duration {
	for _, r := range t.Rows {
		if r.Name == name {
			return r.Value.Duration()
		}
	}
	return 0
}

// Judge compares what has happened with what was foretold, service by service.
func Judge(d *Drill, w *World, seen *Seen) []Outcome {
	out := []Outcome{}
	at := fault(d, seen)
	for i := range w.Told.Services {
		if f := &w.Told.Services[i]; f.From != "" {
			out = append(out, judge(d, w, seen, f, at))
		}
	}
	return out
}

// fault is when it happened: of a lost node what was seen of it last, of a service that
// fails the first word of that, of all else when the node began, or the order was given.
func fault(d *Drill, seen *Seen) time.Time {
	at := time.Time{}
	for i := range seen.Told {
		switch t := &seen.Told[i]; {
		case d.Loses() && t.Kind == "last-beat" && t.Node == d.Node && t.On.After(at):
			at = t.On
		case d.Kind == api.DrillFailService && t.Kind == "failed" && t.Service == d.Service && at.IsZero(),
			!d.Loses() && t.Kind == "drill" && t.By == d.Node && strings.Contains(t.Text, d.Kind+": begins") && at.IsZero() && d.Kind != api.DrillFailService:
			at = t.On
		}
	}
	// A beat that was seen last long before the order is another one's.
	if at.IsZero() || at.Before(seen.Began.Add(-5*time.Second)) {
		return seen.Began
	}
	return at
}

// course is what was noted of one service.
type course struct {
	grant, started, stopping, stopped *incidents.Told
}

func courseOf(f *api.Foretold, seen *Seen, at time.Time) course {
	var c course
	for i := range seen.Told {
		t := &seen.Told[i]
		if t.Service != f.Name || t.On.Before(at.Add(-time.Second)) {
			continue
		}
		switch {
		case t.Kind == "grant" && c.grant == nil && t.On.After(at):
			c.grant = t
		case t.Kind == "stopping" && c.stopping == nil:
			c.stopping = t
		case t.Kind == "stopped" && c.stopped == nil:
			c.stopped = t
		case t.Kind == "started" && c.started == nil && t.On.After(at):
			c.started = t
		}
	}
	return c
}

func judge(d *Drill, w *World, seen *Seen, f *api.Foretold, at time.Time) Outcome {
	out := Outcome{Service: f.Name, From: f.From, To: f.From, Foretold: f.Granted}
	c := courseOf(f, seen, at)
	if c.started != nil {
		from := at
		if !d.Loses() && c.stopping != nil {
			from = c.stopping.On
		}
		down := api.Of(c.started.On.Sub(from))
		out.Down = &down
	}
	switch {
	case f.Granted == nil && c.grant == nil:
		out.OK, out.Text = true, "it stayed where it was, as foretold"
		if d.Kind == api.DrillFailService && f.Name == d.Service {
			out.OK, out.Text = c.started != nil, "it was started again where it was, as foretold"
			if c.started == nil {
				out.Text = "it was not started again"
			}
		}
		return out
	case f.Granted == nil:
		out.To, out.Proof = c.grant.Node, c.grant.Proof
		out.Text = fmt.Sprintf("it went to %s, and was foretold to stay", c.grant.Node)
		return out
	case c.grant == nil:
		out.Text = "it was foretold to go to " + f.To + ", and nobody was given it"
		return out
	}
	out.To, out.Proof = c.grant.Node, c.grant.Proof
	took := c.grant.On.Sub(at) - ownStop(&c)
	measured := api.Of(took)
	bound := Bound(w.Timing, out.Proof, seen.Stall)
	limit := api.Of(bound)
	out.Measured, out.Bound = &measured, &limit
	out.OK, out.Text = compare(f, &out, took, bound)
	return out
}

// ownStop is how long the service itself took to stop, before it was granted.
func ownStop(c *course) time.Duration {
	if c.stopping == nil || c.stopped == nil || c.stopped.On.After(c.grant.On) || c.stopping.On.After(c.stopped.On) {
		return 0
	}
	return c.stopped.On.Sub(c.stopping.On)
}

func compare(f *api.Foretold, out *Outcome, took, bound time.Duration) (bool, string) {
	foretold := f.Granted.Duration()
	same := f.Proof == nil || f.Proof.Kind == out.Proof
	text := fmt.Sprintf("allowed to start on %s after %s; foretold %s, within %s", out.To, seconds(took), seconds(foretold), seconds(bound))
	if !same {
		text += fmt.Sprintf("; on the proof %s, foretold was %s", out.Proof, f.Proof.Kind)
	}
	switch {
	case out.To != f.To:
		return false, text + "; foretold was " + f.To
	case took > foretold+bound:
		return false, text + ": LATER than that"
	case same && took < foretold-bound:
		return false, text + ": EARLIER than that"
	}
	return true, text
}

func seconds(d time.Duration) string { return fmt.Sprintf("%.2f s", d.Seconds()) }

// Timeline are the events that belong to a drill, in order.
func Timeline(d *Drill, seen *Seen) []incidents.Told {
	var list []incidents.Told
	about := []string{
		"drill", "last-beat", "suspected", "fencing", "way", "proof", "grant", "starting", "started", "stopping", "stopped", "released", "failed",
		"joined", "lease", "waiting", "alarm", "daemon", "left",
	}
	for _, t := range seen.Told {
		if slices.Contains(about, t.Kind) && !t.On.Before(seen.Began.Add(-2*time.Second)) {
			list = append(list, t)
		}
	}
	slices.SortStableFunc(list, func(a, b incidents.Told) int { return a.On.Compare(b.On) })
	return list
}
