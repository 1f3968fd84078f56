package ctl_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-ha/holdfast/cluster"
	"github.com/holdfast-ha/holdfast/cluster/ident"
	"github.com/holdfast-ha/holdfast/internal/config"
	"github.com/holdfast-ha/holdfast/internal/config/nodefile"
	"github.com/holdfast-ha/holdfast/internal/ctl/enrol"
	"github.com/holdfast-ha/holdfast/internal/daemon/journal"
	"github.com/holdfast-ha/holdfast/internal/guardwire"
	"github.com/holdfast-ha/holdfast/quorumdisk"
	"github.com/holdfast-ha/holdfast/quorumdisk/volume"
	"github.com/holdfast-ha/holdfast/storage"
)

// lost is a cluster of alpha and beta whose three quorum disks are lost but for
// the first, with what their daemons have kept: beta ran a service.
type lost struct {
	*site
	t     *testing.T
	disks []string
	fresh []string
	node  *config.Node
	state *cluster.State
}

func newLost(t *testing.T) *lost {
	t.Helper()
	l := &lost{site: newSite(t), t: t}
	var flags []string
	for _, n := range []string{"q1", "q2", "q3"} {
		l.disks = append(l.disks, l.disk(n, 70))
		flags = append(flags, "--disk", l.disks[len(l.disks)-1])
	}
	l.init(flags...).says(t, 0)
	for _, n := range []string{"n1", "n2", "n3"} {
		l.fresh = append(l.fresh, l.disk(n, 70))
	}
	l.node = l.read("alpha")
	keys, err := quorumdisk.LoadKeys(l.node.Key)
	if err != nil {
		t.Fatal(err)
	}
	v, err := enrol.OpenVolume(l.disks[0], keys, volume.Expect{}, storage.Options{ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	first, _, err := v.NewestState(time.Second)
	if err := errors.Join(err, v.Disk().Close()); err != nil {
		t.Fatal(err)
	}
	l.state = first.Clone()
	l.state.Ver, l.state.Config = 42, []byte(strings.Replace(string(first.Config), "services: {}", "services: {orders: {stack: [{exec: {start: [/bin/true]}}]}}", 1))
	l.state.Nodes[0].Phase, l.state.Nodes[0].Inc = cluster.MemberPhase, ident.Incarnation{N: 5, Boot: ident.BootID{1}}
	beta := cluster.NodeState{ID: 2, Name: "beta", Phase: cluster.MemberPhase, Inc: ident.Incarnation{N: 7, Boot: ident.BootID{2}}}
	l.state.Nodes = append(l.state.Nodes, beta)
	l.state.Services = []cluster.Grant{{Service: "orders", Owner: 2, Inc: beta.Inc, Term: 3}}
	if err := journal.Put(l.node.Dirs.State, l.state); err != nil {
		t.Fatal(err)
	}
	for _, d := range l.disks[1:] {
		if err := os.Remove(d); err != nil {
			t.Fatal(err)
		}
	}
	return l
}

// read is what a node's own file says.
func (l *lost) read(name string) *config.Node {
	l.t.Helper()
	text, err := os.ReadFile(l.yaml(name))
	if err != nil {
		l.t.Fatal(err)
	}
	n, err := config.ParseNode(l.yaml(name), text)
	if err != nil {
		l.t.Fatal(err)
	}
	return n
}

func (l *lost) recover(stdin string, more ...string) result {
	args := []string{"disk", "recover", "--from-cache", "--for", "1ms"}
	for _, d := range l.fresh {
		args = append(args, "--disk", d)
	}
	return l.at(stdin, append(args, more...)...)
}

const words = "beta\nboth cords pulled\nJ. Doe\nholdfast\n"

// TestRecover: two of three quorum disks are gone for good. What is found is shown,
// nothing is written before every word was given, and afterwards the old disk is
// refused and the new ones hold the newest state with everything free.
func TestRecover(t *testing.T) {
	t.Parallel()
	l := newLost(t)
	newer := l.state.Clone()
	newer.Ver = 44
	other := filepath.Join(l.dir, "beta")
	if err := journal.Put(other, newer); err != nil {
		t.Fatal(err)
	}
	l.unchanged(l.disks[0])
	l.recover("", "--dry-run").says(t, 0, "version 1\n", "version 42, kept", "the newest is version 42", "nothing points to a newer one",
		"epoch 1 of the quorum disks", "orders was last on beta", "nothing was written")
	for stdin, says := range map[string]string{
		"":                            "nothing was changed",
		"beta\n":                      "no answer",
		"beta\ndark\nJ. Doe\nwrong\n": "nothing was changed",
	} {
		l.recover(stdin).says(t, 1, says)
	}
	if n := l.read("alpha"); n.Cluster.Epoch != 0 || n.Disks[0].Path != l.disks[0] {
		t.Fatalf("a refusal has changed node.yaml: %+v", n)
	}
	old := l.read("alpha")
	l.recover(words, "--state", other).says(t, 0, "the newest is version 44", "at version 1044 on 3 new quorum disks, epoch 1", "--adopt --disk "+l.fresh[0])
	l.checkRecovered(1044)
	l.at("", "disk", "verify", "--json").says(t, 0, "[]")
	l.at("", "disk", "verify", l.disks[0]).says(t, 0)
	l.recover(words).says(t, 1, "3 of 3 quorum disks can be read", "nothing has to be recovered")

	// Whoever names the old disk in a file of the new epoch is told; and a node
	// that was forgotten is told that it is behind.
	n := *l.read("alpha")
	keys, err := quorumdisk.LoadKeys(n.Key)
	if err != nil {
		t.Fatal(err)
	}
	_, err = enrol.OpenVolume(l.disks[0], keys, volume.Expect{Cluster: n.Cluster.ID, Epoch: n.Cluster.Epoch, Disk: old.Disks[0].UUID}, storage.Options{ReadOnly: true})
	if !errors.Is(err, quorumdisk.ErrGivenUp) {
		t.Errorf("the old disk: %v", err)
	}
	_, err = enrol.OpenVolume(l.fresh[0], keys, volume.Expect{Cluster: n.Cluster.ID, Disk: n.Disks[0].UUID}, storage.Options{ReadOnly: true})
	if !errors.Is(err, quorumdisk.ErrBehind) {
		t.Errorf("a new disk for a node that was forgotten: %v", err)
	}
}

// checkRecovered looks at the new disks and at this node's own files.
func (l *lost) checkRecovered(ver uint64) {
	l.t.Helper()
	n := l.read("alpha")
	text, err := os.ReadFile(filepath.Join(l.etc("alpha"), "guard.conf"))
	if err != nil {
		l.t.Fatal(err)
	}
	g, err := guardwire.ParseSettings("guard.conf", text)
	if err != nil || g.Layout.Epoch != 1 || len(g.Disks) != 3 || g.Disks[2].Path != l.fresh[2] {
		l.t.Errorf("guard.conf: %+v, %v", g, err)
	}
	s, err := journal.Kept(n.Dirs.State)
	if err != nil || n.Cluster.Epoch != 1 || len(n.Disks) != 3 || s.Ver != ver || s.Disks[1] != n.Disks[1].UUID {
		l.t.Fatalf("%+v, %+v, %v", n, s, err)
	}
	beta, orders := s.NodeNamed("beta"), s.Grant("orders")
	if beta.Phase != cluster.Out || beta.Dead < 1000 || beta.Proof.Kind != cluster.ProofOperator || beta.Proof.Text != "operator J. Doe: both cords pulled" {
		l.t.Errorf("beta: %+v", beta)
	}
	if alpha := s.NodeNamed("alpha"); alpha.Phase != cluster.Out || alpha.Proof.Kind != cluster.ProofReleased {
		l.t.Errorf("alpha: %+v", alpha)
	}
	if orders.Owner != 0 || orders.Term <= 3 || orders.Proof != beta.Proof {
		l.t.Errorf("orders: %+v", orders)
	}
}

// TestRecoverAdopt: the other node takes the new disks over, all of them and
// nothing else, and its files then say so; one that is not known is told to join.
func TestRecoverAdopt(t *testing.T) {
	t.Parallel()
	l := newLost(t)
	beta := *l.node
	beta.Name, beta.ID = "beta", 2
	beta.Dirs.Run, beta.Dirs.State = filepath.Join(l.dir, "beta-run"), filepath.Join(l.dir, "beta-state")
	etc := filepath.Join(l.dir, "beta-etc")
	conf, err := os.ReadFile(filepath.Join(l.etc("alpha"), "guard.conf"))
	if err == nil {
		err = os.MkdirAll(etc, 0o755)
	}
	file := filepath.Join(etc, "node.yaml")
	if err := errors.Join(err, os.WriteFile(filepath.Join(etc, "guard.conf"), conf, 0o644), os.WriteFile(file, nodefile.Write(beta), 0o644)); err != nil {
		t.Fatal(err)
	}
	adopt := func(stdin string, disks ...string) result {
		args := []string{"--config", file, "disk", "recover", "--adopt"}
		for _, d := range disks {
			args = append(args, "--disk", d)
		}
		return holdfast(stdin, args...)
	}
	l.recover(words).says(t, 0)
	adopt("holdfast\n", l.fresh[0]).says(t, 1, "not among those given")
	adopt("no\n", l.fresh...).says(t, 1, "nothing was changed")
	adopt("holdfast\n", l.fresh[2], l.fresh[0], l.fresh[1]).says(t, 0, "hold version 1042", "node beta uses the new quorum disks")
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	n, err := config.ParseNode(file, text)
	if err != nil || n.Cluster.Epoch != 1 || len(n.Disks) != 3 || n.Disks[0].Path != l.fresh[0] || n.Disks[2].UUID != l.read("alpha").Disks[2].UUID {
		t.Errorf("node.yaml of beta: %+v, %v", n, err)
	}
	if s, err := journal.Kept(beta.Dirs.State); err != nil || s.Ver != 1042 {
		t.Errorf("what beta keeps: %+v, %v", s, err)
	}
	beta.ID = 3
	if err := os.WriteFile(file, nodefile.Write(beta), 0o644); err != nil {
		t.Fatal(err)
	}
	adopt("holdfast\n", l.fresh...).says(t, 1, "does not know beta as node 3", "holdfast join TOKEN")
}

// TestRecoverRefuses: what must be mended, or said, before anything is written.
func TestRecoverRefuses(t *testing.T) {
	t.Parallel()
	l := newLost(t)
	run := l.node.Dirs.Run
	if err := os.MkdirAll(run, 0o755); err != nil {
		t.Fatal(err)
	}
	boot := filepath.Join(run, "bound")
	if err := os.WriteFile(boot, []byte("not to be read\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	l.recover(words).says(t, 1, "the guard of this node is bound", "reboot this node")
	if err := os.Remove(boot); err != nil {
		t.Fatal(err)
	}
	l.at("", "disk", "recover", "--disk", l.fresh[0]).says(t, 2, "--from-cache", "--adopt")
	l.at("", "disk", "recover", "--from-cache").says(t, 2, "one or three")
	l.at("", "disk", "recover", "--adopt", "--disk", l.disks[0]).says(t, 1, "nobody has recovered the cluster onto it")
	l.fresh[1] = l.fresh[0]
	l.recover(words).says(t, 1, "are the same disk")
	l.fresh = []string{l.disks[0]}
	l.recover(words).says(t, 1, "carries something", "--force-wipe=")
	if err := os.Remove(filepath.Join(l.node.Dirs.State, journal.StateFile)); err != nil {
		t.Fatal(err)
	}
	l.recover("", "--dry-run", "--state", filepath.Join(l.dir, "nothing")).says(t, 1, "carries something")
	if err := os.Remove(l.disks[0]); err != nil {
		t.Fatal(err)
	}
	l.fresh = []string{l.disk("n4", 70)}
	l.recover("", "--dry-run").says(t, 1, "no state was found", "--state")
}
