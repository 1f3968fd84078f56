package accept

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-ha/holdfast/internal/api"
	"github.com/holdfast-ha/holdfast/quorumdisk"
	"github.com/holdfast-ha/holdfast/test/demo/ledger"
	"github.com/holdfast-ha/holdfast/test/demo/stage"
)

// TestKeyRotate exchanges the key of a running cluster twice: once with everything in
// order; and once with a node's daemon away, the leader killed between two steps, and
// a disk lost. A client writes all the time; nobody is suspected, no node loses its
// power, and the service stays where it is, in its term.
func TestKeyRotate(t *testing.T) {
	wanted(t, true)
	ctx := limit(t, 6*time.Minute)
	s := raise(ctx, t, stage.Options{Services: witnessed(), Disks: 3, Within: 15 * time.Second})
	r := &rig{stage: s, service: s.Services[0], log: follow(t, s)}
	var err error
	if r.client, err = s.Client(r.service, 20*time.Millisecond); err != nil {
		t.Fatal(err)
	}
	n, instant, event := r.begin(ctx, t)
	before := serviceAt(ctx, t, n, r.service.Name)
	first := theKey(t, s)
	do(ctx, t, s.Nodes[1], "key", "rotate", "--dry-run")
	if theKey(t, s) != first {
		t.Error("a dry run has exchanged the key")
	}
	do(ctx, t, s.Nodes[1], "key", "rotate")
	second := theKey(t, s)
	if second == first {
		t.Error("the key is the old one")
	}
	do(ctx, t, s.Nodes[2], "key", "status")
	for i := 1; i <= 3; i++ {
		do(ctx, t, s.Nodes[0], "disk", "verify", s.QuorumPath(i))
	}
	whole(ctx, t, s, instant)

	cutShort(ctx, t, s)
	if theKey(t, s) == second {
		t.Error("the key is the old one")
	}
	if now := serviceAt(ctx, t, n, r.service.Name); now.Term != before.Term || now.Node != n.Name {
		t.Errorf("the service is on %s in term %d, it was on %s in term %d", now.Node, now.Term, n.Name, before.Term)
	}
	r.answer(ctx, t, ledger.Now(), "the service answers", nil)
	failed := 0
	for _, a := range r.client.Records() {
		switch {
		case a.At < instant:
		case a.Err == "" && a.Node != n.Name:
			t.Fatalf("write %d: answered by %q", a.Seq, a.Node)
		case a.Err == "":
			failed = 0
		default: // a few may be late on a machine that does much else; a takeover fails many more
			if failed++; failed > 5 {
				t.Fatalf("write %d: error %q, and so the five before", a.Seq, a.Err)
			}
		}
	}
	r.noLoss(ctx, t, event)
}

// cutShort has an exchange of keys meet with everything, and end all the same.
func cutShort(ctx context.Context, t *testing.T, s *stage.Stage) {
	t.Helper()
	alpha, beta, gamma := s.Nodes[0], s.Nodes[1], s.Nodes[2]
	refused := func(words ...string) {
		t.Helper()
		out, err := beta.Holdfast(ctx, "key", "rotate", "--wait", "1s")
		if err == nil {
			t.Fatalf("it went on: %s", out)
		}
		for _, w := range words {
			if !strings.Contains(err.Error(), w) {
				t.Fatalf("%v; want %q", err, w)
			}
		}
		t.Logf("refused: %v", err)
	}
	step := func(n *stage.Node, begin bool, stageNow string) {
		t.Helper()
		c, err := n.API()
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		p, err := c.RotateKey(ctx, api.KeyRequest{Begin: begin})
		if err != nil || p.Status.Stage != stageNow {
			t.Fatalf("%+v, %v; want it to be %s", p, err, stageNow)
		}
	}
	again := func(n *stage.Node) {
		t.Helper()
		within, cancel := context.WithTimeout(ctx, 40*time.Second)
		defer cancel()
		if err := n.StartDaemon(within); err != nil {
			t.Fatal(err)
		}
		if err := s.AwaitMembers(within, s.Nodes...); err != nil {
			t.Fatal(err)
		}
	}
	step(alpha, true, api.KeyTurning)
	if err := gamma.KillDaemon(); err != nil {
		t.Fatal(err)
	}
	refused("gamma", "node remove")
	again(gamma)
	step(gamma, false, api.KeySettling)
	if err := alpha.KillDaemon(); err != nil {
		t.Fatal(err)
	}
	again(alpha)
	if err := s.LoseQuorum(2); err != nil {
		t.Fatal(err)
	}
	refused("quorum disk 2", "disk replace")
	fresh, err := s.AddQuorum()
	if err != nil {
		t.Fatal(err)
	}
	do(ctx, t, alpha, "disk", "replace", s.QuorumPath(2), fresh, "--yes")
	do(ctx, t, beta, "key", "rotate")
	do(ctx, t, beta, "key", "status")
}

// theKey is the cluster's key, which every node has in its file, and nothing else.
func theKey(t *testing.T, s *stage.Stage) quorumdisk.Key {
	t.Helper()
	var all []quorumdisk.Keys
	for _, n := range s.Nodes {
		file := filepath.Join(filepath.Dir(n.Config()), "cluster.key")
		k, err := quorumdisk.LoadKeys(file)
		if err != nil {
			t.Fatal(err)
		}
		if all = append(all, k); k != all[0] || !k.Previous.IsZero() {
			t.Fatalf("%s has %s and %s; %s has %s", n.Name, k.Current.Fingerprint(), k.Previous.Fingerprint(), s.Nodes[0].Name, all[0].Current.Fingerprint())
		}
		if _, err := os.Stat(file + ".new"); err == nil {
			t.Errorf("%s has kept the mark of an exchange", n.Name)
		}
	}
	return all[0].Current
}

// whole fails if anybody was suspected, or lost something, since an instant.
func whole(ctx context.Context, t *testing.T, s *stage.Stage, instant int64) {
	t.Helper()
	for _, e := range s.Story(ctx, instant) {
		switch e.Kind {
		case "suspected", "fencing", "lease", "failed", "stopping", "alarm", "waiting":
			t.Errorf("%s says: %s %s", e.Observer, e.Kind, e.Text)
		}
	}
}
