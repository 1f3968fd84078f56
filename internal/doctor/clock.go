package doctor

import "path/filepath"

func clockChecks() []check {
	const s = "time"
	return []check{
		{s, "wall-clock", real(wallClock)},
		{s, "slew", real(slew)},
		{s, "sleep", real(sleep)},
	}
}

// wallClock: nothing is decided by it, but two logs without it cannot be laid side
// by side.
func wallClock(f *Facts) []Finding {
	c := &f.Clock
	switch {
	case !c.Known:
		return list(unknown("", "timedatectl", "whether the wall clock is kept is not known"))
	case c.Synced:
		return list(ok("", "the wall clock is kept by %s", orWord(c.Keeper, "the kernel's discipline")))
	}
	return list(warn("", "timedatectl set-ntp true", "nobody keeps the wall clock: nothing is decided by it, but the logs of two nodes are hard to read side by side"))
}

// slewMost is the error of a clock that the timeouts count with, in ppm.
const slewMost = 5000

// slew: timers and softdog follow the clock that chrony slews; comparisons do not.
func slew(f *Facts) []Finding {
	c := &f.Clock
	switch {
	case c.Slew == 0:
		return nil
	case c.Slew <= slewMost:
		return list(ok("", "chrony slews by at most %.0f ppm", c.Slew))
	}
	x := warn("", "holdfast doctor --fix", "chrony may slew by %.0f ppm: leases are counted by a clock that it does not touch, but timers, and with them the feeding of watchdogs and softdog itself, run so much late", c.Slew)
	if c.SlewDir == "" {
		x.Remedy = "echo maxslewrate 500 >> /etc/chrony.conf"
		return list(x)
	}
	return list(x.with(&Change{
		Text:  "maxslewrate 500 for chrony",
		Files: []Edit{{Path: filepath.Join(c.SlewDir, "holdfast.conf"), Text: made + "maxslewrate 500\n"}},
		Run:   [][]string{{"systemctl", "try-restart", "chronyd.service"}},
		Back:  [][]string{{"systemctl", "try-restart", "chronyd.service"}},
	}))
}

// sleep: a suspended machine is silent, and its watchdogs may sleep with it.
func sleep(f *Facts) []Finding {
	var open []string
	c := &Change{Text: "the units that suspend the machine are masked"}
	for _, t := range f.Sleep.Targets {
		if t.Masked || t.Denied {
			continue
		}
		open = append(open, t.Unit)
		c.Files = append(c.Files, Edit{Path: "/etc/systemd/system/" + t.Unit, Link: "/dev/null"})
	}
	if len(open) == 0 {
		if len(f.Sleep.Targets) == 0 {
			return nil
		}
		return list(ok("", "nothing can suspend the machine"))
	}
	c.Run, c.Back = [][]string{{"systemctl", "daemon-reload"}}, [][]string{{"systemctl", "daemon-reload"}}
	return list(fail("", "systemctl mask "+join(open), "%s can suspend the machine: it is silent then, its services are taken over, and it writes on when it wakes up", join(open)).with(c))
}

func join(words []string) string {
	text := ""
	for i, w := range words {
		if i > 0 {
			text += " "
		}
		text += w
	}
	return text
}
