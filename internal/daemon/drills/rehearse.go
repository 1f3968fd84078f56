package drills

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/holdfast-ha/holdfast/cluster"
	"github.com/holdfast-ha/holdfast/internal/api"
	"github.com/holdfast-ha/holdfast/internal/config"
	"github.com/holdfast-ha/holdfast/internal/daemon/operations"
	"github.com/holdfast-ha/holdfast/internal/guardwire"
	"github.com/holdfast-ha/holdfast/resources"
	"github.com/holdfast-ha/holdfast/sbd"
)

const (
	// most bounds how long anything stays broken.
	most = 10 * time.Minute
	// markFile says, in the run directory, that rules of the firewall may be in force.
	markFile = "drill-network"
	// gatherEvery is how often other nodes are asked for what they know of drills.
	gatherEvery = time.Minute
)

// Begin begins a drill on a node of the view: here, or by a message in the node's
// mailbox. It returns when the drill was begun, or ordered.
func (d *Drills) Begin(ctx context.Context, v *cluster.View, q api.DrillStart) (*api.DrillRun, error) {
	if v.State == nil {
		return nil, api.Errorf(api.CodeNotReady, "the quorum disk was not read yet")
	}
	n := v.State.NodeNamed(q.Node)
	switch {
	case n == nil:
		return nil, api.Errorf(api.CodeNotFound, "there is no node %q", q.Node)
	case n.Phase != cluster.MemberPhase || !n.Fencing.IsZero():
		return nil, api.Errorf(api.CodeRefused, "%s is no member, or is being fenced: a drill shows nothing of a node that is not well", n.Name)
	case q.Kind != api.DrillKillNode && (q.For <= 0 || q.For.Duration() > most):
		return nil, api.Errorf(api.CodeInvalid, "a drill lasts up to %s", most)
	case n.ID == v.Self && (q.Kind == api.DrillKillNode || q.Kind == api.DrillFreezeNode):
		return nil, api.Errorf(api.CodeRefused, "%s is this node, which would not see how it goes on: run holdfast drill %s --node %s on another one", n.Name, q.Kind, n.Name)
	case n.ID == v.Self:
		return d.carryOut(ctx, v, q)
	}
	m := sbd.Mail{Command: sbd.Test, From: sender(&q)}
	switch q.Kind {
	case api.DrillKillNode:
		m = sbd.Mail{Command: sbd.Reset, From: d.Self}
	case api.DrillFreezeNode, api.DrillCutDisk, api.DrillCutNetwork, api.DrillFailService:
	default:
		return nil, api.Errorf(api.CodeInvalid, "a drill %q breaks nothing", q.Kind)
	}
	run := d.run(&q)
	d.say("info", &q, "ordered through the mailbox of "+n.Name+" on the quorum disks")
	if err := d.send(n.Name, m); err != nil {
		d.say("warn", &q, err.Error())
		return nil, api.Errorf(api.CodeRefused, "%v", err)
	}
	return run, nil
}

func (d *Drills) run(q *api.DrillStart) *api.DrillRun {
	return &api.DrillRun{Kind: q.Kind, Node: q.Node, Service: q.Service, Ends: d.Wall().Add(q.For.Duration()).UTC()}
}

// say keeps an event about a drill of this node's or of another one.
func (d *Drills) say(level string, q *api.DrillStart, text string) {
	d.Tell(api.Event{At: int64(d.Now()), Kind: "drill", Level: level, Node: q.Node, Service: q.Service, Text: cluster.Limit(fmt.Sprintf("drill %s: %s", q.Kind, text), 600)})
}

// Letter takes what the guard says of its mail where that is the order of a drill, and
// never waits; false: it is somebody else's.
func (d *Drills) Letter(notice string) bool {
	if _, is := ordered(notice); !is {
		return false
	}
	select {
	case d.mail <- notice:
	default: // more than can be done at once is not done
	}
	return true
}

// hear carries out the order of a drill in what the guard has said of its mail.
func (d *Drills) hear(ctx context.Context, v *cluster.View, notice string) {
	q, is := ordered(notice)
	if !is || v.State == nil || q.For <= 0 || q.For.Duration() > most {
		return
	}
	q.Node = d.Self
	if r := d.now(); r != nil && r.Kind == q.Kind { // the same order, from another disk
		return
	}
	if _, err := d.carryOut(ctx, v, q); err != nil {
		d.say("warn", &q, "it was ordered, and refused: "+err.Error())
	}
}

// now is the drill that is under way here; nil: none.
func (d *Drills) now() *api.DrillRun {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.running == nil {
		return nil
	}
	r := *d.running
	return &r
}

// carryOut begins a drill on this node.
func (d *Drills) carryOut(ctx context.Context, v *cluster.View, q api.DrillStart) (*api.DrillRun, error) {
	run := d.run(&q)
	d.mu.Lock()
	if r := d.running; r != nil {
		d.mu.Unlock()
		return nil, api.Errorf(api.CodeRefused, "the drill %s is under way on %s; it ends at %s", r.Kind, d.Self, r.Ends.Format(time.TimeOnly))
	}
	d.running = run
	d.mu.Unlock()
	d.say("info", &q, fmt.Sprintf("begins; it ends by itself after %s", q.For.Duration().Round(time.Millisecond)))
	if err := d.wreck(ctx, v, &q); err != nil {
		d.mu.Lock()
		d.running = nil
		d.mu.Unlock()
		return nil, api.Errorf(api.CodeRefused, "%v", err)
	}
	d.poke()
	begun := *run
	return &begun, nil
}

// poke has Follow look again at when the drill ends.
func (d *Drills) poke() {
	select {
	case d.wake <- struct{}{}:
	default:
	}
}

// wreck breaks what the drill is about.
func (d *Drills) wreck(ctx context.Context, v *cluster.View, q *api.DrillStart) error {
	length := q.For.Duration()
	switch q.Kind {
	case api.DrillFreezeNode:
		return d.freeze(length)
	case api.DrillCutDisk:
		return d.cutDisks(length)
	case api.DrillCutNetwork:
		if err := replace(filepath.Join(d.Run, markFile), []byte("rules of the table "+table+" may be in force\n")); err != nil {
			return err
		}
		return d.cutNetwork(ctx, v, length)
	case api.DrillFailService:
		return d.fail(ctx, v, q)
	}
	return fmt.Errorf("%q is no drill that is carried out on a node", q.Kind)
}

// cutDisks keeps guard and daemon from the quorum disks.
func (d *Drills) cutDisks(length time.Duration) error {
	g, is := d.Machine.Guard().(interface {
		Send(o guardwire.Order) (uint64, error)
	})
	if !is {
		return errors.New("there is no connection to the guard")
	}
	if _, err := g.Send(&guardwire.Cut{For: length}); err != nil {
		return err
	}
	until := time.Now().Add(length)
	d.Machine.Register.Store(&until)
	return nil
}

// fail has so many checks of a service fail as it takes until something is done.
func (d *Drills) fail(ctx context.Context, v *cluster.View, q *api.DrillStart) error {
	g := v.State.Grant(q.Service)
	if g == nil || g.Owner != v.Self || v.State.Conf == nil {
		return fmt.Errorf("%s does not run on %s", q.Service, d.Self)
	}
	checks := 1
	if s, has := v.State.Conf.Service(q.Service); has {
		checks = max(checks, s.Patience.Fails)
	}
	d.mu.Lock()
	d.failing[q.Service] = checks
	d.mu.Unlock()
	d.Machine.Stir(ctx, q.Service, "a drill has it fail")
	return nil
}

// runner is a runner whose checks fail where a drill says so.
type runner struct {
	operations.Runner
	d *Drills
}

// Runner puts drills between the daemon and what runs its services.
func (d *Drills) Runner(r operations.Runner) operations.Runner { return runner{r, d} }

// Check implements operations.Operator.
func (r runner) Check(ctx context.Context, s resources.Service, term uint32) resources.Result {
	res := r.Runner.Check(ctx, s, term)
	r.d.mu.Lock()
	defer r.d.mu.Unlock()
	if r.d.failing[s.Name] == 0 || res.Outcome != resources.OK {
		return res
	}
	if r.d.failing[s.Name]--; r.d.failing[s.Name] == 0 {
		delete(r.d.failing, s.Name)
		if run := r.d.running; run != nil && run.Kind == api.DrillFailService {
			run.Ends = r.d.Wall() // there is nothing more to come
			r.d.poke()
		}
	}
	res.Outcome, res.Text = resources.Failed, "it works; a drill has its check fail (holdfast drill fail-service)"
	return res
}

// Follow is the task that ends drills when their time is over, and asks the other
// nodes for what they know of drills. It begins with what a former life left broken.
func (d *Drills) Follow(ctx context.Context, view func(context.Context) (cluster.View, error), get Get) error {
	d.tidy(ctx)
	gather := time.NewTicker(gatherEvery)
	defer gather.Stop()
	for {
		var over <-chan time.Time
		if r := d.now(); r != nil {
			over = time.After(r.Ends.Sub(d.Wall()))
		}
		select {
		case <-ctx.Done():
			return nil
		case <-d.wake:
		case notice := <-d.mail:
			if v, err := view(ctx); err == nil {
				d.hear(ctx, &v, notice)
			}
		case <-over:
			d.end(ctx)
		case <-gather.C:
			if v, err := view(ctx); err == nil {
				d.Gather(ctx, &v, get)
			}
		}
	}
}

// end restores what the drill that is under way has broken.
func (d *Drills) end(ctx context.Context) {
	d.mu.Lock()
	r := d.running
	d.running = nil
	clear(d.failing)
	d.mu.Unlock()
	if r != nil {
		d.tidy(ctx)
		d.say("info", &api.DrillStart{Kind: r.Kind, Node: r.Node, Service: r.Service}, "is over, and everything as before")
	}
}

// tidy takes away rules of the firewall that a drill has left.
func (d *Drills) tidy(ctx context.Context) {
	mark := filepath.Join(d.Run, markFile)
	if _, err := os.Stat(mark); errors.Is(err, os.ErrNotExist) {
		return
	}
	if err := errors.Join(d.mendNetwork(ctx), os.Remove(mark)); err != nil {
		d.say("error", &api.DrillStart{Kind: api.DrillCutNetwork, Node: d.Self}, "what it has left could not be removed: "+err.Error()+"; by hand: nft delete table inet "+table)
	}
}

// Record keeps what came of a drill, as an event too.
func (d *Drills) Record(r api.DrillRecord) error {
	if !slices.Contains(api.DrillKinds(), r.Kind) {
		return api.Errorf(api.CodeInvalid, "there is no drill %q", r.Kind)
	}
	r.Text, r.By = cluster.Limit(r.Text, 600), d.Self
	level, outcome := "info", cluster.FenceProven.String()
	if !r.OK {
		level, outcome = "error", cluster.FenceFailed.String()
	}
	e := api.Event{At: int64(d.Now()), Kind: "drill", Level: level, Node: r.Node, Service: r.Service, Outcome: outcome, Took: r.Measured}
	e.Text = fmt.Sprintf("drill %s: %s: %s", r.Kind, api.DrillVerdict, r.Text)
	d.Tell(e)
	_, err := d.book.add(r)
	return err
}

// All is what is known of drills, under the view's configuration.
func (d *Drills) All(v *cluster.View) *api.Drills {
	out := &api.Drills{Version: api.Version, Running: d.now(), Last: d.book.all()}
	s := v.State
	if s == nil || s.Conf == nil {
		return out
	}
	d.mu.Lock()
	if d.wanted.rev != s.ConfigRev || d.wanted.rev == 0 {
		every, _ := config.ParseDrills("the configuration", s.Config) // it was parsed as a whole before
		d.wanted = wanted{s.ConfigRev, every}
	}
	every := d.wanted.every
	d.mu.Unlock()
	out.Every = api.Of(every)
	if every == 0 || len(s.Nodes) < 2 {
		return out
	}
	for _, kind := range api.DrillKinds() {
		if last := out.Latest(kind); applies(kind, s) && (last == nil || !last.OK || d.Wall().Sub(last.Time) > every) {
			out.Overdue = append(out.Overdue, kind)
		}
	}
	return out
}

// applies says whether a cluster has what a kind of drill is about.
func applies(kind string, s *cluster.State) bool {
	switch kind {
	case api.DrillFailService, api.DrillMove:
		return len(s.Services) > 0
	case api.DrillFence:
		for i := range s.Nodes {
			ways := s.Conf.WaysFor(&s.Nodes[i])
			if slices.ContainsFunc(ways, func(w cluster.Way) bool { return w.CutsPower() }) {
				return true
			}
		}
		return false
	}
	return true
}

// Get asks the daemon of another node, by the first of its addresses that answers.
type Get func(ctx context.Context, addresses []netip.AddrPort, path string) (*http.Response, error)

// Gather keeps what the other members of a view know of drills.
func (d *Drills) Gather(ctx context.Context, v *cluster.View, get Get) {
	if v.State == nil {
		return
	}
	for i := range v.State.Nodes {
		n := &v.State.Nodes[i]
		if n.ID == v.Self || n.Phase != cluster.MemberPhase {
			continue
		}
		var at []netip.AddrPort
		for _, l := range n.Links {
			if a, err := netip.ParseAddrPort(l); err == nil {
				at = append(at, a)
			}
		}
		if known, err := askOne(ctx, at, get); err == nil {
			_, _ = d.book.add(known.Last...) // a file that cannot be written is said by the next drill here
		}
	}
}

func askOne(ctx context.Context, at []netip.AddrPort, get Get) (*api.Drills, error) {
	ctx, cancel := context.WithTimeout(ctx, nftTime)
	defer cancel()
	resp, err := get(ctx, at, "/v1/drills")
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	var known api.Drills
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("it answers %s", resp.Status)
	}
	return &known, json.NewDecoder(http.MaxBytesReader(nil, resp.Body, 4<<20)).Decode(&known)
}
