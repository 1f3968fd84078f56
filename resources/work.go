package resources

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/holdfast-ha/holdfast/resources/groups"
	"github.com/holdfast-ha/holdfast/resources/leading"
)

// work is one Start, Stop, Check or Probe under way.
type work struct {
	r      *Runner
	svc    Service
	term   uint32
	result Result
	was    map[string]json.RawMessage // of a Reload
	beside []string                   // of a Fit
	handed bool                       // of a Start: see StartOptions
	resume bool                       // of a Start, too
	goal   string                     // of a Stop: see StopOptions

	plan    plan   // of a Start or a Stop
	next    task   // what the agent that waits was launched for
	waiting *child // that agent; nil: none
}

func (r *Runner) work(svc Service, term uint32) *work {
	return &work{r: r, svc: svc, term: term}
}

// do carries out one task and records it.
func (w *work) do(ctx context.Context, t task) Step {
	s := w.carryOut(ctx, t)
	w.tell(s)
	return s
}

// tell records what came of a task.
func (w *work) tell(s Step) {
	w.result.Steps = append(w.result.Steps, s)
	if w.r.cfg.OnStep != nil {
		w.r.cfg.OnStep(s)
	}
}

// carryOut does one task.
func (w *work) carryOut(ctx context.Context, t task) Step {
	s := Step{Service: w.svc.Name, Term: w.term, Verb: t.verb, Began: w.r.cfg.Now()}
	var m Member
	if t.member != whole {
		m = w.svc.Stack[t.member]
		s.Member, s.Kind = m.ID, m.Kind
	}
	var a answer
	if t.verb == VerbSweep {
		a = w.sweep(m.ID)
	} else {
		a = w.operate(ctx, m, t.verb)
		if a.outcome == OK && (t.verb == VerbStart || t.verb == VerbCheck) {
			w.r.leads(leading.Of{Service: w.svc.Name, Member: m.ID}, a.main)
		}
	}
	s.Took = w.r.cfg.Now().Sub(s.Began)
	s.Outcome, s.Text, s.Holders, s.Severity, s.Notable = a.outcome, a.text, a.holders, a.reach, a.notable && a.outcome == OK
	return s
}

func (w *work) operate(ctx context.Context, m Member, verb Verb) answer {
	of := Group{Service: w.svc.Name}
	if verb == VerbCheck { // of what runs: it runs in this term
		of.Term, of.Part = w.term, groups.RunPart+"/"+m.ID
	}
	held, err := w.r.cfg.Groups.List(of)
	if err != nil {
		return answer{outcome: Unknown, text: err.Error()}
	}
	var left []int
	for _, h := range held {
		if h.Part == groups.RunPart+"/"+m.ID {
			left = append(left, h.PIDs...)
		}
	}
	if verb == VerbCheck && w.r.cfg.Glance != nil {
		req := Request{Service: w.svc.Name, Term: w.term, Member: m.ID, Spec: m.Spec, Left: left}
		if seen, enough := w.r.cfg.Glance(m.Kind, req); enough {
			return answer{outcome: seen.Outcome, text: seen.Text, reach: seen.Severity}
		}
	}
	op := operation{svc: w.svc.Name, term: w.term, member: m, verb: verb, left: left, was: w.was[m.ID], handed: w.handed && verb == VerbStart, resume: w.resume && verb == VerbStart}
	if verb == VerbStop {
		op.goal = w.goal
	}
	if verb == VerbFit {
		op.above = slices.Clone(w.beside)
		for _, above := range w.svc.Stack {
			if above.ID == m.ID {
				break
			}
			op.above = append(op.above, above.Kind)
		}
	}
	op.limit = m.limit(verb, w.r.usual(ctx, op))
	op.waiting, op.meanwhile = w.take(m.ID, verb), w.lookAhead
	return w.r.operate(ctx, op)
}

// lookAhead launches the agent of the next operation while the present one works: a
// process takes as long to begin as most agents take for what they do, and a
// planned move waits for each. It does nothing before it is asked to.
func (w *work) lookAhead() {
	if w.plan == nil {
		return
	}
	next, more := w.plan.ahead()
	if !more {
		return
	}
	op := operation{svc: w.svc.Name, term: w.term, member: w.svc.Stack[next.member], verb: next.verb}
	if p, err := w.r.launch(op); err == nil { // else it is launched in its turn, and says why not
		w.next, w.waiting = next, p
	}
}

// take hands over the agent that waits, if it is that of the operation; another one is
// dismissed.
func (w *work) take(member string, verb Verb) *child {
	p := w.waiting
	if p == nil || w.svc.Stack[w.next.member].ID != member || w.next.verb != verb {
		w.dismiss()
		return nil
	}
	w.waiting = nil
	return p
}

// dismiss ends the agent that waits, if one does.
func (w *work) dismiss() {
	w.r.dismiss(w.waiting)
	w.waiting = nil
}

// usual is what the kind of a member advises where the member has no limits of
// its own. It is asked once in a daemon's life, and again only if it gave no
// answer: then the defaults hold meanwhile.
func (r *Runner) usual(ctx context.Context, op operation) Limits {
	m := op.member
	if r.cfg.Advised == nil || !r.cfg.Advised(m.Kind) || m.Start > 0 && m.Stop > 0 && m.Check > 0 {
		return Limits{}
	}
	key := m.Kind + " " + string(m.Spec)
	r.mu.Lock()
	known, ok := r.limits[key]
	r.mu.Unlock()
	if ok {
		return known
	}
	op.verb, op.limit = VerbUsual, m.limit(VerbUsual, Limits{})
	a := r.operate(ctx, op)
	if a.outcome != OK || a.usual == nil {
		return Limits{}
	}
	r.mu.Lock()
	r.limits[key] = *a.usual
	r.mu.Unlock()
	return *a.usual
}

// sweep kills what a member left running, in every term in which it may have
// been started; without a member, everything of the service.
func (w *work) sweep(member string) answer {
	held, err := w.r.heldBy(w.svc.Name)
	if err != nil {
		return answer{outcome: Failed, text: err.Error()}
	}
	var errs []error
	killed := 0
	for _, h := range held {
		if member != "" && h.Part != groups.RunPart+"/"+member {
			continue
		}
		killed += len(h.PIDs)
		errs = append(errs, w.r.cfg.Groups.Kill(h.Group, w.r.cfg.KillWithin))
	}
	if err := errors.Join(errs...); err != nil {
		return answer{outcome: Failed, text: strings.ReplaceAll(err.Error(), "\n", "; ")}
	}
	if killed > 0 {
		return answer{outcome: OK, text: fmt.Sprintf("killed %d processes that were left", killed)}
	}
	return answer{outcome: OK}
}

// told is what is worth telling of an operation that went well.
func (w *work) told() string {
	var texts []string
	for _, s := range w.result.Steps {
		if s.Notable {
			texts = append(texts, joinText(s.Member, s.Text))
		}
	}
	return strings.Join(texts, "; ")
}

// blame names the first member that did not do as told; later ones are in Steps.
func (w *work) blame(member int, text string) {
	if w.result.Text != "" {
		return
	}
	if member != whole {
		w.result.Member = w.svc.Stack[member].ID
	}
	w.result.Text = joinText(w.result.Member, text)
}

// lastTrouble is the latest thing that went wrong with a member's stop.
func (w *work) lastTrouble(member int) string {
	id := ""
	if member != whole {
		id = w.svc.Stack[member].ID
	}
	text := "it was not verified to be stopped"
	for _, s := range w.result.Steps {
		if s.Member != id || s.Verb == VerbStart {
			continue
		}
		good := s.Outcome == NotRunning || s.Outcome == OK && s.Verb != VerbProbe
		if good {
			continue
		}
		text = joinText(string(s.Verb)+" "+s.Outcome.String(), s.Text)
		if len(s.Holders) > 0 {
			text += "; held by " + strings.Join(s.Holders, ", ")
		}
	}
	return text
}
