package daemon

import (
	"context"
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/holdfast-ha/holdfast/cluster"
	"github.com/holdfast-ha/holdfast/cluster/ident"
	"github.com/holdfast-ha/holdfast/cluster/register"
	"github.com/holdfast-ha/holdfast/internal/clock"
	"github.com/holdfast-ha/holdfast/internal/config/nodefile"
	"github.com/holdfast-ha/holdfast/internal/daemon/queue"
	"github.com/holdfast-ha/holdfast/quorumdisk"
	"github.com/holdfast-ha/holdfast/quorumdisk/volume"
	"github.com/holdfast-ha/holdfast/storage"
	"github.com/holdfast-ha/holdfast/storage/storagetest"
)

// scripted is a clock that gives these readings and then repeats the last.
type scripted struct{ readings []reading }

type reading struct {
	at  ident.Instant
	err error
}

func (c *scripted) Now() (ident.Instant, error) {
	r := c.readings[0]
	if len(c.readings) > 1 {
		c.readings = c.readings[1:]
	}
	return r.at, r.err
}

func (c *scripted) Identity() clock.Identity { return clock.Identity{} }

// quiet is a core that wants nothing.
type quiet struct{ steps []ident.Instant }

func (q *quiet) Step(now ident.Instant, _ cluster.Event) []cluster.Action {
	q.steps = append(q.steps, now)
	return nil
}
func (q *quiet) NextDeadline() ident.Instant         { return ident.Never }
func (q *quiet) View(now ident.Instant) cluster.View { return cluster.View{Now: now} }

func TestClockThatGoesBackEndsTheDaemon(t *testing.T) {
	core := &quiet{}
	l := &loop{
		core: core, watch: &watch{clock: &scripted{readings: []reading{{at: 100}, {at: 101}, {at: 99}}}},
		events: make(chan cluster.Event, 4), calls: make(chan func()), record: nowhere{},
	}
	l.events <- cluster.Tick{}
	l.events <- cluster.Tick{}
	err := l.run(context.Background(), cluster.Started{})
	if err == nil || !strings.Contains(err.Error(), "went back") {
		t.Errorf("ended with %v", err)
	}
	if !reflect.DeepEqual(core.steps, []ident.Instant{100, 101}) {
		t.Errorf("steps at %v", core.steps)
	}
}

func TestNoisyClock(t *testing.T) {
	noisy := reading{at: 7, err: clock.ErrNoisy}
	w := &watch{clock: &scripted{readings: []reading{noisy, noisy, {at: 8}}}}
	if at, err := w.now(); at != 8 || err != nil || w.noisy.Load() != 0 {
		t.Errorf("%v, %v: a noisy reading is asked for again", at, err)
	}
	w = &watch{clock: &scripted{readings: []reading{noisy}}}
	if at, err := w.now(); at != 7 || err != nil || w.noisy.Load() != 1 {
		t.Errorf("%v, %v: a machine that stalls must not end the daemon", at, err)
	}
	broken := errors.New("no clock")
	w = &watch{clock: &scripted{readings: []reading{{err: broken}}}}
	if _, err := w.step(0); !errors.Is(err, broken) {
		t.Errorf("%v", err)
	}
}

// worker runs the register of one disk of a rig.
func worker(t *testing.T, r *rig, open func(int) (storage.Disk, error)) (*disk, chan cluster.Event, *[]string) {
	t.Helper()
	events, alarms := make(chan cluster.Event, 16), &[]string{}
	d := &disk{
		open: open, keys: func() quorumdisk.Keys { return r.keys }, want: volume.Expect{Cluster: uuid(0xc0), Disk: uuid(0xd0)}, jobs: queue.New[diskJob](), log: zerolog.Nop(),
		shared: &diskShared{events: events, alarm: func(s string) { *alarms = append(*alarms, s) }},
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- d.run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return d, events, alarms
}

func TestRegisterWork(t *testing.T) {
	r := newRig(t)
	opens, handle := 0, r.disk.Open("daemon")
	d, events, _ := worker(t, r, func(int) (storage.Disk, error) {
		if opens++; opens == 1 {
			return nil, os.ErrNotExist
		}
		return handle, nil
	})
	ctx := t.Context()
	do := func(op register.Op[*cluster.State]) cluster.Event {
		d.register(ctx, op)
		select {
		case ev := <-events:
			return ev
		case <-time.After(patience):
			t.Fatal("no answer")
			return nil
		}
	}
	if ev := do(register.Op[*cluster.State]{Kind: register.ReadHeaders, Seq: 1}); !reflect.DeepEqual(ev, cluster.RegisterHeaders{Seq: 1}) {
		t.Errorf("without a disk: %+v", ev)
	}
	all, ok := do(register.Op[*cluster.State]{Kind: register.ReadHeaders, Seq: 2}).(cluster.RegisterHeaders)
	if !ok || !all.OK || all.Seq != 2 || len(all.All) != 1 {
		t.Fatalf("headers %+v", all)
	}
	body, ok := do(register.Op[*cluster.State]{Kind: register.ReadBody, Seq: 3, Header: all.All[0]}).(cluster.RegisterBody)
	if !ok || !body.OK || body.Value.Ver != 1 || body.Value.Conf == nil || body.Value.Conf.Name != "hospital" {
		t.Fatalf("body %+v", body)
	}
	next := body.Value.Clone()
	next.Ver = 2
	h := register.Header{Node: 1, Slot: 2, Inc: 1, Gen: 2, Ver: 2, Bal: all.All[0].Bal, Mbal: all.All[0].Mbal}
	if ev := do(register.Op[*cluster.State]{Kind: register.Write, Seq: 4, Header: h, Value: next}); ev != (cluster.RegisterWrote{Seq: 4, OK: true}) {
		t.Fatalf("write %+v", ev)
	}
	if s, _, err := r.volume().NewestState(time.Second); err != nil || s.Ver != 2 {
		t.Errorf("on the disk: %+v, %v", s, err)
	}
	// A write that gets no answer is not done, and the handle stays: its request is
	// still in flight.
	before := opens
	handle.Inject(storagetest.Fault{Kind: storagetest.Hang, Op: storagetest.Writes})
	if ev := do(register.Op[*cluster.State]{Kind: register.Write, Seq: 5, Header: h, Value: next}); ev != (cluster.RegisterWrote{Seq: 5}) {
		t.Errorf("a write without answer became %+v", ev)
	}
	if opens != before {
		t.Error("the disk was opened again while a request was in flight")
	}
}

// A configuration that this version cannot read must be loud, and must not read
// as an empty one.
func TestUnreadableConfiguration(t *testing.T) {
	var alarms []string
	s := &diskShared{alarm: func(text string) { alarms = append(alarms, text) }}
	st := &cluster.State{ConfigRev: 4, Config: []byte("cluster: {name: x, invented: 1}\n")}
	s.parse(st)
	s.parse(st)
	if st.Conf != nil || len(alarms) != 1 || !strings.Contains(alarms[0], "invented") || !strings.Contains(*s.problem.Load(), "configuration 4") {
		t.Errorf("conf %+v, alarms %q", st.Conf, alarms)
	}
	st.Config = []byte(firstConfig)
	if s.parse(st); st.Conf == nil || *s.problem.Load() != "" {
		t.Errorf("conf %+v, problem %q", st.Conf, *s.problem.Load())
	}
}

func TestMainRefusals(t *testing.T) {
	var out, errs strings.Builder
	run := func(args ...string) int {
		out.Reset()
		errs.Reset()
		return Main(args, &out, &errs)
	}
	missing := filepath.Join(t.TempDir(), "node.yaml")
	if code := run("--config", missing); code != exitUsage || !strings.Contains(errs.String(), "holdfast init") {
		t.Errorf("%d: %s", code, errs.String())
	}
	if code := run("surplus"); code != exitUsage || !strings.Contains(errs.String(), "surplus") {
		t.Errorf("%d: %s", code, errs.String())
	}
	if code := run("--nonsense"); code != exitUsage {
		t.Errorf("%d: %s", code, errs.String())
	}
	if code := run("--version"); code != exitOK || !strings.HasPrefix(out.String(), "holdfastd ") {
		t.Errorf("%d: %s", code, out.String())
	}
	r := newRig(t)
	file := filepath.Join(t.TempDir(), "node.yaml")
	r.node.Disks[0].Path = "/dev/disk/by-id/wwn-0x600"
	r.node.Links, r.node.SingleLink = []netip.AddrPort{netip.MustParseAddrPort("10.0.0.1:7320")}, true
	must(t, os.WriteFile(file, nodefile.Write(*r.node), 0o600))
	if code := run("--config", file, "--check"); code != exitOK || !strings.Contains(out.String(), "node 1 (alpha) of hospital") {
		t.Errorf("%d: %s%s", code, out.String(), errs.String())
	}
}

// nowhere records nothing.
type nowhere struct{}

func (nowhere) Step(ident.Instant, cluster.Event, []cluster.Action) {}
func (nowhere) Looked(ident.Instant)                                {}
