package alerts

import (
	"strings"
	"testing"
	"time"

	"github.com/holdfast-ha/holdfast/internal/api"
	"github.com/holdfast-ha/holdfast/internal/incidents"
)

// TestCarries: each alert carries what happened, why, the proof once there is one, and
// the next step; an alarm that belongs to no incident all but a proof.
func TestCarries(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 11, 23, 3, 0, 0, 0, time.UTC)
	var events []api.Event
	add := func(e api.Event) {
		at = at.Add(time.Second)
		e.ID, e.Time, e.At = uint64(len(events)+1), at, at.UnixNano()
		events = append(events, e)
	}
	of := func() []Alert { return Of(incidents.Merge([]incidents.Source{{Node: "alpha", Events: events}})) }
	carries := func(a *Alert, level, proof string) {
		t.Helper()
		if a.Level != level || a.Title == "" || len(a.Text) == 0 || len(a.Next) == 0 || !strings.HasPrefix(a.Proof, proof) || (proof == "") != (a.Proof == "") {
			t.Errorf("%+v", a)
		}
	}
	add(api.Event{Kind: "last-beat", Node: "beta", Incarnation: "1/a", Text: "last beat seen on the quorum disk"})
	add(api.Event{Kind: "fencing", Node: "beta", Incarnation: "1/a", State: 10, Text: "silent on the disk and on every link"})
	list := of()
	if len(list) != 1 {
		t.Fatalf("%+v", list)
	}
	carries(&list[0], Problem, "")
	add(api.Event{Kind: "proof", Node: "beta", Incarnation: "1/a", Proof: "E3 time", State: 11, Text: "its lease and its watchdogs must have ended it"})
	add(api.Event{Kind: "grant", Node: "alpha", Service: "orders", Term: 4, Proof: "E3 time", State: 11, Text: "it is preferred"})
	add(api.Event{Kind: "started", Node: "alpha", Service: "orders", Term: 4, Text: "started"})
	add(api.Event{Kind: "alarm", Node: "gamma", Text: "fencing by bmc would not work: connection refused"})
	add(api.Event{Kind: "alarm", Node: "alpha", Text: "the guard: /dev/a: it works"})
	list = of()
	if len(list) != 3 {
		t.Fatalf("%+v", list)
	}
	carries(&list[2], Over, "")
	carries(&list[0], Over, "E3 time, found by alpha: ")
	carries(&list[1], Problem, "")
	if text := strings.Join(list[0].Text, " "); !strings.Contains(text, "The cause: ") || !strings.Contains(text, "The proof: E3 time") {
		t.Errorf("%s", text)
	}
}
