package resources

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/holdfast-ha/holdfast/resources/groups"
	"github.com/holdfast-ha/holdfast/resources/leading"
	"github.com/holdfast-ha/holdfast/resources/secret"
)

// Groups keeps the processes of services together; package groups has two.
type Groups = groups.Keeper

// Group names a set of processes of a service.
type Group = groups.Group

// Held is a group that exists, with the processes in it.
type Held = groups.Held

// RunnerConfig is what a Runner works with.
type RunnerConfig struct {
	Groups Groups
	// AgentCommand starts an agent process; kind and verb are appended. It must
	// end up in Kinds.AgentMain with ProcessStdio.
	AgentCommand []string
	Env          []string      // added to the environment of agents
	Secrets      secret.Places // what specifications name is found there
	// KillWithin is how long a killed group may take to become empty before it
	// counts as stuck; zero means 5 s.
	KillWithin time.Duration
	// Output is where programs that stay running write; nil means os.Stderr,
	// which under a service manager is the journal.
	Output *os.File
	// OnStep is told of every operation when it is over. It is called from the
	// goroutine of the caller of Start, Stop and Check. May be nil.
	OnStep func(Step)
	Now    func() time.Time // for the times in a Step; nil means time.Now
	// Advised says of which kinds the limits are asked with the verb "usual", where
	// the configuration has none; nil: of none.
	Advised func(kind string) bool
	// Glance checks a member without a process, where that is enough; see Glancer.
	// Nil: every check takes one.
	Glance func(kind string, req Request) (Report, bool)
	// Watchers are the kinds that tell of themselves; see Watch.
	Watchers map[string]Watcher
}

// Runner carries out what was decided about services. Different services do not
// wait for each other; on one service there is one operation at a time.
type Runner struct {
	cfg   RunnerConfig
	count atomic.Uint64 // numbers the operations of this daemon life

	mu       sync.Mutex
	services map[string]*turn
	limits   map[string]Limits // what kinds advised, by kind and specification
	up       watched
}

// turn is the right to work on one service.
type turn struct {
	busy chan struct{} // holds one token while somebody works

	// Under Runner.mu:
	interrupt context.CancelCauseFunc // ends what is under way; nil else
	stops     int                     // Stops that wait for their turn
}

// fitsAtOnce is how many members of a service are asked at a time whether they could
// run here: a planned move waits for the answer.
const fitsAtOnce = 4

// fitPrefix stands before the service in the groups of questions, those of Fit and
// those for a kind's own limits, which may be asked while the service is started:
// they hold no term.
const fitPrefix = "fit:"

var (
	errStopWanted = errors.New("a stop is wanted")
	errGaveUp     = errors.New("the caller gave up")
)

// NewRunner returns a Runner. It does nothing yet: EmptyOrphans comes first.
func NewRunner(cfg RunnerConfig) *Runner {
	if cfg.KillWithin == 0 {
		cfg.KillWithin = 5 * time.Second
	}
	if cfg.Output == nil {
		cfg.Output = os.Stderr
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	return &Runner{
		cfg: cfg, services: make(map[string]*turn), limits: make(map[string]Limits),
		up: watched{services: make(map[string]Service), mains: make(map[leading.Of]int), news: make(chan struct{}, 1)},
	}
}

// StartOptions change a start.
type StartOptions struct {
	// StorageOnly starts only the leading members that are storage: all that a
	// proof allows which covers the disks but not the former owner itself. A
	// later Start without it brings up the rest.
	StorageOnly bool
	// From begins with this member, counted from 0: those below it are up, and stay
	// so if the start fails.
	From int
	// Handed says that another node has released the service a moment ago, verified
	// stopped: what it consists of was in use there until then, and so nowhere else.
	Handed bool
	// Resume says that another node has released the service, and that nobody has
	// stopped it by request since: what that node has handed over as it ran may go on.
	Resume bool
}

// Start brings a service up in a term, top to bottom. If a member fails or gives
// no answer, it and those above it in time are stopped again in reverse, and the
// result has Stopped if that could be verified. Start is safe to repeat in the
// same term; it refuses while another term of the service, or an operation of a
// former daemon life, is still held here. A Stop on the same service, or the
// end of ctx, interrupts it: the outcome is then Unknown and nothing is undone.
func (r *Runner) Start(ctx context.Context, svc Service, term uint32, opts StartOptions) Result {
	ctx, done, err := r.take(ctx, svc, false)
	if err != nil {
		return refusal(err)
	}
	defer done()
	if err := r.clearFor(svc.Name, term); err != nil {
		return refusal(err)
	}
	w := r.work(svc, term)
	w.handed, w.resume = opts.Handed, opts.Resume
	count := len(svc.Stack)
	if opts.StorageOnly {
		count = storagePrefix(svc.Stack)
	}
	p := newStartPlan(opts.From, count)
	w.plan = p
	defer w.dismiss()
	for t, more := p.next(); more; t, more = p.next() {
		if ctx.Err() != nil {
			w.result.Outcome = Unknown
			w.blame(t.member, "interrupted: "+context.Cause(ctx).Error())
			return w.result
		}
		s := w.do(ctx, t)
		if t.verb == VerbStart && s.Outcome != OK {
			w.blame(t.member, s.Text)
			w.result.Severity = s.Severity
		}
		if ctx.Err() == nil {
			p.report(s.Outcome)
		}
	}
	w.result.Outcome = p.outcome
	if p.undo == nil {
		w.result.Text = w.told()
		r.runs(svc, count)
		return w.result
	}
	if w.result.Stopped = p.undo.ok && opts.From == 0; !p.undo.ok {
		w.result.Outcome = Unknown
		w.result.Text += "; and it could not be undone: " + w.lastTrouble(p.undo.failed)
	}
	return w.result
}

// StopOptions change a stop.
type StopOptions struct {
	// Kill is the emergency stop: every process of the service gets SIGKILL
	// before anything else, and no member is asked politely.
	Kill bool
	// From stops this member, counted from 0, and those above it, and leaves the
	// others and their processes alone: the result has no Stopped then.
	From int
	// Goal is the node to which the service goes; empty: to none. A member that can be
	// handed to it as it runs is, and its text becomes the result's.
	Goal string
}

// Stop takes a service down, bottom of the stack last, and verifies it: each
// member says that it is not running, and no process of the service is left in
// any term. OK with Stopped means that; anything else is a failed stop and names
// the member and what holds it. It interrupts whatever is under way on the
// service, an earlier Stop too. The end of ctx, or a later Stop, interrupts it in
// turn: the outcome is then Unknown.
func (r *Runner) Stop(ctx context.Context, svc Service, term uint32, opts StopOptions) Result {
	r.stopWaits(svc.Name, +1)
	ctx, done, err := r.take(ctx, svc, true)
	r.stopWaits(svc.Name, -1)
	if err != nil {
		return refusal(err)
	}
	defer done()
	r.runs(svc, min(opts.From, len(svc.Stack)))
	w := r.work(svc, term)
	w.goal = opts.Goal
	p := newStopPlan(reversed(len(svc.Stack)), opts.Kill).above(opts.From)
	w.plan = p
	defer w.dismiss()
	for t, more := p.next(); more; t, more = p.next() {
		if ctx.Err() != nil {
			w.result.Outcome = Unknown
			w.blame(t.member, "interrupted: "+context.Cause(ctx).Error())
			return w.result
		}
		p.report(w.do(ctx, t).Outcome)
	}
	if !p.ok {
		w.result.Outcome = Failed
		w.blame(p.failed, w.lastTrouble(p.failed))
		return w.result
	}
	w.result.Outcome, w.result.Stopped, w.result.Text = OK, opts.From == 0, w.told()
	return w.result
}

// Check asks every member, top to bottom, and ends at the first that is not
// well: Failed, NotRunning, or Unknown if it gave no answer in time, which says
// nothing about the service.
func (r *Runner) Check(ctx context.Context, svc Service, term uint32) Result {
	ctx, done, err := r.take(ctx, svc, false)
	if err != nil {
		return refusal(err)
	}
	defer done()
	w := r.work(svc, term)
	p := newCheckPlan(len(svc.Stack))
	for t, more := p.next(); more; t, more = p.next() {
		s := w.do(ctx, t)
		p.report(s.Outcome)
		if s.Outcome != OK {
			w.blame(t.member, s.Text)
			w.result.Severity = s.Severity
		}
	}
	if w.result.Outcome = p.outcome; p.outcome == OK {
		r.runs(svc, len(svc.Stack))
	}
	return w.result
}

// Fit asks every member whether it could run here, and changes nothing: OK, or
// Failed with everything that is missing, or Unknown. It may be asked of a service
// that runs elsewhere, and waits for no other operation.
func (r *Runner) Fit(ctx context.Context, svc Service, beside []string) Result {
	if err := svc.validate(); err != nil {
		return refusal(err)
	}
	steps := make([]Step, len(svc.Stack))
	var asked errgroup.Group
	asked.SetLimit(fitsAtOnce)
	for i := range svc.Stack {
		asked.Go(func() error {
			one := r.work(svc, 0)
			one.beside = beside
			steps[i] = one.carryOut(ctx, task{i, VerbFit})
			return nil
		})
	}
	_ = asked.Wait() // what went wrong is in the steps
	w := r.work(svc, 0)
	w.result.Outcome = OK
	var missing []string
	for i, m := range svc.Stack {
		s := steps[i]
		if w.tell(s); s.Outcome == OK {
			continue
		}
		if missing = append(missing, joinText(m.ID, s.Text)); w.result.Member == "" {
			w.result.Member, w.result.Severity = m.ID, s.Severity
		}
		if s.Outcome == Failed || w.result.Outcome == OK {
			w.result.Outcome = s.Outcome
		}
	}
	w.result.Text = strings.Join(missing, "; ")
	return w.result
}

// Longest is longer than any Start, Stop or Check of the service can last: every
// member's limits twice, for a start may have to be undone and a stop may have to
// kill. A kind that was not asked for its limits yet counts with an hour.
func (r *Runner) Longest(svc Service) time.Duration {
	var sum time.Duration
	for _, m := range svc.Stack {
		var usual Limits
		if r.cfg.Advised != nil && r.cfg.Advised(m.Kind) {
			r.mu.Lock()
			known, ok := r.limits[m.Kind+" "+string(m.Spec)]
			r.mu.Unlock()
			if usual = known; !ok {
				usual = Limits{Start: time.Hour, Stop: time.Hour, Check: time.Hour}
			}
		}
		sum += 2 * (m.limit(VerbStart, usual) + m.limit(VerbStop, usual) + m.limit(VerbCheck, usual))
	}
	return sum
}

// Probe asks whether the service runs here, for adoption after a restart of the
// daemon. Its steps say what each member answered.
func (r *Runner) Probe(ctx context.Context, svc Service, term uint32) (State, []Step) {
	ctx, done, err := r.take(ctx, svc, false)
	if err != nil {
		return StateUnknown, nil
	}
	defer done()
	w := r.work(svc, term)
	var probes []Outcome
	for i := range svc.Stack {
		probes = append(probes, w.do(ctx, task{i, VerbProbe}).Outcome)
	}
	held, err := r.heldBy(svc.Name)
	if err != nil {
		return StateUnknown, w.result.Steps
	}
	left := slices.ContainsFunc(held, func(h Held) bool { return len(h.PIDs) > 0 })
	return stateOf(probes, left), w.result.Steps
}

// Orphan is an operation that a former daemon life left behind.
type Orphan struct {
	Group Group
	PIDs  []int // what it consisted of when found
	Err   error // nil: it is gone; else what could not be killed
}

// EmptyOrphans kills every operation of a former daemon life and waits until
// none is left: a mount that was under way when the daemon died would otherwise
// finish at any later time, after the service was given to another node. It is
// called once, before the first probe. An orphan with an Err is a failed stop of
// its service. The error is that of the list itself.
func (r *Runner) EmptyOrphans(ctx context.Context) ([]Orphan, error) {
	held, err := r.cfg.Groups.List(Group{})
	if err != nil {
		return nil, err
	}
	var orphans []Orphan
	for _, h := range held {
		if !strings.HasPrefix(h.Part, groups.OpPrefix) {
			continue
		}
		o := Orphan{Group: h.Group, PIDs: h.PIDs, Err: ctx.Err()}
		if o.Err == nil {
			o.Err = r.cfg.Groups.Kill(h.Group, r.cfg.KillWithin)
		}
		orphans = append(orphans, o)
	}
	return orphans, nil
}

// Terms returns the services and terms that this node was asked to start and
// has not verifiably stopped. The Part is empty, PIDs are the processes left
// running; there may be none, as with a mere file system.
func (r *Runner) Terms() ([]Held, error) {
	held, err := r.cfg.Groups.List(Group{})
	if err != nil {
		return nil, err
	}
	var terms []Held
	for _, h := range held {
		if strings.HasPrefix(h.Service, fitPrefix) {
			continue // a question changes nothing
		}
		last := len(terms) - 1
		if last < 0 || terms[last].Service != h.Service || terms[last].Term != h.Term {
			terms = append(terms, Held{Group: Group{Service: h.Service, Term: h.Term}})
			last++
		}
		terms[last].PIDs = append(terms[last].PIDs, h.PIDs...)
	}
	return terms, nil
}

// take waits for the right to work on a service. The context that comes back
// ends also when a Stop interrupts, which is at once if one waits and this is
// not it; done gives the right back.
func (r *Runner) take(ctx context.Context, svc Service, stop bool) (context.Context, func(), error) {
	if err := svc.validate(); err != nil {
		return nil, nil, err
	}
	t := r.turnOf(svc.Name)
	select {
	case t.busy <- struct{}{}:
	case <-ctx.Done():
		return nil, nil, fmt.Errorf("service %s: another operation was still under way: %w", svc.Name, ctx.Err())
	}
	ctx, cancel := context.WithCancelCause(ctx)
	r.mu.Lock()
	t.interrupt = cancel
	if !stop && t.stops > 0 {
		cancel(errStopWanted)
	}
	r.mu.Unlock()
	return ctx, func() {
		r.mu.Lock()
		t.interrupt = nil
		r.mu.Unlock()
		cancel(errGaveUp)
		<-t.busy
	}, nil
}

func (r *Runner) turnOf(service string) *turn {
	r.mu.Lock()
	defer r.mu.Unlock()
	t := r.services[service]
	if t == nil {
		t = &turn{busy: make(chan struct{}, 1)}
		r.services[service] = t
	}
	return t
}

// stopWaits counts the Stops that wait for their turn, and interrupts whatever
// has it: two stops at a time are one too many, and the later one knows better.
func (r *Runner) stopWaits(service string, change int) {
	t := r.turnOf(service)
	r.mu.Lock()
	defer r.mu.Unlock()
	t.stops += change
	if change > 0 && t.interrupt != nil {
		t.interrupt(errStopWanted)
	}
}

// clearFor refuses a start beside another term or beside an orphan.
func (r *Runner) clearFor(service string, term uint32) error {
	held, err := r.heldBy(service)
	if err != nil {
		return err
	}
	for _, h := range held {
		if h.Term != term {
			return fmt.Errorf("service %s: term %d is still held here (%s); it must be stopped before term %d starts",
				service, h.Term, h.Group, term)
		}
		if strings.HasPrefix(h.Part, groups.OpPrefix) {
			return fmt.Errorf("service %s: operation %s was left behind with processes %v; it must be stopped first",
				service, h.Group, h.PIDs)
		}
	}
	return nil
}

func (r *Runner) heldBy(service string) ([]Held, error) {
	return r.cfg.Groups.List(Group{Service: service})
}

// refusal is the result of what never began.
func refusal(err error) Result {
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return Result{Outcome: Unknown, Text: err.Error()}
	}
	return Result{Outcome: Failed, Text: err.Error()}
}
