package daemon

import (
	"context"
	"net/netip"
	"strings"
	"testing"

	"github.com/holdfast-ha/holdfast/cluster"
	"github.com/holdfast-ha/holdfast/cluster/ident"
	"github.com/holdfast-ha/holdfast/heartbeat"
)

// TestForgottenNode: the cluster was recovered onto new disks while this node was
// forgotten, and the old disks came back: it runs a service by them. As soon as it
// hears a node of the newer epoch it stops everything, retires and stays out.
func TestForgottenNode(t *testing.T) {
	r := newRigWith(t, cluster.NodeState{ID: 2, Name: "beta", Links: []string{"10.0.0.2:7320"}})
	r.guard()
	l := r.begin()
	l.runs(t)
	w := &watch{clock: r.p}
	peer, err := heartbeat.New(heartbeat.Config{
		Cluster: uuid(0xc0), Node: 2, Boot: ident.BootID(uuid(0xb2)), Key: heartbeat.Key(r.keys.Current),
		Local: []netip.AddrPort{netip.MustParseAddrPort("10.0.0.2:7320")}, Now: w.instant, Listen: r.net.Listen,
	})
	must(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- peer.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error("links of beta:", err)
		}
	})
	peer.SetPeers(map[ident.NodeID][]netip.AddrPort{1: {netip.MustParseAddrPort("10.0.0.1:7320")}})
	m := &cluster.Message{From: 2, Inc: ident.Incarnation{N: 1001, Boot: ident.BootID(uuid(0xb2))}, LeaseAge: -1, DiskGen: cluster.NextEpoch(1)}
	waitFor(t, "the node to give the old disks up", func() bool {
		must(t, peer.Send(1, m))
		s, err := l.Status(t.Context())
		must(t, err)
		return strings.Contains(s.Self.Waiting, "holdfast disk recover --adopt") && strings.HasPrefix(s.Self.Stage, "reading")
	})
	if len(r.runner.running) != 0 || r.runner.count("kill orders") != 1 {
		t.Errorf("left running: %v; %v", r.runner.running, r.runner.calls)
	}
}
