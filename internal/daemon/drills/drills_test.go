package drills_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-ha/holdfast/cluster"
	"github.com/holdfast-ha/holdfast/cluster/ident"
	"github.com/holdfast-ha/holdfast/internal/api"
	"github.com/holdfast-ha/holdfast/internal/daemon/drills"
)

// spy notes the attempt that it is asked for and ends it as told.
type spy struct {
	asked []cluster.Fence
	done  cluster.FenceDone
}

func (s *spy) Begin(_ context.Context, f cluster.Fence) func() cluster.FenceDone {
	s.asked = append(s.asked, f)
	return func() cluster.FenceDone { return s.done }
}

func world() *cluster.View {
	inc := ident.Incarnation{N: 5}
	return &cluster.View{Self: 1, State: &cluster.State{
		Conf: &cluster.Config{Fencing: []cluster.Ways{{Node: "beta", Ways: []cluster.Way{{Kind: cluster.WayBMC}, {Kind: cluster.WayDisk}}}}},
		Nodes: []cluster.NodeState{
			{ID: 1, Name: "alpha", Phase: cluster.MemberPhase, Inc: inc}, {ID: 2, Name: "beta", Phase: cluster.MemberPhase, Inc: inc, Standby: true},
		},
	}}
}

// made is what takes steps on alpha.
func made(t *testing.T, w drills.Ways, told *[]api.Event) *drills.Drills {
	t.Helper()
	d, err := drills.New(drills.Settings{
		Ways: w, Tell: func(e api.Event) { *told = append(*told, e) }, Now: func() ident.Instant { return 1 }, Wall: time.Now,
		Self: "alpha", Run: t.TempDir(), State: t.TempDir(),
	})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// TestStep: what a step has shown is the answer and an event, with its duration.
func TestStep(t *testing.T) {
	var told []api.Event
	now := ident.Instant(0)
	s := &spy{done: cluster.FenceDone{Outcome: cluster.FenceProven, First: 1, Second: 2, Text: "off, read twice"}}
	d := made(t, s, &told)
	d.Now = func() ident.Instant { now += 1e9; return now }
	got, err := d.Step(t.Context(), world(), "beta", api.DrillRequest{Step: api.DrillOff, Way: "bmc"})
	if err != nil || got.Outcome != "proven" || got.Took != 1 || got.Off == nil {
		t.Fatalf("%+v, %v", got, err)
	}
	if len(s.asked) != 1 || s.asked[0].Kind != cluster.FenceOff || s.asked[0].Op < 1<<63 || s.asked[0].Within <= 0 {
		t.Errorf("%+v", s.asked)
	}
	if len(told) != 1 || told[0].Kind != "drill" || told[0].Way != "bmc" || told[0].Outcome != "proven" || told[0].Took == nil || *told[0].Took != 1 {
		t.Errorf("%+v", told)
	}
	if _, err := d.Step(t.Context(), world(), "beta", api.DrillRequest{Step: api.DrillVerdict, Way: "bmc", Text: "it lies"}); err != nil || told[1].Level != "error" || len(s.asked) != 1 {
		t.Errorf("%v, %+v", err, told[1])
	}
}

// TestRefused: no power is cut where something may run, and nothing is asked that
// makes no sense.
func TestRefused(t *testing.T) {
	for words, c := range map[string]struct {
		node, way, step string
		change          func(*cluster.State)
	}{
		"this node":       {"alpha", "bmc", api.DrillCheck, nil},
		"no node":         {"gamma", "bmc", api.DrillCheck, nil},
		"no way":          {"beta", "disk", api.DrillOff, nil},
		"no step":         {"beta", "bmc", "burn", nil},
		"owns the":        {"beta", "bmc", api.DrillOff, func(s *cluster.State) { s.Services = []cluster.Grant{{Service: "orders", Owner: 2}} }},
		"at any moment":   {"beta", "bmc", api.DrillOff, func(s *cluster.State) { s.Nodes[1].Standby = false }},
		"is being fenced": {"beta", "bmc", api.DrillOff, func(s *cluster.State) { s.Nodes[1].Fencing = s.Nodes[1].Inc }},
		"is no member":    {"beta", "bmc", api.DrillOff, func(s *cluster.State) { s.Nodes[1].Phase = cluster.Out }},
	} {
		v := world()
		if c.change != nil {
			c.change(v.State)
		}
		s := &spy{}
		_, err := made(t, s, new([]api.Event)).Step(t.Context(), v, c.node, api.DrillRequest{Step: c.step, Way: c.way})
		var e *api.Error
		if !errors.As(err, &e) || !strings.Contains(e.Message, words) || len(s.asked) != 0 {
			t.Errorf("%s: %v, asked %v", words, err, s.asked)
		}
	}
}
