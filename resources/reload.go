package resources

import (
	"context"
	"encoding/json"
	"reflect"
)

// Reload has the members of a running service, of those that changed, take over what
// their specifications say now: OK if all did, NotRunning if one has to be restarted
// for that, which leaves the rest as they are, and else why it failed. was is what
// the specifications of those that changed have said so far, by the member's ID.
func (r *Runner) Reload(ctx context.Context, svc Service, term uint32, was map[string]json.RawMessage) Result {
	ctx, done, err := r.take(ctx, svc, false)
	if err != nil {
		return refusal(err)
	}
	defer done()
	w := r.work(svc, term)
	w.result.Outcome, w.was = OK, was
	for i, m := range svc.Stack {
		if _, changed := was[m.ID]; !changed {
			continue
		}
		if s := w.do(ctx, task{i, VerbReload}); s.Outcome != OK {
			w.result.Outcome, w.result.Severity = s.Outcome, s.Severity
			w.blame(i, s.Text)
			return w.result
		}
	}
	r.runs(svc, len(svc.Stack))
	return w.result
}

// TakesOver answers a reload for a kind that reads some of its settings anew at every
// check or stop: nothing has to be done if nothing else has changed. free sets these
// to zero in a specification, so that what is left can be compared.
func TakesOver[Spec any](req Request, free func(*Spec)) Report {
	var was, is Spec
	if err := DecodeSpec(req.Spec, &is); err != nil {
		return Report{Outcome: Failed, Severity: Fatal, Text: err.Error()}
	}
	if err := DecodeSpec(req.Was, &was); err != nil {
		return Absent("with which settings it was started is not known: %v", err)
	}
	free(&was)
	free(&is)
	if !reflect.DeepEqual(was, is) {
		return Absent("it has to be restarted for a change of these settings")
	}
	return Done("it goes by its new settings from now on")
}
