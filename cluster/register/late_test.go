package register_test

import (
	"slices"
	"testing"
	"time"

	"github.com/holdfast-ha/holdfast/cluster/ident"
	"github.com/holdfast-ha/holdfast/cluster/register"
)

// until completes requests of n, but no writes that hold says, until nothing else is
// left to do, and lets the time pass that n waits for.
func (w *world) until(n *node, hold func(register.Header) bool) {
	w.t.Helper()
	for range 200 {
		i := slices.IndexFunc(n.fly, func(f flight) bool { return f.op.Kind != register.Write || !hold(f.op.Header) })
		switch {
		case i >= 0:
			w.finish(n, i)
		case len(n.fly) > 0 || n.m.Ready():
			return
		default:
			w.now = w.now.Add(100 * time.Millisecond)
			n.m.Tick(w.now)
			w.collect(n)
		}
	}
	w.t.Fatalf("node %d never comes to rest", n.id)
}

func (w *world) landAll(n *node) {
	for _, f := range n.fly {
		w.disks[f.op.Disk].land(cell{f.op.Header, f.op.Value})
	}
}

// TestLateFirstWriteOfASecondMachineHidesNothing: a second machine with the node's
// identity stops just when it was going to write its first block. The first
// machine has long entered a ballot when that write lands. Another node, with a
// lower ballot, must find the higher one all the same.
func TestLateFirstWriteOfASecondMachineHidesNothing(t *testing.T) {
	eachDisks(t, func(t *testing.T, disks int) {
		w := twins(t, 1, disks)
		a, c, b := w.nodes[0], w.nodes[1], w.nodes[2]
		w.all(b)
		w.begin(b)
		w.until(b, func(register.Header) bool { return true }) // its write is on its way
		w.all(c)
		w.begin(c)
		w.until(c, never)
		w.all(a)
		a.m.Learn(w.now, c.m.Claim())
		w.collect(a)
		w.all(a)
		w.begin(a)
		w.until(a, func(h register.Header) bool { return h.Ver == 2 }) // phase 1 is over
		w.landAll(b)
		w.begin(c)
		w.all(c)
		if c.got(register.Committed) != nil {
			t.Error("node 2 decides version 2 under a ballot that another one has overtaken")
		}
		w.until(a, never)
	})
}

// blocks says that h is a block, and no ticket.
func blocks(h register.Header) bool { return !h.IsTicket() }

func never(register.Header) bool { return false }

// decide has n commit, whatever it has to wait for.
func (w *world) decide(n *node) val {
	w.t.Helper()
	for range 20 {
		if n.m.Ready() {
			w.begin(n)
		}
		w.until(n, never)
		if o := n.got(register.Committed); o != nil {
			return o.Value
		}
	}
	w.t.Fatalf("node %d does not commit", n.id)
	return val{}
}

// TestSecondMachineLeavesPlacesOut: a machine stops with a block on its way: its
// first, of which nobody can see where it will land, or a later one. The other
// machine begins, and goes on; what lands then hides nothing.
func TestSecondMachineLeavesPlacesOut(t *testing.T) {
	for _, c := range []struct {
		name    string
		commits int
		wait    time.Duration
	}{
		{"the first block", 0, 3 * time.Second},
		{"a later block", 2, 40 * time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			eachDisks(t, func(t *testing.T, disks int) {
				w := twins(t, 1, disks)
				a, other, b := w.nodes[0], w.nodes[1], w.nodes[2]
				w.decide(other)
				for range c.commits {
					w.decide(a)
				}
				w.until(a, never)
				w.begin(a)
				w.until(a, blocks)
				if len(a.fly) != disks || a.fly[0].op.Kind != register.Write {
					t.Fatalf("no block is on its way: %+v", a.fly)
				}
				var last val
				for range 20 {
					last = w.decide(b)
					w.now = w.now.Add(c.wait / 20)
				}
				before := w.disks[0].headers()
				for _, h := range before {
					if g := a.fly[0].op.Header; h.Node == g.Node && h.Slot == g.Slot && h.Gen > g.Gen {
						t.Errorf("generation %d stands where generation %d is still to land", h.Gen, g.Gen)
					}
				}
				w.landAll(a)
				if next := w.decide(other); next.base != last.id {
					t.Errorf("the next version is built on %d, not on %d", next.base, last.id)
				}
			})
		})
	}
}

// TestTicketThatIsExchangedEndsALife: another machine takes a ticket. The first
// one stops at its next look, and before it has used up what the other leaves out.
func TestTicketThatIsExchangedEndsALife(t *testing.T) {
	eachDisks(t, func(t *testing.T, disks int) {
		w := twins(t, 1, disks)
		a, b := w.nodes[0], w.nodes[2]
		w.decide(a)
		w.until(b, never)
		w.begin(b)
		for range 2 * disks { // it looks, and writes its tickets
			w.finish(b, 0)
		}
		w.begin(a)
		w.until(a, never)
		if a.got(register.Committed) != nil || a.got(register.Shared) == nil {
			t.Errorf("the first machine goes on: %+v", a.outs)
		}
		w.until(b, never)
		if b.got(register.Committed) == nil {
			t.Errorf("the second machine does not begin: %+v", b.outs)
		}
	})
}

// TestBlockInThePlaceOfTickets: an older version has left its newest block there. It
// is not lost.
func TestBlockInThePlaceOfTickets(t *testing.T) {
	w := newWorld(t, 1, 2, 1)
	w.disks[0].land(cell{
		register.Header{Node: 1, Slot: 15, Inc: 3, Gen: 31, Mbal: ident.Ballot{Round: 4, Node: 1, Inc: 3}, Bal: ident.Ballot{Round: 4, Node: 1, Inc: 3}, Ver: 1},
		val{id: 77, ver: 1},
	})
	n := w.nodes[0]
	n.fly, n.life = nil, 9
	n.m = register.New[val](register.Config{Self: 1, Life: 9, Disks: 1, Ticket: true})
	n.m.Tick(w.now)
	w.collect(n)
	w.until(n, never)
	if got := w.decide(n); got.base != 77 {
		t.Errorf("built on %d", got.base)
	}
	if got := w.decide(w.nodes[1]); got.ver != 3 {
		t.Errorf("version %d follows", got.ver)
	}
}

// TestWriterThatWasAwayLooksFirst: a machine could not write for a while, and
// meanwhile two lives of another have begun. It does not repeat its write.
func TestWriterThatWasAwayLooksFirst(t *testing.T) {
	w := twins(t, 1, 1)
	a, other, b := w.nodes[0], w.nodes[1], w.nodes[2]
	w.decide(a)
	w.begin(a)
	w.until(a, blocks)
	f := a.fly[0]
	a.fly = nil
	a.m.Wrote(w.now, f.op.Disk, f.op.Seq, false)
	w.decide(b)
	b.life++
	b.m = register.New[val](register.Config{Self: 1, Life: b.life, Disks: 1, Ticket: true})
	b.m.Tick(w.now)
	w.collect(b)
	w.until(b, never)
	last := w.decide(b)
	w.now = w.now.Add(10 * time.Second)
	a.m.Tick(w.now)
	w.collect(a)
	w.until(a, blocks)
	if len(a.fly) != 0 || a.got(register.Shared) == nil {
		t.Errorf("it writes: %+v", a.fly)
	}
	if next := w.decide(other); next.base != last.id {
		t.Errorf("the next version is built on %d, not on %d", next.base, last.id)
	}
}

// TestPlacesOfTheNewestLifeAreLeftOut: a block of an older life has landed after a
// newer one had begun, and stands in a higher generation. Where the newer life writes
// next is after its own newest block, and not after that one (test/model/ticket.pml).
func TestPlacesOfTheNewestLifeAreLeftOut(t *testing.T) {
	w := twins(t, 1, 1)
	block := func(inc uint32, gen, life uint64) register.Header {
		b := ident.Ballot{Round: 1, Node: 1, Inc: 1, Life: life}
		return register.Header{Node: 1, Slot: uint8(gen), Inc: inc, Gen: gen, Mbal: b, Bal: b, Ver: 1}
	}
	for _, h := range []register.Header{block(2, 2, 20), block(1, 3, 10)} {
		w.disks[0].land(cell{h, val{id: 1, ver: 1}})
	}
	n := w.nodes[2]
	w.until(n, never)
	w.begin(n)
	w.until(n, func(register.Header) bool { return true })
	if len(n.fly) != 1 || !n.fly[0].op.Header.IsTicket() {
		t.Fatalf("no ticket is on its way: %+v", n.fly)
	}
	said := n.fly[0].op.Header.Mbal.Inc
	for place := range 16 {
		left, first := said>>place&1 == 1, said>>(16+place)&1 == 1
		if want := place >= 3 && place <= 8; left != want || first && left {
			t.Errorf("place %d: left out %v, begun with %v; the next of the newest life are 3 to 7, and after generation 3 come 4 to 8", place, left, first)
		}
	}
}

// TestLateTicketDoesNotCount: a ticket that took longer to write than Prompt may have
// taken the place of another, which nobody can read now: nothing begins with it, nor
// before everything has settled.
func TestLateTicketDoesNotCount(t *testing.T) {
	w := twins(t, 1, 1)
	n := w.nodes[2]
	w.until(n, never)
	w.begin(n)
	w.until(n, func(h register.Header) bool { return h.IsTicket() })
	if len(n.fly) != 1 || !n.fly[0].op.Header.IsTicket() {
		t.Fatalf("no ticket is on its way: %+v", n.fly)
	}
	w.now = w.now.Add(time.Second)
	w.finish(n, 0)
	for range 50 {
		w.now = w.now.Add(100 * time.Millisecond)
		n.m.Tick(w.now)
		w.collect(n)
		w.all(n)
	}
	if n.got(register.Committed) != nil {
		t.Error("it has begun by a ticket that was written late")
	}
}

// TestOpeningADiskMakesNoTicketLate: the first request to a disk that was added waits
// until the disk has been found and opened. What is measured is not that: a ticket
// that was late keeps the node from deciding by this disk for a minute.
func TestOpeningADiskMakesNoTicketLate(t *testing.T) {
	w, a, _ := quiet(t, 2, 1)
	w.commit(a)
	w.grow()
	w.grow()
	w.change(a, disk0, three)
	w.only(a, 0)
	w.now = w.now.Add(800 * time.Millisecond) // the added disks are being opened
	for range 20 {
		for range len(a.fly) {
			w.finish(a, 0)
		}
		w.now = w.now.Add(150 * time.Millisecond) // a request, on a busy machine
		a.m.Tick(w.now)
		w.collect(a)
	}
	if !a.m.Ready() {
		t.Fatal("three seconds after the disks were opened it cannot decide")
	}
}

// TestTicketHasToStand: nobody begins before its ticket has stood for longer than
// another may take from reading the ring to having written its own.
func TestTicketHasToStand(t *testing.T) {
	w := twins(t, 1, 1)
	n := w.nodes[2]
	w.until(n, never)
	w.begin(n)
	w.until(n, func(h register.Header) bool { return h.IsTicket() })
	wrote := w.now
	w.finish(n, 0)
	w.until(n, blocks)
	if len(n.fly) != 1 || n.fly[0].op.Kind != register.Write {
		t.Fatalf("no block is on its way: %+v", n.fly)
	}
	if stood := w.now.Sub(wrote); stood <= 900*time.Millisecond {
		t.Errorf("it begins %v after it has written its ticket", stood)
	}
}
