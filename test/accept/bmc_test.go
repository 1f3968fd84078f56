package accept

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-ha/holdfast/test/demo/controllers"
	"github.com/holdfast-ha/holdfast/test/demo/stage"
	"github.com/holdfast-ha/holdfast/test/power"
)

// TestPowerBesideTime freezes the active node twice in one run: once with its
// management controller at work, once with that unreachable. The first takeover
// rests on the power, read twice as off, the second on time; the first is the
// faster one, and each time the node had lost its power before the other mounts.
func TestPowerBesideTime(t *testing.T) {
	wanted(t, true)
	ctx := limit(t, 4*time.Minute)
	c := &controllers.Set{}
	t.Cleanup(c.Unplug)
	s := raise(ctx, t, stage.Options{Services: witnessed(), Names: []string{"alpha", "beta"}, Within: 25 * time.Second, Controllers: c.Install})
	log := follow(t, s)
	byPower := takeover(ctx, t, s, log, c, "E4")
	if err := c.Err(); err != nil {
		t.Error(err)
	}
	c.Unplug()
	byTime := takeover(ctx, t, s, log, c, "E3")
	t.Logf("from the freeze to the mount elsewhere: %v by power, %v by time", byPower, byTime)
	if byPower*3 > byTime*2 {
		t.Errorf("%v with the controller, %v without: that is not much faster", byPower, byTime)
	}
}

// takeover freezes the active node and returns how long it took until the other
// one began to mount; the proof must be the wanted one.
func takeover(ctx context.Context, t *testing.T, s *stage.Stage, log *journal, c *controllers.Set, want string) time.Duration {
	t.Helper()
	n := owner(ctx, t, s)
	from := log.mark(ctx, t, s, "freeze "+n.Name+" "+want)
	begin := log.events[from-1].At
	if err := n.Freeze(); err != nil {
		t.Fatal(err)
	}
	mount, err := log.await(ctx, from, "the other node mounts", func(e power.Event) bool {
		return e.What == power.Mark && e.Node != n.Name && e.Text == s.Services[0].WitnessText()
	})
	if err != nil {
		t.Fatal(err)
	}
	lost, err := log.await(ctx, from, n.Name+" loses its power", loss(n.Name))
	if err != nil {
		t.Fatal(err)
	}
	if lost.At >= mount.At {
		t.Fatalf("%s lost its power %v after the other node began to mount", n.Name, time.Duration(lost.At-mount.At))
	}
	proof := ""
	for _, e := range s.Story(ctx, begin) {
		if e.Kind == "proof" && e.Node == n.Name {
			proof = e.Proof
		}
	}
	if !strings.HasPrefix(proof, want) {
		t.Errorf("the proof was %q, want %s", proof, want)
	}
	c.TurnOn(n)
	comeBack(ctx, t, s, n)
	return time.Duration(mount.At - begin)
}
