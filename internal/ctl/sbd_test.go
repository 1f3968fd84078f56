package ctl_test

import (
	"os/exec"
	"strings"
	"testing"

	"github.com/holdfast-ha/holdfast/storage/storagetest"
)

// realSBD is the sbd(8) of the distribution.
func realSBD(t *testing.T) func(code int, args ...string) string {
	t.Helper()
	path, err := exec.LookPath("sbd")
	if err != nil {
		path, err = exec.LookPath("/usr/sbin/sbd")
	}
	if err != nil {
		t.Skip("sbd(8) is missing, so nothing was tried with it: apt-get install --no-install-recommends sbd (test/setup.sh does)")
	}
	return func(code int, args ...string) string {
		t.Helper()
		c := exec.CommandContext(t.Context(), path, args...)
		out, _ := c.CombinedOutput() // the exit code tells
		if got := c.ProcessState.ExitCode(); got != code {
			t.Fatalf("sbd %q: exit code %d, want %d\n%s", args, got, code, out)
		}
		return string(out)
	}
}

// TestRealSBDOnQuorumDisks: what init makes is an SBD device for the real sbd,
// with blocks of 512 bytes, of 4096, and of 512 within 4096 (512e).
func TestRealSBDOnQuorumDisks(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		logical int
		flags   []string
		sector  string
	}{
		"512":  {512, nil, "512"},
		"4096": {4096, nil, "4096"},
		"512e": {512, []string{"--sector-size", "4096"}, "512"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, sbd := newSite(t), realSBD(t)
			device := storagetest.Loop(t, s.disk("q", 80), c.logical)
			s.init(append([]string{"--disk", device}, c.flags...)...).says(t, 0, "go on")
			if got := sbd(0, "-d", device, "list"); got != "0\talpha\tclear\t\n" {
				t.Fatalf("sbd list: %q", got)
			}
			dump := sbd(0, "-d", device, "dump")
			if want := "Sector size        : " + c.sector + "\n"; !strings.Contains(dump, want) {
				t.Errorf("sbd dump has no %q:\n%s", want, dump)
			}
			sbd(0, "-d", device, "allocate", "beta")
			sbd(0, "-d", device, "message", "beta", "exit")
			theirs := sbd(0, "-d", device, "list")
			if ours := holdfast("", "sbd", "-d", device, "list"); ours.out != theirs || !strings.Contains(theirs, "1\tbeta\texit\t") {
				t.Errorf("sbd list:\n%sholdfast sbd list:\n%s", theirs, ours.out)
			}
			holdfast("", "sbd", "-d", device, "message", "beta", "clear").says(t, 0)
			if got := sbd(0, "-d", device, "list"); !strings.Contains(got, "1\tbeta\tclear\t") {
				t.Errorf("sbd list after holdfast's message: %q", got)
			}
			s.at("", "disk", "verify").says(t, 0, "everything on it checks")
		})
	}
}

// TestAdoptSBD: a LUN in use by SBD keeps its identity, slots, timeouts and messages.
func TestAdoptSBD(t *testing.T) {
	t.Parallel()
	for name, logical := range map[string]int{"512": 512, "4096": 4096} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, sbd := newSite(t), realSBD(t)
			device := storagetest.Loop(t, s.disk("q", 80), logical)
			sbd(0, "-d", device, "-1", "7", "-4", "3", "create")
			for _, node := range []string{"gamma", "ALPHA", "delta"} {
				sbd(0, "-d", device, "allocate", node)
			}
			sbd(0, "-d", device, "message", "delta", "off")
			list, dump := sbd(0, "-d", device, "list"), sbd(0, "-d", device, "dump")
			s.init("--disk", device).says(t, 1, "an SBD device", "--adopt-sbd")
			s.init("--disk", device, "--adopt-sbd").says(t, 0, "taken over, with 3 slots and its timeouts", "message wait of 3 s",
				"delta was told to stay off", "message delta clear", "go on")
			if got := sbd(0, "-d", device, "list"); got != list {
				t.Errorf("slots were\n%snow\n%s", list, got)
			}
			if got := sbd(0, "-d", device, "dump"); got != dump {
				t.Errorf("header was\n%snow\n%s", dump, got)
			}
			s.at("", "disk", "verify").says(t, 0, "everything on it checks")
		})
	}
}

func TestAdoptSBDRefusals(t *testing.T) {
	t.Parallel()
	s, sbd := newSite(t), realSBD(t)
	blank := storagetest.Loop(t, s.disk("blank", 80), 512)
	s.init("--disk", blank, "--adopt-sbd").says(t, 1, blank+" is no SBD device", "leave --adopt-sbd out")
	small := storagetest.Loop(t, s.disk("small", 4), 512)
	sbd(0, "-d", small, "create")
	before := sum(t, small)
	s.init("--disk", small, "--adopt-sbd").says(t, 1, "too small", "it has 4 MiB", "recommended: 1024 MiB")
	if sum(t, small) != before {
		t.Error("a refused disk was changed")
	}
	nothingIn(t, s.etc("alpha"))
}

// TestAdoptSBDTakesBack: an init that fails later leaves an SBD device.
func TestAdoptSBDTakesBack(t *testing.T) {
	t.Parallel()
	s, sbd := newSite(t), realSBD(t)
	device := storagetest.Loop(t, s.disk("q", 80), 512)
	sbd(0, "-d", device, "create")
	sbd(0, "-d", device, "allocate", "gamma")
	inTheWay(t, s)
	s.init("--disk", device, "--adopt-sbd").says(t, 1, ".new")
	if got := sbd(0, "-d", device, "list"); !strings.HasPrefix(got, "0\tgamma\tclear\t") {
		t.Errorf("sbd list after a failed init: %q", got)
	}
}
