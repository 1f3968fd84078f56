package examples

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-ha/holdfast/test/demo/ledger"
	"github.com/holdfast-ha/holdfast/test/demo/stage"
)

// takeoversEnv is how many takeovers are wanted (make soak); without it one of each
// kind.
const takeoversEnv = "HOLDFAST_SOAK"

// writeEvery is the time between two transactions.
const writeEvery = 20 * time.Millisecond

// fault is one way in which the database leaves its node.
type fault struct {
	name   string
	strike func(ctx context.Context, r *rig, n *stage.Node) error
	down   bool // the node has to be booted afterwards
}

func faults() []fault {
	return []fault{
		{"kill", func(_ context.Context, r *rig, n *stage.Node) error {
			return r.Power.PowerOff(n.Name, "the soak pulls the plug")
		}, true},
		{"freeze", func(_ context.Context, _ *rig, n *stage.Node) error { return n.Freeze() }, true},
		{"move", func(ctx context.Context, r *rig, n *stage.Node) error {
			_, err := n.Holdfast(ctx, "service", "move", r.Services[0].Name, "--wait", "1m")
			return err
		}, false},
	}
}

// database is the page's first example at work, with a user and a client.
type database struct {
	*rig
	client *ledger.Client
}

// newDatabase makes the data with the page's commands, after which more may follow,
// and starts the database. Its nodes are made to fail again and again and are not to
// be left out for it: that is the one thing which the page's configuration has not.
func newDatabase(ctx context.Context, t *testing.T, more string) *database {
	t.Helper()
	wanted(t, "/usr/lib/ocf/resource.d/heartbeat/pgsql", "/usr/lib/postgresql/*/bin/initdb", "/run/postgresql")
	d := &database{rig: raise(ctx, t, "database", stage.Options{}, "/run/postgresql")}
	alpha := d.Nodes[0]
	d.shell(t, alpha, 0)
	if more != "" {
		script := fmt.Sprintf("mount %s /srv/database\n%s\numount /srv/database", d.DiskPath("lun0"), more)
		if out, err := alpha.Shell(script); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
	}
	if err := d.Apply(ctx, strings.Replace(d.text, "cluster:\n", "cluster:\n  quarantine: off\n", 1)); err != nil {
		t.Fatal(err)
	}
	d.shell(t, d.owner(ctx, t, 0), 1)
	var err error
	if d.client, err = d.ClientOf(d.Services[0], "postgres://shop:change%20me@192.0.2.10:5432/shop", writeEvery); err != nil {
		t.Fatal(err)
	}
	d.answer(ctx, t, 0, "")
	return d
}

// answer waits for a transaction that began after an instant and was acknowledged by
// another life of the server.
func (d *database) answer(ctx context.Context, t *testing.T, after int64, life string) ledger.Record {
	t.Helper()
	var found ledger.Record
	err := stage.Await(ctx, "a transaction is acknowledged", func() error {
		a, ok := d.client.First(after, func(a ledger.Record) bool { return a.Node != life })
		if !ok {
			all := d.client.Records()
			return fmt.Errorf("none of %d since then, the last: %+v", len(all), all[max(0, len(all)-1):])
		}
		found = a
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// takeover has the database leave its node, and returns how long the client was not
// served.
func (d *database) takeover(ctx context.Context, t *testing.T, f fault) time.Duration {
	t.Helper()
	ctx, cancel := context.WithTimeout(ctx, 3*time.Minute)
	defer cancel()
	n := d.owner(ctx, t, 0)
	life := d.answer(ctx, t, ledger.Now(), "").Node
	struck := ledger.Now()
	if err := f.strike(ctx, d.rig, n); err != nil {
		t.Fatalf("%s: %v", f.name, err)
	}
	d.answer(ctx, t, struck, life)
	gap := d.client.LongestGap(struck).Length()
	if f.down {
		d.boot(ctx, t, n)
	}
	if err := d.AwaitRunning(ctx); err != nil {
		t.Fatal(err)
	}
	if now := d.owner(ctx, t, 0); now == n {
		t.Fatalf("%s: the database runs on %s as before", f.name, n.Name)
	}
	return gap
}

// TestSoak takes a PostgreSQL over under a client that writes, by power losses,
// freezes and moves in turn, on a disk that loses what was not flushed: every
// transaction that was acknowledged is there at the end.
func TestSoak(t *testing.T) {
	t.Parallel() // what it waits for is time, mostly
	takeovers := len(faults())
	if text := os.Getenv(takeoversEnv); text != "" {
		var err error
		if takeovers, err = strconv.Atoi(text); err != nil || takeovers < 1 {
			t.Fatalf("%s=%s: want a number of takeovers", takeoversEnv, text)
		}
	}
	ctx := limit(t, 3*time.Minute+time.Duration(takeovers)*time.Minute)
	d := newDatabase(ctx, t, "")
	gaps := map[string][]time.Duration{}
	for i := range takeovers {
		f := faults()[i%len(faults())]
		gap := d.takeover(ctx, t, f)
		gaps[f.name] = append(gaps[f.name], gap)
		t.Logf("takeover %d, %s: %.2f s without an acknowledged transaction", i+1, f.name, gap.Seconds())
	}
	v, err := d.client.Verify(time.Minute)
	switch {
	case err != nil:
		t.Fatal(err)
	case !v.Good():
		t.Fatalf("of %d acknowledged transactions %d are missing: %v %s", v.Acknowledged, len(v.Missing), v.Missing, v.Err)
	}
	t.Logf("%d takeovers, %d transactions acknowledged, all of them there; the client's longest gap %.2f s",
		takeovers, v.Acknowledged, d.client.LongestGap(0).Length().Seconds())
	for _, f := range faults() {
		if all := gaps[f.name]; len(all) > 0 {
			slices.Sort(all)
			t.Logf("%-6s %2d times, longest gap: median %.2f s, worst %.2f s", f.name, len(all), all[len(all)/2].Seconds(), all[len(all)-1].Seconds())
		}
	}
}

// TestSoakSees shows that TestSoak can fail: with fsync off a loss of power takes
// acknowledged transactions with it, or the whole database.
func TestSoakSees(t *testing.T) {
	if os.Getenv(takeoversEnv) == "" {
		t.Skipf("only with %s set: make soak runs it; it waits until a broken database has been given up", takeoversEnv)
	}
	t.Parallel() // what it waits for is time, mostly
	ctx := limit(t, 6*time.Minute)
	d := newDatabase(ctx, t, "echo 'fsync = off' >>/srv/database/data/postgresql.conf")
	n := d.owner(ctx, t, 0)
	if err := d.Power.PowerOff(n.Name, "the soak pulls the plug"); err != nil {
		t.Fatal(err)
	}
	struck, life := ledger.Now(), d.answer(ctx, t, 0, "").Node
	wait, cancel := context.WithTimeout(ctx, 90*time.Second)
	defer cancel()
	err := stage.Await(wait, "the database answers on the other node", func() error {
		if _, ok := d.client.First(struck, func(a ledger.Record) bool { return a.Node != life }); !ok {
			return errors.New("it does not")
		}
		return nil
	})
	if err != nil {
		t.Logf("without fsync the database is lost: %v", err)
		return
	}
	v, err := d.client.Verify(time.Minute)
	if err == nil && v.Good() {
		t.Fatalf("without fsync all of %d acknowledged transactions outlived a power loss: the disk forgets nothing, and TestSoak sees nothing", v.Acknowledged)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("without fsync %d of %d acknowledged transactions are missing, as they must be; %s", len(v.Missing), v.Acknowledged, v.Err)
}
