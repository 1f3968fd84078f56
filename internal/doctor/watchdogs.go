package doctor

import (
	"path/filepath"
	"strings"
)

func watchdogChecks() []check {
	const s = "watchdogs"
	return []check{
		{s, "pair", real(pair)},
		{s, "device", real(dogThere)},
		{s, "holder", real(holder)},
		{s, "manager", real(manager)},
		{s, "measured", real(measured)},
		{s, "softdog", real(softdogSettings)},
		{s, "loaded", real(softdogLoaded)},
		{s, "stop-on-reboot", real(stopOnReboot)},
	}
}

// pair: what a proof by time rests on.
func pair(f *Facts) []Finding {
	soft, hard := 0, 0
	for _, d := range f.Dogs {
		if d.Softdog {
			soft++
		} else {
			hard++
		}
	}
	switch {
	case soft+hard == 0:
		return list(fail("", "holdfast watchdog list", "node.yaml names no watchdog: nothing ends this node when it hangs, and its silence proves nothing"))
	case hard == 0:
		return list(warn("", "holdfast watchdog list", "softdog alone: the lockup of one processor stops it while the others write on; add a device of the hardware under watchdogs in node.yaml"))
	case soft+hard == 1:
		return list(warn("", "modprobe softdog", "one watchdog only: with a second one (softdog beside it) one period less has to be waited for at every takeover"))
	}
	return list(ok("", "%d watchdogs are fed as a pair", soft+hard))
}

func dogThere(f *Facts) []Finding {
	var found []Finding
	for _, d := range f.Dogs {
		switch {
		case d.Missing == "":
			found = append(found, ok(d.Device, "%s, driver %s", d.Listed.Path, orWord(d.Listed.Driver, "not known")))
		case d.Softdog:
			found = append(found, fail(d.Device, "modprobe softdog", "%s", d.Missing))
		default:
			found = append(found, fail(d.Device, "holdfast watchdog list", "%s", d.Missing))
		}
	}
	return found
}

func orWord(s, other string) string {
	if s == "" {
		return other
	}
	return s
}

// holder: a watchdog that somebody else feeds does not end this node.
func holder(f *Facts) []Finding {
	var found []Finding
	for _, d := range f.Dogs {
		ours := false
		var others, units []string
		for _, h := range d.Listed.Holders {
			switch {
			case strings.HasPrefix(h.Name, "holdfast-guard"):
				ours = true
			case h.PID == 1: // holds for the guard, or feeds for itself: the guard's own descriptor tells
			default:
				others, units = append(others, h.Name), append(units, h.Name)
			}
		}
		first := len(d.Listed.Holders) > 0 && d.Listed.Holders[0].PID == 1
		switch {
		case d.Missing != "":
		case len(others) > 0:
			found = append(found, fail(d.Device, "systemctl disable --now "+units[0], "%s has it open as well: whatever else feeds a watchdog keeps this node from being reset", strings.Join(others, ", ")))
		case first && !ours:
			found = append(found, fail(d.Device, "holdfast doctor --fix, then restart the machine", "the service manager has it open and feeds it (RuntimeWatchdogSec): the guard cannot have it"))
		case ours:
			found = append(found, ok(d.Device, "fed by the guard alone"))
		default:
			found = append(found, ok(d.Device, "nobody has it open"))
		}
	}
	return found
}

// manager: systemd takes a watchdog for itself where it is told to.
func manager(f *Facts) []Finding {
	m := &f.Manager
	off := m.Runtime == "" || m.Runtime == "off" || m.Runtime == "0" || m.Runtime == "0s"
	if off {
		return list(ok("", "the service manager leaves the watchdogs alone"))
	}
	if m.Device != "" && !f.configured(m.Device) {
		return list(ok("", "the service manager feeds %s, which is none of this node's", m.Device))
	}
	return list(fail("", "restart the machine after holdfast doctor --fix", "%s sets RuntimeWatchdogSec=%s: at the next boot the service manager takes a watchdog, and feeds it as long as it lives", m.File, m.Runtime).
		with(&Change{
			Text:  "RuntimeWatchdogSec=off; it counts from the next boot on",
			Files: []Edit{{Path: "/etc/systemd/system.conf.d/90-holdfast.conf", Text: made + "[Manager]\nRuntimeWatchdogSec=off\n"}},
		}))
}

func (f *Facts) configured(device string) bool {
	for _, d := range f.Dogs {
		if d.Device == device || d.Listed.Path == device || device == "/dev/watchdog" && filepath.Base(d.Listed.Path) == "watchdog0" {
			return true
		}
	}
	return false
}

func measured(f *Facts) []Finding {
	var found []Finding
	for _, d := range f.Dogs {
		switch {
		case d.Missing != "":
		case d.Unproven == "":
			found = append(found, ok(d.Device, "its reset time is measured, and nothing has changed since"))
		default:
			found = append(found, warn(d.Device, "holdfast watchdog qualify "+d.Listed.Path,
				"its reset time counts as never measured (%s): twice its timeout and a second are waited for. The measurement resets the machine: empty it first", d.Unproven))
		}
	}
	return found
}

// softdogSettings: softdog can be told not to reset.
func softdogSettings(f *Facts) []Finding {
	var found []Finding
	for _, d := range f.Dogs {
		if !d.Softdog || d.Missing != "" {
			continue
		}
		bad := ""
		for _, p := range d.Listed.Parameters {
			switch p {
			case "soft_noboot=1":
				bad = "it is loaded with soft_noboot=1: it logs a line and resets nothing"
			case "soft_panic=1":
				bad = "it is loaded with soft_panic=1: it panics, and how long that takes is not its own timeout"
			}
		}
		if bad == "" {
			found = append(found, ok(d.Device, "it resets the machine"))
			continue
		}
		found = append(found, fail(d.Device, "holdfast doctor --fix, then restart the machine", "%s", bad).with(&Change{
			Text:  "softdog is loaded with soft_noboot=0 and soft_panic=0; it counts when it is loaded next",
			Files: []Edit{{Path: "/etc/modprobe.d/zz-holdfast-softdog.conf", Text: made + "options softdog soft_noboot=0 soft_panic=0\n"}},
		}))
	}
	return found
}

func softdogLoaded(f *Facts) []Finding {
	for _, d := range f.Dogs {
		switch {
		case !d.Softdog:
		case d.AtBoot:
			return list(ok(d.Device, "it is loaded at boot"))
		default:
			return list(warn(d.Device, "echo softdog > /etc/modules-load.d/holdfast.conf", "nothing loads it at boot: the guard will not find it then").with(&Change{
				Text:  "softdog is loaded at boot",
				Files: []Edit{{Path: "/etc/modules-load.d/holdfast.conf", Text: made + "softdog\n"}},
			}))
		}
	}
	return nil
}

// stopOnReboot: a reboot(2) that stops the watchdogs first leaves nothing to end
// what hangs behind it.
func stopOnReboot(f *Facts) []Finding {
	switch f.Kernel.StopOnReboot {
	case "":
		return nil
	case "1":
		return list(warn("", "holdfast doctor --fix, then restart the machine", "the watchdogs are stopped by every reboot (watchdog.stop_on_reboot=1): one that hangs is then ended by nothing").with(&Change{
			Text:  "stop_on_reboot=0 for the watchdogs; it counts from the next boot on",
			Files: []Edit{{Path: "/etc/modprobe.d/zz-holdfast-watchdog.conf", Text: made + "options watchdog stop_on_reboot=0\n"}},
		}))
	}
	return list(ok("", "a reboot does not stop the watchdogs by order"))
}
