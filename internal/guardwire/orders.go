package guardwire

import (
	"time"

	"github.com/holdfast-ha/holdfast/cluster"
	"github.com/holdfast-ha/holdfast/cluster/ident"
)

// Order is what the daemon tells the guard: one of Hello, Payload, Permission,
// Grace, Claim, Stopping, Retire, Kick, Reset, Rekey, Upgrade, Disks, Promise and Cut. Every one but
// Hello is answered with an Echo once it is obeyed or refused.
type Order interface {
	body
	order()
}

// Hello asks for a Snapshot. It is the first packet of a connection, and may
// come again at any time.
type Hello struct{}

// Payload is the daemon's part of the beat, at most MaxPayload bytes, which the
// guard carries unread from its next beat on. It is kept when the daemon ends.
type Payload struct{ Bytes []byte }

// Permission lets the guard beat and feed until then. It never shortens an
// earlier one.
type Permission struct {
	Inc   ident.Incarnation
	Until ident.Instant
}

// Grace says that every other member has promised not to declare this
// incarnation dead until then.
type Grace struct {
	Inc   ident.Incarnation
	Until ident.Instant
}

// Claim binds an incarnation: from its echo on the node may be given services,
// and its watchdogs are fed inside the lease only. It carries the first
// permission, the promise that the beats will publish and the first payload.
type Claim struct {
	Inc     ident.Incarnation
	Until   ident.Instant
	Params  Params
	Payload []byte
}

// Params is what an incarnation promises in its beats, and how it keeps it.
// Within an incarnation F and G of the lease and H change by a Promise only, the
// generation by Disks, and the rest not at all.
type Params struct {
	Lease     cluster.Lease
	H         time.Duration // period of the disk cycle
	PetPeriod time.Duration // period of the feeding loop
	DiskGen   uint32
}

// Stopping freezes the lease for good: the incarnation has until its end.
type Stopping struct{ Inc ident.Incarnation }

// Retire says that the incarnation holds nothing and never will again.
type Retire struct{ Inc ident.Incarnation }

// Kick asks for a cycle on every disk at once.
type Kick struct{}

// Reset asks the guard to end the node's life now: for a daemon that cannot
// stop what it must stop. Its echo is sent only if the reset was not obeyed.
type Reset struct{ Why string }

// Rekey asks the guard to read its key files again.
type Rekey struct{}

// Upgrade asks the guard to replace itself by the program at Path, keeping its
// process, its descriptors and its state. It is refused while a disk request is
// in flight. An empty path is the program's own file.
type Upgrade struct{ Path string }

// Disks names every quorum disk that the guard has open from now on, and by
// which sets of them the lease counts; a majority of each set is needed. A disk
// that counts in no set is beaten on all the same, so that it can count later
// without a pause. Gen is the generation that the beats carry from now on. It is
// refused, and nothing is changed, where the new sets would end the lease.
type Disks struct {
	Gen uint32
	Use []DiskUse
}

// DiskUse is one disk of a Disks order.
type DiskUse struct {
	UUID ident.UUID
	Path string // where to open it, if it is not open
	Sets uint8  // bit i: it counts in set i
}

// Promise changes, within a bound incarnation, what its beats promise: every
// beat from now on carries F and G, and the disk cycle has the period H. The
// guard lives by a lower value at once, by a higher one when its lease rests on
// beats that carry it. It is refused once the incarnation is stopping. The
// timeouts of the watchdogs never change while one is bound.
type Promise struct {
	Inc     ident.Incarnation
	F, G, H time.Duration
}

// Cut has every request to the quorum disks fail, unmade, for a time, as where the
// path to them is lost: a drill. It can only end the node's lease, never prolong it.
// A later one takes its place; zero ends it.
type Cut struct{ For time.Duration }

func (*Hello) order()      {}
func (*Payload) order()    {}
func (*Permission) order() {}
func (*Grace) order()      {}
func (*Claim) order()      {}
func (*Stopping) order()   {}
func (*Retire) order()     {}
func (*Kick) order()       {}
func (*Reset) order()      {}
func (*Rekey) order()      {}
func (*Upgrade) order()    {}
func (*Disks) order()      {}
func (*Promise) order()    {}
func (*Cut) order()        {}

// Kind returns KindHello.
func (*Hello) Kind() Kind { return KindHello }

// Kind returns KindPayload.
func (*Payload) Kind() Kind { return KindPayload }

// Kind returns KindPermission.
func (*Permission) Kind() Kind { return KindPermission }

// Kind returns KindGrace.
func (*Grace) Kind() Kind { return KindGrace }

// Kind returns KindClaim.
func (*Claim) Kind() Kind { return KindClaim }

// Kind returns KindStopping.
func (*Stopping) Kind() Kind { return KindStopping }

// Kind returns KindRetire.
func (*Retire) Kind() Kind { return KindRetire }

// Kind returns KindKick.
func (*Kick) Kind() Kind { return KindKick }

// Kind returns KindReset.
func (*Reset) Kind() Kind { return KindReset }

// Kind returns KindRekey.
func (*Rekey) Kind() Kind { return KindRekey }

// Kind returns KindUpgrade.
func (*Upgrade) Kind() Kind { return KindUpgrade }

// Kind returns KindDisks.
func (*Disks) Kind() Kind { return KindDisks }

// Kind returns KindPromise.
func (*Promise) Kind() Kind { return KindPromise }

// Kind returns KindCut.
func (*Cut) Kind() Kind { return KindCut }

func newOrder(k Kind) body {
	switch k {
	case KindHello:
		return &Hello{}
	case KindPayload:
		return &Payload{}
	case KindPermission:
		return &Permission{}
	case KindGrace:
		return &Grace{}
	case KindClaim:
		return &Claim{}
	case KindStopping:
		return &Stopping{}
	case KindRetire:
		return &Retire{}
	case KindKick:
		return &Kick{}
	case KindReset:
		return &Reset{}
	case KindRekey:
		return &Rekey{}
	case KindUpgrade:
		return &Upgrade{}
	case KindDisks:
		return &Disks{}
	case KindPromise:
		return &Promise{}
	case KindCut:
		return &Cut{}
	}
	return nil
}

// AppendOrder appends an order's packet to dst. It fails with ErrTooLong for a
// payload beyond MaxPayload.
func AppendOrder(dst []byte, conn, seq uint64, o Order) ([]byte, error) {
	var payload []byte
	switch o := o.(type) {
	case *Payload:
		payload = o.Bytes
	case *Claim:
		payload = o.Payload
	}
	if len(payload) > MaxPayload {
		return dst, ErrTooLong
	}
	return appendPacket(dst, conn, seq, o), nil
}

// DecodeOrder reads an order's packet. The order shares no memory with it.
func DecodeOrder(p []byte) (Header, Order, error) {
	h, m, err := decodePacket(p, newOrder)
	if err != nil {
		return h, nil, err
	}
	return h, m.(Order), nil
}

func (*Hello) encode(*writer) {}
func (*Hello) decode(*reader) {}
func (*Kick) encode(*writer)  {}
func (*Kick) decode(*reader)  {}
func (*Rekey) encode(*writer) {}
func (*Rekey) decode(*reader) {}

func (p *Payload) encode(w *writer) { w.bytes(p.Bytes) }
func (p *Payload) decode(r *reader) { p.Bytes = r.bytes(MaxPayload) }

func (p *Permission) encode(w *writer) { w.inc(p.Inc); w.instant(p.Until) }
func (p *Permission) decode(r *reader) { p.Inc, p.Until = r.inc(), r.instant() }

func (g *Grace) encode(w *writer) { w.inc(g.Inc); w.instant(g.Until) }
func (g *Grace) decode(r *reader) { g.Inc, g.Until = r.inc(), r.instant() }

func (p *Promise) encode(w *writer) { w.inc(p.Inc); w.span(p.F); w.span(p.G); w.span(p.H) }
func (p *Promise) decode(r *reader) { p.Inc, p.F, p.G, p.H = r.inc(), r.span(), r.span(), r.span() }

func (c *Cut) encode(w *writer) { w.span(c.For) }
func (c *Cut) decode(r *reader) { c.For = r.span() }

func (s *Stopping) encode(w *writer) { w.inc(s.Inc) }
func (s *Stopping) decode(r *reader) { s.Inc = r.inc() }

func (s *Retire) encode(w *writer) { w.inc(s.Inc) }
func (s *Retire) decode(r *reader) { s.Inc = r.inc() }

func (s *Reset) encode(w *writer) { w.text(s.Why) }
func (s *Reset) decode(r *reader) { s.Why = r.text() }

func (s *Upgrade) encode(w *writer) { w.text(s.Path) }
func (s *Upgrade) decode(r *reader) { s.Path = r.text() }

func (d *Disks) encode(w *writer) {
	w.u32(d.Gen)
	w.u16(uint16(len(d.Use)))
	for _, u := range d.Use {
		w.b = append(w.b, u.UUID[:]...)
		w.text(u.Path)
		w.u8(u.Sets)
	}
}

func (d *Disks) decode(r *reader) {
	d.Gen = r.u32()
	for range r.count() {
		d.Use = append(d.Use, DiskUse{UUID: r.uuid(), Path: r.text(), Sets: r.u8()})
	}
}

func (c *Claim) encode(w *writer) {
	w.inc(c.Inc)
	w.instant(c.Until)
	c.Params.encode(w)
	w.bytes(c.Payload)
}

func (c *Claim) decode(r *reader) {
	c.Inc, c.Until = r.inc(), r.instant()
	c.Params.decode(r)
	c.Payload = r.bytes(MaxPayload)
}

func (p *Params) encode(w *writer) {
	w.span(p.Lease.F)
	w.span(p.Lease.G)
	w.span(p.Lease.TMax)
	w.u8(p.Lease.M)
	w.u8(uint8(p.Lease.Class))
	w.span(p.Lease.PauseBound)
	w.span(p.H)
	w.span(p.PetPeriod)
	w.u32(p.DiskGen)
}

func (p *Params) decode(r *reader) {
	p.Lease.F, p.Lease.G, p.Lease.TMax = r.span(), r.span(), r.span()
	p.Lease.M = r.u8()
	p.Lease.Class = cluster.WatchdogClass(r.most(uint8(cluster.WatchdogSoftAccepted)))
	p.Lease.PauseBound, p.H, p.PetPeriod = r.span(), r.span(), r.span()
	p.DiskGen = r.u32()
}
