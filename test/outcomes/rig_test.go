package outcomes

import (
	"context"
	"fmt"
	"net"
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
	"github.com/holdfast-ha/holdfast/cluster/fencing"
	"github.com/holdfast-ha/holdfast/cluster/ident"
	"github.com/holdfast-ha/holdfast/internal/config"
	"github.com/holdfast-ha/holdfast/internal/daemon/ways"
)

const (
	hold     = 20 * time.Millisecond // between two readings
	landing  = 50 * time.Millisecond // for writes that were on their way
	patience = 2 * time.Minute       // for what must succeed, on a machine with other things to do
	// silent is how long a device that says nothing is asked.
	silent     = time.Second
	silentSlow = 4 * time.Second // over a way that starts programs
	// twice is how many readings show that a device will not say off twice.
	twice = 2
)

// rig is node beta, which fences alpha over one way, and alpha's machine, which
// beats for as long as it has power.
type rig struct {
	t        *testing.T
	machine  *bmctest.Machine
	start    time.Time
	skipped  time.Duration
	set      *fencing.Set
	env      fencing.Env
	ways     *ways.Ways
	readings atomic.Int64
	silent   time.Duration
	enough   int64 // readings that show what a device says; of all of them together
	saysOff  bool  // the device says off twice, and is to be heard out
	hangs    bool  // a part of it never answers: no number of readings is enough
	stops    bool  // the attempt op ends with enough readings
	op       uint64
	alarms   []string
	notes    []string
}

func newRig(t *testing.T, m *bmctest.Machine, w cluster.Way, c *config.Controller) *rig {
	t.Helper()
	r := &rig{t: t, machine: m, start: time.Now(), set: fencing.New(), silent: silent, enough: twice}
	set := ways.Settings{Open: r.open, Now: r.now, Hold: hold}
	if c != nil {
		set.Controllers = map[string]config.Controller{"alpha": *c}
	}
	r.ways = ways.New(set)
	r.env = fencing.Env{
		Self: 2, Member: true, Tz: landing, Tsus: time.Hour, Signs: r,
		State: &cluster.State{
			Conf: &cluster.Config{Fencing: []cluster.Ways{{Node: "alpha", Ways: []cluster.Way{w}}}},
			Nodes: []cluster.NodeState{
				{ID: 1, Name: "alpha", Phase: cluster.MemberPhase, Inc: ident.Incarnation{N: 5}, Dead: 4, Host: ident.UUID(m.GUID)},
				{ID: 2, Name: "beta", Phase: cluster.MemberPhase, Inc: ident.Incarnation{N: 7}, Dead: 6},
			},
		},
	}
	return r
}

func (r *rig) now() ident.Instant { return r.at(time.Now()) }

func (r *rig) at(t time.Time) ident.Instant {
	return ident.Instant(time.Hour + t.Sub(r.start) + r.skipped)
}

// Signs implements fencing.Sights: the machine beats while it has power.
func (r *rig) Signs(id ident.NodeID) fencing.Signs {
	last := r.machine.OffSince()
	if r.machine.IsOn() {
		last = time.Now()
	}
	return fencing.Signs{Beat: &cluster.Beat{Inc: ident.Incarnation{N: 5}}, Changed: r.at(last)}
}

// open is drivers.Open with a count of the readings.
func (r *rig) open(ref bmc.Reference, o bmc.Options) (bmc.Switch, error) {
	o.Attempt = patience / 2
	s, err := drivers.Open(ref, o)
	return counted{s, r}, err
}

// counted counts the readings, and calls the attempt off in the one that is enough:
// whatever else this machine has to do, no reading comes after it.
type counted struct {
	bmc.Switch
	rig *rig
}

func (c counted) State(ctx context.Context) bmc.Reading {
	reading := c.Switch.State(ctx)
	if ctx.Err() == nil && c.rig.readings.Add(1) == c.rig.enough && c.rig.stops {
		c.rig.ways.Stop(c.rig.op)
	}
	return reading
}

// manage takes the set one step and returns the attempts that it begins.
func (r *rig) manage() []cluster.Fence {
	r.env.Now = r.now()
	r.set.Manage(r.env)
	var begun []cluster.Fence
	for _, a := range r.set.Take() {
		switch a := a.(type) {
		case cluster.Fence:
			begun = append(begun, a)
		case cluster.Note:
			r.t.Log(a.Kind, a.Text)
			if a.Kind == cluster.NoteAlarm {
				r.alarms = append(r.alarms, a.Text)
			} else {
				r.notes = append(r.notes, a.Text)
			}
		}
	}
	return begun
}

// check lets the way be checked once, in quiet times.
func (r *rig) check() {
	r.manage()
	r.skipped += time.Minute
	for _, f := range r.manage() {
		r.carryOut(f, patience)
	}
	r.manage()
}

func (r *rig) carryOut(f cluster.Fence, within time.Duration) cluster.FenceDone {
	f.Within = within
	done := r.ways.Begin(r.t.Context(), f)()
	r.env.Now = r.now()
	r.set.Done(r.env, done)
	r.manage()
	return done
}

// fence has alpha fenced, in one attempt. Where no proof is expected, it ends when
// enough was read, or when the device has been silent for long enough.
func (r *rig) fence(want cluster.FenceOutcome) cluster.FenceOutcome {
	alpha := &r.env.State.Nodes[0]
	alpha.Fencing = alpha.Inc
	r.set.Chose(alpha.ID, alpha.Inc, "")
	r.manage()
	r.set.Read(r.env, r.env.Now)
	begun := r.manage()
	if len(begun) != 1 || begun[0].Kind != cluster.FenceOff {
		r.t.Fatalf("%+v, want one attempt to switch off", begun)
	}
	within := patience
	r.readings.Store(0)
	switch {
	case r.hangs:
		within = r.silent
	case want == failed:
		r.stops, r.op = true, begun[0].Op
	case want == unknown && !r.saysOff:
		within = r.silent
	}
	done := r.carryOut(begun[0], within)
	r.t.Logf("%v: %s", done.Outcome, done.Text)
	if strings.Contains(done.Text, bmctest.Password) {
		r.t.Error("the password is repeated")
	}
	return r.verdict(done.Outcome)
}

// verdict is what the attempt is worth to the cluster: a proof stands, or is taken
// back.
func (r *rig) verdict(o cluster.FenceOutcome) cluster.FenceOutcome {
	if o != cluster.FenceProven {
		return o
	}
	for end := time.Now().Add(patience); time.Now().Before(end); {
		r.manage()
		if p, ok := r.set.Proof(r.env, &r.env.State.Nodes[0]); ok {
			if r.machine.IsOn() {
				r.t.Errorf("%+v, and the machine is on", p)
			}
			return proven
		}
		for _, text := range r.notes {
			if strings.Contains(text, "its word counts for nothing") {
				return unknown
			}
		}
		for _, text := range r.alarms {
			if strings.Contains(text, "the reading does not count") {
				return unknown
			}
		}
		select {
		case <-time.After(5 * time.Millisecond):
		case <-r.t.Context().Done():
		}
	}
	r.t.Error("neither a proof nor a word against it")
	return unknown
}

// secret writes a password file.
func secret(t *testing.T, scene Scene) string {
	t.Helper()
	text := bmctest.Password
	if scene == WrongPassword {
		text = "another-password"
	}
	path := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(path, []byte(text+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// reach makes the device of a cell and says how it is reached.
func reach(t *testing.T, w *Way, d *Device, m *bmctest.Machine) (cluster.Way, *config.Controller) {
	t.Helper()
	file := secret(t, d.Scene)
	bmcWay := func(url string) (cluster.Way, *config.Controller) {
		c := &config.Controller{URL: url, PasswordFile: file}
		if d.Scene == CardKnown {
			c.GUIDs = []string{net.HardwareAddr(m.Card[:]).String()}
		}
		return cluster.Way{Kind: cluster.WayBMC}, c
	}
	agentWay := func(name string, with map[string]string) (cluster.Way, *config.Controller) {
		with["password_file"] = file
		return cluster.Way{Kind: cluster.WayAgent, Agent: name, With: with}, nil
	}
	switch w.Name {
	case "redfish":
		return bmcWay(redfish(t, d, m))
	case "redfish session":
		return bmcWay(redfish(t, d, m) + "&auth=session")
	case "ipmi go":
		return bmcWay(lan(t, d, m, "driver=go"))
	case "ipmi tool":
		return bmcWay(lan(t, d, m, "cipher=17"))
	case "sim go":
		return bmcWay(fmt.Sprintf("ipmi://%s@127.0.0.1:%d?driver=go&cipher=3", bmctest.User, sim(t, d, m)))
	case "sim tool":
		return bmcWay(fmt.Sprintf("ipmi://%s@127.0.0.1:%d?cipher=3", bmctest.User, sim(t, d, m)))
	case "agent":
		p := bmctest.NewAgent(t, m)
		plug := "node1"
		if d.Scene == Nobody {
			plug = "node9"
		}
		return agentWay(p.Path, map[string]string{"plug": plug})
	case "fence_ipmilan":
		return agentWay(w.Name, map[string]string{
			"ip": "127.0.0.1", "ipport": fmt.Sprint(sim(t, d, m)), "username": bmctest.User, "lanplus": "1", "cipher": "3",
			"method": "onoff", "power_wait": "0", "power_timeout": "2",
		})
	case "fence_redfish":
		r, port := service(t, d, m)
		with := map[string]string{"ip": r.Host, "ipport": fmt.Sprint(port), "username": bmctest.User, "ssl_insecure": "1", "power_timeout": "2"}
		if d.Scene != TwoUnnamed {
			with["systems_uri"] = "/redfish/v1/Systems/1"
		}
		return agentWay(w.Name, with)
	case "fence_virsh":
		return agentWay(w.Name, map[string]string{
			"ip": "127.0.0.1", "username": bmctest.User, "plug": "node1", "ssh_path": bmctest.NewSSH(t, m).Path, "power_timeout": "2",
		})
	}
	t.Fatalf("the way %q is not known to the test", w.Name)
	return cluster.Way{}, nil
}

// service is the fake Redfish service of a cell and the port to use.
func service(t *testing.T, d *Device, m *bmctest.Machine) (*bmctest.Redfish, int) {
	t.Helper()
	machines := []*bmctest.Machine{m}
	if d.Scene == TwoNamed || d.Scene == TwoUnnamed {
		other := bmctest.NewMachine(t, d.Fault)
		other.GUID[0] ^= 0xff
		machines = append(machines, other)
	}
	r := bmctest.NewRedfish(t, machines...)
	if d.Scene == Nobody {
		r.Close()
	}
	return r, r.Port
}

func redfish(t *testing.T, d *Device, m *bmctest.Machine) string {
	t.Helper()
	r, _ := service(t, d, m)
	system := "1"
	if d.Scene == TwoUnnamed {
		system = ""
	}
	url := r.URL(system)
	if d.Scene == OtherCert {
		url = strings.Replace(url, r.Fingerprint, "sha256:"+strings.Repeat("0a", 32), 1)
	}
	return url
}

func lan(t *testing.T, d *Device, m *bmctest.Machine, options string) string {
	t.Helper()
	port := bmctest.NewIPMI(t, m).Port
	if d.Scene == Nobody {
		port = 9 // discard: nobody listens
	}
	return fmt.Sprintf("ipmi://%s@[::1]:%d?%s", bmctest.User, port, options)
}

func sim(t *testing.T, d *Device, m *bmctest.Machine) int {
	t.Helper()
	s := bmctest.NewSim(t, m)
	if d.Scene == Nobody {
		return 9
	}
	return s.Port
}
