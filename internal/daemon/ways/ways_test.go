package ways_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/holdfast-ha/holdfast/bmc"
	"github.com/holdfast-ha/holdfast/bmc/bmctest"
	"github.com/holdfast-ha/holdfast/bmc/drivers"
	"github.com/holdfast-ha/holdfast/cluster"
	"github.com/holdfast-ha/holdfast/cluster/ident"
	"github.com/holdfast-ha/holdfast/internal/config"
	"github.com/holdfast-ha/holdfast/internal/daemon/ways"
)

func TestMain(m *testing.M) {
	bmctest.Main()
	os.Exit(m.Run())
}

// rig is a machine with a Redfish controller, and the ways of another node.
type rig struct {
	m    *bmctest.Machine
	ways *ways.Ways
	last atomic.Int64
}

func newRig(t *testing.T, fault bmctest.Fault) *rig {
	t.Helper()
	r := &rig{m: bmctest.NewMachine(t, fault)}
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte(bmctest.Password+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	c := config.Controller{URL: bmctest.NewRedfish(t, r.m).Reference(t, "1").String(), PasswordFile: secret}
	r.ways = ways.New(ways.Settings{
		Controllers: map[string]config.Controller{"beta": c}, Open: drivers.Open, Hold: 20 * time.Millisecond,
		Now: func() ident.Instant { return ident.Instant(r.last.Add(1)) },
	})
	return r
}

func (r *rig) try(kind cluster.FenceKind, within time.Duration) cluster.FenceDone {
	f := cluster.Fence{Op: 7, Kind: kind, Node: 2, Name: "beta", Host: ident.UUID(r.m.GUID), Way: cluster.Way{Kind: cluster.WayBMC}, Within: within}
	return r.ways.Begin(context.Background(), f)()
}

// What each kind of device is worth over each way is the table of test/outcomes.

func TestCheckAndOn(t *testing.T) {
	r := newRig(t, bmctest.Honest)
	if d := r.try(cluster.FenceCheck, 10*time.Second); d.Outcome != cluster.FenceProven || !r.m.IsOn() {
		t.Errorf("check: %+v", d)
	}
	r.m.Set(false)
	if d := r.try(cluster.FenceOn, 10*time.Second); d.Outcome != cluster.FenceProven || !r.m.IsOn() {
		t.Errorf("on: %+v", d)
	}
}

// TestWhatIsMissingIsSaid: a way that cannot be used is failed, with the reason,
// and never holds the password.
func TestWhatIsMissingIsSaid(t *testing.T) {
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte("hunter2\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	w := ways.New(ways.Settings{
		Controllers: map[string]config.Controller{"beta": {URL: "redfish://u@127.0.0.1", PasswordFile: secret}},
		Open:        drivers.Open, Now: func() ident.Instant { return 1 },
	})
	for words, f := range map[string]cluster.Fence{
		"no controller of gamma": {Name: "gamma", Way: cluster.Way{Kind: cluster.WayBMC}},
		"which machine beta is":  {Name: "beta", Way: cluster.Way{Kind: cluster.WayBMC}},
		"secret":                 {Name: "beta", Host: ident.UUID{1, 2}, Way: cluster.Way{Kind: cluster.WayBMC}},
		"fence_scsi":             {Name: "beta", Way: cluster.Way{Kind: cluster.WayAgent, Agent: "fence_scsi"}},
		"holds a secret":         {Name: "beta", Way: cluster.Way{Kind: cluster.WayAgent, Agent: "fence_x", With: map[string]string{"password": "hunter2"}}},
	} {
		f.Kind, f.Within = cluster.FenceOff, time.Second
		d := w.Begin(context.Background(), f)()
		if d.Outcome != cluster.FenceFailed || !strings.Contains(d.Text, words) || strings.Contains(d.Text, "hunter2") {
			t.Errorf("%s: %+v", words, d)
		}
	}
}

// TestSwitchFromTheState: a controller that node.yaml does not name is reached as
// its node has said, with a password that stands here, and must be the machine
// whose GUID was found there.
func TestSwitchFromTheState(t *testing.T) {
	m := bmctest.NewMachine(t, bmctest.Honest)
	etc := t.TempDir()
	w := ways.New(ways.Settings{Open: drivers.Open, Now: func() ident.Instant { return 1 }, Secrets: etc})
	f := cluster.Fence{
		Kind: cluster.FenceCheck, Name: "beta", Host: ident.UUID{1}, Way: cluster.Way{Kind: cluster.WayBMC}, Within: 10 * time.Second,
		Switch: bmctest.NewRedfish(t, m).URL("1") + "#" + m.GUID.String(),
	}
	if d := w.Begin(t.Context(), f)(); d.Outcome != cluster.FenceFailed || !strings.Contains(d.Text, filepath.Join(etc, "bmc", "beta.secret")) {
		t.Errorf("without a password: %+v", d)
	}
	if err := os.WriteFile(filepath.Join(etc, "bmc.secret"), []byte(bmctest.Password+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if d := w.Begin(t.Context(), f)(); d.Outcome != cluster.FenceProven {
		t.Errorf("%+v", d)
	}
	f.Switch = f.Switch[:len(f.Switch)-1] + "f"
	if d := w.Begin(t.Context(), f)(); d.Outcome != cluster.FenceUnknown || !strings.Contains(d.Text, "not shown to be") {
		t.Errorf("another GUID: %+v", d)
	}
}

// stuck is a driver that ignores its context.
type stuck struct{ release chan struct{} }

func (s stuck) State(context.Context) (bmc.State, bmc.Identity, error) {
	<-s.release
	return bmc.Off, bmc.Identity{}, nil
}

func (s stuck) Set(context.Context, bool) error {
	<-s.release
	return errors.New("released")
}

// TestDeadlineHolds even if the driver ignores it, and Stop ends an attempt.
func TestDeadlineHolds(t *testing.T) {
	s := stuck{make(chan struct{})}
	defer close(s.release)
	w := ways.New(ways.Settings{
		Controllers: map[string]config.Controller{"beta": {URL: "agent:fence_x"}}, Now: func() ident.Instant { return 1 },
		Open: func(r bmc.Reference, o bmc.Options) (bmc.Switch, error) {
			o.Attempt = time.Minute
			return bmc.NewSwitch(fmt.Sprint(r), s, o)
		},
	})
	f := cluster.Fence{Op: 1, Kind: cluster.FenceOff, Name: "beta", Way: cluster.Way{Kind: cluster.WayBMC}, Within: 50 * time.Millisecond}
	if d := w.Begin(context.Background(), f)(); d.Outcome != cluster.FenceUnknown {
		t.Errorf("after the deadline: %+v", d)
	}
	f.Op, f.Within = 2, time.Hour
	carry := w.Begin(context.Background(), f)
	w.Stop(2)
	if d := carry(); d.Outcome != cluster.FenceUnknown {
		t.Errorf("after Stop: %+v", d)
	}
}
