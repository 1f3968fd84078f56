package drill

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/holdfast-ha/holdfast/internal/api"
	"github.com/holdfast-ha/holdfast/internal/ctl/screen"
	"github.com/holdfast-ha/holdfast/internal/ctl/shell"
	"github.com/holdfast-ha/holdfast/internal/incidents"
	"github.com/holdfast-ha/holdfast/internal/rehearsal"
)

const (
	tick      = 100 * time.Millisecond // between two looks while something is broken
	startRoom = 90 * time.Second       // what services may take to stop and to start, beside the takeover
	freshBeat = 3 * time.Second        // a node whose beat is older is not back
	cutRoom   = 5 * time.Second        // by which a cut outlasts the longest takeover
)

// Rehearsed is a drill and what came of it.
type Rehearsed struct {
	Version  int                 `json:"version"`
	Drill    rehearsal.Drill     `json:"drill"`
	Refused  []rehearsal.Refusal `json:"refused,omitempty"`
	Foretold *api.Simulation     `json:"foretold,omitempty"`
	Began    time.Time           `json:"began,omitzero"`
	Services []rehearsal.Outcome `json:"services,omitempty"`
	Stall    api.Seconds         `json:"stall_seconds,omitempty"` // of this process, at most
	Restored bool                `json:"restored"`
	OK       bool                `json:"ok"`
	Verdict  string              `json:"verdict"`
	Timeline []incidents.Told    `json:"timeline,omitempty"`
	problems []string            // what kept it from going well
}

// rehearse is one run of a drill that breaks something.
type rehearse struct {
	sh    *shell.Shell
	reach func() (*api.Client, error)
	rehearsal.Drill
	yes, dry, back bool
	length, wait   time.Duration

	client *api.Client
	world  rehearsal.World
	seen   rehearsal.Seen
	out    Rehearsed
	unwell bool // the node was seen to be hit
}

// rehearsals makes the commands of the drills that break something.
func rehearsals(sh *shell.Shell, reach func() (*api.Client, error)) []*cobra.Command {
	var list []*cobra.Command
	for _, kind := range api.DrillKinds() {
		if kind == api.DrillFence {
			continue
		}
		r := &rehearse{sh: sh, reach: reach, Drill: rehearsal.Drill{Kind: kind}}
		c := sh.PrintsJSON(shell.Command(kind, cobra.NoArgs, func(c *cobra.Command, _ []string) error { return r.run(c.Context()) }))
		fs := c.Flags()
		if kind == api.DrillFailService || kind == api.DrillMove {
			fs.StringVar(&r.Service, "service", "", "the `service` that it is about")
		} else {
			fs.StringVar(&r.Node, "node", "", "the `node` that it is about (default: the one that runs --service, or for a cut this one)")
			fs.StringVar(&r.Service, "service", "", "in place of --node: the node that runs this `service`")
		}
		if kind == api.DrillMove {
			fs.StringVar(&r.To, "to", "", "the `node` to move it to (default: the best other one)")
		}
		if kind != api.DrillMove && kind != api.DrillCutNetwork {
			fs.BoolVar(&r.back, "back", false, "move services back when everything is over")
		}
		if kind == api.DrillCutNetwork {
			fs.DurationVar(&r.length, "for", 0, "how `long` the network is cut (default: failover_within and 5 s, for a takeover to be seen if there were one)")
		}
		fs.BoolVarP(&r.yes, "yes", "y", false, "do not ask")
		fs.BoolVar(&r.dry, "dry-run", false, "only say what would happen, and whether it may be run now")
		fs.DurationVar(&r.wait, "wait", 15*time.Minute, "how much `time` the node has to be a member again")
		list = append(list, c)
	}
	return append(list, listCommand(sh, reach))
}

func (r *rehearse) run(ctx context.Context) error {
	var err error
	if r.client, err = r.reach(); err != nil {
		return err
	}
	defer r.client.Close()
	if err := r.prepare(ctx); err != nil {
		return err
	}
	r.out = Rehearsed{Version: api.Version, Drill: r.Drill, Refused: rehearsal.Refusals(&r.Drill, &r.world), Foretold: r.world.Told}
	r.announce()
	if len(r.out.Refused) > 0 {
		r.out.Verdict = "refused"
		return r.end()
	}
	if r.dry {
		r.out.Verdict, r.out.OK, r.out.Restored = "nothing was done", true, true
		return r.end()
	}
	if !r.yes {
		subject := r.Node
		if r.Service != "" {
			subject = r.Service
		}
		if err := r.sh.Confirm("this is no simulation: "+r.Does()+". Go on", subject); err != nil {
			return err
		}
	}
	if err := r.carryOut(ctx); err != nil {
		return err
	}
	r.judge(ctx)
	return r.end()
}

// prepare looks at the cluster, completes what was not said, and asks the engine.
func (r *rehearse) prepare(ctx context.Context) error {
	w := &r.world
	var err error
	if w.Status, err = r.client.Status(ctx); err != nil {
		return err
	}
	if w.Timing, err = r.client.Timing(ctx); err != nil {
		return err
	}
	if err := r.complete(ctx); err != nil {
		return err
	}
	if r.length == 0 {
		r.length = w.Timing.Within.Duration() + cutRoom
	}
	w.Running = map[string]*api.DrillRun{}
	for _, n := range w.Status.Nodes {
		from := r.client
		if n.Name != w.Status.Self.Name {
			from = r.client.Of(n.Name)
		}
		if n.Phase != "member" {
			continue
		}
		known, err := from.Drills(ctx)
		if err != nil {
			return fmt.Errorf("whether a drill is under way on %s is not known: %w", n.Name, err)
		}
		if known.Running != nil {
			w.Running[n.Name] = known.Running
		}
	}
	if w.Told, err = r.client.Simulate(ctx, r.Question()); err != nil {
		w.Told, w.Unknown = nil, err.Error()
	}
	return nil
}

// complete finds the node of a service, and where it could go.
func (r *rehearse) complete(ctx context.Context) error {
	if r.Service != "" {
		v := rehearsal.Service(r.world.Status, r.Service)
		switch {
		case v == nil:
			return fmt.Errorf("there is no service %q; holdfast status lists them", r.Service)
		case r.Node != "" && r.Node != v.Node:
			return shell.Usage(fmt.Errorf("%s does not run on %s: name the node or the service", r.Service, r.Node))
		}
		r.Node = v.Node
	}
	switch {
	case r.Kind == api.DrillMove && r.Service != "" && r.To == "":
		x, err := r.client.ExplainService(ctx, r.Service)
		if err != nil {
			return err
		}
		var why []string
		for _, c := range x.Candidates {
			if c.Able && c.Node != r.Node && r.To == "" {
				r.To = c.Node
			}
			if c.Node != r.Node {
				why = append(why, c.Node+": "+c.Reason)
			}
		}
		r.world.Nowhere = strings.Join(why, "; ")
	case r.Service == "" && (r.Kind == api.DrillMove || r.Kind == api.DrillFailService):
		return shell.Usage(errors.New("drill " + r.Kind + ": want --service; holdfast status lists them"))
	case r.Node == "" && r.Loses():
		return shell.Usage(errors.New("drill " + r.Kind + ": want --node or --service; holdfast status lists them"))
	case r.Node == "":
		r.Node = r.world.Status.Self.Name
	}
	if r.Kind != api.DrillMove && r.Kind != api.DrillFailService {
		r.Service = ""
	}
	return nil
}

// carryOut breaks it, watches, and waits until everything is as before.
func (r *rehearse) carryOut(ctx context.Context) error {
	watching, done := context.WithCancel(ctx)
	var meter sync.WaitGroup
	meter.Go(func() { r.seen.Stall = stalls(watching) }) // ends with watching
	defer meter.Wait()
	defer done()
	r.seen.Began = time.Now()
	r.out.Began = r.seen.Began.UTC()
	if r.Kind == api.DrillMove {
		return r.move(ctx)
	}
	run, err := r.client.StartDrill(ctx, api.DrillStart{Kind: r.Kind, Node: r.Node, Service: r.Service, For: api.Of(r.length)})
	if err != nil {
		return err
	}
	r.progress("it begins; by itself it is over at %s", run.Ends.Local().Format(time.TimeOnly))
	patience := r.world.Timing.Within.Duration() + startRoom
	r.await(ctx, patience, "what was foretold has happened", r.happened)
	if r.Kind == api.DrillCutNetwork || r.Kind == api.DrillCutDisk {
		r.await(ctx, time.Until(run.Ends)+patience, "it is over", func(*api.Status) bool { return time.Now().After(run.Ends) })
	}
	r.restore(ctx)
	return nil
}

// move moves the service there and back.
func (r *rehearse) move(ctx context.Context) error {
	for _, to := range []string{r.To, r.Node} {
		if _, err := r.client.Service(ctx, r.Service, api.ServiceMove, api.ServiceRequest{To: to}); err != nil {
			if to == r.To {
				return err
			}
			r.problem("it could not be moved back: %v", err)
			return nil
		}
		r.progress("%s moves to %s", r.Service, to)
		r.await(ctx, r.world.Timing.Within.Duration()+startRoom, r.Service+" runs on "+to, func(s *api.Status) bool {
			v := rehearsal.Service(s, r.Service)
			return v != nil && v.State == "running" && v.Node == to
		})
	}
	r.out.Restored = len(r.out.problems) == 0
	return nil
}

// happened says that what was foretold has come true, as far as a status shows it.
func (r *rehearse) happened(s *api.Status) bool {
	n := rehearsal.Node(s, r.Node)
	was := rehearsal.Node(r.world.Status, r.Node)
	for _, l := range s.Links {
		r.unwell = r.unwell || !l.Up && (l.Peer == r.Node || s.Self.Name == r.Node)
	}
	gone := n == nil || n.Phase != "member" || n.Incarnation != was.Incarnation
	r.unwell = r.unwell || gone && r.Kind != api.DrillCutNetwork
	switch r.Kind {
	case api.DrillCutNetwork:
		return r.unwell
	case api.DrillFailService:
		v, before := rehearsal.Service(s, r.Service), rehearsal.Service(r.world.Status, r.Service)
		r.unwell = r.unwell || v.State != "running" || v.Term != before.Term || r.noted("failed")
		return r.unwell && v.State == "running" && (v.Term != before.Term || r.noted("started"))
	case api.DrillKillNode, api.DrillFreezeNode:
		if !gone {
			return false
		}
	}
	for i := range r.world.Told.Services {
		f := &r.world.Told.Services[i]
		// Wherever it runs: whether it is where it should be is judged in the end.
		v, before := rehearsal.Service(s, f.Name), rehearsal.Service(r.world.Status, f.Name)
		if f.Granted != nil && (v == nil || v.State != "running" || v.Term == before.Term) {
			return false
		}
	}
	return true
}

// noted says whether an event about the drill's service was noted by its node since.
func (r *rehearse) noted(kind string) bool {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	from := r.client
	if r.Node != r.world.Status.Self.Name {
		from = r.client.Of(r.Node)
	}
	found := false
	_ = from.Events(ctx, api.EventQuery{Since: r.seen.Began.Add(-time.Second), Service: r.Service, Kind: kind}, func(api.Event) error {
		found = true
		return nil
	}) // what is not known is asked again
	return found
}

// restore waits until the node is back and everything runs, and moves back what is
// wanted back.
func (r *rehearse) restore(ctx context.Context) {
	r.await(ctx, r.wait, r.Node+" is a member again", func(s *api.Status) bool { return r.isBack(ctx, s) })
	r.await(ctx, startRoom, "every service runs", func(s *api.Status) bool { return running(s, r.world.Status) })
	if r.Kind == api.DrillFailService {
		// What was no failure keeps the service from no node.
		if _, err := r.client.Service(ctx, r.Service, api.ServiceClear, api.ServiceRequest{}); err != nil {
			r.problem("its failures could not be forgotten: %v; holdfast service clear %s", err, r.Service)
		}
		r.await(ctx, startRoom, r.Service+" may run on "+r.Node+" again", func(*api.Status) bool { return r.may(ctx) })
	}
	for i := range r.world.Told.Services {
		f := &r.world.Told.Services[i]
		if !r.back || f.Granted == nil || len(r.out.problems) > 0 {
			continue
		}
		if _, err := r.client.Service(ctx, f.Name, api.ServiceMove, api.ServiceRequest{To: f.From}); err != nil {
			r.problem("%s could not be moved back: %v", f.Name, err)
			continue
		}
		r.await(ctx, startRoom, f.Name+" is back on "+f.From, func(s *api.Status) bool {
			v := rehearsal.Service(s, f.Name)
			return v != nil && v.State == "running" && v.Node == f.From
		})
	}
	r.out.Restored = len(r.out.problems) == 0
}

// isBack says that the node is a member by its own word and by this node's: who has
// retired is one for everybody else until its next incarnation is let in.
func (r *rehearse) isBack(ctx context.Context, s *api.Status) bool {
	n := rehearsal.Node(s, r.Node)
	if n == nil || n.Phase != "member" || n.Fencing || s.Self.Stage != "member" {
		return false
	}
	if n.Name != s.Self.Name {
		if n.DiskAge == nil || n.DiskAge.Duration() >= freshBeat {
			return false
		}
		ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
		defer cancel()
		var err error
		if s, err = r.client.Of(n.Name).Status(ctx); err != nil {
			return false
		}
	}
	return s.Self.Stage == "member" && s.Self.Incarnation == n.Incarnation
}

// may says whether the drill's service may run on its node.
func (r *rehearse) may(ctx context.Context) bool {
	x, err := r.client.ExplainService(ctx, r.Service)
	return err == nil && slices.ContainsFunc(x.Candidates, func(c api.Candidate) bool { return c.Node == r.Node && c.Able })
}

// running says that all services run which did before, and the links that were up are.
func running(s, before *api.Status) bool {
	for i := range before.Services {
		if v := rehearsal.Service(s, before.Services[i].Name); before.Services[i].State == "running" && (v == nil || v.State != "running") {
			return false
		}
	}
	for _, l := range s.Links {
		if !l.Up {
			return false
		}
	}
	return true
}

// await waits until a status is as it should be; that it never was is a problem.
func (r *rehearse) await(ctx context.Context, patience time.Duration, what string, is func(*api.Status) bool) {
	r.progress("waiting until %s", what)
	for end := time.Now().Add(patience); ; {
		s, err := r.client.Status(ctx)
		switch {
		case err == nil && is(s):
			return
		case ctx.Err() != nil:
			r.problem("given up while waiting until %s", what)
			return
		case time.Now().After(end):
			r.problem("not within %s: %s", screen.Seconds(patience), what)
			return
		}
		if pause(ctx, tick) != nil {
			r.problem("given up while waiting until %s", what)
			return
		}
	}
}

func (r *rehearse) progress(format string, args ...any) {
	if !r.sh.JSON {
		r.sh.Say("  %6.1fs  %s", time.Since(r.seen.Began).Seconds(), fmt.Sprintf(format, args...))
	}
}

func (r *rehearse) problem(format string, args ...any) {
	r.out.problems = append(r.out.problems, fmt.Sprintf(format, args...))
	r.progress("PROBLEM: "+format, args...)
}

// stalls measures, until ctx ends, by how much this process was late at most.
func stalls(ctx context.Context) time.Duration {
	const every = 20 * time.Millisecond
	most := time.Duration(0)
	for last := time.Now(); pause(ctx, every) == nil; {
		now := time.Now()
		most = max(most, now.Sub(last)-every)
		last = now
	}
	return most
}

// judge collects what the nodes have noted, compares, and has the verdict kept.
func (r *rehearse) judge(ctx context.Context) {
	r.out.Stall = api.Of(r.seen.Stall)
	r.seen.Told = incidents.Merge(r.sources(ctx))
	r.out.Services = rehearsal.Judge(&r.Drill, &r.world, &r.seen)
	r.out.Timeline = rehearsal.Timeline(&r.Drill, &r.seen)
	if !r.unwell && r.Kind != api.DrillMove && r.Kind != api.DrillCutDisk {
		r.out.problems = append(r.out.problems, "nothing was seen of what the drill should have broken")
	}
	r.out.OK = r.out.Restored && len(r.out.problems) == 0
	var words []string
	rec := api.DrillRecord{Kind: r.Kind, Node: r.Node, Service: r.Service, Time: r.out.Began}
	for i := range r.out.Services {
		o := &r.out.Services[i]
		r.out.OK = r.out.OK && o.OK
		if o.Measured != nil && (rec.Measured == nil || *o.Measured > *rec.Measured) {
			rec.Predicted, rec.Measured, rec.Bound = o.Foretold, o.Measured, o.Bound
		}
		words = append(words, o.Service+": "+o.Text)
	}
	words = append(words, r.out.problems...)
	r.out.Verdict = strings.Join(words, "; ")
	rec.OK, rec.Text = r.out.OK, r.out.Verdict
	if _, err := r.client.RecordDrill(ctx, rec); err != nil {
		r.out.Verdict += " (it could not be kept: " + err.Error() + ")"
	}
}

// sources are the events of every node that answers.
func (r *rehearse) sources(ctx context.Context) []incidents.Source {
	var list []incidents.Source
	for _, n := range r.world.Status.Nodes {
		src, from := incidents.Source{Node: n.Name}, r.client
		if n.Name != r.world.Status.Self.Name {
			from = r.client.Of(n.Name)
			asked := time.Now()
			s, err := from.Status(ctx)
			if err != nil {
				continue // it is not back, which is said elsewhere
			}
			src.Offset = s.Time.Sub(asked.Add(time.Since(asked) / 2))
		}
		_ = from.Events(ctx, api.EventQuery{Since: r.seen.Began.Add(-10 * time.Second)}, func(e api.Event) error {
			src.Events = append(src.Events, e)
			return nil
		}) // what was read until then is better than nothing
		list = append(list, src)
	}
	return list
}
