package resources

// This file decides the order of operations and does nothing else: no clock,
// no process, no file. A plan hands out one task at a time and is told what
// came of it. The runner is the loop around it.

// whole is the member index of a task that concerns the whole service.
const whole = -1

// task is one thing to do next.
type task struct {
	member int // index in the stack, or whole
	verb   Verb
}

// plan is a start, a stop or a check under way.
type plan interface {
	// next returns what to do now; false when the plan is finished.
	next() (task, bool)
	// report says what came of the task that next returned last.
	report(o Outcome)
	// ahead returns what an agent will be asked next if the task that next returned
	// last, of an agent too, goes well; false if nothing, or if nobody waits for it.
	ahead() (task, bool)
}

// stopPlan takes members down in the order given. Each has two tries: the
// polite one (stop) and, if that did not end in a verified stop, the emergency
// one (kill). Either try is stop or kill, then the sweep of what the member left
// running, then the probe; it counts only if all three say so. A member that
// stays up does not keep the others from being stopped: the data on them is
// better off unmounted, whatever happens to the node afterwards.
type stopPlan struct {
	order   []int
	tries   []Verb // what each member is asked, in turn
	queue   []task // what precedes and follows the members: sweeps of the whole
	at, try int
	phase   int
	good    bool // the current try so far
	failed  int  // first member without a verified stop, or whole; see ok
	ok      bool
	swept   bool
}

// newStopPlan plans the stop of the members order (indices, first to stop
// first). An emergency kills every process of the service before anything else
// and asks no member politely.
func newStopPlan(order []int, emergency bool) *stopPlan {
	p := &stopPlan{order: order, tries: []Verb{VerbStop, VerbKill}, good: true, ok: true}
	if emergency {
		p.tries = []Verb{VerbKill}
		p.queue = []task{{whole, VerbSweep}}
	}
	return p
}

func (p *stopPlan) next() (task, bool) {
	if len(p.queue) > 0 {
		return p.queue[0], true
	}
	if p.at < len(p.order) {
		verbs := [...]Verb{p.tries[p.try], VerbSweep, VerbProbe}
		return task{p.order[p.at], verbs[p.phase]}, true
	}
	if !p.swept {
		return task{whole, VerbSweep}, true
	}
	return task{}, false
}

func (p *stopPlan) report(o Outcome) {
	if len(p.queue) > 0 {
		// Only a hurry: the sweep at the end is the one that counts.
		p.queue = p.queue[1:]
		return
	}
	if p.at >= len(p.order) {
		p.swept = true
		if o != OK {
			p.fail(whole)
		}
		return
	}
	verb := [...]Verb{p.tries[p.try], VerbSweep, VerbProbe}[p.phase]
	if !(o == NotRunning || o == OK && verb != VerbProbe) {
		p.good = false
	}
	if p.phase < 2 {
		p.phase++
		return
	}
	switch {
	case !p.good && p.try+1 < len(p.tries):
		p.try++
	default:
		if !p.good {
			p.fail(p.order[p.at])
		}
		p.at, p.try = p.at+1, 0
	}
	p.phase, p.good = 0, true
}

func (p *stopPlan) ahead() (task, bool) {
	switch {
	case len(p.queue) > 0 || p.at >= len(p.order):
		return task{}, false
	case p.phase == 0:
		return task{p.order[p.at], VerbProbe}, true
	case p.at+1 < len(p.order):
		return task{p.order[p.at+1], p.tries[0]}, true
	}
	return task{}, false
}

func (p *stopPlan) fail(member int) {
	if p.ok {
		p.ok, p.failed = false, member
	}
}

// above makes it the stop of the last members only: what is below them stays, and
// so do its processes.
func (p *stopPlan) above(first int) *stopPlan {
	p.order = p.order[:max(len(p.order)-first, 0)]
	p.swept = first > 0
	return p
}

// startPlan brings members up in order. The first that does not say OK ends the
// start; it and those that this start has begun before it are then stopped in
// reverse.
type startPlan struct {
	members int
	first   int // what is below it is up
	at      int
	undo    *stopPlan
	outcome Outcome // of the member that did not start
}

func newStartPlan(first, members int) *startPlan {
	return &startPlan{members: members, first: first, at: first, outcome: OK}
}

func (p *startPlan) next() (task, bool) {
	if p.undo != nil {
		return p.undo.next()
	}
	return task{p.at, VerbStart}, p.at < p.members
}

func (p *startPlan) report(o Outcome) {
	if p.undo != nil {
		p.undo.report(o)
		return
	}
	if o == OK {
		p.at++
		return
	}
	if o != Unknown {
		o = Failed
	}
	p.outcome = o
	p.undo = newStopPlan(reversed(p.at+1), false).above(p.first)
}

func (p *startPlan) ahead() (task, bool) {
	if p.undo != nil {
		return p.undo.ahead()
	}
	return task{p.at + 1, VerbStart}, p.at+1 < p.members
}

// checkPlan asks every member in order and ends at the first that is not well.
type checkPlan struct {
	members int
	at      int
	outcome Outcome
}

func newCheckPlan(members int) *checkPlan { return &checkPlan{members: members, outcome: OK} }

func (p *checkPlan) next() (task, bool) {
	return task{p.at, VerbCheck}, p.at < p.members && p.outcome == OK
}

func (p *checkPlan) report(o Outcome) {
	if p.outcome = o; o == OK {
		p.at++
	}
}

// ahead: no takeover and no move waits for a check.
func (p *checkPlan) ahead() (task, bool) { return task{}, false }

// reversed is n-1 down to 0.
func reversed(n int) []int {
	order := make([]int, n)
	for i := range order {
		order[i] = n - 1 - i
	}
	return order
}

// storagePrefix is the number of leading members that need only the disks. A
// storage member above one that is not storage waits with the rest: its order
// in the stack is a promise to the admin.
func storagePrefix(stack []Member) int {
	for i, m := range stack {
		if !m.Storage {
			return i
		}
	}
	return len(stack)
}

// stateOf sums up the probes of all members.
func stateOf(probes []Outcome, processesLeft bool) State {
	running, stopped := 0, 0
	for _, o := range probes {
		switch o {
		case OK, Failed: // running badly is running
			running++
		case NotRunning:
			stopped++
		default:
			return StateUnknown
		}
	}
	switch {
	case stopped == len(probes) && !processesLeft:
		return StateStopped
	case running == len(probes):
		return StateRunning
	default:
		return StatePartly
	}
}
