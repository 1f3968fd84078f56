package daemon

import (
	"context"
	"fmt"
	"time"

	"github.com/holdfast-ha/holdfast/cluster"
	"github.com/holdfast-ha/holdfast/cluster/ident"
	"github.com/holdfast-ha/holdfast/internal/api"
	"github.com/holdfast-ha/holdfast/internal/api/server"
	"github.com/holdfast-ha/holdfast/internal/build"
	"github.com/holdfast-ha/holdfast/internal/config"
	"github.com/holdfast-ha/holdfast/internal/daemon/enlist"
	"github.com/holdfast-ha/holdfast/internal/daemon/journal"
	"github.com/holdfast-ha/holdfast/internal/daemon/shown"
	"github.com/holdfast-ha/holdfast/quorumdisk/statecodec"
)

// stores joins what the API reads from files.
type stores struct {
	*journal.Story
	*journal.Cache
}

var (
	_ server.Daemon = (*Daemon)(nil)
	_ server.Store  = stores{}
)

// Facts implements server.Daemon.
func (d *Daemon) Facts(ctx context.Context) (server.Facts, error) {
	v, err := d.loop.view(ctx)
	if err != nil {
		return server.Facts{}, err
	}
	s := d.guard.snapshot()
	f := server.Facts{
		View: v, Name: d.deps.Node.Name, Cluster: d.deps.Node.Cluster.ID.String(), Build: build.Version(), Life: d.loop.life,
		Emulated: s.Emulated, Holder: s.Holder.String(), RealTime: s.RealTime, Guard: d.guard.state(),
		Watchdogs: shown.Watchdogs(s.Watchdogs), Links: shown.Links(d.links.LinkStates(), &v, d.deps.Node.Links), Past: server.Past{Last: d.events.LastTakeover(), Drills: d.ways.drills.All(&v)},
	}
	for i := range v.Disks {
		f.DiskPaths = append(f.DiskPaths, d.roster.Path(v.Disks[i].UUID))
	}
	if p := d.shared.problem.Load(); p != nil {
		f.ConfigProblem = *p
	}
	if d.others.ring.Exchanging() {
		f.Warnings = append(f.Warnings, "the cluster's key is being exchanged, and the old one is accepted yet: holdfast key rotate goes on with it, holdfast key status says what is missing")
	}
	if n := d.watch.noisy.Load(); n > 0 {
		f.Warnings = append(f.Warnings, fmt.Sprintf("%d readings of the clock were noisy: this machine stalls", n))
	}
	return f, nil
}

// Ask implements server.Daemon.
func (d *Daemon) Ask(ctx context.Context, r cluster.Request) (cluster.Reply, error) {
	return d.requests.Ask(ctx, d.loop.events, r)
}

// Parse implements server.Daemon.
func (d *Daemon) Parse(file string, text []byte, s *cluster.State) (*cluster.Config, error) {
	names := make([]string, 0, len(s.Nodes))
	for i := range s.Nodes {
		names = append(names, s.Nodes[i].Name)
	}
	conf, err := config.ParseCluster(file, text, config.KnownNodes(names))
	if err != nil {
		return nil, err
	}
	with := *s
	with.Config = text
	if err := statecodec.Fits(&with, conf); err != nil {
		return nil, fmt.Errorf("%s does not fit the quorum disk: %w", file, err)
	}
	return conf, nil
}

// Token implements server.Daemon.
func (d *Daemon) Token(ctx context.Context) (api.Token, time.Duration, error) {
	v, err := d.loop.view(ctx)
	if err != nil {
		return api.Token{}, 0, err
	}
	if v.State == nil {
		return api.Token{}, 0, fmt.Errorf("the quorum disk was not read yet: %s", summary(&v))
	}
	t, err := d.others.join.Issue(ctx)
	return t, enlist.Valid, err
}

// joining is what the join service may do with the daemon.
type joining struct{ d *Daemon }

// State implements enlist.Cluster.
func (j joining) State(ctx context.Context) (*cluster.State, error) {
	v, err := j.d.loop.view(ctx)
	if err == nil && v.State == nil {
		err = fmt.Errorf("the quorum disk was not read yet: %s", summary(&v))
	}
	return v.State, err
}

// Ask implements enlist.Cluster.
func (j joining) Ask(ctx context.Context, r cluster.Request) (cluster.Reply, error) {
	return j.d.Ask(ctx, r)
}

// Leave implements enlist.Cluster.
func (j joining) Leave(ctx context.Context, disk int, nonce [32]byte) error {
	return j.d.disks.at(disk).probe(ctx, j.d.deps.Node.ID, nonce)
}

// Find implements enlist.Cluster.
func (j joining) Find(ctx context.Context, disk int, node ident.NodeID) ([32]byte, bool, error) {
	return j.d.disks.at(disk).probed(ctx, node)
}

// newJoinService listens, when asked, on this node's link addresses: TCP on the
// heartbeat ports.
func newJoinService(d *Daemon) *enlist.Service {
	n := d.deps.Node
	set := enlist.Settings{
		Self: n.ID, Name: n.Cluster.Name, ID: n.Cluster.ID, KeyFile: n.Key, Addresses: n.Links, Wall: d.deps.Wall, Log: d.deps.Log, Listen: d.others.door.Strangers, Hold: d.others.ring.Hold,
		Layout: func() (int, int, bool) {
			l := d.shared.layout.Load()
			if l == nil {
				return 0, 0, false
			}
			return l.SectorSize, l.Nmax, true
		},
	}
	for _, q := range n.Disks {
		set.DiskPaths = append(set.DiskPaths, q.Path)
	}
	return enlist.New(set, joining{d})
}
