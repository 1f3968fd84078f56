package doctor

import (
	"path"
	"strings"
)

func bootChecks() []check {
	const s = "boot"
	return []check{
		{s, "own-unit", real(ownUnit)},
		{s, "services", real(servicesKnown)},
		{s, "units", real(unitsAtBoot)},
		{s, "fstab", real(fstab)},
		{s, "lvm", real(autoActivation)},
		{s, "other-clusters", real(otherClusters)},
		{"space", "space", space},
	}
}

func ownUnit(f *Facts) []Finding {
	switch u := f.Boot.Own; u.Enabled {
	case "":
		return nil // not installed as units: nothing to say
	case "enabled", "enabled-runtime":
		return list(ok(u.Name, "the node comes back by itself after a boot"))
	default:
		return list(warn(u.Name, "systemctl enable "+u.Name, "it is %s: after a boot the node stays out of the cluster until somebody starts it", u.Enabled).
			with(enable(u.Name, "enable", "disable")))
	}
}

func enable(unit, verb, back string) *Change {
	return &Change{Text: "systemctl " + verb + " " + unit, Run: [][]string{{"systemctl", verb, unit}}, Back: [][]string{{"systemctl", back, unit}}}
}

func servicesKnown(f *Facts) []Finding {
	if f.Boot.Config != "" {
		return list(unknown("", "holdfast config export", "what belongs to services is not known, so that nothing can be said of what starts it at boot: %s", f.Boot.Config))
	}
	return nil
}

// unitsAtBoot: a member that starts at boot runs without a grant.
func unitsAtBoot(f *Facts) []Finding {
	var found []Finding
	for _, u := range f.Boot.Units {
		switch u.Enabled {
		case "enabled", "enabled-runtime":
			found = append(found, fail(u.Name, "systemctl disable "+u.Name, "it is enabled, and belongs to the service %s: at the next boot it would run without being granted", u.Service).
				with(enable(u.Name, "disable", "enable")))
		case "":
			found = append(found, warn(u.Name, "systemctl status "+u.Name, "it belongs to the service %s, and is not installed here: the service could not run on this node", u.Service))
		default:
			found = append(found, ok(u.Name, "it is not started at boot"))
		}
	}
	return found
}

// fstab: a file system that is mounted at boot is mounted on two nodes.
func fstab(f *Facts) []Finding {
	var bad []string
	var out strings.Builder
	service := ""
	for line := range strings.Lines(f.Boot.Fstab) {
		if m, is := mountOf(line, f.Boot.Mounts); is {
			bad, service = append(bad, strings.Fields(line)[1]), m.Service
			out.WriteString("# holdfast doctor: " + line)
			continue
		}
		out.WriteString(line)
	}
	if len(bad) == 0 {
		if len(f.Boot.Mounts) == 0 {
			return nil
		}
		return list(ok("", "/etc/fstab mounts nothing of a service"))
	}
	return list(fail(strings.Join(bad, ", "), "holdfast doctor --fix", "/etc/fstab mounts it at boot, and it belongs to the service %s: two nodes would have it mounted", service).with(&Change{
		Text:  "the lines of " + strings.Join(bad, ", ") + " in /etc/fstab become comments",
		Files: []Edit{{Path: "/etc/fstab", Text: out.String()}},
		Run:   [][]string{{"systemctl", "daemon-reload"}}, Back: [][]string{{"systemctl", "daemon-reload"}},
	}))
}

// mountOf finds the file system of a service that a line of fstab(5) mounts at
// boot. noauto is let through: nothing mounts it by itself.
func mountOf(line string, all []Mount) (Mount, bool) {
	w := strings.Fields(line)
	if len(w) < 4 || strings.HasPrefix(w[0], "#") {
		return Mount{}, false
	}
	for _, o := range strings.Split(w[3], ",") {
		if o == "noauto" {
			return Mount{}, false
		}
	}
	for _, m := range all {
		if w[0] == m.Device || path.Clean(w[1]) == path.Clean(m.At) {
			return m, true
		}
	}
	return Mount{}, false
}

// autoActivation: a volume group that whoever sees it activates.
func autoActivation(f *Facts) []Finding {
	var found []Finding
	for _, g := range f.Boot.Groups {
		switch {
		case g.Problem != "":
			found = append(found, unknown(g.Name, "lvm vgs "+g.Name, "the volume group of the service %s cannot be looked at: %s", g.Service, g.Problem))
		case !g.Auto:
			found = append(found, ok(g.Name, "it is not activated at boot"))
		case g.Excluded:
			found = append(found, ok(g.Name, "auto_activation_volume_list of lvm.conf leaves it out"))
		default:
			found = append(found, fail(g.Name, "vgchange --setautoactivation n "+g.Name,
				"it belongs to the service %s, and is activated by every node that sees it; LVM before 2.03.12 needs auto_activation_volume_list in /etc/lvm/lvm.conf instead, which names only other groups", g.Service).
				with(&Change{
					Text: "vgchange --setautoactivation n " + g.Name,
					Run:  [][]string{{"lvm", "vgchange", "--setautoactivation", "n", g.Name}},
					Back: [][]string{{"lvm", "vgchange", "--setautoactivation", "y", g.Name}},
				}))
		}
	}
	return found
}

// otherClusters: two managers of one service are none.
func otherClusters(f *Facts) []Finding {
	var found []Finding
	for _, u := range f.Boot.Strange {
		enabled := u.Enabled == "enabled" || u.Enabled == "enabled-runtime"
		switch {
		case u.Active:
			found = append(found, fail(u.Name, "systemctl disable --now "+u.Name, "it runs: two cluster managers on one machine fight for watchdogs and services. Stop its services first, for this may fence the node"))
		case enabled:
			found = append(found, fail(u.Name, "systemctl disable "+u.Name, "it is enabled: at the next boot two cluster managers fight for watchdogs and services").
				with(enable(u.Name, "disable", "enable")))
		}
	}
	if len(found) == 0 && len(f.Boot.Strange) > 0 {
		return list(ok("", "no other cluster manager begins at boot"))
	}
	return found
}

// The room that Holdfast needs: for its events and its decision log, bytes.
const (
	leastRoom  = 128 << 20
	enoughRoom = 1 << 30
)

func space(f *Facts) []Finding {
	var found []Finding
	for _, s := range f.Space {
		switch {
		case s.Free < leastRoom:
			found = append(found, fail(s.Path, "du -xsh "+s.Path, "%d MiB are free: events, the decision log and copies of the configuration cannot be written soon", s.Free>>20))
		case s.Free < enoughRoom:
			found = append(found, warn(s.Path, "du -xsh "+s.Path, "%d MiB are free; 1 GiB is enough for what Holdfast keeps", s.Free>>20))
		default:
			found = append(found, ok(s.Path, "%d GiB are free", s.Free>>30))
		}
	}
	return found
}
