package accept

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-ha/holdfast/bmc"
	"github.com/holdfast-ha/holdfast/bmc/bmctest"
	"github.com/holdfast-ha/holdfast/test/demo/stage"
	"github.com/holdfast-ha/holdfast/test/power"
)

// controllers are the management controllers of a stage: real Redfish over TLS,
// whose "off" takes the power of the emulated node.
type controllers struct {
	t         *testing.T
	secret    string
	machines  map[string]*bmctest.Machine
	listeners map[string]net.Listener
	text      strings.Builder
}

func newControllers(t *testing.T) *controllers {
	t.Helper()
	dir := t.TempDir()
	c := &controllers{t: t, secret: filepath.Join(dir, "bmc.secret"), machines: map[string]*bmctest.Machine{}, listeners: map[string]net.Listener{}}
	if err := os.WriteFile(c.secret, []byte(bmctest.Password+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return c
}

// install makes the controllers, once, and says how node.yaml names them.
func (c *controllers) install(s *stage.Stage) (string, error) {
	if c.text.Len() > 0 {
		return c.text.String(), nil
	}
	for _, n := range s.Nodes {
		state, err := s.Power.State(n.Name)
		if err != nil {
			return "", err
		}
		l, err := s.Listen()
		if err != nil {
			return "", err
		}
		m := bmctest.NewMachine(c.t, bmctest.Honest)
		m.GUID = bmc.GUID(state.HostUUID)
		m.Turned = func(on bool) {
			if !on {
				if err := s.Power.PowerOff(n.Name, "its management controller was asked to"); err != nil {
					c.t.Errorf("switch %s off: %v", n.Name, err)
				}
			}
		}
		r := bmctest.NewRedfishOn(c.t, l, m)
		c.machines[n.Name], c.listeners[n.Name] = m, l
		fmt.Fprintf(&c.text, "  %s: {url: %q, password_file: %s}\n", n.Name, r.Reference(c.t, "1"), c.secret)
	}
	return c.text.String(), nil
}

// TestPowerBesideTime freezes the active node twice in one run: once with its
// management controller at work, once with that unreachable. The first takeover
// rests on the power, read twice as off, the second on time; the first is the
// faster one, and each time the node had lost its power before the other mounts.
func TestPowerBesideTime(t *testing.T) {
	wanted(t, true)
	ctx := limit(t, 4*time.Minute)
	c := newControllers(t)
	s := raise(ctx, t, stage.Options{Services: witnessed(), Names: []string{"alpha", "beta"}, Within: 25 * time.Second, Controllers: c.install})
	log := follow(t, s)
	byPower := c.takeover(ctx, t, s, log, "E4")
	for _, l := range c.listeners {
		_ = l.Close() // nobody reaches a controller any more
	}
	byTime := c.takeover(ctx, t, s, log, "E3")
	t.Logf("from the freeze to the mount elsewhere: %v by power, %v by time", byPower, byTime)
	if byPower*3 > byTime*2 {
		t.Errorf("%v with the controller, %v without: that is not much faster", byPower, byTime)
	}
}

// takeover freezes the active node and returns how long it took until the other
// one began to mount; the proof must be the wanted one.
func (c *controllers) takeover(ctx context.Context, t *testing.T, s *stage.Stage, log *journal, want string) time.Duration {
	t.Helper()
	n := owner(ctx, t, s)
	from := log.mark(ctx, t, s, "freeze "+n.Name+" "+want)
	begin := log.events[from-1].At
	if err := n.Freeze(); err != nil {
		t.Fatal(err)
	}
	mount, err := log.await(ctx, from, "the other node mounts", func(e power.Event) bool {
		return e.What == power.Mark && e.Node != n.Name && e.Text == s.Services[0].WitnessText()
	})
	if err != nil {
		t.Fatal(err)
	}
	lost, err := log.await(ctx, from, n.Name+" loses its power", loss(n.Name))
	if err != nil {
		t.Fatal(err)
	}
	if lost.At >= mount.At {
		t.Fatalf("%s lost its power %v after the other node began to mount", n.Name, time.Duration(lost.At-mount.At))
	}
	proof := ""
	for _, e := range s.Story(ctx, begin) {
		if e.Kind == "proof" && e.Node == n.Name {
			proof = e.Proof
		}
	}
	if !strings.HasPrefix(proof, want) {
		t.Errorf("the proof was %q, want %s", proof, want)
	}
	c.machines[n.Name].Set(true)
	comeBack(ctx, t, s, n)
	return time.Duration(mount.At - begin)
}
