package doctor

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

func clusterChecks() []check {
	const s, d = "cluster", "drills"
	return []check{
		{s, "daemon", daemon},
		{s, "warnings", warnings},
		{s, "reached", reached},
		{s, "versions", versions},
		{s, "configuration", configuration},
		{s, "kernels", kernels},
		{s, "agents", agents},
		{s, "multipath-settings", multipathSettings},
		{s, "clocks", clocks},
		{s, "certificates", certificates},
		{s, "nodes", nodes},
		{d, "drills", drills},
	}
}

func daemon(f *Facts) []Finding {
	switch {
	case f.Cluster.Problem != "":
		return list(fail("", "systemctl start holdfast", "the daemon of this node cannot be asked: %s", f.Cluster.Problem))
	case f.Cluster.Status == nil:
		return nil // before there is a cluster
	}
	s := f.Cluster.Status
	if s.Self.Stage != "member" {
		return list(warn("", "holdfast status", "this node is no member: %s %s", s.Self.Stage, s.Self.Waiting))
	}
	return list(ok("", "this node is a member of %s", s.Cluster.Name))
}

// warnings are those of status, which has its own remedies.
func warnings(f *Facts) []Finding {
	if f.Cluster.Status == nil {
		return nil
	}
	var found []Finding
	for _, w := range f.Cluster.Status.Warnings {
		if !strings.HasPrefix(w, "EMULATED") {
			found = append(found, warn("", "holdfast status", "%s", w))
		}
	}
	return found
}

func reached(f *Facts) []Finding {
	var found []Finding
	for _, p := range f.Cluster.Peers {
		if p.Problem != "" {
			found = append(found, unknown(p.Name, "holdfast explain node "+p.Name, "its daemon cannot be asked: %s", p.Problem))
		}
	}
	return found
}

// each compares one thing of every peer that was reached with this node's.
func (f *Facts) each(same string, compare func(*Peer) (Finding, bool)) []Finding {
	var found []Finding
	asked := 0
	for i := range f.Cluster.Peers {
		p := &f.Cluster.Peers[i]
		if p.Problem != "" {
			continue
		}
		asked++
		if x, differs := compare(p); differs {
			x.On = p.Name
			found = append(found, x)
		}
	}
	if asked > 0 && len(found) == 0 {
		found = append(found, ok("", "%s", same))
	}
	return found
}

func versions(f *Facts) []Finding {
	if f.Cluster.Status == nil {
		return nil
	}
	own := f.Cluster.Status.Self.Build
	return f.each("all nodes run "+own, func(p *Peer) (Finding, bool) {
		return warn("", "holdfast node upgrade", "it runs %s, this node %s: fine during an upgrade, and not for long", p.Build, own), p.Build != own
	})
}

func configuration(f *Facts) []Finding {
	if f.Cluster.Status == nil {
		return nil
	}
	own := f.Cluster.Status.Cluster.Config
	return f.each(fmt.Sprintf("all nodes have version %d of the configuration", own), func(p *Peer) (Finding, bool) {
		return warn("", "holdfast history", "it has version %d of the configuration, this node %d", p.Config, own), p.Config != own
	})
}

func kernels(f *Facts) []Finding {
	own := f.Cluster.Kernel
	if own == "" {
		return nil
	}
	return f.each("all nodes run the kernel "+own, func(p *Peer) (Finding, bool) {
		return warn("", "uname -r", "it runs the kernel %s, this node %s", p.Kernel, own), p.Kernel != "" && p.Kernel != own
	})
}

// agents compares the programs that run services: one that differs may start what
// another cannot stop.
func agents(f *Facts) []Finding {
	if len(f.Cluster.Agents) == 0 {
		return nil
	}
	return f.each("the agents of services and fencing are the same on all nodes", func(p *Peer) (Finding, bool) {
		var differ []string
		for _, name := range slices.Sorted(maps.Keys(f.Cluster.Agents)) {
			switch other, has := p.Agents[name]; {
			case !has:
				differ = append(differ, name+" is missing there")
			case other != f.Cluster.Agents[name]:
				differ = append(differ, name+" differs")
			}
		}
		return warn("", "sha256sum /usr/lib/ocf/resource.d/*/* /usr/sbin/fence_*", "%s: install the same version of resource-agents and fence-agents", strings.Join(differ, ", ")), len(differ) > 0
	})
}

// multipathSettings are those of the quorum disks, as each node has them: by them a
// lost path is noticed, and requests end, as fast on one node as on the other.
func (f *Facts) multipathSettings() map[string]string {
	m := map[string]string{}
	if f.Paths.Known {
		m["polling_interval"] = f.Paths.Polling.String()
	}
	set := func(name, wwid, value string) {
		if value != "" {
			m[name+" of "+wwid] = value
		}
	}
	for i := range f.Disks {
		d := &f.Disks[i]
		if d.WWID == "" {
			continue
		}
		set("no_path_retry", d.WWID, d.Queueing)
		for _, w := range d.Ways {
			set("fast_io_fail_tmo", d.WWID, w.FastFail)
			set("recovery_tmo", d.WWID, w.Recovery)
		}
	}
	return m
}

func multipathSettings(f *Facts) []Finding {
	own := f.multipathSettings()
	if len(own) == 0 {
		return nil
	}
	return f.each("multipath settings of the quorum disks are the same on all nodes", func(p *Peer) (Finding, bool) {
		var differ []string
		for _, name := range slices.Sorted(maps.Keys(own)) {
			if other, has := p.Multipath[name]; has && other != own[name] {
				differ = append(differ, fmt.Sprintf("%s is %s there and %s here", name, other, own[name]))
			}
		}
		return warn("", "multipathd show config local", "%s", strings.Join(differ, ", ")), len(differ) > 0
	})
}

// apart is how far wall clocks may be apart before logs mislead.
const apart = 2 * time.Second

func clocks(f *Facts) []Finding {
	return f.each("the wall clocks agree", func(p *Peer) (Finding, bool) {
		return warn("", "timedatectl", "its wall clock is %s off this one's: nothing is decided by it, but the logs mislead", seconds(p.Offset.Abs())), p.Offset.Abs() > apart
	})
}

// nodes sums up what the doctors of the other nodes say.
func nodes(f *Facts) []Finding {
	var found []Finding
	for _, p := range f.Cluster.Peers {
		if p.Report == nil {
			continue
		}
		bad := p.Report.Bad()
		if len(bad) == 0 {
			found = append(found, ok(p.Name, "its own doctor finds nothing wrong"))
			continue
		}
		x := warn(p.Name, "holdfast doctor, on "+p.Name, "its own doctor finds: %s", strings.Join(bad, "; "))
		x.Level = p.Report.Level
		found = append(found, x)
	}
	return found
}

// Bad are the findings of a report that are failures or warnings, in short.
func (r *Report) Bad() []string {
	var bad []string
	for _, s := range r.Sections {
		for _, x := range s.Findings {
			if x.Level == Failure || x.Level == Warning {
				bad = append(bad, strings.TrimSpace(s.Name+": "+strings.TrimSpace(x.On+" "+x.Text)))
			}
		}
	}
	return bad
}

// overdue is after how long a drill should be repeated where the configuration does
// not say (drills: every 90d).
const overdue = 90 * 24 * time.Hour

func drills(f *Facts) []Finding {
	s := f.Cluster.Status
	if s == nil || len(s.Nodes) < 2 {
		return nil
	}
	limit := overdue
	var found []Finding
	if d := s.Drills; d != nil && d.Every > 0 {
		limit = d.Every.Duration()
		for _, kind := range d.Overdue {
			found = append(found, warn("", "holdfast drill "+kind+" --help", "the drill %s is overdue: one is wanted every %d days", kind, int(limit.Hours()/24)))
		}
	}
	for _, n := range s.Nodes {
		if n.Name == s.Self.Name {
			continue
		}
		var last *Drill
		for i := range f.Cluster.Drills {
			if d := &f.Cluster.Drills[i]; d.Node == n.Name && (last == nil || d.Time.After(last.Time)) {
				last = d
			}
		}
		command := "holdfast drill fence " + n.Name
		switch {
		case last == nil:
			found = append(found, warn(n.Name, command, "no drill of it is known on this node: that a takeover works is not shown"))
		case !last.OK:
			found = append(found, warn(n.Name, command, "its latest drill (%s, %s) has failed", last.Kind, last.Time.Format(time.DateOnly)))
		case f.Cluster.Now.Sub(last.Time) > limit:
			found = append(found, warn(n.Name, command, "its latest drill (%s) was %d days ago", last.Kind, int(f.Cluster.Now.Sub(last.Time).Hours()/24)))
		default:
			found = append(found, ok(n.Name, "its latest drill (%s, %s) went well", last.Kind, last.Time.Format(time.DateOnly)))
		}
	}
	return found
}
