// Package daemon is holdfastd: everything around the decision core of package
// cluster that may block or fail. It wires; it decides nothing.
//
// One goroutine, the loop, owns the core (loop.go). Everything else is a named
// task that brings it events or carries out its actions: two for the guard
// (guard.go), one for each quorum disk's register (disks.go), the heartbeat links,
// one for each operation on a service (package operations), the writers of events
// and cache (package journal) and of the decision log (package decisions), the
// local API (answers.go), the join service (package enlist), and the word to the
// service manager (notify.go). Main (main.go) makes the real parts and runs them.
//
// The daemon may crash or be restarted while services run: the guard goes on by
// the last permission, and the next life adopts what it finds. It therefore
// begins by ending every operation that its former life left half done, before
// it asks what runs.
package daemon

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"
	"golang.org/x/sync/errgroup"

	"github.com/holdfast-ha/holdfast/cluster"
	"github.com/holdfast-ha/holdfast/cluster/core"
	"github.com/holdfast-ha/holdfast/cluster/ident"
	"github.com/holdfast-ha/holdfast/internal/alerts"
	"github.com/holdfast-ha/holdfast/internal/api"
	"github.com/holdfast-ha/holdfast/internal/api/server"
	"github.com/holdfast-ha/holdfast/internal/build"
	"github.com/holdfast-ha/holdfast/internal/config"
	"github.com/holdfast-ha/holdfast/internal/daemon/agents"
	"github.com/holdfast-ha/holdfast/internal/daemon/asked"
	"github.com/holdfast-ha/holdfast/internal/daemon/decisions"
	"github.com/holdfast-ha/holdfast/internal/daemon/drills"
	"github.com/holdfast-ha/holdfast/internal/daemon/enlist"
	"github.com/holdfast-ha/holdfast/internal/daemon/examiner"
	"github.com/holdfast-ha/holdfast/internal/daemon/figures"
	"github.com/holdfast-ha/holdfast/internal/daemon/firstcheck"
	"github.com/holdfast-ha/holdfast/internal/daemon/fitness"
	"github.com/holdfast-ha/holdfast/internal/daemon/held"
	"github.com/holdfast-ha/holdfast/internal/daemon/journal"
	"github.com/holdfast-ha/holdfast/internal/daemon/keyring"
	"github.com/holdfast-ha/holdfast/internal/daemon/machine"
	"github.com/holdfast-ha/holdfast/internal/daemon/operations"
	"github.com/holdfast-ha/holdfast/internal/daemon/reservations"
	"github.com/holdfast-ha/holdfast/internal/daemon/roster"
	"github.com/holdfast-ha/holdfast/internal/daemon/sessions"
	"github.com/holdfast-ha/holdfast/internal/daemon/shutdown"
	"github.com/holdfast-ha/holdfast/internal/daemon/tables"
	"github.com/holdfast-ha/holdfast/internal/daemon/upgrade"
	"github.com/holdfast-ha/holdfast/internal/daemon/ways"
	"github.com/holdfast-ha/holdfast/internal/metrics"
	"github.com/holdfast-ha/holdfast/internal/peers"
	"github.com/holdfast-ha/holdfast/quorumdisk"
	"github.com/holdfast-ha/holdfast/storage"
	"github.com/holdfast-ha/holdfast/storage/program"
	"github.com/holdfast-ha/holdfast/storage/scsi"
)

// Files in the run directory.
const (
	guardSocket = "guard.sock"
	apiSocket   = "api.sock"
)

// Deps is everything that a daemon touches: Main makes it from node.yaml, a test
// from fakes.
type Deps struct {
	Node      *config.Node
	Keys      quorumdisk.Keys
	Clock     Clock
	Dial      func() (Guard, error)
	Disks     Devices
	Links     Links
	RunLinks  func(context.Context) error // the task that receives
	Runner    operations.Runner
	Leftovers operations.Leftovers
	Power     ways.Open // opens power switches; nil: this daemon has none
	Core      func(core.Settings) Core
	Wall      func() time.Time   // for people only
	Notify    func(state string) // the service manager; nil: there is none
	Interval  time.Duration      // of its watchdog; 0: it has none
	Log       zerolog.Logger
}

// Devices is how a daemon reaches the quorum disks.
type Devices struct {
	Open func(path string, sector int) (storage.Disk, error)
	File string // node.yaml, which is written anew when the disks change; empty: it is not
}

// fences is what acts on other nodes: on their power and on their storage, and, in a
// drill, on anything.
type fences struct {
	*ways.Ways
	drills *drills.Drills
	keys   *reservations.Keeper
}

// others is how machines that are no members, and daemons of other nodes, reach this
// one, and how it reaches those; and the key by which they know each other.
type others struct {
	ring *keyring.Ring
	id   *peers.Identity
	door *peers.Door
	join *enlist.Service
}

// seen is who sees all that the core is told and wants.
type seen struct {
	record  *decisions.Log
	figures *figures.Figures
}

// Daemon is the process. New makes it, Run runs it.
type Daemon struct {
	deps     Deps
	watch    *watch
	loop     *loop
	guard    *guardLink
	disks    diskTable
	roster   *roster.Roster
	shared   *diskShared
	links    Links
	requests *asked.Requests
	events   *journal.Story
	cache    *journal.Cache
	seen
	others others
	ways   fences
	tasks  *errgroup.Group
}

// New opens the daemon's own files. It talks to nobody yet.
func New(deps Deps) (*Daemon, error) {
	d := &Daemon{deps: deps, watch: &watch{clock: deps.Clock}, links: deps.Links, requests: asked.New()}
	d.others.ring = keyring.New(deps.Node.Name, deps.Node.Key, deps.Keys)
	state := deps.Node.Dirs.State
	var err error
	if d.cache, err = journal.OpenCache(state, deps.Log); err != nil {
		return nil, err
	}
	if d.events, err = journal.OpenStory(state, deps.Log, deps.Wall); err != nil {
		return nil, err
	}
	if d.record, err = decisions.Open(state, deps.Log, deps.Wall); err != nil {
		return nil, err
	}
	d.figures = figures.New(d.record)
	d.loop = &loop{
		watch: d.watch, events: make(chan cluster.Event, eventBuffer), calls: make(chan func()),
		record: d.figures, told: d.told, panicked: d.panicked,
	}
	d.roster = roster.New(deps.Node, deps.Disks.File)
	d.shared = &diskShared{events: d.loop.events, alarm: d.alarm}
	for i, q := range deps.Node.Disks {
		d.disks.put(d.newDisk(i, q.UUID, q.Path))
	}
	if d.others.id, err = peers.NewIdentity(deps.Keys.Current, deps.Keys.Previous); err != nil {
		return nil, err
	}
	d.others.door = peers.NewDoor(deps.Node.Links, d.others.id, deps.Log)
	d.others.join = newJoinService(d)
	d.ways.keys = reservations.New(reservations.Settings{
		Cluster: deps.Node.Cluster.ID, Open: scsi.OpenLUN, Now: d.watch.instant, Attach: new(sessions.Holder).Attach,
	})
	d.ways.Ways = ways.New(ways.Settings{Controllers: deps.Node.Controllers, Open: deps.Power, Now: d.watch.instant, Secrets: filepath.Dir(deps.Node.Key)})
	d.newDrills()
	return d, nil
}

// newDrills makes what breaks things on purpose, and puts it before the runner.
func (d *Daemon) newDrills() {
	var err error
	d.ways.drills, err = drills.New(drills.Settings{
		Ways: d.ways, Tell: d.events.Add, Now: d.watch.instant, Wall: d.deps.Wall, Self: d.deps.Node.Name, Links: d.deps.Node.Links,
		Run: d.deps.Node.Dirs.Run, State: d.deps.Node.Dirs.State, Open: d.deps.Disks.Open, Call: program.Run, Program: os.Executable,
		Machine: drills.Machine{Register: &d.shared.cut, Guard: func() any { return d.guard.connected() }, Stir: func(ctx context.Context, s, why string) {
			post[cluster.Event](ctx, d.loop.events, cluster.Stirred{Service: s, Text: why})
		}},
		Disks: func() (paths []string) {
			for _, k := range d.disks.all() {
				paths = append(paths, d.roster.Path(k.want.Disk))
			}
			return paths
		},
	})
	if err != nil {
		d.deps.Log.Warn().Err(err).Msg("drills")
	}
	d.deps.Runner = firstcheck.Around(d.ways.drills.Runner(d.deps.Runner), d.deps.Node.Name, d.watch.instant, d.events.Add)
}

// alarm puts something that people must see into the story.
func (d *Daemon) alarm(what string) {
	d.events.Add(api.Event{At: int64(d.watch.instant()), Kind: string(cluster.NoteAlarm), Level: "error", Node: d.deps.Node.Name, Text: what})
}

// Run runs the daemon. It returns nil when ctx ends, with services left running,
// and after a clean leave. Any other end is an error; the service manager starts
// a new life, which continues where this one was.
func (d *Daemon) Run(ctx context.Context) error {
	// The writers outlive the others, so that the last words are written.
	writing, stop := context.WithCancel(context.WithoutCancel(ctx))
	writers := &errgroup.Group{}
	writers.Go(func() error { return d.events.Run(writing) })
	writers.Go(func() error { return d.cache.Run(writing) })
	writers.Go(func() error { return d.record.Run(writing) })
	err := d.live(ctx)
	switch {
	case errors.Is(err, upgrade.ErrUpgraded): // its process goes on
	case err != nil && !errors.Is(err, errLeft):
		d.alarm("holdfastd ends: " + err.Error())
	default:
		err = nil
	}
	stop()
	return errors.Join(err, writers.Wait())
}

// live is the life between the first word to the guard and the end.
func (d *Daemon) live(ctx context.Context) error {
	client, err := d.greet(ctx)
	if err != nil {
		return nil // asked to end before the guard was there
	}
	adopted, err := operations.Adopt(ctx, d.deps.Leftovers, d.cache.Last())
	if err != nil {
		return errors.Join(err, client.Close())
	}
	set, first, err := d.begin(client, adopted)
	if err != nil {
		return errors.Join(err, client.Close())
	}
	socket, err := server.Listen(filepath.Join(d.deps.Node.Dirs.Run, apiSocket))
	if err != nil {
		return errors.Join(err, client.Close())
	}
	d.tasks, ctx = errgroup.WithContext(ctx)
	d.loop.core, d.loop.act = d.decider(set), d.act(ctx)
	task := func(name string, f func(context.Context) error) {
		d.tasks.Go(func() error {
			if err := f(ctx); err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
			return nil
		})
	}
	task("loop", func(ctx context.Context) error { return d.loop.run(ctx, first) })
	task("guard orders", d.guard.send)
	task("guard messages", d.guard.receive)
	for _, k := range d.disks.all() {
		task(fmt.Sprintf("register on disk %d", k.index+1), k.run)
	}
	task("heartbeat links", d.deps.RunLinks)
	task("network beats", d.listen)
	local := server.New(d, stores{d.events, d.cache}, server.GroupRoles(), d.upgrade, d.ways.drills)
	local.Count(d.counts()...)
	task("watch of services", func(ctx context.Context) error { return operations.Listen(ctx, d.deps.Runner, d.loop.events) })
	task("api", func(ctx context.Context) error { return local.Serve(ctx, socket) })
	task("metrics", func(ctx context.Context) error {
		if err := metrics.Serve(ctx, metrics.Place(d.deps.Node.Metrics), local.Metrics()); err != nil {
			d.alarm(err.Error()) // no reason to end
		}
		return nil
	})
	asking := peers.NewClient(d.others.id)
	defer asking.Close()
	herald := alerts.New(alerts.Settings{
		Self: d.deps.Node.Name, View: d.loop.view, Events: d.events.Events, Get: asking.Get, Note: d.events.Add, Now: d.deps.Wall, Log: d.deps.Log,
	})
	task("alerts", herald.Run)
	local.Reach(server.Around{Get: asking.Get, Post: asking.Post, Fit: fitness.Of(d.deps.Runner), Alerts: herald.Try, Keys: d.exchange(asking.Post), Doctor: examiner.New(program.Run, d.deps.Disks.File, os.Executable, d.deps.Wall).Report})
	task("drills", func(ctx context.Context) error { return d.ways.drills.Follow(ctx, d.loop.view, asking.Get) })
	task("keys", d.others.ring.Begin)
	task("door", func(ctx context.Context) error { return d.others.door.Run(ctx, local.PeerHandler()) })
	task("join service", d.others.join.Run)
	task("service manager", d.notify)
	task("shutdown of the machine", shutdown.Watch{Node: d.deps.Node.Name, Tell: d.events.Add, Now: d.watch.instant, Log: d.deps.Log}.Run)
	task("upgrade", d.guard.follow)
	return d.tasks.Wait()
}

// counts are the metrics that status does not show.
func (d *Daemon) counts() []prometheus.Collector {
	services, err := agents.Services(d.deps.Node)
	if err != nil {
		d.deps.Log.Warn().Err(err).Msg("no figures of services")
	}
	dogs := func() (paths []string) {
		for _, w := range d.guard.snapshot().Watchdogs {
			paths = append(paths, w.Path)
		}
		return paths
	}
	return []prometheus.Collector{d.figures, &metrics.Host{Services: services}, &metrics.Guard{Run: d.deps.Node.Dirs.Run, Dogs: dogs}}
}

// decider is the core, or what stands in for it where that has panicked too often.
func (d *Daemon) decider(set core.Settings) Core {
	if r := held.Load(d.deps.Node.Dirs.State); r.Holds(build.Version()) {
		d.record.Held(ident.Instant(set.Life), set)
		return held.New(r, set.Self)
	}
	c := d.deps.Core(set)
	d.record.Begin(ident.Instant(set.Life), set, c)
	return c
}

// panicked is called while the process dies of a panic of the core.
func (d *Daemon) panicked(ver uint64, what string) {
	r, err := held.Note(d.deps.Node.Dirs.State, build.Version(), ver, what)
	d.deps.Log.Error().Err(err).Uint64("version", ver).Int("panics", r.Count).Str("panic", what).Msg("the core has panicked")
}

// greet waits for the guard: it may be started later, or be waiting for disks.
func (d *Daemon) greet(ctx context.Context) (Guard, error) {
	wait := &guardLink{dial: d.deps.Dial, log: d.deps.Log}
	client, err := d.deps.Dial()
	if err == nil {
		return client, nil
	}
	d.deps.Log.Warn().Err(err).Msg("waiting for the guard")
	d.say("STATUS=waiting for the guard: " + err.Error())
	return wait.redial(ctx)
}

// begin makes the settings of this life and the core's first event.
func (d *Daemon) begin(client Guard, adopted []cluster.Adopted) (core.Settings, cluster.Event, error) {
	s, node, id := client.Snapshot(), d.deps.Node, d.deps.Clock.Identity()
	now, err := d.watch.now()
	if err != nil {
		return core.Settings{}, nil, fmt.Errorf("read the interval clock: %w", err)
	}
	if s.Boot != id.Boot || s.Host != id.Host {
		return core.Settings{}, nil, fmt.Errorf("the guard is of another boot or host (%v on %v, here %v on %v): both must be on one platform", s.Boot, s.Host, id.Boot, id.Host)
	}
	set := core.Settings{
		Self: node.ID, Name: node.Name, Cluster: node.Cluster.ID, Epoch: node.Cluster.Epoch, Host: id.Host, Boot: id.Boot, Life: uint64(now),
		Timing: machine.Timing(s, node), WaitLess: machine.WaitLess(node, d.deps.Log),
	}
	sum := sha256.New()
	for _, q := range node.Disks {
		set.Disks = append(set.Disks, q.UUID)
		sum.Write(q.UUID[:])
	}
	copy(set.Digest[:], sum.Sum(nil))
	d.loop.life = set.Life
	d.guard = newGuardLink(d.deps.Dial, client, d.deps.Log)
	d.guard.events, d.guard.mail = d.loop.events, d.ways.drills.Letter
	reader := &tables.Reader{Keys: d.others.ring.Keys, Cluster: node.Cluster.ID, Number: d.disks.number}
	d.guard.open = reader.Open
	d.events.Add(api.Event{
		At: int64(now), Kind: journal.KindBegan, Level: "info", Node: node.Name,
		Text: fmt.Sprintf("holdfastd %s began; boot %v, bound %v, adopted %d services", build.Version(), id.Boot, s.Lease.Inc, len(adopted)),
	})
	return set, cluster.Started{
		Floor: d.cache.Floor(node.Cluster.ID), Bound: s.Lease.Inc, Killed: s.Lease.Killed, Frozen: s.Lease.Frozen, LeaseStart: s.Lease.Start, F: s.Lease.Params.F, G: s.Lease.Params.G,
		Says: s.Params.Lease, Since: s.Lease.Carry.Since, Grace: s.Lease.Grace, Adopted: adopted,
	}, nil
}

// listen is the task that passes network beats on.
func (d *Daemon) listen(ctx context.Context) error {
	for {
		select {
		case m := <-d.links.Messages():
			post[cluster.Event](ctx, d.loop.events, cluster.Received{Link: m.Link, Msg: m.Message, From: m.From, Unread: m.Unread})
		case <-ctx.Done():
			return nil
		}
	}
}
