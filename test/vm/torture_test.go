package vm_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"maps"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-ha/holdfast/test/vm/cluster"
	"github.com/holdfast-ha/holdfast/test/vm/faults"
)

var (
	minutes = flag.Int("minutes", 0, "how long TestTorture makes faults")
	seed    = flag.Uint64("seed", 1, "what TestTorture draws them by")
)

// TestTorture makes faults that are drawn at random, one or two at once and one more while nodes come back, for as long as it is
// told to. Whatever comes of them: nodes, once everything is mended, are members again and the service runs; there was one owner
// at a time; and nothing that was confirmed is lost. A run of half an hour or more goes on, if it has to, until it has made what
// such a run is to make.
func TestTorture(t *testing.T) {
	if *minutes == 0 {
		t.Skip("runs for as long as it is told to: make torture MINUTES=30 SEED=1")
	}
	f := cluster.OpenFull(t)
	r := ride{t: t, f: f, counts: map[string]int{}, began: time.Now()}
	draw := faults.NewDraw(*seed)
	long, most := time.Duration(*minutes)*time.Minute, time.Duration(*minutes)*time.Minute
	if long >= half {
		most *= 2
	}
	ctx := f.Context(most + 15*time.Minute)
	for spent := time.Since(r.began); !t.Failed() && (spent < long || spent < most && r.lacks() != ""); spent = time.Since(r.began) {
		r.step(ctx, draw)
	}
	if lacks := r.lacks(); long >= half && lacks != "" && !t.Failed() {
		t.Errorf("after %v: %s", time.Since(r.began).Round(time.Second), lacks)
	}
	if err := f.Close(ctx); err != nil {
		t.Error(err)
	}
	for _, name := range slices.Sorted(maps.Keys(r.counts)) {
		t.Logf("%3d  %s", r.counts[name], name)
	}
	t.Logf("seed %d: %d faults of %d kinds in %d steps and %v; %s", *seed, r.made, len(r.counts), r.steps, time.Since(r.began).Round(time.Second), f.Judge.Sum())
}

// ride is a run of torture.
type ride struct {
	t           *testing.T
	f           *cluster.Full
	counts      map[string]int
	began       time.Time
	steps, made int
	missed      int // steps whose faults could not be made
}

// What a run of half an hour makes at least.
const (
	half      = 30 * time.Minute
	faultsOf  = 100
	takeovers = 30
	ofAKind   = 2
)

// lacks says what a run of half an hour has not made yet; empty: nothing.
func (r *ride) lacks() string {
	for _, f := range faults.All() {
		if n := r.counts[f.Name]; n < ofAKind {
			return fmt.Sprintf("%s was made %d times", f.Name, n)
		}
	}
	if n := r.f.Judge.Takeovers(); r.made < faultsOf || n < takeovers {
		return fmt.Sprintf("%d faults and %d takeovers", r.made, n)
	}
	return ""
}

func (r *ride) step(ctx context.Context, draw *faults.Draw) {
	list := draw.Next()
	more := "nothing"
	result, err := faults.Play(ctx, r.f, faults.Together(list), draw.Random(), func(ctx context.Context) error {
		f := draw.Extra()
		made, err := faults.Meanwhile(ctx, r.f, f, draw.Random())
		if made {
			r.count(f)
			more = f.Name
		} else {
			draw.Back(f)
		}
		return err
	})
	r.steps++
	if errors.Is(err, faults.ErrNotMade) {
		r.t.Logf("step %d: %v", r.steps, err)
		draw.Back(list...)
		if r.missed++; r.missed <= 1+r.steps/10 {
			return
		}
	}
	r.count(list...)
	r.t.Logf("%s step %d: %v; meanwhile: %s; %d faults, %d takeovers", time.Since(r.began).Round(time.Second), r.steps, result, more, r.made, r.f.Judge.Takeovers())
	if err != nil {
		r.t.Error(err)
	}
	for _, crime := range r.f.Judge.Crimes() {
		r.t.Error(crime)
	}
}

func (r *ride) count(list ...faults.Fault) {
	for _, f := range list {
		r.counts[f.Name]++
		r.made++
	}
}

// TestConvict makes the fault that shows a deliberate break of the program on a cluster with that break, until the judge accuses
// it. One that is not convicted is a judge who sees nothing.
func TestConvict(t *testing.T) {
	whole(t)
	name, err := regexp.Compile(*only)
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range faults.Builds() {
		if !name.MatchString(b.Name) {
			continue
		}
		t.Run(b.Name, func(t *testing.T) {
			overlay, err := b.Overlay(filepath.Join("..", ".."), t.TempDir())
			if err != nil {
				t.Fatal(err)
			}
			fault, err := faults.Find(b.Fault)
			if err != nil {
				t.Fatal(err)
			}
			crimes, err := convict(t, cluster.OpenFull(t, "-overlay", overlay), fault)
			if len(crimes) == 0 || !strings.HasPrefix(crimes[0], b.Crime) {
				t.Fatalf("not convicted: %q, %v", crimes, err)
			}
			t.Logf("convicted: %s", strings.Join(crimes, "\n"))
		})
	}
}

// tries is how often a broken build may get away: what it does wrong takes a second or two to show, on a machine that may be
// slow just then.
const tries = 3

// accused stops a trial whose verdict is known: a broken node may never come back.
func accused(f *cluster.Full) error {
	if len(f.Judge.Crimes()) > 0 {
		return errors.New("convicted")
	}
	return nil
}

func convict(t *testing.T, f *cluster.Full, fault faults.Fault) (crimes []string, err error) {
	draw := faults.NewDraw(*seed)
	for n := range tries {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
		result, bad := faults.Play(ctx, f, fault, draw.Random(), func(context.Context) error { return accused(f) })
		cancel()
		t.Logf("try %d: %v %v", n+1, result, bad)
		if crimes = f.Judge.Crimes(); len(crimes) > 0 {
			return crimes, nil
		}
		if bad != nil {
			return nil, fmt.Errorf("try %d: %w", n+1, bad)
		}
	}
	return nil, nil
}
