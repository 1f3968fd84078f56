package incidents_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-ha/holdfast/internal/api"
	"github.com/holdfast-ha/holdfast/internal/incidents"
)

func at(seconds float64) time.Time {
	return time.Date(2026, 11, 23, 20, 0, 0, 0, time.UTC).Add(time.Duration(seconds * float64(time.Second)))
}

// TestMerge: the register's order goes before the wall clocks, a clock that is off is
// set right, and what was noted late is dated back.
func TestMerge(t *testing.T) {
	t.Parallel()
	alpha := incidents.Source{Node: "alpha", Events: []api.Event{
		{ID: 1, Time: at(10), Kind: "grant", State: 7}, {ID: 2, Time: at(11), Kind: "admin"}, {ID: 3, Time: at(12), Kind: "joined", State: 9},
	}}
	beta := incidents.Source{Node: "beta", Offset: time.Minute, Events: []api.Event{
		{ID: 5, Time: at(60 + 10.5), Kind: "started", State: 7},
		{ID: 6, Time: at(60 + 4), Kind: "proof", State: 8}, // its clock was set back
		{ID: 7, Time: at(60 + 20), At: 5e9, Kind: "last-beat", State: 9},
		{ID: 8, Time: at(60 + 20), At: 8e9, Kind: "suspected", State: 9},
	}}
	var got []string
	var lastBeat time.Time
	for _, x := range incidents.Merge([]incidents.Source{beta, alpha}) {
		got = append(got, x.By+":"+x.Kind)
		if x.Kind == "last-beat" {
			lastBeat = x.On
		}
	}
	want := []string{"alpha:grant", "beta:started", "beta:proof", "alpha:admin", "alpha:joined", "beta:last-beat", "beta:suspected"}
	if !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	if !lastBeat.Equal(at(17)) {
		t.Errorf("the last beat was at %v", lastBeat)
	}
	if n := len(incidents.Merge(nil)); n != 0 {
		t.Errorf("%d events of nobody", n)
	}
}

func find(events ...api.Event) []incidents.Incident {
	return incidents.Find(incidents.Merge([]incidents.Source{{Node: "beta", Events: events}}))
}

// lost are the events of a takeover, as beta notes them.
func lost() []api.Event {
	return []api.Event{
		{Time: at(0), Kind: "grant", Service: "orders", Node: "alpha", Term: 2, State: 7},
		{Time: at(3), At: 0, Kind: "last-beat", Node: "alpha", Incarnation: "1/a", State: 9},
		{Time: at(3), At: 3e9, Kind: "suspected", Node: "alpha", Incarnation: "1/a", State: 9, Text: "silent"},
		{Time: at(3.1), Kind: "fencing", Node: "alpha", Incarnation: "1/a", State: 10, Text: "silent"},
		{Time: at(3.5), Kind: "way", Node: "alpha", Incarnation: "1/a", Way: "bmc", Outcome: "unknown", Text: "bmc: no answer"},
		{Time: at(9), Kind: "proof", Node: "alpha", Incarnation: "1/a", Proof: "E3 time", State: 11, Text: "it is over"},
		{Time: at(9), Kind: "grant", Service: "orders", Node: "beta", Term: 3, Proof: "E3 time", State: 11},
		{Time: at(9), Kind: "starting", Service: "orders", Node: "beta", Term: 3, State: 11},
		{Time: at(10), Kind: "started", Service: "orders", Node: "beta", Term: 3, State: 11},
		{Time: at(60), Kind: "joined", Node: "alpha", Incarnation: "2/b", State: 12},
	}
}

// TestPhases: each thing that was waited for has its time.
func TestPhases(t *testing.T) {
	t.Parallel()
	all := find(lost()...)
	if len(all) != 1 {
		t.Fatalf("%+v", all)
	}
	i := all[0]
	near := func(s api.Seconds, want float64) bool {
		return s > api.Seconds(want-0.01) && s < api.Seconds(want+0.01)
	}
	switch {
	case i.ID != "10-alpha", i.Kind != incidents.NodeLost, !i.Began.Equal(at(0)), i.Open(), !i.Ended.Equal(at(10)):
		t.Errorf("%+v", i)
	case !near(i.Noticed.Took, 3), !near(i.Decided.Took, 0.1), !near(i.Proven.Took, 5.9), i.Proof.Kind != "E3 time", i.Proof.By != "beta":
		t.Errorf("phases %+v %+v %+v", i.Noticed, i.Decided, i.Proven)
	case len(i.Services) != 1, i.Services[0].From != "alpha", i.Services[0].To != "beta", !near(*i.Services[0].Down, 10):
		t.Errorf("%+v", i.Services)
	case i.Returned == nil, len(i.Ways) != 1, len(i.Steps) != 9:
		t.Errorf("%+v", i)
	}
	if r := strings.Join(i.Remedies(), "\n"); !strings.Contains(r, "holdfast drill fence alpha") || strings.Contains(r, "confirm-off") {
		t.Errorf("remedies %q", r)
	}
}

// TestUnfinished: wherever the telling ends, the incident is open until all that it
// has hit runs again, and says what is missing.
func TestUnfinished(t *testing.T) {
	t.Parallel()
	for n, words := range map[int]string{
		4: "There is no proof yet that alpha has ended", 6: "orders ran on alpha, and runs nowhere since", 7: "is not started there yet", 9: "It was down for at most 10 s",
	} {
		all := find(lost()[:n]...)
		if len(all) != 1 || all[0].Open() != (n < 9) {
			t.Errorf("after %d events: %+v", n, all)
			continue
		}
		if text := strings.Join(all[0].Text(), "\n"); !strings.Contains(text, words) {
			t.Errorf("after %d events no %q: %s", n, words, text)
		}
		if r := strings.Join(all[0].Remedies(), "\n"); strings.Contains(r, "confirm-off") != (n < 6) {
			t.Errorf("after %d events: %s", n, r)
		}
	}
	if all := find(lost()[:3]...); len(all) != 0 {
		t.Errorf("a suspicion alone is an incident: %+v", all)
	}
}

// TestHistoryIsShort: where the grant before is not remembered any more, the proof
// tells whose service it was.
func TestHistoryIsShort(t *testing.T) {
	t.Parallel()
	all := find(lost()[1:]...)
	if len(all) != 1 || len(all[0].Services) != 1 || all[0].Services[0].Service != "orders" || all[0].Open() {
		t.Errorf("%+v", all)
	}
}

// TestAgain: a service that fails twice before the register moves on has two
// incidents, each with an identity of its own.
func TestAgain(t *testing.T) {
	t.Parallel()
	all := find(
		api.Event{Time: at(1), Kind: "failed", Service: "orders", Node: "beta", Term: 2, State: 9, Text: "check: no answer"},
		api.Event{Time: at(2), Kind: "started", Service: "orders", Node: "beta", Term: 2, State: 9},
		api.Event{Time: at(3), Kind: "failed", Service: "orders", Node: "beta", Term: 2, State: 9, Text: "check: no answer"},
	)
	if len(all) != 2 || all[0].ID != "9-orders" || all[0].Open() || all[1].ID != "9-orders.2" || !all[1].Open() {
		t.Errorf("%+v", all)
	}
}

// TestTakenOut: a service that is configured no more is not waited for; what is told of
// it later, under the same name, is another story.
func TestTakenOut(t *testing.T) {
	t.Parallel()
	fails := api.Event{Time: at(1), Kind: "failed", Service: "orders", Node: "beta", Term: 2, State: 9, Text: "start: no such file"}
	all := find(fails,
		api.Event{Time: at(31), Kind: "admin", Service: "orders", State: 10, Text: "taken out of the configuration"},
		api.Event{Time: at(90), Kind: "started", Service: "orders", Node: "beta", Term: 3, State: 12},
	)
	if len(all) != 1 || all[0].Open() || !all[0].Ended.Equal(at(31)) || all[0].Services[0].Down != nil || all[0].Services[0].Started != nil {
		t.Fatalf("%+v", all)
	}
	if text := strings.Join(all[0].Text(), "\n"); !strings.Contains(text, "orders ran on beta, and was taken out of the configuration 30 s after the beginning") {
		t.Error(text)
	}
	// Of a lost node with two services the other one is waited for still.
	both := append([]api.Event{{Time: at(-1), Kind: "grant", Service: "reports", Node: "alpha", Term: 2, State: 6}}, lost()[:5]...)
	both = append(both, api.Event{Time: at(5), Kind: "admin", Service: "reports", State: 11, Text: "taken out of the configuration"})
	if all := find(both...); len(all) != 1 || !all[0].Open() {
		t.Errorf("%+v", all)
	}
	if all := find(append(both, lost()[5:]...)...); len(all) != 1 || all[0].Open() || !all[0].Ended.Equal(at(10)) {
		t.Errorf("%+v", all)
	}
	if all := find(fails, api.Event{Time: at(5), Kind: "admin", Service: "orders", State: 10, Text: "moved there by request"}); len(all) != 1 || !all[0].Open() {
		t.Errorf("%+v", all)
	}
}

// TestChecked: the first good check belongs to the incident that it ends for those who
// use the service, and to no later one.
func TestChecked(t *testing.T) {
	t.Parallel()
	checked := api.Event{Time: at(20), Kind: "checked", Service: "orders", Node: "beta", Term: 3}
	again := checked
	again.Time = at(40)
	all := find(append(lost()[:9:9], checked, again)...)
	if len(all) != 1 || all[0].Open() || !all[0].Ended.Equal(at(10)) || !all[0].Services[0].Checked.Equal(at(20)) || all[0].Steps[len(all[0].Steps)-1].Kind != "checked" {
		t.Fatalf("%+v", all)
	}
	if text := strings.Join(all[0].Text(), "\n"); !strings.Contains(text, "Its first check found it well 10 s after its start.") {
		t.Error(text)
	}
	checked.Term = 4
	if all := find(append(lost()[:9:9], checked)...); all[0].Services[0].Checked != nil {
		t.Errorf("%+v", all[0].Services)
	}
}
