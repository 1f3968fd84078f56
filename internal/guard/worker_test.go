package guard

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/holdfast-ha/holdfast/cluster"
	"github.com/holdfast-ha/holdfast/cluster/ident"
	"github.com/holdfast-ha/holdfast/cluster/lease"
	"github.com/holdfast-ha/holdfast/internal/guard/arming"
	"github.com/holdfast-ha/holdfast/internal/guard/cut"
	"github.com/holdfast-ha/holdfast/internal/guard/handover"
	"github.com/holdfast-ha/holdfast/internal/guardwire"
	"github.com/holdfast-ha/holdfast/quorumdisk"
	"github.com/holdfast-ha/holdfast/sbd"
	"github.com/holdfast-ha/holdfast/sbd/watchdog"
	"github.com/holdfast-ha/holdfast/storage"
	"github.com/holdfast-ha/holdfast/storage/storagetest"
)

// writes counts the writes that reach a disk's beat table.
func (r *rig) countWrites(disk int) *int {
	n := new(int)
	r.disks[disk].SetBefore(func(q storagetest.Request) {
		if q.Op == storagetest.Writes {
			*n++
		}
	})
	return n
}

func (r *rig) start0() ident.Instant { return r.g.state.snapshot().Lease.Start }

func TestFreeOnlyReads(t *testing.T) {
	r := newRig(t).start()
	n := r.countWrites(0)
	r.turn()
	r.turn()
	if *n != 0 {
		t.Errorf("%d writes while FREE", *n)
	}
	if s := r.g.workers[0].snapshot(); !s.Open || s.Err != "" || s.Last != 1000*sec {
		t.Errorf("status %+v", s)
	}
}

func TestBeatSaysWhatWasClaimed(t *testing.T) {
	r := newRig(t).start().claim()
	r.p.step(time.Second)
	r.turn()
	b := r.beat(1)
	if b == nil || b.Inc != k7 || b.State != cluster.GuardBound || b.Seq != uint64(1001*sec) ||
		b.Lease != promise().Lease || b.DiskGen != 1 || b.Payload.Phase != cluster.Joining || b.Host != r.p.id.Host {
		t.Errorf("beat %+v", b)
	}
	if got := r.start0(); got != 1001*sec {
		t.Errorf("the lease counts from %v", time.Duration(got))
	}
	must(t, r.g.obey(2, &guardwire.Stopping{Inc: k7}))
	r.turn()
	if b := r.beat(1); b.State != cluster.GuardStopping {
		t.Errorf("beat says %v", b.State)
	}
}

// The lease counts from the stamp before the write, however long the cycle took,
// and not at all for a cycle that did not complete.
func TestLeaseCountsFromTheIssue(t *testing.T) {
	r := newRig(t).start()
	r.turn() // opens the disks
	r.claim()
	for _, d := range r.disks {
		d.SetBefore(func(storagetest.Request) { r.p.step(time.Second) })
	}
	r.g.workers[0].turn(true)
	issued := ident.Instant(r.beat(0).Seq)
	r.g.workers[1].turn(true)
	if got := r.start0(); got != issued || issued > 1001*sec {
		t.Errorf("the lease counts from %v, the first of two beats was issued at %v", time.Duration(got), time.Duration(issued))
	}
}

func TestCyclesThatDoNotCount(t *testing.T) {
	for name, spoil := range map[string]func(r *rig, d int){
		"write fails": func(r *rig, d int) { r.open[d].Inject(storagetest.Fault{Op: storagetest.Writes}) },
		"read fails":  func(r *rig, d int) { r.open[d].Inject(storagetest.Fault{Op: storagetest.Reads}) },
		"write hangs": func(r *rig, d int) {
			r.open[d].Inject(storagetest.Fault{Kind: storagetest.HangAfter, Op: storagetest.Writes})
		},
		"disk wiped": func(r *rig, d int) { r.disks[d].Poke(quorumdisk.SuperOffset, make([]byte, 512)) },
		"another disk": func(r *rig, d int) {
			r.disks[d].Poke(quorumdisk.SuperOffset, r.disks[2].Peek(quorumdisk.SuperOffset, 512))
		},
		"cut by a drill": func(r *rig, _ int) {
			if err := r.g.obey(9, &guardwire.Cut{For: time.Minute}); err != nil {
				panic(err)
			}
		},
		"no clock": func(r *rig, _ int) { r.p.noisy = true },
		"no permission": func(r *rig, _ int) {
			r.p.step(31 * time.Second)
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t).start().claim()
			r.turn()
			before := r.start0()
			r.p.step(time.Second)
			for d := range 2 {
				spoil(r, d)
			}
			r.turn()
			r.turn()
			if got := r.start0(); got != before {
				t.Errorf("the lease was renewed from %v to %v", time.Duration(before), time.Duration(got))
			}
		})
	}
}

// What a drill cuts comes back by itself, and makes no request meanwhile; one that
// would last too long is refused.
func TestCutEnds(t *testing.T) {
	r := newRig(t).start().claim()
	r.turn()
	must(t, r.g.obey(3, &guardwire.Cut{For: 5 * time.Second}))
	if err := r.g.obey(4, &guardwire.Cut{For: time.Hour}); !errors.Is(err, cut.ErrLong) {
		t.Errorf("an hour: %v", err)
	}
	wrote := r.countWrites(0)
	for range 4 {
		r.p.step(time.Second)
		r.turn()
	}
	if s := r.g.workers[0].snapshot(); *wrote != 0 || r.start0() != 1000*sec || s.Err == "" {
		t.Errorf("%d beats were written while the disks were cut; lease from %v; %+v", *wrote, time.Duration(r.start0()), s)
	}
	r.p.step(time.Second)
	r.turn()
	if s := r.g.workers[0].snapshot(); r.start0() != 1005*sec || s.Err != "" {
		t.Errorf("after the drill the lease counts from %v; %+v", time.Duration(r.start0()), s)
	}
}

// One disk of three may hang for ever, and its late completion counts for nothing.
func TestOneDiskOfThreeHangs(t *testing.T) {
	r := newRig(t).start().claim()
	r.turn()
	r.open[2].Inject(storagetest.Fault{Kind: storagetest.Hang, Op: storagetest.Writes, Times: 1})
	for range 5 {
		r.p.step(time.Second)
		r.turn()
	}
	if got := r.start0(); got != 1005*sec {
		t.Errorf("the lease counts from %v", time.Duration(got))
	}
	if s := r.g.workers[2].snapshot(); s.Err == "" || s.Last != 1000*sec {
		t.Errorf("status of the hung disk: %+v", s)
	}
	if r.g.workers[2].disk == nil {
		t.Error("a handle with a request in flight was given up")
	}
	r.disks[2].Land(r.disks[2].Pending()[0].ID)
	r.p.step(time.Second)
	r.turn()
	if s := r.g.workers[2].snapshot(); s.Err != "" || s.Last != 1006*sec {
		t.Errorf("status of the disk that came back: %+v", s)
	}
}

// TestHowLongTheDiskTook: the report says so also of a request that fails, of none that
// is not answered, and at the end of that from its beginning on.
func TestHowLongTheDiskTook(t *testing.T) {
	r := newRig(t).start().claim()
	r.turn()
	slow := func(storagetest.Request) { r.p.step(3 * time.Second) }
	said := func(whole bool) (time.Duration, bool) {
		issued := r.p.now
		_ = r.g.workers[2].turn(whole)
		rep := &r.g.workers[2].on.report
		return rep.Completed.Sub(rep.ReadIssued), rep.ReadIssued <= issued && rep.ReadIssued != 0 && rep.Completed != 0
	}
	r.disks[2].SetBefore(slow)
	for _, op := range []storagetest.Op{storagetest.Writes, storagetest.Reads} {
		r.open[2].Inject(storagetest.Fault{Op: op, Times: 1})
		if took, ok := said(op == storagetest.Writes); !ok || took != 3*time.Second {
			t.Errorf("of a request that failed after 3 s: %v, %v", took, ok)
		}
	}
	r.disks[2].SetBefore(nil)
	r.open[2].Inject(storagetest.Fault{Kind: storagetest.Hang, Op: storagetest.Reads, Times: 1})
	begun := r.p.now
	for range 3 {
		if took, ok := said(false); ok {
			t.Errorf("of a request that is still in flight: %v", took)
		}
		r.p.step(time.Second)
	}
	r.disks[2].Land(r.disks[2].Pending()[0].ID)
	if took, ok := said(false); !ok || took != r.p.now.Sub(begun) {
		t.Errorf("of a stall that has ended: %v, %v, want %v", took, ok, r.p.now.Sub(begun))
	}
	if took, ok := said(false); !ok || took != 0 {
		t.Errorf("of the request after it: %v, %v", took, ok)
	}
}

func TestDiskThatComesBackUnderAnotherName(t *testing.T) {
	r := newRig(t).start()
	r.turn()
	old := r.open[0]
	old.Inject(storagetest.Fault{})
	for range reopenAfter + 1 {
		r.turn()
	}
	if r.open[0] == old || r.g.workers[0].snapshot().Err != "" {
		t.Errorf("the disk was not opened again: %+v", r.g.workers[0].snapshot())
	}
}

func TestWrongDisksAreRefused(t *testing.T) {
	for name, c := range map[string]struct {
		spoil func(r *rig)
		want  string
	}{
		"blank":         {func(r *rig) { r.disks[0].Poke(quorumdisk.SuperOffset, make([]byte, 512)) }, "no such record"},
		"other disk":    {func(r *rig) { r.deps.Disks[0].UUID = ident.UUID{9} }, "another quorum disk"},
		"clone":         {func(r *rig) { r.disks[0].SetIdentity("memory", storage.Identity{Kind: "naa", Value: "other"}) }, "clone"},
		"other cluster": {func(r *rig) { clusterOf(r, 0, ident.UUID{0xee}) }, "another cluster"},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			c.spoil(r)
			r.start().turn()
			if s := r.g.workers[0].snapshot(); s.Open || !strings.Contains(s.Err, c.want) {
				t.Errorf("%+v, want %q", s, c.want)
			}
		})
	}
}

// clusterOf writes a superblock of another cluster.
func clusterOf(r *rig, disk int, id ident.UUID) {
	c, err := quorumdisk.NewCodec(keys, id, layout)
	must(r.t, err)
	mine := r.codec
	r.codec = c
	r.format(disk)
	r.codec = mine
}

// killRecord writes a beat of node 1 that says who is to die.
func (r *rig) killRecord(disk int, inc ident.Incarnation) {
	r.t.Helper()
	payload, err := quorumdisk.EncodePayload(nil, &cluster.Payload{Kills: []cluster.Kill{
		{Node: self, Inc: inc.N, Boot: [8]byte(inc.Boot[:8]), Ver: 77},
	}})
	must(r.t, err)
	sector := make([]byte, layout.SectorSize)
	must(r.t, r.codec.SealBeat(sector, &quorumdisk.BeatHeader{
		Node: 1, State: cluster.GuardBound, Inc: ident.Incarnation{N: 1}, Seq: 1, Lease: promise().Lease,
	}, payload))
	r.disks[disk].Poke(layout.BeatOffset(1), sector)
}

func TestKillRecord(t *testing.T) {
	r := newRig(t).start().claim()
	r.turn()
	r.killRecord(0, ident.Incarnation{N: 6, Boot: thisBoot})
	r.turn()
	if r.g.state.snapshot().Lease.Killed {
		t.Fatal("obeyed a kill record of another incarnation")
	}
	r.killRecord(0, k7)
	r.p.step(time.Second)
	r.turn()
	r.turn()
	s := r.g.state.snapshot()
	if !s.Lease.Killed || s.Killed.Ver != 77 || s.Killed.At != 1001*sec {
		t.Errorf("snapshot %+v", s)
	}
	if b := r.beat(1); b.State != cluster.GuardFencing {
		t.Errorf("the beat says %v", b.State)
	}
	if got := r.notices(); !slices.Equal(got, []guardwire.NoticeKind{guardwire.NoticeKilled}) {
		t.Errorf("notices %v", got)
	}
	r.p.step(6 * time.Second)
	r.g.feeder.round()
	if len(r.p.reset()) != 1 {
		t.Errorf("resets %v", r.p.reset())
	}
}

func TestRetireSaysSoOnEveryDisk(t *testing.T) {
	r := newRig(t).start().claim()
	r.turn()
	r.open[1].Inject(storagetest.Fault{Op: storagetest.Writes, Times: 1})
	must(t, r.g.obey(3, &guardwire.Retire{Inc: k7}))
	r.turn()
	if b := r.beat(1); b.State == cluster.GuardRetired {
		t.Fatal("the failed write took effect")
	}
	r.turn()
	for d := range 3 {
		if b := r.beat(d); b.State != cluster.GuardRetired || b.Inc != k7 {
			t.Errorf("disk %d: %+v", d, b)
		}
	}
	n := r.countWrites(0)
	r.turn()
	if *n != 0 {
		t.Error("a FREE guard goes on writing")
	}
}

// A retired beat that a disk still owes must not be written once another
// incarnation is bound.
func TestNextClaimEndsTheFarewell(t *testing.T) {
	r := newRig(t).start().claim()
	r.turn()
	must(t, r.g.obey(2, &guardwire.Retire{Inc: k7}))
	o := r.claimOrder()
	o.Inc.N++
	must(t, r.g.obey(3, o))
	r.turn()
	if b := r.beat(0); b.Inc != o.Inc || b.State != cluster.GuardBound {
		t.Errorf("beat %+v", b)
	}
}

func (r *rig) mail(disk int, cmd sbd.Command) {
	sector := make([]byte, layout.SectorSize)
	must(r.t, sbd.EncodeMail(sector, sbd.Mail{Command: cmd, From: "admin"}))
	r.disks[disk].Poke(r.mailAt(), sector)
}

func (r *rig) mailAt() int64 { return int64(2+2*(int(self)-1)) * int64(layout.SectorSize) }

func (r *rig) mailNow(disk int) sbd.Command { return sbd.Command(r.disks[disk].Peek(r.mailAt(), 1)[0]) }

// Without a header nobody knows where the mailboxes are, and so nobody is reset
// by what stands there.
func TestNoMailboxWithoutAHeader(t *testing.T) {
	for name, header := range map[string][]byte{
		"blank":               make([]byte, layout.SectorSize),
		"another sector size": sbdHeader(t, 4096),
	} {
		r := newRig(t)
		r.disks[0].Poke(quorumdisk.SBDOffset, header)
		r.start().turn()
		r.claim()
		r.mail(0, sbd.Reset)
		r.turn()
		if len(r.p.reset()) > 0 || r.mailNow(0) != sbd.Reset {
			t.Errorf("%s: resets %v, mail %v", name, r.p.reset(), r.mailNow(0))
		}
	}
}

func sbdHeader(t *testing.T, size int) []byte {
	t.Helper()
	sector := make([]byte, size)
	must(t, sbd.EncodeHeader(sector, sbd.DefaultHeader(size, clusterID)))
	return sector[:layout.SectorSize]
}

func TestMailFoundAtTheStartIsNeverObeyed(t *testing.T) {
	r := newRig(t)
	r.mail(0, sbd.Reset)
	r.start().turn()
	r.claim().turn()
	if len(r.p.reset()) > 0 || r.mailNow(0) != sbd.Reset {
		t.Errorf("resets %v, mail %d: it is cleared only when the old boot's writes are over", r.p.reset(), r.mailNow(0))
	}
	r.p.step(time.Second)
	r.turn()
	if len(r.p.reset()) > 0 || r.mailNow(0) != sbd.Clear {
		t.Errorf("resets %v, mail %d", r.p.reset(), r.mailNow(0))
	}
	r.mail(0, sbd.Reset)
	r.turn()
	if len(r.p.reset()) != 1 {
		t.Error("new mail, although with the same words, must be obeyed")
	}
}

func TestMail(t *testing.T) {
	for name, c := range map[string]struct {
		cmd    sbd.Command
		bound  bool
		reset  bool
		notice guardwire.NoticeKind
	}{
		"reset":          {sbd.Reset, true, true, 0},
		"off":            {sbd.Off, true, true, 0},
		"crashdump":      {sbd.CrashDump, true, true, 0},
		"exit":           {sbd.Exit, true, false, guardwire.NoticeLeave},
		"test":           {sbd.Test, true, false, guardwire.NoticeMail},
		"unknown":        {99, true, false, guardwire.NoticeMail},
		"reset but free": {sbd.Reset, false, false, guardwire.NoticeMail},
		"exit but free":  {sbd.Exit, false, false, guardwire.NoticeMail},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t).start()
			r.turn()
			if c.bound {
				r.claim()
			}
			r.mail(0, c.cmd)
			r.turn()
			r.turn()
			if (len(r.p.reset()) > 0) != c.reset {
				t.Errorf("resets %v", r.p.reset())
			}
			got := r.notices()
			if c.notice != 0 && !slices.Equal(got, []guardwire.NoticeKind{c.notice}) {
				t.Errorf("notices %v, want %v", got, c.notice)
			}
			if !c.reset && r.mailNow(0) != sbd.Clear {
				t.Errorf("mail %d was not cleared", r.mailNow(0))
			}
		})
	}
}

// A disk that shows up late with a bound incarnation of this boot, which this
// guard knows nothing of.
func TestOwnBeatOfADeadGuardFoundLate(t *testing.T) {
	for name, c := range map[string]struct {
		boot    ident.BootID
		state   cluster.GuardState
		claimed bool
		reset   bool
	}{
		"bound in this boot":       {thisBoot, cluster.GuardBound, false, true},
		"retired in this boot":     {thisBoot, cluster.GuardRetired, false, false},
		"bound in an earlier boot": {ident.BootID{1}, cluster.GuardBound, false, false},
		"own, bound since":         {thisBoot, cluster.GuardBound, true, false},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t).start()
			r.g.settled.Store(true)
			sector := make([]byte, layout.SectorSize)
			must(t, r.codec.SealBeat(sector, &quorumdisk.BeatHeader{
				Node: self, State: c.state, Inc: ident.Incarnation{N: 6, Boot: c.boot}, Seq: 9, Lease: promise().Lease,
			}, nil))
			r.disks[0].Poke(layout.BeatOffset(self), sector)
			if c.claimed {
				r.claim()
			}
			r.turn()
			if (len(r.p.reset()) > 0) != c.reset {
				t.Errorf("resets %v", r.p.reset())
			}
		})
	}
}

func TestDeadWritesNothing(t *testing.T) {
	r := newRig(t).start().claim()
	r.turn()
	n := r.countWrites(0)
	r.g.die("a test")
	r.turn()
	if *n != 0 {
		t.Errorf("%d writes of a dead node", *n)
	}
}

// A reset that only this node knows of leaves a last word on every disk that
// takes it, and comes although one hangs.
func TestLastWord(t *testing.T) {
	for name, end := range map[string]func(r *rig){
		"order": func(r *rig) { _ = r.g.obey(2, &guardwire.Reset{Why: "a test"}) },
		"mail": func(r *rig) {
			r.mail(0, sbd.Reset)
			_ = r.g.workers[0].turn(true)
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t).start().claim()
			r.turn()
			r.open[2].Inject(storagetest.Fault{Kind: storagetest.Hang, Op: storagetest.Writes})
			end(r)
			if got := r.p.reset(); len(got) != 1 {
				t.Fatalf("resets %v", got)
			}
			r.turn() // in a running guard the workers were woken before the reset
			r.turn()
			for d, want := range []cluster.GuardState{cluster.GuardDying, cluster.GuardDying, cluster.GuardBound} {
				if b := r.beat(d); b.State != want || b.Inc != k7 {
					t.Errorf("disk %d says %v of %v, want %v", d, b.State, b.Inc, want)
				}
			}
			if got := r.start0(); got != 1000*sec {
				t.Errorf("the last word renewed the lease to %v", time.Duration(got))
			}
		})
	}
}

// Whatever the reason, nothing is logged before the reset line is pulled: a log that
// blocks must not keep the node up.
func TestNothingIsLoggedBeforeTheReset(t *testing.T) {
	for name, end := range map[string]func(r *rig){
		"order":   func(r *rig) { _ = r.g.obey(2, &guardwire.Reset{Why: "a test"}) },
		"mail":    func(r *rig) { r.mail(0, sbd.Reset); _ = r.g.workers[0].turn(true) },
		"suspend": func(r *rig) { r.g.feeder.round(); r.p.suspended = time.Hour; r.g.feeder.round() },
		"clock":   func(r *rig) { r.g.feeder.round(); r.p.step(-time.Second); r.g.feeder.round() },
		"kill": func(r *rig) {
			r.g.feeder.round()
			r.g.state.kill(k7, guardwire.Killed{Ver: 1})
			r.p.step(time.Minute)
			r.g.feeder.round()
		},
		"late feed": func(r *rig) { r.hard.before = func() { r.p.step(10 * time.Second) }; r.g.feeder.round() },
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			log := &logged{}
			r.deps.Log = zerolog.New(log)
			r.start().claim()
			r.turn()
			before, resets := log.lines, 0
			r.p.onReset = func() {
				resets++
				if log.lines != before {
					t.Errorf("%d lines were logged before the reset", log.lines-before)
				}
			}
			end(r)
			if resets != 1 {
				t.Errorf("%d resets", resets)
			}
		})
	}
}

// logged counts lines.
type logged struct{ lines int }

func (l *logged) Write(p []byte) (int, error) {
	l.lines++
	return len(p), nil
}

// While a guard runs, its workers leave the word before the reset.
func TestLastWordComesBeforeTheReset(t *testing.T) {
	r := newRig(t)
	x := r.run()
	c := x.dial()
	waitFor(t, "the first look", func() bool { return x.g.settled.Load() })
	x.obeyed(c, x.claimOrder())
	waitFor(t, "a beat on every disk", func() bool {
		for d := range r.disks {
			if b, err := r.codec.OpenBeat(r.disks[d].Peek(layout.BeatOffset(self), layout.SectorSize), self); err != nil || b == nil || b.State != cluster.GuardBound {
				return false
			}
		}
		return true
	})
	said := 0
	r.p.onReset = func() {
		for d := range r.disks {
			if r.beat(d).State == cluster.GuardDying {
				said++
			}
		}
	}
	if e := x.order(c, &guardwire.Reset{Why: "a test"}); e.OK {
		t.Error("the reset was said to be done")
	}
	if said == 0 {
		t.Error("no disk had the last word when the reset came")
	}
}

func TestRekey(t *testing.T) {
	r := newRig(t).start().claim()
	next := keys
	next.Previous, next.Current = keys.Current, quorumdisk.Key{2}
	r.g.deps.Codec = func() (*quorumdisk.Codec, error) { return quorumdisk.NewCodec(next, clusterID, layout) }
	must(t, r.g.obey(2, &guardwire.Rekey{}))
	r.turn()
	c, err := quorumdisk.NewCodec(quorumdisk.Keys{Current: next.Current}, clusterID, layout)
	must(t, err)
	if b, err := c.OpenBeat(r.disks[0].Peek(layout.BeatOffset(self), layout.SectorSize), self); err != nil || b.Inc != k7 {
		t.Errorf("%+v, %v: not sealed with the new key", b, err)
	}
	if r.start0() != 1000*sec || r.g.workers[0].snapshot().Err != "" {
		t.Errorf("the exchange of keys disturbed a cycle: %+v", r.g.workers[0].snapshot())
	}
	r.g.deps.Codec = func() (*quorumdisk.Codec, error) { return nil, errors.New("no file") }
	if err := r.g.obey(3, &guardwire.Rekey{}); err == nil {
		t.Error("a missing key file was not reported")
	}
}

// TestRekeyWithAHungFileSystem: the guard goes on with the keys that it has, and with
// all other orders, while the files of new ones cannot be read.
func TestRekeyWithAHungFileSystem(t *testing.T) {
	r := newRig(t).start().claim()
	answers := make(chan struct{})
	r.g.deps.Codec = func() (*quorumdisk.Codec, error) {
		<-answers
		return quorumdisk.NewCodec(keys, clusterID, layout)
	}
	for _, words := range []string{"not read within", "an earlier order"} {
		if err := r.g.obey(2, &guardwire.Rekey{}); err == nil || !strings.Contains(err.Error(), words) {
			t.Errorf("%v; want %q", err, words)
		}
	}
	r.g.deps.Upgrade = func(string, handover.Bundle) error { return nil }
	if err := r.g.obey(3, &guardwire.Upgrade{Path: "/new"}); err == nil || !strings.Contains(err.Error(), "key files") {
		t.Errorf("an exec, which would wait for the hung thread: %v", err)
	}
	must(t, r.g.obey(3, &guardwire.Permission{Inc: k7, Until: ident.Instant(2000 * sec)}))
	r.turn()
	if s := r.g.workers[0].snapshot(); s.Err != "" {
		t.Errorf("the cycle: %+v", s)
	}
	close(answers)
	for end := time.Now().Add(20 * time.Second); ; {
		err := r.g.obey(4, &guardwire.Rekey{})
		if err == nil {
			return
		}
		if time.Now().After(end) {
			t.Fatal(err)
		}
	}
}

func TestPermissionEndsTheBeats(t *testing.T) {
	r := newRig(t).start().claim()
	r.turn()
	r.p.step(31 * time.Second)
	n := r.countWrites(0)
	r.turn()
	if *n != 0 {
		t.Error("a beat without permission")
	}
	must(t, r.g.obey(2, &guardwire.Permission{Inc: k7, Until: 1100 * sec}))
	r.turn()
	if *n != 1 {
		t.Errorf("%d beats with a new permission", *n)
	}
	_ = r.g.state.with(func(l *lease.Lease) error {
		if !l.MayFeed(1031 * sec) {
			t.Error("a new permission and a completed cycle revive the lease")
		}
		return nil
	})
}

// Through the kernel, on a real file, on a loop device, and into a watchdog's
// descriptor: neither a round of beats nor one of feeds allocates anything.
func TestBeatingAndFeedingAllocateNothing(t *testing.T) {
	for _, where := range []string{"file", "loop"} {
		t.Run(where, func(t *testing.T) {
			n := newNode(t)
			d, err := watchdog.OpenEmulated(n.path("power.sock"), "alpha", "hw", time.Minute)
			must(t, err)
			r := newRig(t)
			r.deps.Arm = func() arming.Armed {
				return arming.Armed{Dogs: []watchdog.Device{r.soft, d}, Holder: guardwire.ProcessHolder}
			}
			path, l := fileDisk(t)
			if where == "loop" {
				path = storagetest.Loop(t, path, l.SectorSize)
				formatDisk(t, path, l)
			}
			r.deps.Codec = func() (*quorumdisk.Codec, error) { return quorumdisk.NewCodec(keys, clusterID, l) }
			r.deps.Disks = r.deps.Disks[:1]
			r.deps.Disks[0].Open = func(int) (storage.Disk, error) {
				return storage.Open(path, storage.Options{Sync: true, SectorSize: l.SectorSize})
			}
			r.soft.log = nil
			r.start().claim()
			w := r.g.workers[0]
			must(t, w.turn(true))
			if got := testing.AllocsPerRun(20, func() {
				r.p.step(100 * time.Millisecond)
				r.g.feeder.round()
				must(t, w.turn(true))
				must(t, w.turn(false))
			}); got != 0 {
				t.Errorf("%v allocations per cycle", got)
			}
			if r.soft.count() < 20 {
				t.Errorf("fed %d times: the test shows nothing", r.soft.count())
			}
			must(t, w.disk.Close())
			must(t, d.Disarm())
		})
	}
}

// fileDisk makes a quorum disk, the first of its set, in a file.
func fileDisk(t testing.TB) (path string, l quorumdisk.Layout) {
	t.Helper()
	l = quorumdisk.Layout{SectorSize: quorumdisk.LargeSector, Nmax: layout.Nmax}
	path = storagetest.File(t, l.MinSize())
	formatDisk(t, path, l)
	return path, l
}

// formatDisk writes the superblock of the first disk of the set.
func formatDisk(t testing.TB, path string, l quorumdisk.Layout) {
	t.Helper()
	d, err := storage.Open(path, storage.Options{SectorSize: l.SectorSize})
	must(t, err)
	defer func() { must(t, d.Close()) }()
	c, err := quorumdisk.NewCodec(keys, clusterID, l)
	must(t, err)
	sector := make([]byte, l.SectorSize)
	must(t, c.SealSuperblock(sector, &quorumdisk.Superblock{
		Cluster: clusterID, Disk: diskUUID(0), DiskGen: 1, Layout: l,
		Size: d.Info().Size, Created: time.Unix(1e9, 0), Identity: d.Info().Identity,
	}, 0))
	must(t, d.Write(sector, quorumdisk.SuperOffset, time.Minute))
}

// TestRekeyWhileNothingIsBound: the last word of a former life is sealed anew once the
// new key is used, and changes in nothing else; and only then.
func TestRekeyWhileNothingIsBound(t *testing.T) {
	r := newRig(t).start()
	at := layout.BeatOffset(self)
	before, err := quorumdisk.NewCodec(keys, clusterID, layout)
	must(t, err)
	left := make([]byte, layout.SectorSize)
	must(t, before.SealBeat(left, &quorumdisk.BeatHeader{Node: self, Inc: ident.Incarnation{N: 3, Boot: ident.BootID{9}}, State: cluster.GuardRetired}, nil))
	r.disks[0].Poke(at, left)
	r.turn()
	if !bytes.Equal(r.disks[0].Peek(at, layout.SectorSize), left) {
		t.Error("what a former life has left changed without a new key")
	}
	next := quorumdisk.Keys{Current: quorumdisk.Key{2}, Previous: keys.Current}
	r.g.deps.Codec = func() (*quorumdisk.Codec, error) { return quorumdisk.NewCodec(next, clusterID, layout) }
	must(t, r.g.obey(2, &guardwire.Rekey{}))
	r.turn()
	after, err := quorumdisk.NewCodec(quorumdisk.Keys{Current: next.Current}, clusterID, layout)
	must(t, err)
	is := r.disks[0].Peek(at, layout.SectorSize)
	if b, err := after.OpenBeat(is, self); err != nil || b.Inc.N != 3 || !bytes.Equal(is[:496], left[:496]) {
		t.Errorf("%+v, %v", b, err)
	}
}
