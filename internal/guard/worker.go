package guard

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/holdfast-ha/holdfast/cluster/ident"
	"github.com/holdfast-ha/holdfast/internal/guard/mailbox"
	"github.com/holdfast-ha/holdfast/internal/guardwire"
	"github.com/holdfast-ha/holdfast/quorumdisk"
	"github.com/holdfast-ha/holdfast/storage"
)

// reopenAfter is how many requests in a row may fail before the path is opened
// again: the device behind it may have gone and come back under another name.
const reopenAfter = 3

// worker cycles one quorum disk: write the beat, read the table, read the mail;
// and once between two beats it reads the table only.
type worker struct {
	g      *Guard
	index  int
	port   DiskPort
	end    ending
	kick   chan struct{}
	looked chan struct{} // closed when this node's slot was read for the first time
	seen   bool          // looked is closed
	rekey  atomic.Pointer[quorumdisk.Codec]
	disk   storage.Disk // nil: not open
	failed int          // requests in a row
	on     medium
	mail   mail
	off    atomic.Bool // the mailbox tells this node to stay off

	mu     sync.Mutex
	status guardwire.Disk // under mu
}

// ending is the end of a worker whose disk counts no more.
type ending struct {
	stop context.CancelFunc
	gone atomic.Bool // it has ended, and nothing of it is in flight
	said bool        // the last word was attempted
}

// medium is what the worker needs to read and write the disk, made once.
type medium struct {
	codec   *quorumdisk.Codec
	super   quorumdisk.Superblock
	table   []byte // superblock and beats
	sector  []byte
	payload []byte
	beat    quorumdisk.BeatHeader
	report  guardwire.Table
	stuck   ident.Instant // issue of the request that did not answer in time; 0: every one did
}

func newWorker(g *Guard, index int, port DiskPort) (*worker, error) {
	codec, err := g.deps.Codec()
	if err != nil {
		return nil, err
	}
	l := codec.Layout()
	if !l.Has(g.deps.Node) {
		return nil, fmt.Errorf("node %d has no slot on a disk for %d nodes", g.deps.Node, l.Nmax)
	}
	return &worker{
		g: g, index: index, port: port,
		kick: make(chan struct{}, 1), looked: make(chan struct{}),
		status: guardwire.Disk{Path: port.Path, UUID: port.UUID, Last: ident.LongAgo},
		mail:   mail{box: mailbox.New(g.deps.Mail.Name, port.Open)},
		on: medium{
			codec: codec, table: make([]byte, l.TableSize()),
			sector: make([]byte, l.SectorSize), payload: make([]byte, quorumdisk.MaxPayload),
		},
	}, nil
}

func (w *worker) run(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	whole := true
	for {
		select {
		case <-ctx.Done():
			return
		case <-w.kick:
			whole = true
		case <-timer.C:
		}
		begun, _ := w.g.now()
		err := w.turn(whole)
		ended, _ := w.g.now()
		period, _ := w.g.state.pace()
		// Only the waiting is done by this time; nothing is decided by it.
		if whole = !whole; err != nil {
			whole, period = true, period/2
		}
		timer.Reset(max(period/2-ended.Sub(begun), 0))
	}
}

// turn does one cycle, whole or reading only, unless the node is dead or about
// to be handed over.
func (w *worker) turn(whole bool) error {
	w.g.cycles.RLock()
	defer w.g.cycles.RUnlock()
	if w.g.dead.Load() {
		if w.g.saying.Load() {
			w.sayDying()
		}
		return nil
	}
	if w.g.ending.Load() {
		return nil
	}
	if c := w.rekey.Swap(nil); c != nil {
		w.on.codec = c
	}
	w.on.report = guardwire.Table{Disk: w.index, UUID: w.port.UUID}
	err := w.cycle(whole)
	w.lasted(err)
	w.account(err)
	if err != nil {
		w.on.report.Err, w.on.report.Bytes = err.Error(), nil
	}
	w.g.server.Offer(&w.on.report)
	if err == nil && whole {
		err = w.readMail()
	}
	return err
}

func (w *worker) cycle(whole bool) error {
	if err := w.g.cut.Check(w.g.deps.Platform); err != nil {
		return err
	}
	if w.disk == nil {
		if err := w.open(); err != nil {
			return err
		}
	}
	r := &w.on.report
	if whole {
		if err := w.writeBeat(r); err != nil {
			return err
		}
	}
	var err error
	if r.ReadIssued, err = w.g.now(); err != nil {
		return err
	}
	_, patience := w.g.state.pace()
	if err = w.disk.Read(w.on.table, quorumdisk.SuperOffset, patience); err != nil {
		return err
	}
	if r.Completed, err = w.g.now(); err != nil {
		return err
	}
	l := w.on.codec.Layout()
	r.Bytes = w.on.table
	if err := w.on.codec.StillThere(w.on.table[:l.SectorSize], &w.on.super); err != nil {
		return fmt.Errorf("the superblock is not what it was: %w", err)
	}
	r.SuperblockOK = true
	w.observe(r)
	if !whole || r.Wrote {
		return nil
	}
	return w.resealOwn()
}

// resealOwn seals what a former life has left in this node's slot anew, after an
// exchange of keys: nobody could read it once the old key is forgotten. Where a life
// is bound it is its beats that speak, and if they have ended so must every change.
func (w *worker) resealOwn() error {
	l, node := w.on.codec.Layout(), w.g.deps.Node
	own := l.Beat(w.on.table, node)
	at := quorumdisk.Place{Purpose: quorumdisk.ForBeat, Node: node, Off: l.BeatOffset(node)}
	if !w.g.state.bound().IsZero() || w.g.dead.Load() || w.on.codec.SealedWith(own, at) != quorumdisk.SealedByPrevious {
		return nil
	}
	copy(w.on.sector, own)
	w.on.codec.Reseal(w.on.sector, at)
	_, patience := w.g.state.pace()
	return w.disk.Write(w.on.sector, at.Off, patience)
}

// writeBeat writes what the state has to say to this disk, if anything. The
// stamp is taken before anything of it is done.
func (w *worker) writeBeat(r *guardwire.Table) error {
	issued, err := w.g.now()
	if err != nil {
		return err
	}
	n, ok := w.g.state.beat(w.index, issued, &w.on.beat, w.on.payload)
	if !ok {
		return nil
	}
	if err := w.on.codec.SealBeat(w.on.sector, &w.on.beat, w.on.payload[:n]); err != nil {
		return err
	}
	_, patience := w.g.state.pace()
	at := w.on.codec.Layout().BeatOffset(w.g.deps.Node)
	if w.g.dead.Load() {
		return errDead
	}
	if err := w.disk.Write(w.on.sector, at, patience); err != nil {
		r.ReadIssued = issued // there was no read: see lasted
		return err
	}
	r.Wrote, r.Inc, r.Issued = true, w.on.beat.Inc, issued
	return nil
}

// lasted completes what the report says of how long the disk took to answer, for
// whoever waits for the last writes of others. A request that failed has been answered,
// too. One that is not answered in time has not, nor has what is refused while it is in
// flight; the first answer after it, which then counts as issued no later, ends both.
func (w *worker) lasted(err error) {
	r := &w.on.report
	switch {
	case errors.Is(err, storage.ErrTimeout), errors.Is(err, storage.ErrBusy):
		if w.on.stuck == 0 {
			w.on.stuck = r.ReadIssued
		}
		r.ReadIssued = 0
		return
	case err != nil && r.ReadIssued != 0:
		r.Completed, _ = w.g.now() // without a clock it says nothing
	}
	if w.on.stuck != 0 && r.ReadIssued != 0 {
		r.ReadIssued, w.on.stuck = w.on.stuck, 0
	}
}

// observe draws the conclusions from a table that counts.
func (w *worker) observe(r *guardwire.Table) {
	if r.Wrote {
		w.g.state.completed(w.index, &w.on.beat, r.Completed.Sub(r.Issued))
	}
	if !w.seen {
		w.lookAtOwn()
	}
	inc := w.g.state.bound()
	if inc.IsZero() {
		return
	}
	if k, found := w.on.codec.FindKill(w.on.table, w.g.deps.Node, inc); found {
		w.obeyKill(inc, k.Ver, r.Completed)
	}
}

func (w *worker) obeyKill(inc ident.Incarnation, ver uint64, at ident.Instant) {
	if !w.g.state.kill(inc, guardwire.Killed{Ver: ver, At: at}) {
		return
	}
	w.g.note(guardwire.NoticeKilled, 0, "a kill record names this incarnation: it has until its lease ends")
	w.g.kick()
}

// lookAtOwn reads what this node's slot said before this guard wrote there. A
// sector that does not decode says nothing.
func (w *worker) lookAtOwn() {
	h, err := w.on.codec.PeekOwn(w.on.codec.Layout().Beat(w.on.table, w.g.deps.Node), w.g.deps.Node)
	if err != nil {
		w.g.note(guardwire.NoticeDisk, 0, err.Error())
	}
	bound := err == nil && w.g.state.look(w.g.id.Boot, h)
	w.seen = true
	close(w.looked)
	if bound && w.g.settled.Load() {
		w.g.die("this boot has a bound incarnation on the quorum disk, and its guard is gone")
	}
}

// open opens the disk and refuses what is not the disk it has to be.
func (w *worker) open() error {
	d, err := w.port.Open(w.on.codec.Layout().SectorSize)
	if err != nil {
		return err
	}
	if err := w.verify(d); err != nil {
		return errors.Join(err, d.Close())
	}
	w.disk = d
	return nil
}

func (w *worker) verify(d storage.Disk) error {
	_, patience := w.g.state.pace()
	sector, l := w.on.sector, w.on.codec.Layout()
	if err := d.Read(sector, quorumdisk.SuperOffset, patience); err != nil {
		return err
	}
	s, err := quorumdisk.DecodeSuperblock(sector, 0)
	if err != nil {
		return err
	}
	if err := w.on.codec.VerifySuperblock(sector, &s, 0); err != nil {
		return err
	}
	if err := s.OfEpoch(w.port.Epoch); err != nil {
		return fmt.Errorf("%s: %w", w.port.Path, err)
	}
	switch {
	case s.Disk != w.port.UUID:
		return fmt.Errorf("%s is quorum disk %v, not %v: %w", w.port.Path, s.Disk, w.port.UUID, quorumdisk.ErrWrongDisk)
	case s.Layout != l:
		return fmt.Errorf("%s has sectors of %d bytes and %d slots, not %d and %d: %w",
			w.port.Path, s.Layout.SectorSize, s.Layout.Nmax, l.SectorSize, l.Nmax, quorumdisk.ErrWrongDisk)
	case s.Identity != quorumdisk.Recorded(d.Info().Identity):
		return fmt.Errorf("%s: it is %v, formatted was %v: %w", w.port.Path, d.Info().Identity, s.Identity, errIdentity)
	}
	w.on.super = s
	return nil
}

// account keeps the disk's status and gives up a handle that only fails. A handle
// with a request in flight is kept: what it wrote may still land, and the kernel
// may still write to its memory.
func (w *worker) account(err error) {
	w.mu.Lock()
	was := w.status.Err
	w.status.Open, w.status.Err = w.disk != nil, ""
	if err != nil {
		w.status.Err = err.Error()
	} else {
		w.status.Last = w.on.report.Completed
	}
	now := w.status.Err
	w.mu.Unlock()
	if now != was && (now == "" || was == "") {
		w.g.note(guardwire.NoticeDisk, 0, w.port.Path+": "+statusWord(now))
	}
	if w.failed++; err == nil {
		w.failed = 0
	}
	if w.failed >= reopenAfter && w.disk != nil && w.mail.box.Forget() == nil && w.disk.Close() == nil {
		w.disk, w.failed = nil, 0
	}
}

func statusWord(err string) string {
	if err == "" {
		return "it works"
	}
	return err
}

func (w *worker) snapshot() guardwire.Disk {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.status
}
