package resources

import (
	"fmt"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// play drives a plan with scripted outcomes ("verb member" -> outcomes in turn;
// what is missing goes well) and returns the tasks in order.
func play(t *testing.T, p plan, script map[string][]Outcome) string {
	t.Helper()
	var done []string
	var foreseen *task
	for task, more := p.next(); more; task, more = p.next() {
		name := fmt.Sprintf("%s %d", task.verb, task.member)
		if task.member == whole {
			name = fmt.Sprintf("%s all", task.verb)
		}
		o := OK
		if task.verb == VerbProbe {
			o = NotRunning
		}
		if said := script[name]; len(said) > 0 {
			o, script[name] = said[0], said[1:]
			name += "=" + o.String()
		}
		done = append(done, name)
		if task.verb != VerbSweep {
			if foreseen != nil && *foreseen != task {
				t.Errorf("after %v: %v was foreseen", done, *foreseen)
			}
			foreseen = nil
			if then, more := p.ahead(); more && (o == OK && task.verb != VerbProbe || o == NotRunning && task.verb == VerbProbe) {
				foreseen = &then
			}
		}
		p.report(o)
		if len(done) > 100 {
			t.Fatalf("the plan does not end: %v", done)
		}
	}
	if foreseen != nil {
		t.Errorf("%v was foreseen and did not come", *foreseen)
	}
	return strings.Join(done, ", ")
}

func TestStartGoesTopToBottom(t *testing.T) {
	p := newStartPlan(0, 3)
	got := play(t, p, nil)
	if want := "start 0, start 1, start 2"; got != want || p.outcome != OK || p.undo != nil {
		t.Errorf("got %s (%v), want %s (ok)", got, p.outcome, want)
	}
}

func TestFailedStartIsUndoneInReverse(t *testing.T) {
	for _, test := range []struct{ said, want Outcome }{
		{Failed, Failed}, {Unknown, Unknown}, {NotRunning, Failed},
	} {
		p := newStartPlan(0, 3)
		got := play(t, p, map[string][]Outcome{"start 1": {test.said}})
		want := "start 0, start 1=" + test.said.String() + ", stop 1, sweep 1, probe 1, stop 0, sweep 0, probe 0, sweep all"
		if got != want || p.outcome != test.want || !p.undo.ok {
			t.Errorf("got %s (%v, undone %v)\nwant %s (%v)", got, p.outcome, p.undo.ok, want, test.want)
		}
	}
}

// What is below the first member of a part is not touched, whatever becomes of the
// part: it goes on running.
func TestPartOfAStack(t *testing.T) {
	p := newStartPlan(1, 3)
	got := play(t, p, map[string][]Outcome{"start 2": {Failed}})
	if want := "start 1, start 2=failed, stop 2, sweep 2, probe 2, stop 1, sweep 1, probe 1"; got != want || p.outcome != Failed || !p.undo.ok {
		t.Errorf("got %s (%v)\nwant %s", got, p.outcome, want)
	}
	stop := newStopPlan(reversed(3), false).above(1)
	if got, want := play(t, stop, nil), "stop 2, sweep 2, probe 2, stop 1, sweep 1, probe 1"; got != want || !stop.ok {
		t.Errorf("got %s (%v)\nwant %s", got, stop.ok, want)
	}
	for _, first := range []int{3, 4} {
		if got := play(t, newStopPlan(reversed(3), false).above(first), nil); got != "" {
			t.Errorf("nothing stands above member %d, but: %s", first, got)
		}
	}
	if got := play(t, newStartPlan(4, 3), nil); got != "" {
		t.Errorf("nothing is left to start, but: %s", got)
	}
}

func TestStopIsVerifiedMemberByMember(t *testing.T) {
	p := newStopPlan(reversed(2), false)
	got := play(t, p, nil)
	want := "stop 1, sweep 1, probe 1, stop 0, sweep 0, probe 0, sweep all"
	if got != want || !p.ok {
		t.Errorf("got %s (%v)\nwant %s", got, p.ok, want)
	}
}

func TestStopThatIsNotVerifiedEscalates(t *testing.T) {
	for _, test := range []struct {
		name   string
		script map[string][]Outcome
		ok     bool
	}{
		{"the stop timed out, the kill worked", map[string][]Outcome{"stop 0": {Unknown}}, true},
		{"the member said it still ran, then not", map[string][]Outcome{"probe 0": {OK, NotRunning}}, true},
		{"processes could not be killed at first", map[string][]Outcome{"sweep 0": {Failed, OK}}, true},
		{"the member still runs", map[string][]Outcome{"probe 0": {OK, OK}}, false},
		{"nobody knows", map[string][]Outcome{"probe 0": {Unknown, Unknown}}, false},
		{"the kill failed though the probe is content", map[string][]Outcome{"stop 0": {Failed}, "kill 0": {Failed}}, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			p := newStopPlan(reversed(1), false)
			got := play(t, p, test.script)
			if !strings.Contains(got, "kill 0") || p.ok != test.ok {
				t.Errorf("%s: ok %v, want %v after a kill", got, p.ok, test.ok)
			}
		})
	}
}

func TestFailedStopDoesNotKeepTheOthersUp(t *testing.T) {
	p := newStopPlan(reversed(2), false)
	got := play(t, p, map[string][]Outcome{"probe 1": {OK, OK}})
	if !strings.HasSuffix(got, "stop 0, sweep 0, probe 0, sweep all") || p.ok || p.failed != 1 {
		t.Errorf("%s: ok %v, failed %d; want member 0 stopped and member 1 blamed", got, p.ok, p.failed)
	}
}

func TestEmergencyKillsProcessesFirstAndAsksNobody(t *testing.T) {
	p := newStopPlan(reversed(2), true)
	got := play(t, p, nil)
	want := "sweep all, kill 1, sweep 1, probe 1, kill 0, sweep 0, probe 0, sweep all"
	if got != want || !p.ok {
		t.Errorf("got %s (%v)\nwant %s", got, p.ok, want)
	}
}

func TestCheckEndsAtTheFirstThatIsNotWell(t *testing.T) {
	p := newCheckPlan(3)
	got := play(t, p, map[string][]Outcome{"check 1": {Unknown}})
	if want := "check 0, check 1=unknown"; got != want || p.outcome != Unknown {
		t.Errorf("got %s (%v), want %s (unknown)", got, p.outcome, want)
	}
}

// Whatever the members answer: a stop plan ends; it says ok only if the last
// word on each member was a probe that said not-running, after which the member
// was touched no more, and the last sweep went well.
func TestStopIsNeverCalledVerifiedWithoutTheProbes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		members := rapid.IntRange(0, 4).Draw(t, "members")
		p := newStopPlan(reversed(members), rapid.Bool().Draw(t, "emergency"))
		last := make(map[int]task)
		said := make(map[int]Outcome)
		steps := 0
		for next, more := p.next(); more; next, more = p.next() {
			o := rapid.SampledFrom([]Outcome{Unknown, OK, NotRunning, Failed}).Draw(t, "outcome")
			last[next.member], said[next.member] = next, o
			p.report(o)
			if steps++; steps > 2+6*members {
				t.Fatalf("the plan does not end")
			}
		}
		if !p.ok {
			return
		}
		for m := range members {
			if last[m].verb != VerbProbe || said[m] != NotRunning {
				t.Fatalf("verified, but the last word on member %d was %s %s", m, last[m].verb, said[m])
			}
		}
		if last[whole].verb != VerbSweep || said[whole] != OK {
			t.Fatalf("verified, but the last sweep said %s", said[whole])
		}
	})
}

// A start never touches a member before all those above it in the stack said ok.
func TestStartNeverSkips(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		members := rapid.IntRange(0, 5).Draw(t, "members")
		p := newStartPlan(0, members)
		up := 0
		for next, more := p.next(); more; next, more = p.next() {
			o := rapid.SampledFrom([]Outcome{Unknown, OK, OK, OK, NotRunning, Failed}).Draw(t, "outcome")
			if next.verb == VerbStart {
				if next.member != up || p.undo != nil {
					t.Fatalf("start of %d when %d were up", next.member, up)
				}
				if o == OK {
					up++
				}
			}
			p.report(o)
		}
		if p.outcome == OK && up != members {
			t.Fatalf("called started with %d of %d members up", up, members)
		}
	})
}

func TestStateOf(t *testing.T) {
	for _, test := range []struct {
		probes []Outcome
		left   bool
		want   State
	}{
		{[]Outcome{OK, OK}, true, StateRunning},
		{[]Outcome{OK, Failed}, true, StateRunning},
		{[]Outcome{OK, NotRunning}, true, StatePartly},
		{[]Outcome{NotRunning, NotRunning}, false, StateStopped},
		{[]Outcome{NotRunning, NotRunning}, true, StatePartly},
		{[]Outcome{OK, Unknown}, false, StateUnknown},
	} {
		if got := stateOf(test.probes, test.left); got != test.want {
			t.Errorf("%v, processes left %v: %v, want %v", test.probes, test.left, got, test.want)
		}
	}
}

func TestStoragePrefix(t *testing.T) {
	disk, other := Member{Storage: true}, Member{}
	for _, test := range []struct {
		stack []Member
		want  int
	}{
		{nil, 0}, {[]Member{disk, disk}, 2}, {[]Member{disk, other, disk}, 1}, {[]Member{other, disk}, 0},
	} {
		if got := storagePrefix(test.stack); got != test.want {
			t.Errorf("%v: %d, want %d", test.stack, got, test.want)
		}
	}
}

func TestNames(t *testing.T) {
	for _, good := range []string{"orders", "postgresql@15-main.service", "fs_1", "0"} {
		if err := checkName(good); err != nil {
			t.Errorf("%q: %v", good, err)
		}
	}
	for _, bad := range []string{"", ".", "..", "a/b", "-x", "cgroup.procs", "a b", "ü", strings.Repeat("x", 101)} {
		if checkName(bad) == nil {
			t.Errorf("%q was taken", bad)
		}
	}
}
