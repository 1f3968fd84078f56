package guard

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/holdfast-ha/holdfast/cluster"
	"github.com/holdfast-ha/holdfast/cluster/ident"
	"github.com/holdfast-ha/holdfast/cluster/lease"
	"github.com/holdfast-ha/holdfast/internal/clock"
	"github.com/holdfast-ha/holdfast/internal/guard/arming"
	"github.com/holdfast-ha/holdfast/internal/guard/handover"
	"github.com/holdfast-ha/holdfast/internal/guard/mark"
	"github.com/holdfast-ha/holdfast/internal/guardwire"
	"github.com/holdfast-ha/holdfast/quorumdisk"
	"github.com/holdfast-ha/holdfast/storage/storagetest"
)

// patience is how long a test waits for what must happen.
const patience = 20 * time.Second

// waitFor polls until done, or fails saying what it waited for.
func waitFor(t testing.TB, what string, done func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !done(); <-time.After(2 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited %v for: %s", patience, what)
		}
	}
}

// running is a guard with all its tasks, on the machine's own clock.
type running struct {
	*rig
	ended chan error
}

func (r *rig) run() *running {
	r.t.Helper()
	real, err := clock.NewInterval()
	must(r.t, err)
	r.p.real = real
	r.g, err = New(r.deps)
	must(r.t, err)
	ctx, cancel := context.WithCancel(context.Background())
	x := &running{rig: r, ended: make(chan error, 1)}
	done := make(chan struct{})
	go func() {
		defer close(done)
		x.ended <- r.g.Run(ctx)
	}()
	r.t.Cleanup(func() {
		cancel()
		<-done
	})
	return x
}

func (x *running) socket() string { return filepath.Join(x.deps.Run, socketFile) }

func (x *running) dial() *guardwire.Client {
	x.t.Helper()
	waitFor(x.t, "the guard's socket", func() bool { _, err := os.Stat(x.socket()); return err == nil })
	c, err := guardwire.Dial(x.socket())
	must(x.t, err)
	x.t.Cleanup(func() { _ = c.Close() })
	return c
}

// order sends an order and waits for its echo.
func (x *running) order(c *guardwire.Client, o guardwire.Order) *guardwire.Echo {
	x.t.Helper()
	seq, err := c.Send(o)
	must(x.t, err)
	for {
		m, err := c.Receive()
		must(x.t, err)
		if e, ok := m.(*guardwire.Echo); ok && e.Seq == seq {
			return e
		}
	}
}

func (x *running) obeyed(c *guardwire.Client, o guardwire.Order) {
	x.t.Helper()
	if e := x.order(c, o); !e.OK {
		x.t.Fatalf("%s was refused: %s", o.Kind(), e.Err)
	}
}

func (x *running) mark() bool {
	_, err := os.Stat(filepath.Join(x.deps.Run, mark.File))
	return err == nil
}

func TestLifeOfAnIncarnation(t *testing.T) {
	x := newRig(t).run()
	c := x.dial()
	if s := c.Snapshot(); s.Lease.State != lease.Free || s.Boot != thisBoot || len(s.Disks) != 3 || s.Holder != guardwire.ProcessHolder {
		t.Errorf("snapshot %+v", s)
	}
	waitFor(t, "free feeding", func() bool { return x.hard.count() > 0 })
	x.obeyed(c, x.claimOrder())
	if !x.mark() {
		t.Error("no mark was left before the claim was obeyed")
	}
	waitFor(t, "a table of a cycle that wrote the beat", func() bool {
		m, err := c.Receive()
		must(t, err)
		table, ok := m.(*guardwire.Table)
		if !ok || !table.Wrote {
			return false
		}
		own := layout.Beat(table.Bytes, self)
		b, err := x.codec.OpenBeat(own, self)
		if err != nil || b.Inc != k7 || table.Inc != k7 || ident.Instant(b.Seq) != table.Issued ||
			table.Issued > table.ReadIssued || table.ReadIssued > table.Completed || !table.SuperblockOK {
			t.Errorf("beat %+v, %v in table %+v", b, err, table)
		}
		return true
	})
	before := x.hard.count()
	waitFor(t, "bound feeding", func() bool { return x.hard.count() > before })
	x.obeyed(c, &guardwire.Payload{Bytes: x.claimOrder().Payload})
	x.obeyed(c, &guardwire.Retire{Inc: k7})
	if x.mark() {
		t.Error("the mark outlived the incarnation")
	}
	for d := range 3 {
		waitFor(t, "the last word on every disk", func() bool { return x.beat(d).State == cluster.GuardRetired })
	}
	if e := x.order(c, x.claimOrder()); e.OK {
		t.Error("a retired incarnation was claimed again")
	}
	if x.mark() {
		t.Error("a refused claim left a mark")
	}
	x.signal <- syscall.SIGTERM
	if err := <-x.ended; err != nil || !x.soft.disarmed() || !x.hard.disarmed() {
		t.Errorf("ended with %v, disarmed %v and %v", err, x.soft.disarmed(), x.hard.disarmed())
	}
}

func TestRefusedClaims(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*guardwire.Claim)
		holder guardwire.Holder
		want   string
	}{
		"another boot":      {func(o *guardwire.Claim) { o.Inc.Boot[5]++ }, guardwire.SystemdHolder, "another boot"},
		"too few periods":   {func(o *guardwire.Claim) { o.Params.Lease.M = 0 }, guardwire.SystemdHolder, "says 0, they need 1"},
		"no second holder":  {func(*guardwire.Claim) {}, guardwire.NoHolder, "says 1, they need 2"},
		"T_max too short":   {func(o *guardwire.Claim) { o.Params.Lease.TMax = time.Second }, guardwire.SystemdHolder, "shorter"},
		"no pause bound":    {func(o *guardwire.Claim) { o.Params.Lease.PauseBound = 0 }, guardwire.SystemdHolder, "hypervisor"},
		"slow feeding":      {func(o *guardwire.Claim) { o.Params.PetPeriod = time.Second }, guardwire.SystemdHolder, "periods"},
		"slow disk cycle":   {func(o *guardwire.Claim) { o.Params.H = time.Minute }, guardwire.SystemdHolder, "periods"},
		"ended permission":  {func(o *guardwire.Claim) { o.Until = 1 }, guardwire.SystemdHolder, "permission"},
		"no lease":          {func(o *guardwire.Claim) { o.Params.Lease.G = 1 }, guardwire.SystemdHolder, "F must"},
		"empty incarnation": {func(o *guardwire.Claim) { o.Inc = ident.Incarnation{} }, guardwire.SystemdHolder, "another boot"},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t).start()
			r.g.armed.Holder = c.holder
			r.g.deps.Pause = time.Second
			o := r.claimOrder()
			o.Params.Lease.PauseBound = time.Second
			c.change(o)
			err := r.g.obey(1, o)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, want %q", err, c.want)
			}
			if _, marked, err := mark.Read(r.deps.Run, thisBoot); marked || err != nil || !r.g.state.bound().IsZero() {
				t.Errorf("a refused claim left something: mark %v, %v", marked, err)
			}
		})
	}
	r := newRig(t).start()
	r.g.armed.Dogs = nil
	o := r.claimOrder()
	if err := r.g.obey(1, o); !errors.Is(err, errNoDog) {
		t.Errorf("%v without a watchdog", err)
	}
	o.Params.Lease.Class = cluster.WatchdogNone
	must(t, r.g.obey(1, o))
	o.Inc.N++
	if err := r.g.obey(1, o); !errors.Is(err, lease.ErrBound) {
		t.Errorf("%v while bound", err)
	}
	if inc, marked, err := mark.Read(r.deps.Run, thisBoot); !marked || inc != k7 || err != nil {
		t.Errorf("the mark is %v, %v, %v after a refused second claim", inc, marked, err)
	}
}

// A new daemon is answered only when the old one's orders are done with.
func TestNewConnectionSupersedesTheOld(t *testing.T) {
	x := newRig(t).run()
	old := x.dial()
	x.obeyed(old, x.claimOrder())
	fresh := x.dial()
	if s := fresh.Snapshot(); s.Lease.Inc != k7 || string(s.Payload) != string(x.claimOrder().Payload) || s.Seq != 2 {
		t.Errorf("the guard tells the new daemon %+v", s)
	}
	// What the old one says from now on is not obeyed, whether it can say it or not.
	_, _ = old.Send(&guardwire.Retire{Inc: k7})
	for {
		if _, err := old.Receive(); err != nil {
			break
		}
	}
	x.obeyed(fresh, &guardwire.Permission{Inc: k7, Until: ident.Never})
	if x.g.state.bound() != k7 {
		t.Error("a dead daemon's life retired the incarnation")
	}
}

func TestRefusalsReachTheDaemon(t *testing.T) {
	x := newRig(t).run()
	c := x.dial()
	if e := x.order(c, &guardwire.Permission{Inc: k7, Until: 1}); e.OK || e.Err != lease.ErrFree.Error() {
		t.Errorf("%+v", e)
	}
	if e := x.order(c, &guardwire.Upgrade{}); e.OK || e.Err != errUpgrade.Error() {
		t.Errorf("%+v", e)
	}
	if e := x.order(c, &guardwire.Reset{Why: "a stop failed"}); e.OK || len(x.p.reset()) != 1 {
		t.Errorf("%+v, resets %v", e, x.p.reset())
	}
}

func TestSigtermWhileBoundAsksTheDaemon(t *testing.T) {
	x := newRig(t).run()
	c := x.dial()
	x.obeyed(c, x.claimOrder())
	x.signal <- syscall.SIGTERM
	waitFor(t, "the wish to leave", func() bool {
		m, err := c.Receive()
		must(t, err)
		n, ok := m.(*guardwire.Notice)
		return ok && n.What == guardwire.NoticeLeave
	})
	before := x.hard.count()
	waitFor(t, "feeding to go on", func() bool { return x.hard.count() > before })
	if x.hard.disarmed() || !x.mark() {
		t.Error("a SIGTERM changed something")
	}
}

// A device that cannot be stopped is fed for ever: a clean stop resets no host.
func TestSigtermWithNowayout(t *testing.T) {
	r := newRig(t)
	r.hard.fixed = true
	x := r.run()
	x.dial()
	x.signal <- syscall.SIGTERM
	before := x.hard.count()
	waitFor(t, "feeding to go on", func() bool { return x.hard.count() > before+3 })
	if x.soft.disarmed() || x.hard.disarmed() {
		t.Error("disarmed one of two")
	}
}

func TestSuccessorOfADeadGuard(t *testing.T) {
	seal := func(state cluster.GuardState) func(*rig) {
		return func(r *rig) {
			sector := make([]byte, layout.SectorSize)
			must(r.t, r.codec.SealBeat(sector, &quorumdisk.BeatHeader{
				Node: self, State: state, Inc: k7, Seq: 9, Lease: promise().Lease,
			}, nil))
			r.disks[2].Poke(layout.BeatOffset(self), sector)
		}
	}
	for name, c := range map[string]struct {
		before func(*rig)
		reset  bool
	}{
		"mark of this boot":         {func(r *rig) { must(r.t, mark.Write(r.deps.Run, k7)) }, true},
		"mark that does not parse":  {func(r *rig) { must(r.t, os.WriteFile(filepath.Join(r.deps.Run, mark.File), nil, 0o600)) }, true},
		"mark of another boot":      {func(r *rig) { must(r.t, mark.Write(r.deps.Run, ident.Incarnation{N: 7})) }, false},
		"own beat that is bound":    {seal(cluster.GuardBound), true},
		"own beat that has retired": {seal(cluster.GuardRetired), false},
		"nothing":                   {func(*rig) {}, false},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			c.before(r)
			armed := make(chan struct{}, 1)
			arm := r.deps.Arm
			r.deps.Arm = func() arming.Armed { armed <- struct{}{}; return arm() }
			x := r.run()
			client := x.dial()
			if c.reset {
				if len(r.p.reset()) != 1 || len(armed) != 0 || r.hard.count() != 0 {
					t.Errorf("resets %v, opened watchdogs %d times, fed %d", r.p.reset(), len(armed), r.hard.count())
				}
				if e := x.order(client, x.claimOrder()); e.OK {
					t.Error("a guard that waits for its reset was claimed")
				}
				x.signal <- syscall.SIGTERM
				select {
				case err := <-x.ended:
					t.Errorf("it ended: %v", err)
				case <-time.After(20 * time.Millisecond):
				}
				return
			}
			waitFor(t, "free feeding", func() bool { return r.hard.count() > 0 })
			if len(r.p.reset()) > 0 || x.mark() {
				t.Errorf("resets %v, mark %v", r.p.reset(), x.mark())
			}
		})
	}
}

func TestHandover(t *testing.T) {
	r := newRig(t).start().claim()
	r.turn()
	r.p.step(time.Second)
	r.turn()
	var got *handover.Bundle
	refused := errors.New("the new program does not start")
	r.g.armed.Dogs = nil // the fakes have no descriptors
	r.g.deps.Upgrade = func(path string, h handover.Bundle) error {
		packet := guardwire.AppendMessage(nil, 0, 0, h.Snapshot)
		_, m, err := guardwire.DecodeMessage(packet)
		must(t, err)
		got = &handover.Bundle{Snapshot: m.(*guardwire.Snapshot)}
		return refused
	}
	if err := r.g.obey(2, &guardwire.Upgrade{}); !errors.Is(err, refused) {
		t.Fatal(err)
	}
	r.p.step(time.Second)
	r.turn()
	if got := r.start0(); got != 1002*sec {
		t.Errorf("after a failed upgrade the lease counts from %v", time.Duration(got))
	}
	r.deps.Restored = got
	r.start()
	s := r.g.state.snapshot()
	if s.Lease.Inc != k7 || s.Lease.Start != 1001*sec || s.Lease.Permission != 1030*sec || s.Params != promise() || len(s.Payload) == 0 {
		t.Errorf("restored %+v", s)
	}
	r.p.step(time.Second)
	r.turn()
	if got := r.start0(); got != 1003*sec || len(r.p.reset()) > 0 {
		t.Errorf("the successor's lease counts from %v, resets %v", time.Duration(got), r.p.reset())
	}
}

func TestNoHandoverWithARequestInFlight(t *testing.T) {
	r := newRig(t).start().claim()
	r.turn()
	r.g.deps.Upgrade = func(string, handover.Bundle) error { t.Error("upgraded"); return nil }
	r.open[1].Inject(storagetest.Fault{Kind: storagetest.Hang, Op: storagetest.Writes})
	r.turn()
	if err := r.g.obey(2, &guardwire.Upgrade{}); err == nil {
		t.Error("upgraded with a request in flight")
	}
	r.p.step(time.Second)
	r.turn()
	if got := r.start0(); got != 1001*sec {
		t.Errorf("the refused upgrade cost the lease: it counts from %v", time.Duration(got))
	}
}

func TestOnlyOneGuard(t *testing.T) {
	dir := t.TempDir()
	fd, err := lock(dir)
	must(t, err)
	if other, err := lock(dir); err == nil {
		t.Error("two guards hold the lock", other)
	}
	must(t, syscall.Close(fd))
	fd, err = lock(dir)
	must(t, err)
	must(t, syscall.Close(fd))
}

func TestMainFlags(t *testing.T) {
	for name, c := range map[string]struct {
		args []string
		code int
		want string
	}{
		"no such file": {[]string{"-config", "/nonexistent/guard.conf"}, exitUsage, "no such file"},
		"bad flag":     {[]string{"-nope"}, exitUsage, "nope"},
		"argument":     {[]string{"x"}, exitUsage, "only flags"},
		"help":         {[]string{"-h"}, exitOK, "settings"},
	} {
		var out, errs strings.Builder
		if code := Main(c.args, &out, &errs); code != c.code || !strings.Contains(errs.String(), c.want) {
			t.Errorf("%s: code %d, %q", name, code, errs.String())
		}
	}
}

func TestSets(t *testing.T) {
	s := &guardwire.Settings{Disks: []guardwire.DiskSetting{{Path: "a"}, {Path: "b", Set: guardwire.OldSet}, {Path: "c", Set: guardwire.NewSet}}}
	if got := sets(s); got[0] != 0b011 || got[1] != 0b101 {
		t.Errorf("sets %b", got)
	}
}
