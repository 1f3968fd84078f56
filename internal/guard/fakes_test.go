package guard

import (
	"errors"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/holdfast-ha/holdfast/cluster"
	"github.com/holdfast-ha/holdfast/cluster/ident"
	"github.com/holdfast-ha/holdfast/internal/clock"
	"github.com/holdfast-ha/holdfast/internal/guard/arming"
	"github.com/holdfast-ha/holdfast/internal/guardwire"
	"github.com/holdfast-ha/holdfast/quorumdisk"
	"github.com/holdfast-ha/holdfast/sbd"
	"github.com/holdfast-ha/holdfast/sbd/watchdog"
	"github.com/holdfast-ha/holdfast/storage"
	"github.com/holdfast-ha/holdfast/storage/storagetest"
)

const sec = ident.Instant(time.Second)

// platform is a clock that the test moves and a reset line that it watches.
type platform struct {
	mu        sync.Mutex
	now       ident.Instant
	suspended time.Duration
	noisy     bool
	resets    []string
	offs      []string
	onReset   func() // before a reset is noted
	id        clock.Identity
	real      *clock.Interval // nil: the manual clock
}

func (p *platform) Sample() (clock.Sample, error) {
	if p.real != nil {
		return p.real.Sample()
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.noisy {
		return clock.Sample{Now: p.now}, clock.ErrNoisy
	}
	return clock.Sample{Now: p.now, Suspended: p.suspended}, nil
}

func (p *platform) Now() (ident.Instant, error) {
	s, err := p.Sample()
	return s.Now, err
}

func (p *platform) Identity() clock.Identity { return p.id }

func (p *platform) Reset(why string) error {
	if p.onReset != nil {
		p.onReset()
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.resets = append(p.resets, why)
	return errors.New("the test's reset line is not connected")
}

func (p *platform) PowerOff(why string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.offs = append(p.offs, why)
	return nil
}

func (p *platform) step(d time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.now += ident.Instant(d)
}

func (p *platform) reset() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]string(nil), p.resets...)
}

// dog is a watchdog that notes when it was fed.
type fakeDog struct {
	mu     sync.Mutex
	name   string
	soft   bool
	fixed  bool // nowayout
	log    *[]string
	before func() // a stall between the check and the device
	err    error
	fed    int
	off    bool
}

func (d *fakeDog) Info() watchdog.Info {
	return watchdog.Info{Path: d.name, Identity: d.name, Timeout: 2 * time.Second, Software: d.soft, MagicClose: true, NoWayOut: d.fixed}
}

func (d *fakeDog) Feed() error {
	if d.before != nil {
		d.before()
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.fed++
	if d.log != nil {
		*d.log = append(*d.log, d.name)
	}
	return d.err
}

func (d *fakeDog) Disarm() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.off = true
	return nil
}

func (d *fakeDog) Close() error { return nil }

func (d *fakeDog) count() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.fed
}

func (d *fakeDog) disarmed() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.off
}

// rig is a guard on three disks in memory, with two watchdogs.
type rig struct {
	t      testing.TB
	p      *platform
	disks  []*storagetest.Memory
	open   []*storagetest.Handle // the guard's latest handle of each disk
	codec  *quorumdisk.Codec
	soft   *fakeDog
	hard   *fakeDog
	order  []string
	deps   Deps
	g      *Guard
	signal chan os.Signal
}

var (
	layout    = quorumdisk.Layout{SectorSize: 512, Nmax: 4}
	clusterID = ident.UUID{0xc1}
	thisBoot  = ident.BootID{0xb1}
	k7        = ident.Incarnation{N: 7, Boot: thisBoot}
	keys      = quorumdisk.Keys{Current: quorumdisk.Key{1}}
)

const self = ident.NodeID(2)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func newCodec(t testing.TB) *quorumdisk.Codec {
	t.Helper()
	c, err := quorumdisk.NewCodec(keys, clusterID, layout)
	must(t, err)
	return c
}

func newRig(t testing.TB) *rig {
	t.Helper()
	r := &rig{t: t, codec: newCodec(t), signal: make(chan os.Signal, 1)}
	r.p = &platform{now: 1000 * sec, id: clock.Identity{Boot: thisBoot, Host: ident.UUID{0x40}}}
	r.soft = &fakeDog{name: "softdog", soft: true, log: &r.order}
	r.hard = &fakeDog{name: "hard", log: &r.order}
	r.deps = Deps{
		Platform: r.p, Node: self, Mail: MailRules{Name: "beta"}, Run: t.TempDir(), Drain: time.Second,
		Codec:   func() (*quorumdisk.Codec, error) { return quorumdisk.NewCodec(keys, clusterID, layout) },
		Signals: r.signal, Log: zerolog.Nop(),
		Arm: func() arming.Armed {
			return arming.Armed{Dogs: []watchdog.Device{r.soft, r.hard}, Holder: guardwire.ProcessHolder}
		},
	}
	for i := range 3 {
		m := storagetest.NewMemory(layout.MinSize(), layout.SectorSize)
		r.disks, r.open = append(r.disks, m), append(r.open, nil)
		r.format(i)
		r.deps.Disks = append(r.deps.Disks, DiskPort{Path: "memory", UUID: diskUUID(i), Open: func(sector int) (storage.Disk, error) {
			h := m.Open("self")
			if sector != layout.SectorSize {
				return h, nil // the mail's handle: its sectors do not matter to a disk in memory
			}
			r.open[i] = h
			return h, nil
		}})
	}
	return r
}

func diskUUID(i int) ident.UUID { return ident.UUID{0xd0, byte(i + 1)} }

// format writes the superblock of a disk.
func (r *rig) format(i int) {
	h := r.disks[i].Open("format")
	sector := make([]byte, layout.SectorSize)
	must(r.t, r.codec.SealSuperblock(sector, &quorumdisk.Superblock{
		Cluster: clusterID, Disk: diskUUID(i), Index: uint8(i), DiskGen: 1, Layout: layout,
		Size: h.Info().Size, Created: time.Unix(1e9, 0), Identity: h.Info().Identity,
	}, 0))
	r.disks[i].Poke(quorumdisk.SuperOffset, sector)
	must(r.t, sbd.EncodeHeader(sector, sbd.DefaultHeader(layout.SectorSize, diskUUID(i))))
	r.disks[i].Poke(quorumdisk.SBDOffset, sector)
	r.slot(i, int(self)-1, "beta")
}

// slot gives an SBD slot to a node.
func (r *rig) slot(disk, slot int, name string) {
	sector := make([]byte, layout.SectorSize)
	must(r.t, sbd.EncodeSlot(sector, name))
	r.disks[disk].Poke(int64(1+2*slot)*int64(layout.SectorSize), sector)
}

// start makes the guard without its tasks: the test takes every turn itself.
func (r *rig) start() *rig {
	r.t.Helper()
	var err error
	r.g, err = New(r.deps)
	must(r.t, err)
	r.g.armed = r.deps.Arm()
	r.g.feeder = newFeeder(r.g, r.g.armed.Dogs)
	return r
}

func promise() guardwire.Params {
	return guardwire.Params{
		Lease: cluster.Lease{F: 5 * time.Second, G: 20 * time.Second, TMax: 3 * time.Second, M: 1, Class: cluster.WatchdogQualified},
		H:     time.Second, PetPeriod: 100 * time.Millisecond, DiskGen: 1,
	}
}

func (r *rig) claimOrder() *guardwire.Claim {
	now, _ := r.p.Now()
	payload, err := quorumdisk.EncodePayload(nil, &cluster.Payload{Phase: cluster.Joining})
	must(r.t, err)
	return &guardwire.Claim{Inc: k7, Until: now + 30*sec, Params: promise(), Payload: payload}
}

func (r *rig) claim() *rig {
	r.t.Helper()
	must(r.t, r.g.obey(1, r.claimOrder()))
	return r
}

// turn lets every worker do one whole cycle.
func (r *rig) turn() {
	for _, w := range r.g.workers {
		_ = w.turn(true)
	}
}

// beat is what this node's slot on a disk says.
func (r *rig) beat(disk int) *cluster.Beat {
	r.t.Helper()
	b, err := r.codec.OpenBeat(r.disks[disk].Peek(layout.BeatOffset(self), layout.SectorSize), self)
	must(r.t, err)
	return b
}

// notices takes what waits to be told.
func (r *rig) notices() []guardwire.NoticeKind {
	var out []guardwire.NoticeKind
	for {
		select {
		case n := <-r.g.notices:
			r.t.Log(n.What, n.Text)
			out = append(out, n.What)
		default:
			return out
		}
	}
}
