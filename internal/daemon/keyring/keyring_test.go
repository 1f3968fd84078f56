package keyring_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-ha/holdfast/cluster/ident"
	"github.com/holdfast-ha/holdfast/internal/api"
	"github.com/holdfast-ha/holdfast/internal/daemon/keyring"
	"github.com/holdfast-ha/holdfast/quorumdisk"
)

// world is a cluster of three rings over one disk, which holds for each place the
// fingerprint of the key that it is sealed with: one of each node, one of nobody.
type world struct {
	t     *testing.T
	nodes []*node
	disk  map[string]string
	gone  bool                    // the disk
	fault func(what string) error // before anything is done
	after func(what string) error // when it was done, and nobody is told
	count map[string]int
	notes []string
}

type node struct {
	w         *world
	name      string
	file      string
	ring      *keyring.Ring
	uses      quorumdisk.Keys // what its daemon and its guard use
	down      bool
	unsettled time.Duration
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, disk: map[string]string{}, count: map[string]int{}}
	first := quorumdisk.Keys{Current: quorumdisk.Key{1}}
	for i, name := range []string{"alpha", "beta", "gamma"} {
		n := &node{w: w, name: name, file: filepath.Join(t.TempDir(), "cluster.key")}
		if err := first.Save(n.file); err != nil {
			t.Fatal(err)
		}
		w.nodes = append(w.nodes, n)
		n.boot()
		w.disk[name], w.disk[fmt.Sprint("slot ", i+7)] = n.uses.Current.Fingerprint(), n.uses.Current.Fingerprint()
	}
	w.disk["superblock"] = first.Current.Fingerprint()
	return w
}

// boot begins a life with what stands in the file.
func (n *node) boot() {
	keys, err := quorumdisk.LoadKeys(n.file)
	if err != nil {
		n.w.t.Fatal(err)
	}
	n.uses, n.ring = keys, keyring.New(n.name, n.file, keys)
	n.ring.Serve(keyring.Parts{
		Use: func(_ context.Context, k quorumdisk.Keys) error {
			if err := n.w.trouble(n.w.fault, n.name+" uses"); err != nil {
				return err
			}
			n.uses = k
			n.w.readable()
			return n.w.trouble(n.w.after, n.name+" uses")
		},
		Reseal:    func(context.Context) error { return n.w.reseal(n, n.name) },
		Unsettled: func() time.Duration { return n.unsettled },
		Leader:    func(context.Context) (string, error) { return "alpha", nil },
		Note:      func(what string) { n.w.notes = append(n.w.notes, n.name+": "+what) },
	})
}

func (w *world) trouble(with func(string) error, what string) error {
	if with == nil {
		return nil
	}
	return with(what)
}

func (w *world) reseal(n *node, places ...string) error {
	if err := w.trouble(w.fault, n.name+" reseals"); err != nil {
		return err
	}
	for _, p := range places {
		w.disk[p] = n.uses.Current.Fingerprint()
	}
	w.readable()
	return w.trouble(w.after, n.name+" reseals")
}

func opens(k quorumdisk.Keys, print string) bool {
	return print == k.Current.Fingerprint() || print == k.Previous.Fingerprint()
}

// readable fails the test if there is a node that cannot read what another one seals
// now, or anything on the disk. It is called whenever something has changed.
func (w *world) readable() {
	w.t.Helper()
	for _, reader := range w.nodes {
		for _, writer := range w.nodes {
			if !opens(reader.uses, writer.uses.Current.Fingerprint()) {
				w.t.Fatalf("%s cannot read the beats of %s", reader.name, writer.name)
			}
		}
		for where, print := range w.disk {
			if !opens(reader.uses, print) {
				w.t.Fatalf("%s cannot read what stands on the disk in the place of %s", reader.name, where)
			}
		}
		file, err := quorumdisk.LoadKeys(reader.file)
		if err != nil {
			w.t.Fatal(err)
		}
		for _, writer := range w.nodes {
			if !opens(file, writer.uses.Current.Fingerprint()) {
				w.t.Fatalf("%s could not read the beats of %s after a restart", reader.name, writer.name)
			}
		}
	}
}

// world is the cluster of alpha, which leads.

func (w *world) Members(context.Context) ([]keyring.Member, error) {
	var list []keyring.Member
	for i, n := range w.nodes {
		list = append(list, keyring.Member{Name: n.name, ID: ident.NodeID(i + 1), Self: i == 0})
	}
	return list, nil
}

func (w *world) Ask(ctx context.Context, m keyring.Member, s api.KeyStep) (api.KeyNode, error) {
	n := w.nodes[m.ID-1]
	if n.down {
		return api.KeyNode{}, errors.New("nobody is there")
	}
	if err := w.trouble(w.fault, "ask "+n.name); err != nil {
		return api.KeyNode{}, err
	}
	a, err := n.ring.Step(ctx, s)
	if lost := w.trouble(w.after, "ask "+n.name); lost != nil {
		return api.KeyNode{}, lost
	}
	return a, err
}

func (w *world) Survey(context.Context) []api.KeyDisk {
	d := api.KeyDisk{Disk: 1, Path: "memory"}
	if w.gone {
		d.Error = "it is gone"
	}
	for where, print := range w.disk {
		if print != w.nodes[0].uses.Current.Fingerprint() {
			d.Old++
			d.Where = append(d.Where, where)
		}
	}
	return []api.KeyDisk{d}
}

func (w *world) ResealRest(context.Context, []keyring.Member) error {
	return w.reseal(w.nodes[0], "superblock", "slot 7", "slot 8", "slot 9")
}

func (w *world) exchange() *keyring.Exchange {
	return keyring.NewExchange(w.nodes[0].ring, w, nil)
}

// rotate asks for one step after the other, as the command does.
func (w *world) rotate() (*api.KeyProgress, error) {
	w.t.Helper()
	x, begin := w.exchange(), true
	for range 20 {
		p, err := x.Advance(w.t.Context(), api.KeyRequest{Begin: begin})
		if begin = false; err != nil || p.Done || p.Waits != "" {
			return p, err
		}
	}
	w.t.Fatal("it does not come to an end")
	return nil, nil
}

// exchanged fails the test unless every node has one key, the same, which is new.
func (w *world) exchanged() {
	w.t.Helper()
	w.readable()
	old := quorumdisk.Key{1}
	for _, n := range w.nodes {
		file, err := quorumdisk.LoadKeys(n.file)
		if err != nil || file != n.uses || !n.uses.Previous.IsZero() || n.uses != w.nodes[0].uses || n.uses.Current == old {
			w.t.Errorf("%s has %s and %s (%v)", n.name, n.uses.Current.Fingerprint(), n.uses.Previous.Fingerprint(), err)
		}
		if _, err := os.Stat(n.file + ".new"); err == nil {
			w.t.Errorf("%s has kept the mark", n.name)
		}
	}
}

func TestRotate(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	plan, err := w.exchange().Advance(t.Context(), api.KeyRequest{Begin: true, DryRun: true})
	if err != nil || len(plan.Did) != 4 || len(w.notes) > 0 {
		t.Fatalf("%+v, %v; %v", plan, err, w.notes)
	}
	p, err := w.rotate()
	if err != nil || !p.Done {
		t.Fatalf("%+v, %v", p, err)
	}
	w.exchanged()
	s, err := w.exchange().Status(t.Context())
	if err != nil || s.Stage != api.KeySettled || s.Key != w.nodes[1].uses.Current.Fingerprint() || s.New != "" {
		t.Errorf("%+v, %v", s, err)
	}
	if len(w.notes) != 9 {
		t.Errorf("people are told: %s", strings.Join(w.notes, "\n"))
	}
	if p, err := w.exchange().Advance(t.Context(), api.KeyRequest{}); err != nil || !p.Done {
		t.Errorf("without an order to begin: %+v, %v", p, err)
	}
	w.exchanged()
	if _, err := w.rotate(); err != nil { // and once more
		t.Error(err)
	}
	w.exchanged()
}

// TestCutShort: whatever is not done, or is done and not answered, or ends with a
// restart of the node or of the leader, every node reads every other one meanwhile, and
// to ask again goes on.
func TestCutShort(t *testing.T) {
	t.Parallel()
	for _, how := range []string{"not done", "done and not answered", "not done, restarted", "done, restarted", "not done, the leader restarted", "done, the leader restarted"} {
		t.Run(how, func(t *testing.T) { t.Parallel(); cutShort(t, how) })
	}
}

func cutShort(t *testing.T, how string) {
	cut, points := errors.New("cut short"), 0
	for at := 0; at <= points; at++ {
		w := newWorld(t)
		n := 0
		strike := func(what string) error {
			if n++; n-1 != at {
				return nil
			}
			for i, one := range w.nodes {
				if strings.Contains(how, "the leader") && i == 0 || !strings.Contains(how, "the leader") && strings.Contains(how, "restarted") && strings.Contains(what, one.name) {
					defer one.boot()
				}
			}
			return fmt.Errorf("%s: %w", what, cut)
		}
		if strings.HasPrefix(how, "done") {
			w.after = strike
		} else {
			w.fault = strike
		}
		_, err := w.rotate()
		w.readable()
		if at == 0 && err == nil {
			t.Fatalf("%s: nothing was cut short", how)
		}
		w.after, w.fault = nil, nil
		if err != nil {
			if p, err := w.rotate(); err != nil || !p.Done {
				t.Fatalf("%s, %d: again: %+v, %v", how, at, p, err)
			}
		} else if points = max(points, n); at < n {
			t.Errorf("%s, %d: %d points, and no error", how, at, n)
		}
		if err != nil {
			points = max(points, at+1)
		}
		w.exchanged()
	}
	if points < 15 {
		t.Errorf("only %d points", points)
	}
}

// TestNodeDown: no step is taken without every node, and the one that was away reads
// everything when it comes back, whenever that was.
func TestNodeDown(t *testing.T) {
	t.Parallel()
	for step := range 4 {
		w := newWorld(t)
		x := w.exchange()
		for i := range step {
			if _, err := x.Advance(t.Context(), api.KeyRequest{Begin: i == 0}); err != nil {
				t.Fatal(err)
			}
		}
		w.nodes[2].down = true
		_, err := x.Advance(t.Context(), api.KeyRequest{Begin: true})
		if err == nil || !strings.Contains(err.Error(), "gamma") || !strings.Contains(err.Error(), "node remove") {
			t.Fatalf("after %d steps: %v", step, err)
		}
		w.nodes[2].boot()
		w.nodes[2].down = false
		w.readable()
		if p, err := w.rotate(); err != nil || !p.Done {
			t.Fatalf("after %d steps: %+v, %v", step, p, err)
		}
		w.exchanged()
	}
}

// TestOldKeyStays: nobody forgets the old key while a disk cannot be read, something
// of it stands on one, or something may land.
func TestOldKeyStays(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.gone = true
	if p, err := w.rotate(); err == nil || !strings.Contains(err.Error(), "disk replace") {
		t.Errorf("a disk is gone: %+v, %v", p, err)
	}
	w.gone, w.nodes[1].unsettled = false, time.Minute
	if p, err := w.rotate(); err != nil || p.Done || !strings.Contains(p.Waits, "beta") {
		t.Errorf("a write may land: %+v, %v", p, err)
	}
	if n, err := w.nodes[1].ring.Step(t.Context(), api.KeyStep{Leader: "alpha", Do: api.KeyForget, New: w.nodes[1].uses.Current.Fingerprint()}); err == nil {
		t.Errorf("beta has forgotten it: %+v", n)
	}
	for _, n := range w.nodes {
		if n.uses.Previous != (quorumdisk.Key{1}) {
			t.Errorf("%s has forgotten it", n.name)
		}
	}
	w.nodes[1].unsettled = 0
	if p, err := w.rotate(); err != nil || !p.Done {
		t.Errorf("%+v, %v", p, err)
	}
	w.exchanged()
}

// TestNobodyElseLeads: a step from who does not lead is refused, and so is one that
// fits no exchange.
func TestNobodyElseLeads(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	k, other := quorumdisk.Key{5}, quorumdisk.Key{6}
	accept := func(k quorumdisk.Key, leader string) error {
		_, err := w.nodes[1].ring.Step(t.Context(), api.KeyStep{Leader: leader, Do: api.KeyAccept, New: k.Fingerprint(), Secret: k.Secret()})
		return err
	}
	if accept(k, "gamma") == nil {
		t.Error("gamma leads")
	}
	if err := accept(k, "alpha"); err != nil {
		t.Fatal(err)
	}
	if accept(other, "alpha") == nil {
		t.Error("a second new key")
	}
	for _, s := range []api.KeyStep{
		{Do: api.KeyUse, New: other.Fingerprint()},
		{Do: api.KeyForget, New: k.Fingerprint()},
		{Do: api.KeyReseal, New: k.Fingerprint()},
		{Do: "dance", New: k.Fingerprint()},
	} {
		s.Leader = "alpha"
		if _, err := w.nodes[1].ring.Step(t.Context(), s); err == nil {
			t.Errorf("%+v was done", s)
		}
	}
	if _, err := w.nodes[1].ring.Hold(); !errors.Is(err, keyring.ErrExchanging) {
		t.Errorf("a node may join meanwhile: %v", err)
	}
	// Whoever had begun that exchange is gone; it is taken back, and another one ends.
	if p, err := w.rotate(); err != nil || !p.Done {
		t.Fatalf("%+v, %v", p, err)
	}
	w.exchanged()
	release, err := w.nodes[1].ring.Hold()
	if err != nil {
		t.Fatal(err)
	}
	release()
}

// TestBegin: a life uses what its file says, once; the guard may not know it yet.
func TestBegin(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	beta := w.nodes[1]
	beta.uses = quorumdisk.Keys{}
	if err := beta.ring.Begin(t.Context()); err != nil || beta.uses != beta.ring.Keys() {
		t.Errorf("%v; it uses %s", err, beta.uses.Current.Fingerprint())
	}
}

func TestLanding(t *testing.T) {
	t.Parallel()
	var l keyring.Landing
	now := time.Unix(1e9, 0)
	if l.Left(now) != 0 || l.MayWrite(3, now) != nil {
		t.Error("nothing has happened")
	}
	l.Failed(now)
	if l.Left(now.Add(20*time.Second)) != 40*time.Second || l.MayWrite(3, now) != nil || l.Left(now.Add(time.Hour)) != 0 {
		t.Error("a request has failed")
	}
	l.Resealed(3, now)
	if l.MayWrite(3, now.Add(59*time.Second)) == nil || l.MayWrite(4, now) != nil || l.MayWrite(3, now.Add(time.Minute)) != nil {
		t.Error("a seal may land in slot 3, for a minute")
	}
}
