package systemd_test

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coreos/go-systemd/v22/dbus"
	godbus "github.com/godbus/dbus/v5"
)

const (
	busName     = "org.freedesktop.systemd1"
	managerPath = godbus.ObjectPath("/org/freedesktop/systemd1")
	managerFace = "org.freedesktop.systemd1.Manager"
	unitFace    = "org.freedesktop.systemd1.Unit"
	serviceFace = "org.freedesktop.systemd1.Service"
	propsFace   = "org.freedesktop.DBus.Properties"
)

// manager is a service manager on a bus of its own: as much of one as the agent
// speaks with. A job ends by itself unless its unit is told to hold it.
type manager struct {
	t       *testing.T
	address string
	stopBus func()
	dir     string // the root of drop-ins and marks

	mu       sync.Mutex
	conn     *godbus.Conn
	units    map[string]*unit
	jobs     uint32
	reloads  int
	killed   []string
	replaced int
}

// unit is one unit of the manager, with what becomes of its jobs.
type unit struct {
	load, active, sub, file string
	condition               bool
	result                  string
	code, status            int32
	job                     uint32
	holdStart, holdStop     bool   // jobs stay queued
	startAs                 string // result of a start job; empty: done
}

// newBus starts a message bus that anybody may use, and returns its address.
func newBus(t *testing.T, dir string) (address string, stop func()) {
	t.Helper()
	if _, err := exec.LookPath("dbus-daemon"); err != nil {
		t.Skip("dbus-daemon is not installed: apt-get install dbus-daemon, or run test/setup.sh")
	}
	socket := filepath.Join(dir, "bus")
	conf := filepath.Join(dir, "bus.conf")
	text := `<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN" "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig><listen>unix:path=` + socket + `</listen><auth>EXTERNAL</auth>
<policy context="default"><allow send_destination="*" eavesdrop="true"/><allow eavesdrop="true"/><allow own="*"/><allow user="*"/></policy></busconfig>`
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	stop = startBus(t, conf)
	await(t, "the bus listens", func() bool {
		c, err := net.Dial("unix", socket)
		if err == nil {
			c.Close()
		}
		return err == nil
	})
	return "unix:path=" + socket, stop
}

func startBus(t *testing.T, conf string) (stop func()) {
	t.Helper()
	cmd := exec.Command("dbus-daemon", "--nofork", "--config-file="+conf)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	stop = sync.OnceFunc(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	t.Cleanup(stop)
	return stop
}

// newManager starts the fake and points the agent at it, in this process and in
// its children.
func newManager(t *testing.T) *manager {
	t.Helper()
	dir, err := os.MkdirTemp("", "hf-sd-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	m := &manager{t: t, dir: dir, units: map[string]*unit{}}
	m.address, m.stopBus = newBus(t, dir)
	t.Setenv("HOLDFAST_SYSTEMD_BUS", m.address)
	t.Setenv("HOLDFAST_SYSTEMD_RUN", dir)
	t.Setenv("HOLDFAST_RUN", dir)
	m.serve()
	t.Cleanup(func() { m.mu.Lock(); defer m.mu.Unlock(); m.conn.Close() })
	return m
}

// restartBus loses all connections, and comes back.
func (m *manager) restartBus() {
	m.t.Helper()
	m.stopBus()
	if err := os.Remove(strings.TrimPrefix(m.address, "unix:path=")); err != nil {
		m.t.Fatal(err)
	}
	m.address, m.stopBus = newBus(m.t, m.dir)
	m.serve()
}

// serve connects to the bus and answers.
func (m *manager) serve() {
	m.t.Helper()
	conn, err := godbus.Connect(m.address)
	if err != nil {
		m.t.Fatal(err)
	}
	if err := conn.Export(calls{m}, managerPath, managerFace); err != nil {
		m.t.Fatal(err)
	}
	if err := conn.ExportSubtree(properties{m}, managerPath+"/unit", propsFace); err != nil {
		m.t.Fatal(err)
	}
	if _, err := conn.RequestName(busName, godbus.NameFlagDoNotQueue); err != nil {
		m.t.Fatal(err)
	}
	m.mu.Lock()
	m.conn = conn
	m.mu.Unlock()
}

func (m *manager) add(name string) *unit {
	m.mu.Lock()
	defer m.mu.Unlock()
	u := &unit{load: "loaded", active: "inactive", sub: "dead", file: "disabled", condition: true, result: "success"}
	m.units[name] = u
	return u
}

// alter changes what becomes of a unit's jobs.
func (m *manager) alter(name string, how func(u *unit)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	how(m.units[name])
}

// set changes a unit and tells everybody, as the real one does.
func (m *manager) set(name, active, sub string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.change(name, active, sub)
}

func (m *manager) change(name, active, sub string) {
	u := m.units[name]
	u.active, u.sub = active, sub
	_ = m.conn.Emit(pathOf(name), propsFace+".PropertiesChanged", unitFace,
		map[string]godbus.Variant{"ActiveState": godbus.MakeVariant(active), "SubState": godbus.MakeVariant(sub)}, []string{})
}

func pathOf(name string) godbus.ObjectPath {
	return managerPath + "/unit/" + godbus.ObjectPath(dbus.PathBusEscape(name))
}

// begin queues a job, and ends it at once unless the unit holds it.
func (m *manager) begin(name string, hold func(u *unit) bool, end func(u *unit) string) (godbus.ObjectPath, *godbus.Error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	u := m.units[name]
	if u == nil || u.load != "loaded" {
		return "", godbus.NewError("org.freedesktop.systemd1.NoSuchUnit", []any{"Unit " + name + " not found."})
	}
	if u.job != 0 { // mode replace
		m.replaced++
		m.removed(u.job, name, "canceled")
	}
	m.jobs++
	id := m.jobs
	u.job = id
	if !hold(u) {
		go func() { // after the answer to the call
			m.mu.Lock()
			defer m.mu.Unlock()
			if u.job == id {
				result := end(u)
				u.job = 0
				m.removed(id, name, result)
			}
		}()
	}
	return godbus.ObjectPath(fmt.Sprintf("%s/job/%d", managerPath, id)), nil
}

func (m *manager) removed(id uint32, name, result string) {
	_ = m.conn.Emit(managerPath, managerFace+".JobRemoved", id, godbus.ObjectPath(fmt.Sprintf("%s/job/%d", managerPath, id)), name, result)
}

// calls are the methods of the manager.
type calls struct{ m *manager }

// StartUnit obeys the condition of the agent's drop-in, as the real one does.
func (c calls) StartUnit(name, mode string) (godbus.ObjectPath, *godbus.Error) {
	return c.m.begin(name, func(u *unit) bool { return u.holdStart }, func(u *unit) string {
		conf, err := os.ReadFile(filepath.Join(c.m.dir, name+".d", "50-holdfast.conf"))
		if _, mark, found := strings.Cut(string(conf), "ConditionPathExists="); err == nil && found {
			mark, _, _ = strings.Cut(mark, "\n")
			if _, err := os.Stat(mark); err != nil {
				u.condition = false
				return "done"
			}
		}
		if u.condition = true; u.startAs == "" {
			c.m.change(name, "active", "running")
			return "done"
		}
		u.result, u.code, u.status = "exit-code", 1, 203
		c.m.change(name, "failed", "failed")
		return u.startAs
	})
}

func (c calls) StopUnit(name, mode string) (godbus.ObjectPath, *godbus.Error) {
	return c.m.begin(name, func(u *unit) bool { return u.holdStop }, func(*unit) string {
		c.m.change(name, "inactive", "dead")
		return "done"
	})
}

func (c calls) KillUnit(name, who string, signal int32) *godbus.Error {
	c.m.mu.Lock()
	defer c.m.mu.Unlock()
	c.m.killed = append(c.m.killed, fmt.Sprintf("%s %s %d", name, who, signal))
	return nil
}

func (c calls) ResetFailedUnit(name string) *godbus.Error {
	c.m.mu.Lock()
	defer c.m.mu.Unlock()
	if u := c.m.units[name]; u != nil && u.active == "failed" {
		u.active, u.sub, u.result, u.code = "inactive", "dead", "success", 0
	}
	return nil
}

func (c calls) Reload() *godbus.Error {
	c.m.mu.Lock()
	defer c.m.mu.Unlock()
	c.m.reloads++
	return nil
}

func (calls) Subscribe() *godbus.Error {
	return nil
}

// properties are those of all units.
type properties struct{ m *manager }

func (p properties) GetAll(msg godbus.Message, face string) (map[string]godbus.Variant, *godbus.Error) {
	p.m.mu.Lock()
	defer p.m.mu.Unlock()
	path, _ := msg.Headers[godbus.FieldPath].Value().(godbus.ObjectPath)
	u := &unit{load: "not-found", active: "inactive", sub: "dead"}
	for name, known := range p.m.units {
		if pathOf(name) == path {
			u = known
		}
	}
	job := struct {
		ID   uint32
		Path godbus.ObjectPath
	}{u.job, "/"}
	all := map[string]any{
		"LoadState": u.load, "ActiveState": u.active, "SubState": u.sub, "UnitFileState": u.file, "ConditionResult": u.condition, "Job": job,
	}
	if face == serviceFace {
		all = map[string]any{"Result": u.result, "ExecMainCode": u.code, "ExecMainStatus": u.status, "ControlGroup": ""}
	}
	out := map[string]godbus.Variant{}
	for k, v := range all {
		out[k] = godbus.MakeVariant(v)
	}
	return out, nil
}

// await polls until the condition holds and fails the test with its description.
func await(t *testing.T, what string, condition func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(20 * time.Second)
	for !condition() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("waited in vain until %s", what)
		}
	}
}
