package alerts

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"github.com/holdfast-ha/holdfast/cluster"
	"github.com/holdfast-ha/holdfast/internal/api"
	"github.com/holdfast-ha/holdfast/internal/config"
	"github.com/holdfast-ha/holdfast/internal/incidents"
)

const (
	history  = 2 * time.Hour    // of events that are kept in mind
	recent   = time.Hour        // what happened before that is told to nobody any more
	mostKept = 4000             // events of one node
	look     = time.Second      // between two looks at who coordinates, and what there is to tell
	settle   = 5 * time.Second  // after the start, and after becoming coordinator: others' events arrive
	missing  = 20 * time.Second // how long after the start one that cannot be asked is waited for
	retry    = 5 * time.Second  // until a node that does not tell is asked again
	mostTold = 20               // alerts to one receiver within
	toldIn   = 15 * time.Minute
	patience = 24 * time.Hour   // then an alert is given up
	alone    = 30 * time.Second // instead of settle where this node has no lease: another may be the coordinator
)

// Settings is what a herald needs of the daemon around it.
type Settings struct {
	Self   string
	View   func(ctx context.Context) (cluster.View, error)
	Events func(ctx context.Context, q api.EventQuery, each func(api.Event) error) error // this node's own
	Get    func(ctx context.Context, addresses []netip.AddrPort, path string) (*http.Response, error)
	Note   func(api.Event)
	Send   func(ctx context.Context, r *config.Alert, a *Alert) error
	Now    func() time.Time // wall clock: of the events
	Log    zerolog.Logger
	Pace   Pace
}

// Pace is how long a herald waits; the zero value is right but for tests.
type Pace struct {
	Look, Settle, Alone, Retry, Back time.Duration // Back is the first pause after a failure; it doubles up to 64 times itself
}

func (p Pace) filled() Pace {
	pick := func(d *time.Duration, usual time.Duration) {
		if *d == 0 {
			*d = usual
		}
	}
	pick(&p.Look, look)
	pick(&p.Settle, settle)
	pick(&p.Alone, alone)
	pick(&p.Retry, retry)
	pick(&p.Back, retry)
	return p
}

// Herald follows what all nodes note, and tells the receivers while its node is the
// coordinator.
type Herald struct {
	set  Settings
	pace Pace

	mu      sync.Mutex
	heard   map[string]*teller            // under mu: by node
	told    map[string]bool               // under mu: key and receiver
	changed bool                          // under mu: something was noted since the last look
	lines   map[string]*line              // under mu: by the receiver's name
	conf    []byte                        // under mu: the configuration whose receivers have lines
	stops   map[string]context.CancelFunc // under mu: of the followers
}

// teller is a node that tells what it has noted.
type teller struct {
	events []api.Event
	caught bool // what it had noted before was read
}

// line is what one receiver is to be told.
type line struct {
	to     config.Alert
	queue  []Alert
	times  []time.Time         // of what it was told last
	late   map[string]*attempt // by key: of those that have failed
	heldUp int
	wake   chan struct{}
}

// attempt is when an alert that has failed is tried again.
type attempt struct {
	at    time.Time
	pause time.Duration
}

// New makes a herald that follows nobody yet.
func New(s Settings) *Herald {
	if s.Send == nil {
		s.Send = Send
	}
	return &Herald{set: s, pace: s.Pace.filled(), heard: map[string]*teller{}, told: map[string]bool{}, lines: map[string]*line{}, stops: map[string]context.CancelFunc{}}
}

// Run is the task that follows and tells, until ctx ends.
func (h *Herald) Run(ctx context.Context) error {
	var tasks sync.WaitGroup
	defer tasks.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	began, since := h.set.Now(), time.Time{} // of being coordinator
	for {
		v, err := h.set.View(ctx)
		if err == nil && v.State != nil {
			h.follow(ctx, &tasks, &v)
			switch {
			case v.Coordinator != v.Self:
				since = time.Time{}
				h.drop()
			case since.IsZero():
				since = h.set.Now()
			}
			// A node without a lease may only take itself for the coordinator. When all have
			// lost the disks, somebody has to tell it all the same.
			wait := h.pace.Settle
			if !v.Lease.Held || v.Now > v.Lease.Until {
				wait = h.pace.Alone
			}
			if !since.IsZero() && h.set.Now().Sub(since) >= wait && h.ready(began) {
				h.consider(ctx, &tasks, v.State)
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(h.pace.Look):
		}
	}
}

// follow has every node of the state followed, and those that are gone no more.
func (h *Herald) follow(ctx context.Context, tasks *sync.WaitGroup, v *cluster.View) {
	h.mu.Lock()
	defer h.mu.Unlock()
	there := map[string]bool{}
	for i := range v.State.Nodes {
		n := v.State.Nodes[i]
		there[n.Name] = true
		if h.heard[n.Name] != nil {
			continue
		}
		h.heard[n.Name] = &teller{}
		one, stop := context.WithCancel(ctx)
		h.stops[n.Name] = stop
		source := h.set.Events
		if n.Name != h.set.Self {
			source = h.remote(&n)
		}
		tasks.Go(func() { h.listen(one, n.Name, source) }) // ends with ctx, or when the node is removed
	}
	for name, stop := range h.stops {
		if !there[name] {
			stop()
			delete(h.stops, name)
			delete(h.heard, name)
		}
	}
}

// remote asks another node's daemon for its events.
func (h *Herald) remote(n *cluster.NodeState) func(context.Context, api.EventQuery, func(api.Event) error) error {
	var addresses []netip.AddrPort
	for _, l := range n.Links {
		if a, err := netip.ParseAddrPort(l); err == nil {
			addresses = append(addresses, a)
		}
	}
	return func(ctx context.Context, q api.EventQuery, each func(api.Event) error) error {
		ask := url.Values{"after": {fmt.Sprint(q.After)}, "since": {q.Since.UTC().Format(time.RFC3339Nano)}}
		if q.Follow {
			ask.Set("follow", "1")
		}
		resp, err := h.set.Get(ctx, addresses, "/v1/events?"+ask.Encode())
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			return fmt.Errorf("it answers %s", resp.Status)
		}
		for d := json.NewDecoder(resp.Body); ; {
			var e api.Event
			if err := d.Decode(&e); errors.Is(err, io.EOF) {
				return nil
			} else if err != nil {
				return err
			}
			if err := each(e); err != nil {
				return err
			}
		}
	}
}

// listen takes what one node notes: first what it had noted, then what it notes.
func (h *Herald) listen(ctx context.Context, name string, source func(context.Context, api.EventQuery, func(api.Event) error) error) {
	q := api.EventQuery{Since: h.set.Now().Add(-history)}
	for ctx.Err() == nil {
		err := source(ctx, q, func(e api.Event) error {
			q.After = max(q.After, e.ID)
			h.take(name, e)
			return ctx.Err()
		})
		if err == nil && !q.Follow {
			h.caught(name)
			q.Follow = true
			continue
		}
		q.Follow = false // whatever is missed until it is heard again is history then
		select {
		case <-ctx.Done():
		case <-time.After(h.pace.Retry):
		}
	}
}

func (h *Herald) take(name string, e api.Event) {
	h.mu.Lock()
	defer h.mu.Unlock()
	t := h.heard[name]
	if t == nil {
		return // it was removed
	}
	if key, receiver, done := parseNoted(&e); done {
		h.told[key+"\x00"+receiver] = true
	}
	if e.Kind == kind {
		return
	}
	if t.events = append(t.events, e); len(t.events) > mostKept {
		t.events = slices.Clone(t.events[mostKept/2:])
	}
	h.changed = true
}

func (h *Herald) caught(name string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if t := h.heard[name]; t != nil {
		t.caught, h.changed = true, true
	}
}

// ready says whether everybody was heard once, or was waited for long enough.
func (h *Herald) ready(began time.Time) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.set.Now().Sub(began) >= missing {
		return true
	}
	for _, t := range h.heard {
		if !t.caught {
			return false
		}
	}
	return len(h.heard) > 0
}

// drop forgets what was to be told: whoever is coordinator now tells it.
func (h *Herald) drop() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, l := range h.lines {
		l.queue = nil
		clear(l.late)
	}
	h.changed = true
}

// consider puts into the queues what nobody was told yet.
func (h *Herald) consider(ctx context.Context, tasks *sync.WaitGroup, s *cluster.State) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !bytes.Equal(h.conf, s.Config) {
		h.conf = s.Config
		receivers, err := config.ParseAlerts("the configuration", s.Config)
		if err != nil {
			return // status says that it cannot be read; whoever was told before is told
		}
		h.lay(ctx, tasks, receivers)
	}
	if !h.changed {
		return
	}
	h.changed = false
	now := h.set.Now()
	var sources []incidents.Source
	for name, t := range h.heard {
		t.events = slices.DeleteFunc(t.events, func(e api.Event) bool { return now.Sub(e.Time) > history })
		sources = append(sources, incidents.Source{Node: name, Events: t.events})
	}
	slices.SortFunc(sources, func(a, b incidents.Source) int { return strings.Compare(a.Node, b.Node) })
	for _, a := range Of(incidents.Merge(sources)) {
		if now.Sub(a.Time) > recent {
			continue
		}
		a.Sender = h.set.Self
		if s.Conf != nil {
			a.Cluster = s.Conf.Name
		}
		for _, l := range h.lines {
			l.put(a, h.told)
		}
	}
}

// lay makes a line to every receiver, and ends those to receivers that are gone.
func (h *Herald) lay(ctx context.Context, tasks *sync.WaitGroup, receivers []config.Alert) {
	names := map[string]bool{}
	for i := range receivers {
		name := receivers[i].Name()
		names[name] = true
		if l := h.lines[name]; l != nil {
			l.to = receivers[i]
			continue
		}
		l := &line{to: receivers[i], late: map[string]*attempt{}, wake: make(chan struct{}, 1)}
		h.lines[name], h.changed = l, true
		tasks.Go(func() { h.deliver(ctx, name, l) }) // ends with ctx, or when the receiver is gone
	}
	for name, l := range h.lines {
		if !names[name] {
			delete(h.lines, name)
			close(l.wake)
		}
	}
}

// put adds an alert unless it was told, or waits already. What is over needs no word
// that it has begun.
func (l *line) put(a Alert, told map[string]bool) {
	name := l.to.Name()
	if told[a.Key+"\x00"+name] || slices.ContainsFunc(l.queue, func(q Alert) bool { return q.Key == a.Key }) {
		return
	}
	if begun, is := strings.CutSuffix(a.Key, ":"+Over); is {
		l.queue = slices.DeleteFunc(l.queue, func(q Alert) bool { return q.Key == begun+":"+Problem })
	}
	l.queue = append(l.queue, a)
	select {
	case l.wake <- struct{}{}:
	default: // it is awake
	}
}

// deliver is the task that tells one receiver, one alert after the other. One that fails
// is tried again later, and keeps no other back.
func (h *Herald) deliver(ctx context.Context, name string, l *line) {
	for {
		a, to, wait, is := h.next(name, l)
		if !is {
			timer := time.NewTimer(wait)
			select {
			case <-ctx.Done():
				timer.Stop()
				return
			case _, there := <-l.wake:
				timer.Stop()
				if !there {
					return
				}
			case <-timer.C:
			}
			continue
		}
		err := h.set.Send(ctx, &to, &a)
		if ctx.Err() != nil {
			return
		}
		h.after(name, l, &a, err)
	}
}

// idle is how long a receiver without alerts is left alone, unless there is one.
const idle = time.Minute

// next is the next alert to a receiver, unless there is none, it was told too much, or
// those that there are have failed a moment ago: then wait is until one is tried again.
func (h *Herald) next(name string, l *line) (a Alert, to config.Alert, wait time.Duration, is bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	now := h.set.Now()
	wait = idle
	l.times = slices.DeleteFunc(l.times, func(t time.Time) bool { return now.Sub(t) >= toldIn })
	for i := 0; i < len(l.queue); {
		a = l.queue[i]
		late := l.late[a.Key]
		switch {
		case h.told[a.Key+"\x00"+name]: // by the coordinator before
			l.queue = slices.Delete(l.queue, i, i+1)
		case len(l.times) >= mostTold:
			l.queue, l.heldUp = slices.Delete(l.queue, i, i+1), l.heldUp+1
			h.told[a.Key+"\x00"+name] = true
			h.set.Note(noted(&a, name, held, fmt.Sprintf("held back from %s: more than %d alerts within %s", name, mostTold, toldIn)))
		case late != nil && now.Before(late.at):
			wait = min(wait, late.at.Sub(now))
			i++
		default:
			if l.heldUp > 0 {
				a.Text = append(slices.Clone(a.Text), fmt.Sprintf("%d alerts before this one were held back: there were too many.", l.heldUp))
			}
			return a, l.to, 0, true
		}
	}
	return a, l.to, wait, false
}

// after notes what became of an attempt.
func (h *Herald) after(name string, l *line, a *Alert, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	now := h.set.Now()
	switch {
	case err == nil:
		l.times, l.heldUp = append(l.times, now), 0
		h.set.Note(noted(a, name, sent, fmt.Sprintf("was told to %s: %s", name, a.Title)))
	case now.Sub(a.Time) > patience:
		h.set.Note(noted(a, name, givenUp, fmt.Sprintf("is given up: %s was not told for %s: %v", name, patience, err)))
	default:
		late := l.late[a.Key]
		if late == nil { // the first failure is an event, the others are lines of the log
			late = &attempt{pause: h.pace.Back / 2}
			l.late[a.Key] = late
			h.set.Note(noted(a, name, failed, fmt.Sprintf("could not be told to %s, and is tried again: %v", name, err)))
		}
		late.pause = min(2*late.pause, 64*h.pace.Back)
		late.at = now.Add(late.pause)
		h.set.Log.Warn().Err(err).Str("receiver", name).Str("alert", a.Key).Dur("again", late.pause).Msg("not told")
		return
	}
	delete(l.late, a.Key)
	h.told[a.Key+"\x00"+name] = true
	if at := slices.IndexFunc(l.queue, func(q Alert) bool { return q.Key == a.Key }); at >= 0 {
		l.queue = slices.Delete(l.queue, at, at+1)
	}
}

// Try tells every receiver of the configuration, or the one of that name, that this
// is a test, and says what became of it.
func (h *Herald) Try(ctx context.Context, only string) ([]api.AlertTried, error) {
	v, err := h.set.View(ctx)
	if err != nil {
		return nil, err
	}
	if v.State == nil {
		return nil, errors.New("the quorum disk was not read yet")
	}
	receivers, err := config.ParseAlerts("the configuration", v.State.Config)
	if err != nil {
		return nil, err
	}
	a := &Alert{
		Version: version, Key: fmt.Sprintf("test-%d", h.set.Now().UnixMilli()), Level: Test, Sender: h.set.Self, Time: h.set.Now(), Title: "this is a test: nothing has happened",
		Text: []string{"Somebody has asked " + h.set.Self + " for a test alert: holdfast alert test."}, Next: []string{"nothing"},
	}
	if v.State.Conf != nil {
		a.Cluster = v.State.Conf.Name
	}
	tried := []api.AlertTried{}
	for i := range receivers {
		name := receivers[i].Name()
		if only != "" && name != only && !strings.HasPrefix(name, only+" ") {
			continue
		}
		began := time.Now()
		one := api.AlertTried{Receiver: name, OK: true, Text: "took it"}
		if err := h.set.Send(ctx, &receivers[i], a); err != nil {
			one.OK, one.Text = false, err.Error()
		}
		one.Took = api.Of(time.Since(began))
		tried = append(tried, one)
	}
	return tried, nil
}
