package accept

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-ha/holdfast/test/demo/stage"
)

// TestDiskSet takes a running cluster from one quorum disk to three, ruins one,
// replaces it, and ruins another: its service is never touched, and at the end
// the files of every node name the disks that count.
func TestDiskSet(t *testing.T) {
	wanted(t, false)
	ctx := limit(t, 4*time.Minute)
	logs := t.TempDir()
	s, err := stage.Raise(ctx, stage.Options{Bin: built(), Logs: logs, Services: []stage.Service{{Name: "orders"}}, Within: 7 * time.Second})
	if err != nil {
		showLogs(t, logs)
		t.Fatalf("put a cluster up: %v", err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("left behind: %v", err)
		}
		if t.Failed() {
			showLogs(t, logs)
		}
	})
	n := owner(ctx, t, s)
	before := serviceAt(ctx, t, n, "orders")
	st, err := n.Status(ctx)
	if err != nil {
		t.Fatal(err)
	}
	first := st.Disks[0].Path
	disk := func(i int) string { return filepath.Join(filepath.Dir(first), fmt.Sprintf("quorum%d", i)) }
	for i := 2; i <= 5; i++ {
		f, err := os.Create(disk(i))
		if err == nil {
			err = f.Truncate(80 << 20)
		}
		if err != nil {
			t.Fatal(err)
		}
		_ = f.Close()
	}
	beta := s.Nodes[1]
	do(ctx, t, beta, "disk", "grow", "--disk", disk(2), "--disk", disk(3), "--yes")
	ruin(t, disk(2))
	awaitBad(ctx, t, n, disk(2))
	do(ctx, t, s.Nodes[2], "disk", "replace", disk(2), disk(4), "--yes")
	ruin(t, first)
	awaitBad(ctx, t, n, first)
	decides(ctx, t, beta, "node", "standby", "gamma") // on the two that are left
	if now := serviceAt(ctx, t, n, "orders"); now.Term != before.Term || now.State != "running" || now.Node != n.Name {
		t.Errorf("the service was %+v, and is %+v", before, now)
	}
	for _, n := range s.Nodes {
		text, err := os.ReadFile(n.Config())
		if err != nil {
			t.Fatal(err)
		}
		for _, want := range []string{first, disk(3), disk(4)} {
			if !strings.Contains(string(text), want+"\n") && !strings.Contains(string(text), want+"\"") {
				t.Errorf("node.yaml of %s does not name %s:\n%s", n.Name, want, text)
			}
		}
		if strings.Contains(string(text), disk(2)) {
			t.Errorf("node.yaml of %s still names %s", n.Name, disk(2))
		}
	}
	if out, err := beta.Holdfast(ctx, "disk", "replace", disk(3), disk(5), "--yes", "--dry-run"); err != nil || !strings.Contains(out, "nothing was written") {
		t.Errorf("a dry run: %v\n%s", err, out)
	}
}

// do runs a command of the administrator on a node, which has to succeed.
func do(ctx context.Context, t *testing.T, n *stage.Node, args ...string) {
	t.Helper()
	out, err := n.Holdfast(ctx, args...)
	if err != nil {
		t.Fatalf("holdfast %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	t.Logf("holdfast %s:\n%s", strings.Join(args, " "), out)
}

// decides is do for what may be asked again. Where the machine took too long to begin on
// a disk that was added, its node decides nothing by that disk for a minute.
func decides(ctx context.Context, t *testing.T, n *stage.Node, args ...string) {
	t.Helper()
	for tries := 1; ; tries++ {
		out, err := n.Holdfast(ctx, args...)
		switch {
		case err == nil:
			t.Logf("holdfast %s:\n%s", strings.Join(args, " "), out)
			return
		case tries == 3 || !strings.Contains(err.Error()+out, "no answer within"):
			t.Fatalf("holdfast %s: %v\n%s", strings.Join(args, " "), err, out)
		}
		t.Logf("holdfast %s, asked for the %d. time: %v", strings.Join(args, " "), tries, err)
	}
}

// ruin makes a disk forget everything, superblock and all.
func ruin(t *testing.T, path string) {
	t.Helper()
	for _, size := range []int64{0, 80 << 20} {
		if err := os.Truncate(path, size); err != nil {
			t.Fatal(err)
		}
	}
}

// awaitBad waits until a node shows a disk as failed.
func awaitBad(ctx context.Context, t *testing.T, n *stage.Node, path string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	err := stage.Await(ctx, path+" to be shown as failed", func() error {
		st, err := n.Status(ctx)
		if err != nil {
			return err
		}
		for _, d := range st.Disks {
			if d.Path == path && d.Error != "" {
				return nil
			}
		}
		return fmt.Errorf("disks %+v", st.Disks)
	})
	if err != nil {
		t.Fatal(err)
	}
}
