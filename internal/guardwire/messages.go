package guardwire

import (
	"errors"
	"time"

	"github.com/holdfast-ha/holdfast/cluster"
	"github.com/holdfast-ha/holdfast/cluster/ident"
	"github.com/holdfast-ha/holdfast/cluster/lease"
)

// Message is what the guard tells the daemon: a Snapshot, an Echo, a Table or a
// Notice.
type Message interface {
	body
	message()
}

// Snapshot is everything that a daemon, perhaps a restarted one, has to know of
// its guard. It answers a Hello.
type Snapshot struct {
	Now       ident.Instant
	Lease     lease.View // what is bound, and for how long it is good
	Params    Params     // of the bound incarnation; zero if FREE
	Payload   []byte     // what the beat carries now
	Seq       uint64     // sequence number of the order that set Payload, in its connection
	Killed    Killed
	Boot      ident.BootID
	Host      ident.UUID
	Emulated  bool
	Holder    Holder
	RealTime  string // what the guard was refused: locked memory, scheduling; empty if nothing
	Watchdogs []Watchdog
	Disks     []Disk
}

// Killed says which kill record the guard obeys; Ver is zero if none.
type Killed struct {
	Ver uint64        // the register version that chose it
	At  ident.Instant // when it was read
}

// Holder says who else holds the watchdogs' descriptors, so that the guard's
// death does not close them: that would feed them once more.
type Holder uint8

// Nobody: one more watchdog period may follow the deadline.
const (
	NoHolder      Holder = iota
	SystemdHolder        // the service manager's descriptor store
	ProcessHolder        // a holder process
)

// String is the word that status shows.
func (h Holder) String() string {
	names := [...]string{"none", "systemd", "process"}
	if int(h) < len(names) {
		return names[h]
	}
	return "unknown"
}

// Watchdog is one device that the guard has armed and feeds.
type Watchdog struct {
	Path     string
	Identity string // of the driver
	Driver   string
	Timeout  time.Duration // as read back from the driver
	TMax     time.Duration // longest time from the last pet to the reset: as qualified, else derived from Timeout
	Class    cluster.WatchdogClass
	Software bool
	Emulated bool
	Why      string // why it is not qualified; empty if it is
}

// Disk is one quorum disk as the guard sees it.
type Disk struct {
	Path string
	UUID ident.UUID
	Open bool
	Err  string        // the last failure, empty if the last cycle was good
	Last ident.Instant // completion of the last good read; LongAgo if none
}

// Echo answers every order but Hello: obeyed, or refused and why.
type Echo struct {
	Seq   uint64 // of the order, from the packet header
	Order Kind
	OK    bool
	Err   string
}

// Failed is nil where the order was obeyed, or says why it was not.
func (e *Echo) Failed() error {
	switch {
	case e.OK:
		return nil
	case e.Err == "":
		return errors.New("refused")
	}
	return errors.New(e.Err)
}

// Table is one cycle on one disk: what was written, and the beat table that was
// read after that. The client puts the parts together; Bytes is then the whole
// table, and the caller's to keep.
type Table struct {
	Disk         int               // the guard's number of the disk; it stays with the disk
	UUID         ident.UUID        // which one it has to be
	Wrote        bool              // a beat was written, and completed, before the read
	Inc          ident.Incarnation // of that beat
	Issued       ident.Instant     // stamp of the beat, taken before the write
	ReadIssued   ident.Instant     // taken before the read of the table, or before the first request since the last answer
	Completed    ident.Instant     // taken after it; with Err, when the request of ReadIssued failed, if the disk answered
	SuperblockOK bool              // the superblock is the one seen at the opening: else nothing of this counts
	Err          string            // why there is no table; Bytes is empty then
	Bytes        []byte            // superblock, then beats
	cycle        uint64            // tells the parts of one table from those of another
	total        uint32            // bytes in all parts
	offset       uint32            // of this part
}

// Notice says that something happened that the daemon may want to act on.
type Notice struct {
	What NoticeKind
	At   ident.Instant
	Node ident.NodeID // who caused it; zero if unknown
	Text string       // for people
}

// NoticeKind is what a Notice is about.
type NoticeKind uint8

// The happenings.
const (
	NoticeKilled   NoticeKind = iota + 1 // a kill record names this incarnation: stop everything, the reset comes when the lease ends
	NoticeLeave                          // SIGTERM, or mail: the node is asked to leave the cluster
	NoticeMail                           // mail was read and not obeyed
	NoticeRefused                        // the watchdogs starve since At
	NoticeRevived                        // they are fed again
	NoticeWatchdog                       // a watchdog could not be fed
	NoticeDisk                           // a disk's superblock changed, or it cannot be opened
	lastNotice     = NoticeDisk
)

// String is the word used in logs.
func (k NoticeKind) String() string {
	names := [...]string{"", "killed", "leave", "mail", "refused", "revived", "watchdog", "disk"}
	if k > 0 && int(k) < len(names) {
		return names[k]
	}
	return "unknown"
}

func (*Snapshot) message() {}
func (*Echo) message()     {}
func (*Table) message()    {}
func (*Notice) message()   {}

// Kind returns KindSnapshot.
func (*Snapshot) Kind() Kind { return KindSnapshot }

// Kind returns KindEcho.
func (*Echo) Kind() Kind { return KindEcho }

// Kind returns KindTable.
func (*Table) Kind() Kind { return KindTable }

// Kind returns KindNotice.
func (*Notice) Kind() Kind { return KindNotice }

func newMessage(k Kind) body {
	switch k {
	case KindSnapshot:
		return &Snapshot{}
	case KindEcho:
		return &Echo{}
	case KindTable:
		return &Table{}
	case KindNotice:
		return &Notice{}
	}
	return nil
}

// AppendMessage appends a message's packet to dst. Of a Table it appends the
// part that begins at offset; see TablePart.
func AppendMessage(dst []byte, conn, seq uint64, m Message) []byte {
	return appendPacket(dst, conn, seq, m)
}

// DecodeMessage reads a message's packet. The message shares no memory with it.
func DecodeMessage(p []byte) (Header, Message, error) {
	h, m, err := decodePacket(p, newMessage)
	if err != nil {
		return h, nil, err
	}
	return h, m.(Message), nil
}

func (e *Echo) encode(w *writer) { w.u8(uint8(e.Order)); w.truth(e.OK); w.text(e.Err) }
func (e *Echo) decode(r *reader) { e.Order, e.OK, e.Err = Kind(r.u8()), r.truth(), r.text() }

func (n *Notice) encode(w *writer) {
	w.u8(uint8(n.What))
	w.instant(n.At)
	w.u8(uint8(n.Node))
	w.text(n.Text)
}

func (n *Notice) decode(r *reader) {
	n.What = NoticeKind(r.most(uint8(lastNotice)))
	n.At, n.Node, n.Text = r.instant(), ident.NodeID(r.u8()), r.text()
	if n.What == 0 && r.err == nil {
		r.err = ErrValue
	}
}

// encode writes one part of the table: the bytes from offset, MaxChunk at most.
func (t *Table) encode(w *writer) {
	w.u8(uint8(t.Disk))
	w.b = append(w.b, t.UUID[:]...)
	w.truth(t.Wrote)
	w.inc(t.Inc)
	w.instant(t.Issued)
	w.instant(t.ReadIssued)
	w.instant(t.Completed)
	w.truth(t.SuperblockOK)
	w.text(t.Err)
	w.u64(t.cycle)
	w.u32(uint32(len(t.Bytes)))
	w.u32(t.offset)
	w.bytes(t.part())
}

// part is the slice of Bytes that the packet at offset carries.
func (t *Table) part() []byte {
	return t.Bytes[t.offset:min(len(t.Bytes), int(t.offset)+MaxChunk)]
}

func (t *Table) decode(r *reader) {
	t.Disk, t.UUID = int(r.u8()), r.uuid()
	t.Wrote, t.Inc = r.truth(), r.inc()
	t.Issued, t.ReadIssued, t.Completed = r.instant(), r.instant(), r.instant()
	t.SuperblockOK, t.Err = r.truth(), r.text()
	t.cycle, t.total, t.offset = r.u64(), r.u32(), r.u32()
	t.Bytes = r.bytes(MaxChunk)
	whole := uint64(t.offset)+uint64(len(t.Bytes)) <= uint64(t.total)
	if r.err == nil && (!whole || t.total > MaxTable || (len(t.Bytes) == 0 && t.total > 0)) {
		r.err = ErrValue
	}
}

func (s *Snapshot) encode(w *writer) {
	w.instant(s.Now)
	encodeView(w, s.Lease)
	s.Params.encode(w)
	w.bytes(s.Payload)
	w.u64(s.Seq)
	w.u64(s.Killed.Ver)
	w.instant(s.Killed.At)
	w.b = append(w.b, s.Boot[:]...)
	w.b = append(w.b, s.Host[:]...)
	w.truth(s.Emulated)
	w.u8(uint8(s.Holder))
	w.text(s.RealTime)
	w.u16(uint16(len(s.Watchdogs)))
	for i := range s.Watchdogs {
		s.Watchdogs[i].encode(w)
	}
	w.u16(uint16(len(s.Disks)))
	for i := range s.Disks {
		s.Disks[i].encode(w)
	}
}

func (s *Snapshot) decode(r *reader) {
	s.Now = r.instant()
	s.Lease = decodeView(r)
	s.Params.decode(r)
	s.Payload, s.Seq = r.bytes(MaxPayload), r.u64()
	s.Killed = Killed{Ver: r.u64(), At: r.instant()}
	s.Boot, s.Host = ident.BootID(r.uuid()), r.uuid()
	s.Emulated, s.Holder, s.RealTime = r.truth(), Holder(r.most(uint8(ProcessHolder))), r.text()
	for range r.count() {
		var d Watchdog
		d.decode(r)
		s.Watchdogs = append(s.Watchdogs, d)
	}
	for range r.count() {
		var d Disk
		d.decode(r)
		s.Disks = append(s.Disks, d)
	}
}

func encodeView(w *writer, v lease.View) {
	w.u8(uint8(v.State))
	w.inc(v.Inc)
	w.span(v.Params.F)
	w.span(v.Params.G)
	w.span(v.Carry.New.F)
	w.span(v.Carry.New.G)
	w.instant(v.Carry.Since)
	w.instant(v.Start)
	w.instant(v.Permission)
	w.instant(v.Grace)
	w.truth(v.Frozen)
	w.truth(v.Killed)
}

func decodeView(r *reader) lease.View {
	v := lease.View{
		State: lease.State(r.most(uint8(lease.Bound))), Inc: r.inc(),
		Params: lease.Params{F: r.span(), G: r.span()},
		Carry:  lease.Carry{New: lease.Params{F: r.span(), G: r.span()}, Since: r.instant()},
		Start:  r.instant(), Permission: r.instant(), Grace: r.instant(),
		Frozen: r.truth(), Killed: r.truth(),
	}
	v.Carry.Used = v.Params
	return v
}

func (d *Watchdog) encode(w *writer) {
	w.text(d.Path)
	w.text(d.Identity)
	w.text(d.Driver)
	w.span(d.Timeout)
	w.span(d.TMax)
	w.u8(uint8(d.Class))
	w.truth(d.Software)
	w.truth(d.Emulated)
	w.text(d.Why)
}

func (d *Watchdog) decode(r *reader) {
	d.Path, d.Identity, d.Driver = r.text(), r.text(), r.text()
	d.Timeout, d.TMax = r.span(), r.span()
	d.Class = cluster.WatchdogClass(r.most(uint8(cluster.WatchdogSoftAccepted)))
	d.Software, d.Emulated, d.Why = r.truth(), r.truth(), r.text()
}

func (d *Disk) encode(w *writer) {
	w.text(d.Path)
	w.b = append(w.b, d.UUID[:]...)
	w.truth(d.Open)
	w.text(d.Err)
	w.instant(d.Last)
}

func (d *Disk) decode(r *reader) {
	d.Path, d.UUID, d.Open, d.Err, d.Last = r.text(), r.uuid(), r.truth(), r.text(), r.instant()
}
