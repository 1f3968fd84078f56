package doctor

import (
	"fmt"
	"strings"
)

func kernelChecks() []check {
	const s = "kernel"
	return []check{
		{s, "reset-line", real(resetLine)},
		{s, "clocksource", real(clocksource)},
		{s, "nocluster", real(nocluster)},
		{s, "panic", real(afterPanic)},
		{s, "reserve", real(memoryReserve)},
		{s, "kdump", real(kdump)},
		{s, "real-time", realTime},
	}
}

// resetLine: the guard's fastest way to end its node.
func resetLine(f *Facts) []Finding {
	if f.Kernel.Sysrq {
		return list(ok("", "the reset line, /proc/sysrq-trigger, is there"))
	}
	return list(fail("", "grep MAGIC_SYSRQ /boot/config-*", "there is no /proc/sysrq-trigger (the kernel was built without CONFIG_MAGIC_SYSRQ): the guard cannot reset this node and has to wait for the watchdogs"))
}

// clocksource: a lease is counted by it.
func clocksource(f *Facts) []Finding {
	const place = "/sys/devices/system/clocksource/clocksource0/available_clocksource"
	switch c := f.Kernel.Clocksource; c {
	case "":
		return list(unknown("", "cat "+place, "the clock source of the kernel is not known"))
	case "tsc", "kvm-clock", "arch_sys_counter", "hyperv_clocksource_tsc_page", "xen", "timebase", "tod":
		return list(ok("", "clock source %s", c))
	case "jiffies":
		return list(fail("", "cat "+place, "clock source jiffies: it loses time while interrupts are off, so that a lease can be longer than it says"))
	default:
		return list(warn("", "cat "+place, "clock source %s: the kernel has given up a better one, or has none; each reading is slow, and firmware may share the device", c))
	}
}

func nocluster(f *Facts) []Finding {
	for _, word := range strings.Fields(f.Kernel.Cmdline) {
		if word == "nocluster" {
			return list(warn("", "restart the machine without nocluster on the kernel's command line", "the machine was started with nocluster: none of Holdfast's units begins"))
		}
	}
	return nil
}

// afterPanic: a machine that stands after a panic has stopped beating, and softdog
// with it.
func afterPanic(f *Facts) []Finding {
	switch {
	case !f.Kernel.PanicKnown:
		return list(unknown("", "sysctl kernel.panic", "what the kernel does after a panic is not known"))
	case f.Kernel.Panic != 0:
		return list(ok("", "after a panic the kernel restarts the machine (kernel.panic = %d)", f.Kernel.Panic))
	case hasHardware(f):
		return list(ok("", "after a panic the machine stands until its hardware watchdog resets it (kernel.panic = 0)"))
	}
	return list(warn("", "sysctl kernel.panic=5", "after a panic the machine stands for ever: softdog is dead with the kernel, and there is no hardware watchdog").
		with(sysctl("panic", "kernel.panic", "/proc/sys/kernel/panic", 5)))
}

func hasHardware(f *Facts) bool {
	for _, d := range f.Dogs {
		if !d.Softdog && d.Missing == "" {
			return true
		}
	}
	return false
}

// sysctl changes one setting of the kernel, now and at every boot.
func sysctl(name, key, place string, value int64) *Change {
	return &Change{
		Text: fmt.Sprintf("%s = %d, now and at every boot", key, value),
		Files: []Edit{
			{Path: "/etc/sysctl.d/60-holdfast-" + name + ".conf", Text: fmt.Sprintf("%s%s = %d\n", made, key, value)},
			{Path: place, Text: fmt.Sprintf("%d\n", value), Value: true},
		},
	}
}

// The reserve of memory: 16 MiB, on machines that would not miss it.
const (
	leastFree   = 16 << 10 // KiB
	largeMemory = 2 << 20  // KiB
)

// memoryReserve is what requests of drivers and of the network live on when
// memory is short.
func memoryReserve(f *Facts) []Finding {
	k := &f.Kernel
	switch {
	case k.MinFree == 0 || k.MemTotal == 0:
		return list(unknown("", "sysctl vm.min_free_kbytes", "how much memory the kernel keeps in reserve is not known"))
	case k.MinFree >= leastFree || k.MemTotal < largeMemory:
		return list(ok("", "the kernel keeps %d MiB of memory in reserve", k.MinFree>>10))
	}
	return list(warn("", "sysctl vm.min_free_kbytes=65536", "the kernel keeps %d MiB of memory in reserve: when memory is short, beats wait for memory of the drivers below them", k.MinFree>>10).
		with(sysctl("memory", "vm.min_free_kbytes", "/proc/sys/vm/min_free_kbytes", 65536)))
}

// kdump: a crash kernel runs on after the node was proven dead.
func kdump(f *Facts) []Finding {
	k := &f.Kernel
	if !k.CrashLoaded {
		if k.CrashSize > 0 {
			return list(ok("", "%d MiB are reserved for a crash kernel, none is loaded", k.CrashSize>>20))
		}
		return list(ok("", "no crash kernel: a panic ends the node at once"))
	}
	for _, d := range f.Disks {
		if k.CrashTo != "" && (k.CrashTo == d.Path || strings.Contains(k.CrashTo, d.Path)) {
			return list(fail("", "let kdump write to a disk of this machine alone, or over the network", "the crash kernel writes to %s, a quorum disk", k.CrashTo))
		}
	}
	for _, m := range f.Boot.Mounts {
		if k.CrashTo != "" && (k.CrashTo == m.Device || k.CrashTo == m.At) {
			return list(fail(m.Service, "let kdump write to a disk of this machine alone, or over the network",
				"the crash kernel writes to %s, which belongs to the service %s: that may run on another node by then", k.CrashTo, m.Service))
		}
	}
	return list(ok("", "a crash kernel is loaded, and writes to no disk of the cluster; a hardware watchdog may end it before its dump is whole"))
}

// realTime: what the kernel refused to the guard.
func realTime(f *Facts) []Finding {
	s := f.Cluster.Status
	switch {
	case s == nil:
		return nil
	case s.Self.RealTime != "":
		return list(warn("", "journalctl -u holdfast-guard -b", "the guard was refused: %s; a busy machine may keep it from beating in time", s.Self.RealTime))
	}
	return list(ok("", "the guard runs in real time, with its memory locked"))
}
