package accept

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/holdfast-ha/holdfast/test/demo/stage"
	"github.com/holdfast-ha/holdfast/test/power"
)

// What TestFreeze does: freezes in all, and clusters that do it at a time.
const (
	freezes  = 20
	clusters = 2
)

// witnessed is one service whose first member bears witness of the mount.
func witnessed() []stage.Service {
	return []stage.Service{{Name: "orders", Witness: true}}
}

// TestFreeze freezes the active node, all its processes at once and whatever it
// has mounted left in place, and asks the power emulator alone which came first:
// the bite of the node's watchdogs, or the other node's beginning to mount. It
// runs at the smallest failover_within that is safe here. Before each freeze the
// node is without its quorum disk and its links for a random part of its lease, so
// that nobody consents to its going on and its watchdogs are fed as late as the
// lease allows: that is when the wait is tight.
func TestFreeze(t *testing.T) {
	wanted(t, true)
	ctx := limit(t, 8*time.Minute)
	var mu sync.Mutex // guards least
	least := time.Hour
	t.Run("runs", func(t *testing.T) {
		for c := range clusters {
			t.Run(fmt.Sprint(c), func(t *testing.T) {
				t.Parallel()
				f := newFreezer(ctx, t, nil)
				for run := range freezes / clusters {
					margin := f.once(ctx, t)
					if margin < 0 {
						t.Fatalf("freeze %d: the other node began to mount %v before the watchdogs had bitten (seed %d)", run+1, -margin, f.seed)
					}
					mu.Lock()
					least = min(least, margin)
					mu.Unlock()
				}
			})
		}
	})
	t.Logf("the watchdogs had bitten at least %v before the other node began to mount", least)
}

// TestFreezeTooEarly shows that TestFreeze can fail: with a wait that is one
// watchdog period too short the same runs have a mount before the bite.
func TestFreezeTooEarly(t *testing.T) {
	wanted(t, true)
	ctx := limit(t, 6*time.Minute)
	f := newFreezer(ctx, t, []string{"HOLDFAST_TEST_WAIT_LESS=2300ms"})
	for run := range freezes {
		if margin := f.once(ctx, t); margin < 0 {
			t.Logf("freeze %d: mounted %v before the bite, as it must be when the wait is too short", run+1, -margin)
			return
		}
	}
	t.Fatalf("in %d freezes with a wait that is a watchdog period too short no mount came before the bite: the test sees nothing (seed %d)", freezes, f.seed)
}

// freezer freezes the active node of one cluster again and again.
type freezer struct {
	stage *stage.Stage
	log   *journal
	rand  *rand.Rand
	seed  uint64
	runs  int
}

func newFreezer(ctx context.Context, t *testing.T, env []string) *freezer {
	t.Helper()
	f := &freezer{seed: rand.Uint64()}
	f.rand = rand.New(rand.NewPCG(f.seed, 1))
	f.stage = raise(ctx, t, stage.Options{Services: witnessed(), DaemonEnv: env, Names: []string{"alpha", "beta"}})
	f.log = follow(t, f.stage)
	return f
}

// once freezes the active node and returns how long before the other one's mount
// the watchdogs have bitten; it is negative if they had not.
func (f *freezer) once(ctx context.Context, t *testing.T) time.Duration {
	t.Helper()
	f.runs++
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	n := owner(ctx, t, f.stage)
	lease := timingRow(ctx, t, n, "F")                     // how long it goes on after its last good beat
	pause(ctx, time.Duration(f.rand.Int64N(int64(lease)))) // anywhere between two beats
	from := f.log.mark(ctx, t, f.stage, fmt.Sprintf("freeze %d", f.runs))
	// With links the other would consent to its going on beyond the lease, and the
	// wait would count from that.
	if err := errors.Join(f.stage.CutHeartbeats(n), n.CutQuorum()); err != nil {
		t.Fatal(err)
	}
	pause(ctx, time.Duration(f.rand.Int64N(int64(lease)*9/10)))
	if err := n.Freeze(); err != nil {
		t.Fatal(err)
	}
	mount, err := f.log.await(ctx, from, "the other node mounts", func(e power.Event) bool {
		return e.What == power.Mark && e.Node != n.Name && e.Text == f.stage.Services[0].WitnessText()
	})
	if err != nil {
		t.Fatalf("freeze %d of %s: %v (seed %d)", f.runs, n.Name, err, f.seed)
	}
	bite, err := f.log.await(ctx, from, "the watchdogs bite", loss(n.Name))
	if err != nil {
		t.Fatalf("freeze %d of %s: %v (seed %d)", f.runs, n.Name, err, f.seed)
	}
	margin := time.Duration(mount.At - bite.At)
	if margin >= 0 {
		if err := f.stage.MendHeartbeats(n); err != nil {
			t.Fatal(err)
		}
		comeBack(ctx, t, f.stage, n)
	}
	return margin
}

// timingRow is a value of what `holdfast timing` prints.
func timingRow(ctx context.Context, t *testing.T, n *stage.Node, name string) time.Duration {
	t.Helper()
	for _, r := range timingRows(ctx, t, n) {
		if r.Name == name {
			return r.Value.Duration()
		}
	}
	t.Fatalf("holdfast timing has no %s", name)
	return 0
}
