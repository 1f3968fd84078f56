package accept

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-ha/holdfast/internal/api"
	"github.com/holdfast-ha/holdfast/internal/ctl/drill"
	"github.com/holdfast-ha/holdfast/test/demo/stage"
	"github.com/holdfast-ha/holdfast/test/power"
)

// TestDrills runs every drill that breaks something, one after the other on one
// cluster: each is foretold, ends with a verdict that the measurement is within its
// bound, and leaves the cluster as it was. One that would end the service is refused.
func TestDrills(t *testing.T) {
	wanted(t, true)
	ctx := limit(t, 5*time.Minute)
	s := raise(ctx, t, stage.Options{Services: witnessed(), Names: []string{"alpha", "beta"}, Within: 7 * time.Second})
	log := follow(t, s)
	atRest(ctx, t, s)
	active := owner(ctx, t, s)
	spare := other(s, active)
	refusedDrill(ctx, t, s, active, spare)

	about := "--service=" + s.Services[0].Name
	for _, args := range [][]string{
		{api.DrillCutNetwork, "--for", "3s"},
		{api.DrillFailService, about},
		{api.DrillMove, about},
		{api.DrillCutDisk, about},
		{api.DrillKillNode, about},
		{api.DrillFreezeNode, about},
	} {
		kind := args[0]
		if !t.Run(kind, func(t *testing.T) {
			atRest(ctx, t, s)
			victim := owner(ctx, t, s)
			from := other(s, victim)
			lost := kind == api.DrillKillNode || kind == api.DrillFreezeNode
			event := log.mark(ctx, t, s, kind)
			booted := make(chan error, 1)
			if lost {
				go func() {
					booted <- bootTakenOver(ctx, s, log, event, victim)
				}()
			}
			r := drilled(ctx, t, from, args...)
			if lost && !r.Began.IsZero() { // else it was refused, and nobody boots
				if err := <-booted; err != nil {
					t.Fatal(err)
				}
			}
			judged(ctx, t, s, r)
		}) {
			return
		}
	}
	kept(ctx, t, s)
}

// kept fails unless the nodes remember every drill, by the status of those that ran them,
// and that they went well.
func kept(ctx context.Context, t *testing.T, s *stage.Stage) {
	t.Helper()
	well := map[string]bool{}
	for _, n := range s.Nodes {
		is, err := n.Status(ctx)
		if err != nil || is.Drills == nil {
			t.Fatalf("%s: %v, %+v", n.Name, err, is)
		}
		for _, r := range is.Drills.Last {
			well[r.Kind] = well[r.Kind] || r.OK
		}
	}
	for _, kind := range api.DrillKinds() {
		if kind != api.DrillFence && !well[kind] {
			t.Errorf("nobody remembers that the drill %s went well", kind)
		}
	}
}

// bootTakenOver boots a node that was reset once another one has begun to mount, so that
// its end was proven without it.
func bootTakenOver(ctx context.Context, s *stage.Stage, log *journal, event int, victim *stage.Node) error {
	_, err := log.await(ctx, event, victim.Name+" is reset", loss(victim.Name))
	if err == nil {
		_, err = log.await(ctx, event, "another node mounts", func(e power.Event) bool {
			return e.What == power.Mark && e.Node != victim.Name && e.Text == s.Services[0].WitnessText()
		})
	}
	if err != nil {
		return err
	}
	return victim.Boot(ctx)
}

// atRest waits until every node sees everything well: a drill is refused before.
func atRest(ctx context.Context, t *testing.T, s *stage.Stage) {
	t.Helper()
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for _, n := range s.Nodes {
		err := stage.Await(ctx, n.Name+" sees everything well", func() error {
			is, err := n.Status(ctx)
			if err != nil {
				return err
			}
			if is.Self.Stage != "member" {
				return errors.New(is.Self.Stage)
			}
			for _, v := range is.Services {
				if v.State != "running" {
					return fmt.Errorf("%s is %s", v.Name, v.State)
				}
			}
			for _, l := range is.Links {
				if !l.Up {
					return fmt.Errorf("link %d to %s is silent", l.Index, l.Peer)
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}

// other is the node of two that a node is not.
func other(s *stage.Stage, n *stage.Node) *stage.Node {
	if s.Nodes[0] == n {
		return s.Nodes[1]
	}
	return s.Nodes[0]
}

// drilled runs a drill.
func drilled(ctx context.Context, t *testing.T, n *stage.Node, args ...string) drill.Rehearsed {
	t.Helper()
	out, err := n.Holdfast(ctx, append(append([]string{"drill"}, args...), "--yes", "--json", "--wait", "60s")...)
	var r drill.Rehearsed
	if bad := json.Unmarshal([]byte(out), &r); bad != nil {
		t.Fatalf("%v, %v: %s", err, bad, out)
	}
	return r
}

// judged fails unless a drill went well, and everything is as before.
func judged(ctx context.Context, t *testing.T, s *stage.Stage, r drill.Rehearsed) {
	t.Helper()
	t.Logf("%s: %s (this machine was late by up to %v)", r.Drill.Kind, r.Verdict, r.Stall.Duration())
	if !r.OK || !r.Restored || len(r.Services) != len(s.Services) {
		for _, l := range r.Timeline {
			t.Logf("%8.2f %-6s %s %s", l.On.Sub(r.Began).Seconds(), l.By, l.Kind, l.Text)
		}
		t.Fatalf("%+v", r)
	}
	if err := s.AwaitMembers(ctx, s.Nodes...); err != nil {
		t.Fatal(err)
	}
	if err := s.AwaitRunning(ctx); err != nil {
		t.Fatal(err)
	}
}

// refusedDrill: while the other node may run nothing, no drill is run that would take
// the service from the one that runs it.
func refusedDrill(ctx context.Context, t *testing.T, s *stage.Stage, active, spare *stage.Node) {
	t.Helper()
	if _, err := spare.Holdfast(ctx, "node", "standby", spare.Name); err != nil {
		t.Fatal(err)
	}
	for _, kind := range []string{api.DrillKillNode, api.DrillFreezeNode} {
		r := drilled(ctx, t, spare, kind, "--node", active.Name)
		if r.OK || len(r.Refused) == 0 || !strings.Contains(r.Refused[0].Why, "would end") || r.Refused[0].Remedy == "" || !r.Began.IsZero() {
			t.Errorf("%s: %+v", kind, r)
		}
	}
	if now := owner(ctx, t, s); now != active {
		t.Errorf("a drill that was refused has moved the service to %s", now.Name)
	}
	if _, err := spare.Holdfast(ctx, "node", "online", spare.Name); err != nil {
		t.Fatal(err)
	}
	atRest(ctx, t, s)
}
