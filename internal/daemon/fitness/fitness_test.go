package fitness

import (
	"context"
	"encoding/json"
	"fmt"
	"testing"

	"github.com/holdfast-ha/holdfast/internal/api"
	"github.com/holdfast-ha/holdfast/resources"
)

// answers says of services what it was told to, and ends the wait when asked to.
type answers struct {
	by   map[string]resources.Result
	end  context.CancelFunc
	seen []resources.Service
}

func (a *answers) Fit(_ context.Context, s resources.Service, _ []string) resources.Result {
	a.seen = append(a.seen, s)
	if s.Name == "slow" {
		a.end()
	}
	return a.by[s.Name]
}

func TestJudge(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	a := &answers{end: cancel, by: map[string]resources.Result{
		"orders": {Outcome: resources.OK}, "web": {Outcome: resources.Failed, Text: "ip: no network 192.0.2.0/24"},
		"slow": {Outcome: resources.Unknown, Text: "vm: no answer within 10s"},
	}}
	var ask api.FitRequest
	for _, name := range []string{"orders", "web", "slow", "late"} {
		ask.Services = append(ask.Services, api.FitService{Name: name, Stack: []api.FitMember{{ID: "ip-2", Kind: "ip", Spec: json.RawMessage(`{"a":1}`), Guarded: true}}})
	}
	got := Judge(ctx, a, &ask)
	want := "[{orders fits } {web lacks ip: no network 192.0.2.0/24} {slow unknown vm: no answer within 10s} {late unknown there was no time to look}]"
	if fmt.Sprint(got.Services) != want {
		t.Errorf("%v\nwant %s", got.Services, want)
	}
	if m := a.seen[0].Stack[0]; m.ID != "ip-2" || m.Kind != "ip" || string(m.Spec) != `{"a":1}` || !m.Guarded {
		t.Errorf("asked about %+v", m)
	}
}
