package daemon

import (
	"context"
	"errors"
	"reflect"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/holdfast-ha/holdfast/cluster"
	"github.com/holdfast-ha/holdfast/cluster/ident"
	"github.com/holdfast-ha/holdfast/cluster/lease"
	"github.com/holdfast-ha/holdfast/internal/daemon/tables"
	"github.com/holdfast-ha/holdfast/internal/guardwire"
	"github.com/holdfast-ha/holdfast/quorumdisk"
)

// wireGuard is a guard as its socket shows it.
type wireGuard struct {
	snap guardwire.Snapshot
	says chan guardwire.Message // closed: the connection is lost

	mu   sync.Mutex
	sent []guardwire.Order
	shut bool
}

func newWireGuard(bound uint32) *wireGuard {
	g := &wireGuard{says: make(chan guardwire.Message, 16)}
	if bound > 0 {
		g.snap.Lease = lease.View{State: lease.Bound, Inc: ident.Incarnation{N: bound}}
	}
	return g
}

func (g *wireGuard) Snapshot() *guardwire.Snapshot { return &g.snap }

func (g *wireGuard) Send(o guardwire.Order) (uint64, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.sent = append(g.sent, o)
	return uint64(len(g.sent)) + 100, nil
}

func (g *wireGuard) Receive() (guardwire.Message, error) {
	m, ok := <-g.says
	if !ok {
		return nil, guardwire.ErrClosed
	}
	return m, nil
}

func (g *wireGuard) Close() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.shut {
		g.shut = true
		close(g.says)
	}
	return nil
}

func (g *wireGuard) orders() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.sent)
}

// linked is a guardLink with its tasks.
type linked struct {
	*guardLink
	t      *testing.T
	events chan cluster.Event
	ended  chan error
}

func link(t *testing.T, first *wireGuard, next func() (Guard, error)) *linked {
	l := &linked{guardLink: newGuardLink(next, first, zerolog.Nop()), t: t, events: make(chan cluster.Event, 16), ended: make(chan error, 2)}
	l.guardLink.events = l.events
	ctx, cancel := context.WithCancel(context.Background())
	go func() { l.ended <- l.send(ctx) }()
	go func() { l.ended <- l.receive(ctx) }()
	t.Cleanup(cancel)
	return l
}

func (l *linked) next() cluster.Event {
	l.t.Helper()
	select {
	case ev := <-l.events:
		return ev
	case err := <-l.ended:
		l.t.Fatalf("the link has ended: %v", err)
	case <-time.After(patience):
		l.t.Fatal("no event")
	}
	return nil
}

func TestOrdersAndEchoes(t *testing.T) {
	g := newWireGuard(0)
	l := link(t, g, nil)
	inc := ident.Incarnation{N: 3}
	l.orders.Put(cluster.Order{
		Kind: cluster.OrderClaim, Seq: 7, Inc: inc, Until: 99, H: time.Second, Pet: 2, DiskGen: 5,
		Lease: cluster.Lease{F: 3, TMax: 4, M: 1}, Payload: cluster.Payload{Phase: cluster.Joining, ViewAcked: 8},
	})
	l.orders.Put(cluster.Order{Kind: cluster.OrderPermit, Seq: 8, Inc: inc, Until: 100})
	waitFor(t, "both orders", func() bool { return g.orders() == 2 })
	claim, ok := g.sent[0].(*guardwire.Claim)
	want := guardwire.Params{Lease: cluster.Lease{F: 3, TMax: 4, M: 1}, H: time.Second, PetPeriod: 2, DiskGen: 5}
	if !ok || claim.Inc != inc || claim.Until != 99 || claim.Params != want {
		t.Fatalf("sent %+v", g.sent[0])
	}
	if p, err := quorumdisk.DecodePayload(claim.Payload); err != nil || p.Phase != cluster.Joining || p.ViewAcked != 8 {
		t.Errorf("payload %+v, %v", p, err)
	}
	g.says <- &guardwire.Echo{Seq: 102, Order: guardwire.KindPermission, Err: "lapsed"}
	if ev := l.next(); ev != (cluster.Echoed{Order: cluster.OrderPermit, Seq: 8, Err: "lapsed"}) {
		t.Errorf("a refusal became %+v", ev)
	}
	g.says <- &guardwire.Echo{Seq: 999, OK: true} // of nothing that was sent
	g.says <- &guardwire.Echo{Seq: 101, Order: guardwire.KindClaim, OK: true}
	if ev := l.next(); ev != (cluster.Echoed{Order: cluster.OrderClaim, Seq: 7}) {
		t.Errorf("an echo became %+v", ev)
	}
	for _, n := range []struct {
		says guardwire.NoticeKind
		want cluster.Noticed
	}{
		{guardwire.NoticeKilled, cluster.Noticed{Killed: true}},
		{guardwire.NoticeLeave, cluster.Noticed{Leave: true}},
		{guardwire.NoticeDisk, cluster.Noticed{Text: "the guard: x"}},
	} {
		g.says <- &guardwire.Notice{What: n.says, Text: "x"}
		if ev := l.next(); ev != n.want {
			t.Errorf("%s became %+v", n.says, ev)
		}
	}
	l.orders.Put(cluster.Order{Kind: 99, Seq: 9})
	if ev, ok := l.next().(cluster.Echoed); !ok || ev.Seq != 9 || ev.Err == "" {
		t.Errorf("an order that the wire does not know became %+v", ev)
	}
}

// The same guard in the same state: the daemon goes on, and the core learns which
// orders were not obeyed. The payload that the guard carries was.
func TestReconnect(t *testing.T) {
	first, second := newWireGuard(3), newWireGuard(3)
	payload := cluster.Payload{Phase: cluster.MemberPhase}
	second.snap.Payload, _ = quorumdisk.EncodePayload(nil, &payload)
	second.snap.Lease.Killed = true
	tries := 0
	l := link(t, first, func() (Guard, error) {
		if tries++; tries < 3 {
			return nil, errors.New("not yet")
		}
		return second, nil
	})
	l.orders.Put(cluster.Order{Kind: cluster.OrderPayload, Seq: 1, Payload: payload})
	l.orders.Put(cluster.Order{Kind: cluster.OrderPermit, Seq: 2})
	waitFor(t, "both orders", func() bool { return first.orders() == 2 })
	must(t, first.Close())
	got := map[uint64]string{}
	var killed bool
	for range 3 {
		switch ev := l.next().(type) {
		case cluster.Echoed:
			got[ev.Seq] = ev.Err
		case cluster.Noticed:
			killed = ev.Killed
		}
	}
	if got[1] != "" || got[2] == "" || !killed || l.state() != "connected" {
		t.Errorf("echoes %v, killed %v, %s", got, killed, l.state())
	}
	l.orders.Put(cluster.Order{Kind: cluster.OrderKick, Seq: 3})
	waitFor(t, "an order on the new connection", func() bool { return second.orders() == 1 })
}

// A guard that has restarted, or that may have obeyed an order of weight, ends
// the daemon: its successor begins with what the guard says.
func TestGuardThatIsNotTheSame(t *testing.T) {
	for what, c := range map[string]struct {
		bound uint32
		order cluster.OrderKind
	}{
		"it restarted FREE":       {0, cluster.OrderKick},
		"another incarnation":     {4, cluster.OrderKick},
		"a retire without echo":   {3, cluster.OrderRetire},
		"a stopping without echo": {3, cluster.OrderStopping},
	} {
		first := newWireGuard(3)
		l := link(t, first, func() (Guard, error) { return newWireGuard(c.bound), nil })
		l.orders.Put(cluster.Order{Kind: c.order, Seq: 1, Inc: ident.Incarnation{N: 3}})
		waitFor(t, "the order", func() bool { return first.orders() == 1 })
		must(t, first.Close())
		select {
		case err := <-l.ended:
			if !errors.Is(err, errGuardRestarted) {
				t.Errorf("%s: ended with %v", what, err)
			}
		case <-time.After(patience):
			t.Errorf("%s: the daemon went on", what)
		}
	}
}

func TestTables(t *testing.T) {
	r := newRig(t)
	v := r.volume()
	layout := v.Layout()
	sector := make([]byte, layout.SectorSize)
	must(t, v.Codec().SealBeat(sector, &quorumdisk.BeatHeader{Node: 3, Inc: ident.Incarnation{N: 2}, Seq: 8, State: cluster.GuardBound}, nil))
	must(t, v.WriteBeat(3, sector, time.Second))
	torn := append([]byte(nil), sector...)
	torn[100] ^= 1
	must(t, v.WriteBeat(4, torn, time.Second))
	table := make([]byte, layout.TableSize())
	must(t, v.ReadTable(table, time.Second))
	reader := &tables.Reader{Keys: func() quorumdisk.Keys { return r.keys }, Cluster: uuid(0xc0), Number: func(id ident.UUID) (int, bool) { return 0, id.IsZero() }}
	got := reader.Open(guardwire.Table{Wrote: true, Issued: 5, ReadIssued: 6, Completed: 7, SuperblockOK: true, Bytes: table})
	if got.Err != "" || len(got.Beats) != 2 || got.Issued != 5 || got.ReadIssued != 6 || got.Completed != 7 || !got.Wrote {
		t.Fatalf("table %+v", got)
	}
	if b := got.Beats[0]; b.Node != 3 || b.Beat == nil || b.Beat.Seq != 8 || !reflect.DeepEqual(b.Sector, sector) {
		t.Errorf("beat %+v", b)
	}
	if b := got.Beats[1]; b.Node != 4 || b.Beat != nil || b.Err == "" || !reflect.DeepEqual(b.Sector, torn) {
		t.Errorf("a sector that does not check is %+v: its bytes are a sign of life all the same", b)
	}
	for what, m := range map[string]guardwire.Table{
		"another superblock": {Bytes: table},
		"no answer":          {Err: "timeout"},
		"half a table":       {SuperblockOK: true, Bytes: table[:len(table)-512]},
		"an unknown disk":    {UUID: uuid(0xdd), SuperblockOK: true, Bytes: table},
	} {
		if got := reader.Open(m); got.Err == "" || len(got.Beats) != 0 {
			t.Errorf("%s: %+v", what, got)
		}
	}
}
