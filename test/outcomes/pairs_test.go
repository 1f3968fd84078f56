package outcomes

import (
	"sync/atomic"
	"testing"

	"github.com/holdfast-ha/holdfast/bmc/bmctest"
	"github.com/holdfast-ha/holdfast/cluster"
	"github.com/holdfast-ha/holdfast/internal/config"
)

// TestPairs holds every cell of the table of several switches.
func TestPairs(t *testing.T) {
	for _, set := range Sets() {
		t.Run(set, func(t *testing.T) {
			for _, p := range Pairs() {
				want, ok := p.Expect(set)
				if !ok {
					continue
				}
				t.Run(p.Name, func(t *testing.T) {
					t.Parallel()
					m, way, controller := feed(t, &p, set)
					r := newRig(t, m, way, controller)
					r.enough, r.hangs = 2*twice, p.First == bmctest.Hanging || p.Second == bmctest.Hanging
					r.saysOff = p.Second == bmctest.SaysOff || p.Second == bmctest.SaysDone || p.Dark
					if p.Second == bmctest.SaysOff || p.Dark {
						r.check()
					}
					if got := r.fence(want); got != want {
						t.Errorf("%v, want %v", got, want)
					}
					if want == proven && m.IsOn() {
						t.Error("proven, and the machine runs")
					}
				})
			}
		})
	}
}

// feed makes a machine that runs while one of its two switches is on, and the way
// that has both.
func feed(t *testing.T, p *Pair, set string) (*bmctest.Machine, cluster.Way, *config.Controller) {
	t.Helper()
	m := bmctest.NewMachine(t, bmctest.Honest)
	var on [2]atomic.Bool
	var supplies [2]*bmctest.Machine
	for i, fault := range []bmctest.Fault{p.First, p.Second} {
		supplies[i] = bmctest.NewMachine(t, fault)
		supplies[i].GUID = m.GUID
		on[i].Store(true)
		supplies[i].Turned = func(has bool) {
			on[i].Store(has)
			m.Set(on[0].Load() || on[1].Load())
		}
	}
	if p.Dark {
		supplies[1].Set(false)
	}
	honest := &Device{}
	outlet, _ := reach(t, &Way{Name: "agent"}, honest, supplies[1])
	first, controller := reach(t, &Way{Name: map[string]string{"two outlets": "agent", "controller and outlet": "redfish"}[set]}, honest, supplies[0])
	return m, cluster.Way{Kind: cluster.WayAll, All: []cluster.Way{first, outlet}}, controller
}

// TestPairsTable: no proof of a machine that keeps a supply, and one of every pair
// that only keeps its word.
func TestPairsTable(t *testing.T) {
	keeps := map[bmctest.Fault]bool{
		bmctest.Lying: true, bmctest.SaysOff: true, bmctest.SaysDone: true, bmctest.ComesBack: true, bmctest.Refusing: true,
		bmctest.Hanging: true, bmctest.Garbage: true, bmctest.OtherMachine: true,
	}
	for _, p := range Pairs() {
		if p.Why == "" || (p.Want == proven) == (keeps[p.First] || keeps[p.Second] || p.Dark) {
			t.Errorf("%s: %v, %q", p.Name, p.Want, p.Why)
		}
	}
}
