package guard

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/holdfast-ha/holdfast/cluster"
	"github.com/holdfast-ha/holdfast/cluster/ident"
	"github.com/holdfast-ha/holdfast/cluster/lease"
	"github.com/holdfast-ha/holdfast/internal/guard/mark"
	"github.com/holdfast-ha/holdfast/internal/guardwire"
	"github.com/holdfast-ha/holdfast/quorumdisk"
)

// Why an order is refused by what the guard itself knows; the lease has reasons
// of its own.
var (
	errDead     = errors.New("this node is being reset")
	errForeign  = errors.New("the incarnation belongs to another boot")
	errNoDog    = errors.New("no watchdog is fed: nothing would end this node, so its beat must not promise that")
	errPeriods  = errors.New("the promise counts fewer watchdog periods than these devices and their holder need")
	errTMax     = errors.New("the promise is shorter than the timeout of the shortest watchdog")
	errPause    = errors.New("the promise leaves out how long a hypervisor may stop this node (pause_bound)")
	errCadence  = errors.New("the periods of the disk cycle or of the feeding are missing, or too long for the lease or the watchdogs")
	errUpgrade  = errors.New("this guard cannot replace itself")
	errIdentity = errors.New("not the device that was formatted, but perhaps a clone or a snapshot of it")
)

// Obey carries out one order.
func (g *Guard) Obey(seq uint64, o guardwire.Order) error {
	g.orders.Lock()
	defer g.orders.Unlock()
	err := g.obey(seq, o)
	if err != nil {
		g.deps.Log.Warn().Err(err).Stringer("order", o.Kind()).Msg("refused an order")
	}
	return err
}

// Hear logs how a connection ended.
func (g *Guard) Hear(conn uint64, err error) {
	g.deps.Log.Info().Err(err).Uint64("connection", conn).Msg("the daemon's connection has ended")
}

// listen makes the socket. Its connections are numbered from a random number on,
// so that an order for a dead guard means nothing to its successor.
func (g *Guard) listen() (*guardwire.Listener, error) {
	var first [8]byte
	_, _ = rand.Read(first[:]) // never fails
	return guardwire.Listen(filepath.Join(g.deps.Run, socketFile), binary.BigEndian.Uint64(first[:]))
}

func (g *Guard) obey(seq uint64, o guardwire.Order) error {
	if g.dead.Load() || g.ending.Load() {
		return errDead
	}
	switch o := o.(type) {
	case *guardwire.Payload:
		g.state.setPayload(o.Bytes, seq)
	case *guardwire.Permission:
		return g.state.with(func(l *lease.Lease) error { return l.Permit(o.Inc, o.Until) })
	case *guardwire.Grace:
		return g.state.with(func(l *lease.Lease) error { return l.Grace(o.Inc, o.Until) })
	case *guardwire.Claim:
		return g.claim(seq, o)
	case *guardwire.Stopping:
		defer g.kick()
		return g.state.with(func(l *lease.Lease) error { return l.Stopping(o.Inc) })
	case *guardwire.Retire:
		return g.retire(o)
	case *guardwire.Kick:
		g.kick()
	case *guardwire.Reset:
		g.dieSaying("the daemon asked for it: "+o.Why, nil)
		return errors.New("the reset was not obeyed; the watchdogs are left to bite")
	case *guardwire.Rekey:
		return g.rekeyAll()
	case *guardwire.Disks:
		return g.useDisks(o)
	case *guardwire.Promise:
		return g.promise(o)
	case *guardwire.Cut:
		return g.cut.Begin(g.deps.Platform, o.For)
	case *guardwire.Upgrade:
		return g.upgrade(o.Path)
	}
	return nil
}

// claim leaves the mark first: a guard that dies between the two is followed by
// one that resets the node, which is too careful but never wrong.
func (g *Guard) claim(seq uint64, o *guardwire.Claim) error {
	if !g.state.bound().IsZero() {
		return lease.ErrBound
	}
	if why := g.toldOff(); why != "" {
		return errors.New(why)
	}
	if err := g.checkPromise(o.Inc, &o.Params); err != nil {
		return err
	}
	if err := mark.Write(g.deps.Run, o.Inc); err != nil {
		return err
	}
	now, err := g.now()
	if err == nil {
		err = g.state.claim(now, o, seq)
	}
	if err != nil {
		return errors.Join(err, mark.Remove(g.deps.Run))
	}
	g.kick()
	return nil
}

// checkPromise refuses a promise that the devices do not keep. Whole watchdog
// periods that may follow the lease's end: one with two devices fed in turn, two
// with one; and one more if nobody else holds the descriptors, for the kernel
// feeds a watchdog once when the last of them is closed.
func (g *Guard) checkPromise(inc ident.Incarnation, p *guardwire.Params) error {
	if inc.Boot != g.id.Boot {
		return errForeign
	}
	if p.H <= 0 || p.H > p.Lease.F || p.PetPeriod <= 0 {
		return errCadence
	}
	if p.Lease.PauseBound < g.deps.Pause {
		return errPause
	}
	if p.Lease.Class == cluster.WatchdogNone {
		return nil
	}
	if len(g.armed.Dogs) == 0 {
		return errNoDog
	}
	least := time.Duration(1<<63 - 1)
	for _, d := range g.armed.Dogs {
		least = min(least, d.Info().Timeout)
	}
	periods := uint8(1)
	if len(g.armed.Dogs) == 1 {
		periods++
	}
	if g.armed.Holder == guardwire.NoHolder {
		periods++
	}
	switch {
	case p.PetPeriod > least/4:
		return errCadence
	case p.Lease.M < periods:
		return fmt.Errorf("%w: it says %d, they need %d", errPeriods, p.Lease.M, periods)
	case p.Lease.TMax < least:
		return errTMax
	}
	return nil
}

// promise changes what the beats say; what the devices keep stays as it was.
func (g *Guard) promise(o *guardwire.Promise) error {
	if g.state.bound().IsZero() {
		return lease.ErrFree
	}
	defer g.kick() // the new promise counts once beats carry it
	return g.state.change(o, g.now, g.checkPromise)
}

func (g *Guard) retire(o *guardwire.Retire) error {
	if err := g.state.retire(o.Inc); err != nil {
		return err
	}
	g.kick()
	return mark.Remove(g.deps.Run)
}

// keysWithin bounds the reading of the key files: the permission is an order too,
// and must not wait behind a file system that hangs.
const keysWithin = 2 * time.Second

// rekeyAll gives every worker a codec of the keys that are in the files now, or none
// of them.
func (g *Guard) rekeyAll() error {
	var workers []*worker
	g.each(func(w *worker) { workers = append(workers, w) })
	codecs, err := g.readKeys(len(workers))
	if err != nil {
		return err
	}
	for i, w := range workers {
		w.rekey.Store(codecs[i])
	}
	return nil
}

// readKeys makes n codecs of the keys that are in the files now.
func (g *Guard) readKeys(n int) ([]*quorumdisk.Codec, error) {
	if !g.reading.CompareAndSwap(false, true) {
		return nil, errors.New("the key files are still being read for an earlier order: their file system does not answer")
	}
	codecs, ended := make([]*quorumdisk.Codec, n), make(chan error, 1)
	go func() { // ends when the file system answers
		defer g.reading.Store(false)
		var err error
		for i := range codecs {
			if err == nil {
				codecs[i], err = g.deps.Codec()
			}
		}
		ended <- err
	}()
	limit := time.NewTimer(keysWithin)
	defer limit.Stop()
	select {
	case err := <-ended:
		return codecs, err
	case <-limit.C:
		return nil, fmt.Errorf("the key files were not read within %s: their file system does not answer; the keys stay as they are", keysWithin)
	}
}

// Snapshot is everything that a daemon has to know.
func (g *Guard) Snapshot() (*guardwire.Snapshot, error) {
	now, err := g.now()
	if err != nil {
		return nil, err
	}
	s := g.state.snapshot()
	s.Now, s.Boot, s.Emulated = now, g.id.Boot, g.id.Emulated
	s.Holder, s.Watchdogs, s.RealTime = g.armed.Holder, g.armed.Infos, g.deps.RealTime
	g.each(func(w *worker) { s.Disks = append(s.Disks, w.snapshot()) })
	return s, nil
}
