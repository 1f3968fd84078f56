package gather

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"

	"github.com/holdfast-ha/holdfast/cluster"
	"github.com/holdfast-ha/holdfast/internal/config"
	"github.com/holdfast-ha/holdfast/internal/doctor"
	"github.com/holdfast-ha/holdfast/storage/lvm"
	"github.com/holdfast-ha/holdfast/storage/program"
)

// member is what is read of a member's specification.
type member struct {
	Device string `json:"device"`
	At     string `json:"at"`
	Unit   string `json:"unit"`
	Group  string `json:"group"`
	Agent  string `json:"agent"`
}

func spec(x *cluster.Member) member {
	var s member
	_ = json.Unmarshal(x.Spec, &s) // other kinds have other fields
	return s
}

// own is the unit of a node's membership, others the managers that nobody should
// run beside it.
const own = "holdfast.service"

func others() []string {
	return []string{"pacemaker.service", "corosync.service", "sbd.service", "keepalived.service", "rgmanager.service"}
}

func (m *Machine) boot(ctx context.Context, b *doctor.Boot, conf *cluster.Config) {
	b.Fstab = m.text("etc/fstab")
	b.Own = doctor.Unit{Name: own}
	for _, name := range others() {
		b.Strange = append(b.Strange, doctor.Unit{Name: name})
	}
	if conf != nil {
		for i := range conf.Services {
			m.service(ctx, b, &conf.Services[i])
		}
	}
	all := []*doctor.Unit{&b.Own}
	for i := range b.Strange {
		all = append(all, &b.Strange[i])
	}
	for i := range b.Units {
		all = append(all, &b.Units[i])
	}
	m.units(ctx, all)
}

// service notes what of a service could start at boot.
func (m *Machine) service(ctx context.Context, b *doctor.Boot, s *cluster.Service) {
	for i := range s.Stack {
		switch x := spec(&s.Stack[i]); s.Stack[i].Kind {
		case "filesystem":
			b.Mounts = append(b.Mounts, doctor.Mount{Service: s.Name, Device: x.Device, At: x.At})
		case "systemd":
			if !strings.Contains(x.Unit, ".") {
				x.Unit += ".service"
			}
			b.Units = append(b.Units, doctor.Unit{Name: x.Unit, Service: s.Name})
		case "lvm":
			g := doctor.Group{Name: x.Group, Service: s.Name}
			t := lvm.Tool{Run: m.Run, Sysfs: m.path("sys")}
			found, there, err := t.Find(ctx, x.Group)
			switch {
			case err != nil:
				g.Problem = err.Error()
			case !there:
				g.Problem = "it is not seen on this node"
			case found.Auto:
				g.Auto, g.Excluded = true, t.Excluded(ctx, x.Group)
			}
			b.Groups = append(b.Groups, g)
		}
	}
}

// units asks the service manager, or looks at its links where it does not run.
func (m *Machine) units(ctx context.Context, all []*doctor.Unit) {
	argv := []string{"systemctl", "show", "--property=Id,LoadState,UnitFileState,ActiveState"}
	for _, u := range all {
		argv = append(argv, u.Name)
	}
	states := map[string]map[string]string{}
	if res, err := m.Run(ctx, program.Command{Argv: argv}); err == nil && res.Code == 0 {
		for _, block := range strings.Split(res.Stdout, "\n\n") {
			p := map[string]string{}
			for line := range strings.Lines(block) {
				if k, v, is := strings.Cut(strings.TrimSpace(line), "="); is {
					p[k] = v
				}
			}
			states[p["Id"]] = p
		}
	}
	for _, u := range all {
		p, known := states[u.Name]
		switch {
		case !known:
			u.Enabled = m.enabled(u.Name)
		case p["LoadState"] == "not-found":
		default:
			u.Enabled, u.Active = p["UnitFileState"], p["ActiveState"] == "active"
			if u.Enabled == "" {
				u.Enabled = "static" // it is there, and can be enabled by nobody
			}
		}
	}
}

// enabled looks at the links that systemctl enable makes.
func (m *Machine) enabled(unit string) string {
	links, _ := filepath.Glob(m.path("etc/systemd/system/*.wants", unit))
	required, _ := filepath.Glob(m.path("etc/systemd/system/*.requires", unit))
	if len(links)+len(required) > 0 {
		return "enabled"
	}
	for _, dir := range []string{"etc/systemd/system", "usr/lib/systemd/system", "lib/systemd/system"} {
		if m.there(dir, unit) {
			return "disabled"
		}
	}
	return ""
}

func (m *Machine) power(ctx context.Context, n *config.Node) doctor.Power {
	p := doctor.Power{URL: n.BMC.URL}
	p.Key, p.KeyFile = m.setting("logind.conf", "HandlePowerKey")
	if p.URL == "" {
		return p
	}
	if p.Problem = "not asked"; m.Probe.Controller != nil {
		p.Problem = ""
		if err := m.Probe.Controller(ctx, n); err != nil {
			p.Problem = err.Error()
		}
	}
	if strings.HasPrefix(p.URL, "ipmi://") {
		p.Session = "its session was opened as operator, which may switch the power"
	}
	return p
}

// agents gives the digests of the OCF agents that the services use, as far as they
// are here.
func (m *Machine) agents(conf *cluster.Config) map[string]string {
	if conf == nil {
		return nil
	}
	found := map[string]string{}
	for i := range conf.Services {
		for j := range conf.Services[i].Stack {
			x := &conf.Services[i].Stack[j]
			if x.Kind != "ocf" {
				continue
			}
			name := spec(x).Agent
			provider, kind, _ := strings.Cut(name, ":")
			if text, err := os.ReadFile(m.path("usr/lib/ocf/resource.d", provider, kind)); err == nil {
				sum := sha256.Sum256(text)
				found[name] = hex.EncodeToString(sum[:])
			}
		}
	}
	for _, name := range fenceAgents(conf) {
		if text, err := os.ReadFile(m.path("usr/sbin", name)); err == nil {
			sum := sha256.Sum256(text)
			found[name] = hex.EncodeToString(sum[:])
		}
	}
	return found
}

// fenceAgents lists the agents by which nodes are fenced.
func fenceAgents(conf *cluster.Config) []string {
	var names []string
	var look func(list []cluster.Way)
	look = func(list []cluster.Way) {
		for _, w := range list {
			if w.Agent != "" {
				names = append(names, filepath.Base(w.Agent))
			}
			look(w.All)
		}
	}
	for _, w := range conf.Fencing {
		look(w.Ways)
	}
	return names
}
