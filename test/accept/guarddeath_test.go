package accept

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/holdfast-ha/holdfast/internal/api"
	"github.com/holdfast-ha/holdfast/test/demo/stage"
	"github.com/holdfast-ha/holdfast/test/power"
)

// beforeBite is how long before the end of the timeout the stopped guard is killed:
// the last feed was up to one period of feeds, 100 ms, before it was stopped, so it
// is killed 100 to 200 ms before the bite.
const beforeBite = 200 * time.Millisecond

// TestGuardDeath stops the guard of a bound node, and kills it just before the
// watchdogs bite. The kernel pets a watchdog when its last descriptor is closed;
// a second holder keeps that from happening, and the bite comes no later. Without
// one it comes a whole timeout later, and that is what `holdfast timing` charges.
func TestGuardDeath(t *testing.T) {
	wanted(t, true)
	for _, c := range []struct {
		name      string
		oneHolder bool
		periods   string // watchdog periods that the wait counts
	}{
		{"second holder", false, "one period"},
		{"no second holder", true, "m = 2"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			ctx := limit(t, 2*time.Minute)
			s := raise(ctx, t, stage.Options{Names: []string{"alpha"}, OneHolder: c.oneHolder})
			n := s.Nodes[0]
			var tmax api.Row
			for _, row := range timingRows(ctx, t, n) {
				if row.Name == "T_max" {
					tmax = row
				}
			}
			if !strings.Contains(tmax.Why, c.periods) {
				t.Errorf("holdfast timing says of T_max %q, want %s", tmax.Why, c.periods)
			}
			late := guardDeath(ctx, t, s, n)
			t.Logf("the bite came %v after the guard was stopped; timeout %v, T_max %v", stage.Timeout+late, stage.Timeout, tmax.Value.Duration())
			switch bound := tmax.Value.Duration() - stage.Timeout; {
			case !c.oneHolder && late > bound:
				t.Errorf("the bite came %v later than the timeout, the proof by time allows %v", late, bound)
			case c.oneHolder && late < stage.Timeout-2*beforeBite:
				t.Errorf("without a second holder the bite came only %v late: the close did not pet, so the test shows nothing", late)
			case c.oneHolder && late > stage.Timeout+2*bound:
				t.Errorf("the bite came %v late, more than the period that is charged for it", late)
			}
		})
	}
}

// guardDeath returns by how much longer than a timeout after the last feed the
// first bite came.
func guardDeath(ctx context.Context, t *testing.T, s *stage.Stage, n *stage.Node) time.Duration {
	t.Helper()
	log := follow(t, s)
	from := log.mark(ctx, t, s, "guard stopped")
	if err := unix.Kill(n.GuardPID(), unix.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	pause(ctx, stage.Timeout-beforeBite-time.Since(began))
	if err := n.KillGuard(); err != nil {
		t.Fatal(err)
	}
	stopped := log.events[from-1].At
	bite, err := log.await(ctx, from, "the watchdogs bite", loss(n.Name))
	if err != nil {
		t.Fatal(err)
	}
	if bite.What != power.Bite {
		t.Fatalf("%s %s, want a bite", bite.What, bite.Text)
	}
	if killed := stopped + int64(stage.Timeout-beforeBite); bite.At < killed {
		t.Fatalf("the bite came %v before the guard was killed: the test shows nothing", time.Duration(killed-bite.At))
	}
	// The last feed was at most one period of feeds before the guard was stopped.
	return time.Duration(bite.At-stopped) - stage.Timeout
}

func timingRows(ctx context.Context, t *testing.T, n *stage.Node) []api.Row {
	t.Helper()
	c, err := n.API()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	table, err := c.Timing(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if table.Problem != "" {
		t.Fatal(fmt.Errorf("holdfast timing: %s", table.Problem))
	}
	return table.Rows
}
