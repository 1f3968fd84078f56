package alerts

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"

	"github.com/holdfast-ha/holdfast/cluster"
	"github.com/holdfast-ha/holdfast/internal/api"
	"github.com/holdfast-ha/holdfast/internal/config"
)

// store is the events of one node, in memory.
type store struct {
	mu      sync.Mutex
	list    []api.Event
	changed chan struct{}
	down    bool
}

func newStore() *store { return &store{changed: make(chan struct{})} }

func (s *store) add(e api.Event) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e.ID = uint64(len(s.list) + 1)
	if e.Time.IsZero() {
		e.Time = time.Now()
	}
	s.list = append(s.list, e)
	close(s.changed)
	s.changed = make(chan struct{})
}

func (s *store) events(ctx context.Context, q api.EventQuery, each func(api.Event) error) error {
	next := q.After
	for {
		s.mu.Lock()
		list, changed, down := slices.Clone(s.list), s.changed, s.down
		s.mu.Unlock()
		if down {
			return errors.New("it is down")
		}
		for _, e := range list {
			if e.ID > next && !e.Time.Before(q.Since) {
				next = e.ID
				if err := each(e); err != nil {
					return err
				}
			}
		}
		if !q.Follow {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil
		}
	}
}

// set makes a node go away, or come back.
func (s *store) set(down bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.down = down
	close(s.changed)
	s.changed = make(chan struct{})
}

// world is two daemons with their heralds, and what the receivers were told.
type world struct {
	stores map[string]*store
	mu     sync.Mutex
	coord  uint8               // under mu: of the two nodes
	conf   string              // under mu
	fails  map[string]bool     // under mu: receivers that do not answer
	got    map[string][]string // under mu: by receiver: sender and key
	poison string              // under mu: the key of an alert that nobody takes
	dark   bool                // under mu: nobody has a lease
}

func newWorld() *world {
	return &world{
		stores: map[string]*store{"alpha": newStore(), "beta": newStore()}, coord: 1, fails: map[string]bool{}, got: map[string][]string{},
		conf: "cluster: {name: hospital, failover_within: 10s}\nservices: {}\nalerts: [{script: /bin/one}, {mail: ops@example.org}]\n",
	}
}

func (w *world) view(self uint8) (cluster.View, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	s := &cluster.State{Config: []byte(w.conf), Conf: &cluster.Config{Name: "hospital"}, Nodes: []cluster.NodeState{
		{ID: 1, Name: "alpha", Links: []string{"10.0.0.1:1"}}, {ID: 2, Name: "beta", Links: []string{"10.0.0.2:1"}},
	}}
	v := cluster.View{State: s, Lease: cluster.LeaseView{Held: !w.dark}}
	v.Self, v.Coordinator = s.Nodes[self-1].ID, s.Nodes[w.coord-1].ID
	return v, nil
}

// get is how a node asks another one.
func (w *world) get(ctx context.Context, addresses []netip.AddrPort, path string) (*http.Response, error) {
	name := map[string]string{"10.0.0.1:1": "alpha", "10.0.0.2:1": "beta"}[addresses[0].String()]
	u, err := url.Parse(path)
	if err != nil {
		return nil, err
	}
	q := api.EventQuery{Follow: u.Query().Get("follow") == "1"}
	q.After, _ = strconv.ParseUint(u.Query().Get("after"), 10, 64)
	q.Since, _ = time.Parse(time.RFC3339Nano, u.Query().Get("since"))
	s := w.stores[name]
	s.mu.Lock()
	down := s.down
	s.mu.Unlock()
	if down {
		return nil, errors.New("connection refused")
	}
	r, to := io.Pipe()
	go func() {
		lines := json.NewEncoder(to)
		to.CloseWithError(s.events(ctx, q, func(e api.Event) error { return lines.Encode(e) }))
	}()
	return &http.Response{StatusCode: http.StatusOK, Body: r}, nil
}

func (w *world) send(sender string) func(context.Context, *config.Alert, *Alert) error {
	return func(_ context.Context, r *config.Alert, a *Alert) error {
		w.mu.Lock()
		defer w.mu.Unlock()
		if w.fails[r.Name()] || w.poison == a.Key {
			return errors.New("no answer")
		}
		w.got[r.Name()] = append(w.got[r.Name()], sender+" "+a.Key)
		return nil
	}
}

// run starts the herald of a node in the bubble of a test.
func (w *world) run(ctx context.Context, tasks *sync.WaitGroup, self uint8) {
	name := []string{"alpha", "beta"}[self-1]
	h := New(Settings{
		Self: name, View: func(context.Context) (cluster.View, error) { return w.view(self) }, Events: w.stores[name].events, Get: w.get,
		Note: w.stores[name].add, Send: w.send(name), Now: time.Now, Log: zerolog.Nop(),
	})
	tasks.Go(func() { _ = h.Run(ctx) })
}

func (w *world) change(f func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	f()
}

func (w *world) told(receiver string) []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.got[receiver])
}

// both runs a test with the heralds of both nodes.
func both(t *testing.T, test func(t *testing.T, w *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		ctx, cancel := context.WithCancel(t.Context())
		var tasks sync.WaitGroup
		w.run(ctx, &tasks, 1)
		w.run(ctx, &tasks, 2)
		test(t, w)
		cancel()
		tasks.Wait()
	})
}

// let passes time in the bubble.
func let(d time.Duration) { <-time.After(d) }

func fencing(node string, state uint64) api.Event {
	return api.Event{Kind: "fencing", Node: node, Incarnation: "1/a", State: state, Text: "silent"}
}

const (
	one   = "script /bin/one"
	mails = "mail to ops@example.org"
)

// TestOnce: of two daemons that see everything only the coordinator tells, each
// receiver once.
func TestOnce(t *testing.T) {
	t.Parallel()
	both(t, func(t *testing.T, w *world) {
		let(time.Minute)
		w.stores["beta"].add(fencing("gamma", 10)) // noted by the one that does not tell
		let(time.Minute)
		want := []string{"alpha 10-gamma:problem"}
		if a, b := w.told(one), w.told(mails); !slices.Equal(a, want) || !slices.Equal(b, want) {
			t.Errorf("told %q and %q", a, b)
		}
		w.stores["beta"].add(api.Event{Kind: "proof", Node: "gamma", Incarnation: "1/a", Proof: "E3 time", State: 11, Text: "it is over"})
		let(time.Minute)
		if a := w.told(one); len(a) != 2 || a[1] != "alpha 10-gamma:over" {
			t.Errorf("told %q", a)
		}
		w.stores["alpha"].add(api.Event{Kind: "alarm", Text: "fencing by bmc would not work", Node: "beta"})
		w.stores["alpha"].add(api.Event{Kind: "alarm", Text: "fencing by bmc would not work", Node: "beta"})
		let(time.Minute)
		if a := w.told(one); len(a) != 3 || !strings.HasPrefix(a[2], "alpha alarm-") {
			t.Errorf("told %q", a)
		}
	})
}

// TestThroughAFailover: the coordinator dies with an alert that one receiver was told
// and another was not. The next one tells that receiver alone, and the death.
func TestThroughAFailover(t *testing.T) {
	t.Parallel()
	both(t, func(t *testing.T, w *world) {
		w.change(func() { w.fails[mails] = true })
		let(time.Minute)
		w.stores["alpha"].add(fencing("gamma", 10))
		let(2 * time.Minute)
		if a, b := w.told(one), w.told(mails); len(a) != 1 || len(b) != 0 {
			t.Fatalf("told %q and %q", a, b)
		}
		w.stores["alpha"].set(true)
		w.stores["beta"].add(fencing("alpha", 12))
		w.change(func() { w.coord, w.fails[mails] = 2, false })
		let(5 * time.Minute)
		if a := w.told(one); !slices.Equal(a, []string{"alpha 10-gamma:problem", "beta 12-alpha:problem"}) {
			t.Errorf("told %q", a)
		}
		if b := w.told(mails); !slices.Equal(b, []string{"beta 10-gamma:problem", "beta 12-alpha:problem"}) {
			t.Errorf("mailed %q", b)
		}
		w.stores["alpha"].set(false)
		w.change(func() { w.coord = 1 })
		let(5 * time.Minute)
		if a, b := w.told(one), w.told(mails); len(a) != 2 || len(b) != 2 {
			t.Errorf("who came back told it again: %q, %q", a, b)
		}
	})
}

// TestRetry: one that does not answer is tried again, later and later, while the
// others are told at once; the failure is one event, not one for each attempt.
func TestRetry(t *testing.T) {
	t.Parallel()
	both(t, func(t *testing.T, w *world) {
		w.change(func() { w.fails[one] = true })
		let(time.Minute)
		w.stores["alpha"].add(fencing("gamma", 10))
		let(10 * time.Minute)
		if b := w.told(mails); len(b) != 1 {
			t.Errorf("mailed %q", b)
		}
		w.change(func() { w.fails[one] = false })
		let(10 * time.Minute)
		if a := w.told(one); len(a) != 1 {
			t.Errorf("told %q", a)
		}
		var outcomes []string
		_ = w.stores["alpha"].events(t.Context(), api.EventQuery{}, func(e api.Event) error {
			if e.Kind == kind && e.Way == one {
				outcomes = append(outcomes, e.Outcome)
			}
			return nil
		})
		if !slices.Equal(outcomes, []string{failed, sent}) {
			t.Errorf("noted %q", outcomes)
		}
	})
}

// TestPoison: an alert that a receiver refuses keeps no other from it, and is tried again
// later and later.
func TestPoison(t *testing.T) {
	t.Parallel()
	both(t, func(t *testing.T, w *world) {
		w.change(func() { w.poison = "10-gamma:problem" })
		let(time.Minute)
		w.stores["alpha"].add(fencing("gamma", 10))
		let(3 * time.Second)
		w.stores["alpha"].add(fencing("delta", 11))
		w.stores["alpha"].add(fencing("epsilon", 12))
		let(3 * time.Second)
		if a := w.told(one); len(a) != 2 {
			t.Errorf("behind one that is refused: told %q", a)
		}
		w.change(func() { w.poison = "" })
		let(time.Minute)
		if a := w.told(one); len(a) != 3 || a[2] != "alpha 10-gamma:problem" {
			t.Errorf("told %q", a)
		}
	})
}

// TestAlone: without a lease a node may only take itself for the coordinator, and waits
// until whoever is would have told; where nobody has one it tells in the end.
func TestAlone(t *testing.T) {
	t.Parallel()
	both(t, func(t *testing.T, w *world) {
		let(time.Minute)
		w.change(func() { w.dark, w.coord = true, 2 })
		w.stores["beta"].add(fencing("gamma", 10))
		let(alone - 5*time.Second)
		if a := w.told(one); len(a) != 0 {
			t.Errorf("without a lease: told %q", a)
		}
		let(10 * time.Second)
		if a := w.told(one); len(a) != 1 || a[0] != "beta 10-gamma:problem" {
			t.Errorf("told %q", a)
		}
	})
}

// TestTooMany: a receiver gets a few alerts within a quarter of an hour; the others
// are held back, and said with the next one.
func TestTooMany(t *testing.T) {
	t.Parallel()
	both(t, func(t *testing.T, w *world) {
		let(time.Minute)
		for i := range 3 * mostTold {
			w.stores["alpha"].add(fencing(fmt.Sprintf("n%d", i), uint64(10+i)))
		}
		let(5 * time.Minute)
		if a := w.told(one); len(a) != mostTold {
			t.Errorf("told %d", len(a))
		}
		let(20 * time.Minute)
		w.stores["alpha"].add(fencing("late", 500))
		let(time.Minute)
		if a := w.told(one); len(a) != mostTold+1 || a[mostTold] != "alpha 500-late:problem" {
			t.Errorf("told %q", a[mostTold:])
		}
	})
}

// TestOldNews: what happened long ago, or before anybody was to be told, is no alert.
func TestOldNews(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		e := fencing("gamma", 10)
		e.Time = time.Now().Add(-90 * time.Minute)
		w.stores["alpha"].add(e)
		ctx, cancel := context.WithCancel(t.Context())
		var tasks sync.WaitGroup
		w.run(ctx, &tasks, 1)
		let(5 * time.Minute) // beta's daemon does not follow, but can be asked
		w.change(func() { w.conf = strings.Replace(w.conf, "alerts:", "#", 1) })
		let(5 * time.Second)
		w.stores["alpha"].add(fencing("delta", 11))
		let(5 * time.Minute)
		if a := w.told(one); len(a) != 0 {
			t.Errorf("told %q", a)
		}
		cancel()
		tasks.Wait()
	})
}

// TestTry: a test alert goes to every receiver at once, and says what became of it.
func TestTry(t *testing.T) {
	t.Parallel()
	w := newWorld()
	w.fails[one] = true
	h := New(Settings{Self: "beta", View: func(context.Context) (cluster.View, error) { return w.view(2) }, Send: w.send("beta"), Now: time.Now})
	tried, err := h.Try(t.Context(), "")
	if err != nil || len(tried) != 2 || tried[0].OK || tried[0].Text != "no answer" || !tried[1].OK || tried[1].Receiver != mails {
		t.Errorf("%+v, %v", tried, err)
	}
	if tried, err = h.Try(t.Context(), "mail"); err != nil || len(tried) != 1 || tried[0].Receiver != mails {
		t.Errorf("%+v, %v", tried, err)
	}
}
