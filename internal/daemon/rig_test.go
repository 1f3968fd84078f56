package daemon

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/holdfast-ha/holdfast/cluster"
	"github.com/holdfast-ha/holdfast/cluster/core"
	"github.com/holdfast-ha/holdfast/cluster/ident"
	"github.com/holdfast-ha/holdfast/heartbeat"
	"github.com/holdfast-ha/holdfast/heartbeat/heartbeattest"
	"github.com/holdfast-ha/holdfast/internal/api"
	"github.com/holdfast-ha/holdfast/internal/clock"
	"github.com/holdfast-ha/holdfast/internal/config"
	"github.com/holdfast-ha/holdfast/internal/guard"
	"github.com/holdfast-ha/holdfast/internal/guard/arming"
	"github.com/holdfast-ha/holdfast/internal/guardwire"
	"github.com/holdfast-ha/holdfast/quorumdisk"
	"github.com/holdfast-ha/holdfast/quorumdisk/volume"
	"github.com/holdfast-ha/holdfast/resources"
	"github.com/holdfast-ha/holdfast/sbd/watchdog"
	"github.com/holdfast-ha/holdfast/sbd/watchdog/watchdogtest"
	"github.com/holdfast-ha/holdfast/storage"
	"github.com/holdfast-ha/holdfast/storage/storagetest"
)

// patience is how long a test waits for what must happen.
const patience = 40 * time.Second

// waitFor polls until done, or fails saying what it waited for.
func waitFor(t *testing.T, what string, done func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !done(); <-time.After(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited %v for: %s", patience, what)
		}
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func uuid(b byte) ident.UUID { return ident.UUID(bytes.Repeat([]byte{b}, 16)) }

// platform is this machine's clock with an identity of its own and no reset line.
type platform struct {
	*clock.Interval
	mu     sync.Mutex
	resets []string
}

func (p *platform) Identity() clock.Identity {
	return clock.Identity{Boot: ident.BootID(uuid(0xb0)), Host: uuid(0xaa), Emulated: true}
}

// PowerOff is not obeyed, as Reset is not.
func (p *platform) PowerOff(why string) error { return p.Reset(why) }

func (p *platform) Reset(why string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.resets = append(p.resets, why)
	return errors.New("this machine is not reset")
}

// memoryRunner runs services in memory: what it has started outlives the daemon.
type memoryRunner struct {
	mu      sync.Mutex
	running map[string]uint32
	calls   []string
	orphans []resources.Orphan
	probe   resources.State
}

func (r *memoryRunner) did(what string, s resources.Service) {
	r.calls = append(r.calls, what+" "+s.Name)
}

func (r *memoryRunner) Start(_ context.Context, s resources.Service, term uint32, _ resources.StartOptions) resources.Result {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.did("start", s)
	r.running[s.Name] = term
	return resources.Result{Outcome: resources.OK}
}

func (r *memoryRunner) Stop(_ context.Context, s resources.Service, _ uint32, o resources.StopOptions) resources.Result {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.did(map[bool]string{false: "stop", true: "kill"}[o.Kill], s)
	delete(r.running, s.Name)
	return resources.Result{Outcome: resources.OK, Stopped: true}
}

func (r *memoryRunner) Longest(resources.Service) time.Duration { return time.Minute }

func (r *memoryRunner) Check(context.Context, resources.Service, uint32) resources.Result {
	return resources.Result{Outcome: resources.OK}
}

func (r *memoryRunner) Fit(context.Context, resources.Service, []string) resources.Result {
	return resources.Result{Outcome: resources.OK}
}

func (r *memoryRunner) Reload(context.Context, resources.Service, uint32, map[string]json.RawMessage) resources.Result {
	return resources.Result{Outcome: resources.OK}
}

func (r *memoryRunner) Watch(ctx context.Context, _ func(service, member, what string)) error {
	<-ctx.Done()
	return nil
}

func (r *memoryRunner) EmptyOrphans(context.Context) ([]resources.Orphan, error) {
	return r.orphans, nil
}

func (r *memoryRunner) Terms() ([]resources.Held, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	var held []resources.Held
	for name, term := range r.running {
		held = append(held, resources.Held{Group: resources.Group{Service: name, Term: term}})
	}
	slices.SortFunc(held, func(a, b resources.Held) int { return bytes.Compare([]byte(a.Service), []byte(b.Service)) })
	return held, nil
}

func (r *memoryRunner) Probe(context.Context, resources.Service, uint32) (resources.State, []resources.Step) {
	return r.probe, nil
}

func (r *memoryRunner) count(call string) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := 0
	for _, c := range r.calls {
		if c == call {
			n++
		}
	}
	return n
}

const firstConfig = `cluster:
  name: hospital
  failover_within: 10s
services:
  orders:
    stack:
      - exec: {start: [/bin/true]}
`

// rig is one node: a real guard, a disk in memory, links in memory.
type rig struct {
	t      *testing.T
	disk   *storagetest.Memory
	node   *config.Node
	keys   quorumdisk.Keys
	p      *platform
	net    *heartbeattest.Network
	runner *memoryRunner
	log    zerolog.Logger
	core   func(core.Settings) Core
}

func newRig(t *testing.T) *rig {
	t.Helper()
	return newRigWith(t)
}

// newRigWith is newRig in a cluster of more nodes.
func newRigWith(t *testing.T, others ...cluster.NodeState) *rig {
	t.Helper()
	dir := t.TempDir()
	r := &rig{
		t: t, disk: storagetest.NewMemory(70<<20, 512), keys: quorumdisk.Keys{Current: quorumdisk.NewKey()},
		net: heartbeattest.New(1), runner: &memoryRunner{running: map[string]uint32{}, probe: resources.StateRunning},
		log:  zerolog.New(zerolog.NewTestWriter(t)).Level(zerolog.WarnLevel),
		core: func(s core.Settings) Core { return core.New(s) },
	}
	interval, err := clock.NewInterval()
	must(t, err)
	r.p = &platform{Interval: interval}
	r.node = &config.Node{
		Name: "alpha", ID: 1, Cluster: config.ClusterRef{Name: "hospital", ID: uuid(0xc0)},
		Disks: []config.QuorumDisk{{Path: "memory", UUID: uuid(0xd0)}}, Key: filepath.Join(dir, "key"),
		Links: []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:0")}, Platform: config.Platform{PauseSet: true},
		Dirs: config.Dirs{Run: filepath.Join(dir, "run"), State: filepath.Join(dir, "state")},
	}
	must(t, errors.Join(os.Mkdir(r.node.Dirs.Run, 0o755), os.Mkdir(r.node.Dirs.State, 0o755), r.keys.Save(r.node.Key)))
	_, err = volume.Create(r.disk.Open("init"), volume.Options{Keys: r.keys, Cluster: uuid(0xc0), Disk: uuid(0xd0), DiskGen: 1, Created: time.Unix(1e9, 0), Timeout: time.Second})
	must(t, err)
	must(t, r.volume().Bootstrap(&cluster.State{
		Ver: 1, Cluster: uuid(0xc0), Config: []byte(firstConfig), ConfigRev: 1, View: 1, DiskGen: 1, Disks: []ident.UUID{uuid(0xd0)},
		Nodes:    append([]cluster.NodeState{{ID: 1, Name: "alpha", Links: []string{"10.0.0.1:7320"}}}, others...),
		Services: []cluster.Grant{{Service: "orders"}},
	}, 1, time.Second))
	return r
}

// volume opens the disk as somebody else would.
func (r *rig) volume() *volume.Volume {
	r.t.Helper()
	v, err := volume.Open(r.disk.Open("other"), r.keys, volume.Expect{}, time.Second)
	must(r.t, err)
	return v
}

// guard runs the node's guard until the test ends.
func (r *rig) guard() {
	r.t.Helper()
	board := watchdogtest.NewBoard(func() time.Duration { s, _ := r.p.Sample(); return time.Duration(s.Now) })
	arm := func() arming.Armed {
		a := arming.Armed{Holder: guardwire.ProcessHolder}
		for _, name := range []string{"soft", "hard"} {
			d, err := board.Open(name, 2*time.Second)
			if err != nil {
				r.t.Error(err)
				continue
			}
			a.Dogs = append(a.Dogs, watchdog.Device(d))
			a.Infos = append(a.Infos, guardwire.Watchdog{
				Path: name, Timeout: 2 * time.Second, TMax: 2300 * time.Millisecond,
				Class: cluster.WatchdogQualified, Software: name == "soft", Emulated: true,
			})
		}
		return a
	}
	g, err := guard.New(guard.Deps{
		Platform: r.p, Node: 1, Run: r.node.Dirs.Run, Drain: time.Second, Arm: arm, Log: r.log,
		Disks: []guard.DiskPort{{Path: "memory", UUID: uuid(0xd0), Open: func(int) (storage.Disk, error) { return r.disk.Open("guard"), nil }}},
		Codec: func() (*quorumdisk.Codec, error) {
			return quorumdisk.NewCodec(r.keys, uuid(0xc0), quorumdisk.Layout{SectorSize: 512, Nmax: quorumdisk.DefaultNodes})
		},
	})
	must(r.t, err)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- g.Run(ctx) }()
	r.t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			r.t.Error("guard:", err)
		}
		if len(r.p.resets) > 0 {
			r.t.Error("the guard wanted a reset:", r.p.resets)
		}
	})
}

// life is one life of the daemon.
type life struct {
	*api.Client
	stop  context.CancelFunc
	ended chan error
}

// begin starts a life of the daemon.
func (r *rig) begin() *life {
	r.t.Helper()
	w := &watch{clock: r.p}
	links, err := heartbeat.New(heartbeat.Config{
		Cluster: uuid(0xc0), Node: 1, Boot: r.p.Identity().Boot, Key: heartbeat.Key(r.keys.Current),
		Local: []netip.AddrPort{netip.MustParseAddrPort("10.0.0.1:7320")}, Now: w.instant, Listen: r.net.Listen,
	})
	must(r.t, err)
	d, err := New(Deps{
		Node: r.node, Keys: r.keys, Clock: r.p, Links: links, RunLinks: links.Run, Runner: r.runner, Leftovers: r.runner,
		Dial:  func() (Guard, error) { return guardwire.Dial(filepath.Join(r.node.Dirs.Run, guardSocket)) },
		Disks: Devices{Open: func(string, int) (storage.Disk, error) { return r.disk.Open("daemon"), nil }},
		Core:  r.core,
		Wall:  time.Now, Log: r.log,
	})
	must(r.t, err)
	ctx, cancel := context.WithCancel(context.Background())
	l := &life{stop: cancel, ended: make(chan error, 1)}
	done := make(chan struct{})
	go func() {
		defer close(done)
		l.ended <- d.Run(ctx)
	}()
	r.t.Cleanup(func() { cancel(); <-done })
	waitFor(r.t, "the daemon's socket", func() bool {
		l.Client, err = api.Dial(filepath.Join(r.node.Dirs.Run, apiSocket))
		return err == nil
	})
	r.t.Cleanup(l.Client.Close)
	return l
}

// runs waits until the node is a member and the service runs.
func (l *life) runs(t *testing.T) *api.Status {
	t.Helper()
	var s *api.Status
	waitFor(t, "orders to run on a member", func() bool {
		var err error
		s, err = l.Status(t.Context())
		must(t, err)
		return s.Self.Stage == "member" && len(s.Services) == 1 && s.Services[0].State == "running"
	})
	return s
}
