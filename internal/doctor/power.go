package doctor

import (
	"slices"
	"strings"

	"github.com/holdfast-ha/holdfast/internal/api"
)

func powerChecks() []check {
	const s = "power"
	return []check{
		{s, "controller", controller},
		{s, "privileges", real(privileges)},
		{s, "ways", ways},
		{s, "power-key", real(powerKey)},
	}
}

// controller: is the management controller that node.yaml names this machine's?
func controller(f *Facts) []Finding {
	p := &f.Power
	switch {
	case p.URL == "":
		return nil
	case p.Problem != "":
		return list(fail(p.URL, "holdfast init --help", "the controller is not known to be this machine's: %s", p.Problem))
	}
	return list(ok(p.URL, "it answers, says that its machine is on, and names the machine that this one says it is"))
}

// privileges: reading a power state needs fewer than switching it.
func privileges(f *Facts) []Finding {
	p := &f.Power
	if p.URL == "" || p.Problem != "" {
		return nil
	}
	if p.Session != "" {
		return list(ok(p.URL, "%s", p.Session))
	}
	for _, d := range f.Cluster.Drills {
		if d.Kind == "fence" && d.Node == f.Node.Name && d.OK {
			return list(ok(p.URL, "its user may switch: the drill of %s has shown it", d.Time.Format("2006-01-02")))
		}
	}
	return list(warn(p.URL, "holdfast drill fence "+f.Node.Name+" --cycle", "whether its user may switch the power shows when it is switched: on another node, with this one on standby"))
}

// ways: can this node fence the others, and they this one?
func ways(f *Facts) []Finding {
	s := f.Cluster.Status
	if s == nil {
		return nil
	}
	var found []Finding
	power := false
	for _, r := range s.Fencing {
		for _, w := range r.Ways {
			power = power || w.Way != "disk"
			found = append(found, wayFinding(s.Self.Name+" to "+r.Node, r.Node, &w))
		}
	}
	for _, p := range f.Cluster.Peers {
		for _, r := range p.Ways {
			if r.Node != s.Self.Name {
				continue
			}
			for _, w := range r.Ways {
				found = append(found, wayFinding(p.Name+" to "+r.Node, r.Node, &w))
			}
		}
	}
	if !power && len(s.Nodes) > 1 {
		found = append(found, warn("", "holdfast explain node "+s.Self.Name, "no power switch is configured (fencing.ways): a node that is gone is proven dead by time alone"))
	}
	return slices.DeleteFunc(found, func(x Finding) bool { return x.Text == "" })
}

func wayFinding(on, node string, w *api.Way) Finding {
	on += " by " + w.Way
	switch {
	case w.State == "always there":
		return Finding{}
	case w.Stale:
		return warn(on, "holdfast drill fence "+node, "it was not checked for long")
	case w.State == "works":
		return ok(on, "it answers, and speaks for that node")
	case w.State == "failed":
		return fail(on, "holdfast drill fence "+node, "%s", orWord(w.Text, "its check fails"))
	}
	return unknown(on, "holdfast drill fence "+node, "%s", orWord(strings.TrimSpace(w.State+" "+w.Text), "not checked yet"))
}

// powerKey: a controller presses the power key for some ways of switching off, and
// an orderly shutdown takes minutes in which the node is not off.
func powerKey(f *Facts) []Finding {
	p := &f.Power
	if p.URL == "" && p.Key == "" {
		return nil
	}
	if p.Key == "ignore" {
		return list(ok("", "the power key is ignored"))
	}
	return list(warn("", "holdfast doctor --fix", "the power key begins an orderly shutdown (HandlePowerKey=%s): a controller that presses it, instead of cutting the power, keeps its caller waiting for minutes", orWord(p.Key, "poweroff")).
		with(&Change{
			Text:  "HandlePowerKey=ignore",
			Files: []Edit{{Path: "/etc/systemd/logind.conf.d/90-holdfast.conf", Text: made + "[Login]\nHandlePowerKey=ignore\n"}},
			Run:   [][]string{{"systemctl", "kill", "--signal=HUP", "systemd-logind.service"}},
			Back:  [][]string{{"systemctl", "kill", "--signal=HUP", "systemd-logind.service"}},
		}))
}
