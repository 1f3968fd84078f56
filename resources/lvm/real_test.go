package lvm_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-ha/holdfast/resources"
	"github.com/holdfast-ha/holdfast/resources/agenttest"
	"github.com/holdfast-ha/holdfast/resources/lvm"
	"github.com/holdfast-ha/holdfast/storage/mount/mounttest"
)

// realSetting is a volume group on a disk of its own, on a kernel with a device mapper,
// under the real lvm and nothing else. What has been left on the disk is gone.
func realSetting(t *testing.T) *setting {
	t.Helper()
	mounttest.NeedRoot(t)
	disk := os.Getenv("HOLDFAST_LVM_DISK")
	if disk == "" {
		t.Skip("HOLDFAST_LVM_DISK names no empty disk: it takes one and a kernel with a device mapper; make vm RUN=TestKindsOnRealThings has both")
	}
	s := &setting{t: t, dir: t.TempDir(), dev: disk, limit: 15 * time.Second}
	if err := os.MkdirAll(filepath.Join(s.dir, "conf"), 0o755); err != nil {
		t.Fatal(err)
	}
	s.settings("")
	s.system("alpha")
	s.env = []string{"LVM_SYSTEM_DIR=" + s.dir + "/conf"}
	t.Setenv("LVM_SYSTEM_DIR", s.dir+"/conf")
	mounttest.Run(t, "wipefs", "--all", disk)
	s.lvm("pvcreate", "--yes", disk)
	s.lvm("vgcreate", "--setautoactivation", "n", "hf-suite", disk)
	s.lvm("lvcreate", "--yes", "--activate", "n", "-Zn", "-Wn", "-n", "data", "-L", "8M", "hf-suite")
	t.Cleanup(func() {
		s.settings("")
		mounttest.Run(t, "lvm", "vgchange", "--yes", "--config", `local/extra_system_ids=["alpha","beta"]`, "--activate", "n", "hf-suite")
		mounttest.Run(t, "wipefs", "--all", "--force", disk)
	})
	return s
}

// settings writes lvm.conf, with more of its activation section.
func (s *setting) settings(activation string) {
	s.write("conf/lvm.conf", fmt.Sprintf("devices { filter = [ \"a|^%s$|\", \"r|.*|\" ]\n use_devicesfile = 0 }\n", s.dev)+
		"global { system_id_source = \"lvmlocal\" }\nbackup { backup = 0\n archive = 0 }\nactivation { "+activation+" }\n")
}

// active says whether the volume is in the kernel's device mapper.
func (s *setting) active() bool {
	_, err := os.Stat("/dev/mapper/hf--suite-data")
	return err == nil
}

// The promises of every kind, with a system ID and with a tag, under a volume_list that
// lets nobody else activate the group.
func TestRealLives(t *testing.T) {
	s := realSetting(t)
	for _, owner := range []string{"system-id", "tag"} {
		t.Run(owner, func(t *testing.T) {
			if owner == "tag" {
				s.lvm("vgchange", "--yes", "--systemid", "", "hf-suite")
				s.settings(`volume_list = [ "vg_root" ]`)
			}
			spec := map[string]any{"group": "hf-suite", "owner": owner}
			agenttest.Run(t, lvm.Agent{}, spec)
			if owner == "tag" {
				if s.lvm("vgchange", "--activate", "y", "hf-suite"); s.active() {
					t.Error("without its tag the group was activated in spite of volume_list")
				}
				return
			}
			agenttest.Lives(t, agenttest.Case{Kind: "lvm", Spec: spec, Env: s.env, Brief: true, Lose: func(t *testing.T) {
				s.lvm("vgchange", "--activate", "n", "hf-suite")
			}})
		})
	}
}

// A group that is activated by whoever sees its disks is refused as long as it is so;
// afterwards the kernel's event that the disk is there activates nothing.
func TestRealAutoActivation(t *testing.T) {
	s := realSetting(t)
	spec := map[string]any{"group": "hf-suite"}
	a := lvm.Agent{}
	event := func() bool { // what udev runs when the disk appears (69-dm-lvm.rules)
		s.lvm("vgchange", "--activate", "ay", "hf-suite")
		return s.active()
	}
	s.lvm("vgchange", "--setautoactivation", "y", "hf-suite")
	if !event() {
		t.Error("a group with autoactivation was not activated by the event of its disk")
	}
	s.ask(a.Stop, spec, resources.OK, "")
	s.ask(a.Fit, spec, resources.Failed, "vgchange --setautoactivation n hf-suite")
	s.ask(a.Start, spec, resources.Failed, "vgchange --setautoactivation n hf-suite")
	if s.active() {
		t.Error("active after a start that was refused")
	}
	s.lvm("vgchange", "--setautoactivation", "n", "hf-suite")
	if event() {
		t.Error("a group without autoactivation was activated by the event of its disk")
	}
	s.ask(a.Fit, spec, resources.OK, s.dev)
}

// What was another machine's becomes this one's with the start, and only then can it be
// activated here.
func TestRealTakeover(t *testing.T) {
	s := realSetting(t)
	spec := map[string]any{"group": "hf-suite"}
	a := lvm.Agent{}
	s.ask(a.Start, spec, resources.OK, "1 volumes")
	s.ask(a.Stop, spec, resources.OK, "")
	s.system("beta")
	_ = exec.Command("lvm", "vgchange", "--activate", "y", "hf-suite").Run() // refused, or finds nothing
	if s.active() {
		t.Fatal("the group of another system was activated")
	}
	s.ask(a.Start, spec, resources.OK, "1 volumes")
	if got := strings.TrimSpace(s.lvm("vgs", "--noheadings", "-o", "vg_systemid", "hf-suite")); got != "beta" || !s.active() {
		t.Errorf("system ID %q after the takeover, active %v", got, s.active())
	}
	s.system("alpha")
	s.ask(a.Check, spec, resources.Failed, `belongs to the system "beta"`)
	s.ask(a.Stop, spec, resources.OK, "")
}

// A volume that is open is not stopped, and says so; one whose disks are gone is, by the
// device mapper alone.
func TestRealStops(t *testing.T) {
	s := realSetting(t)
	spec := map[string]any{"group": "hf-suite"}
	a := lvm.Agent{}
	s.ask(a.Start, spec, resources.OK, "")
	open, err := os.Open("/dev/mapper/hf--suite-data")
	if err != nil {
		t.Fatal(err)
	}
	if r := s.ask(a.Stop, spec, resources.Failed, "in use"); len(r.Holders) != 1 || !strings.Contains(r.Holders[0], "hf--suite-data") {
		t.Errorf("holders %q", r.Holders)
	}
	s.ask(a.Probe, spec, resources.OK, "")
	s.write("conf/lvm.conf", "devices { filter = [ \"r|.*|\" ]\n use_devicesfile = 0 }\nglobal { system_id_source = \"lvmlocal\" }\n")
	s.ask(a.Check, spec, resources.Failed, "disks are gone")
	s.ask(a.Stop, spec, resources.Failed, "busy")
	if err := open.Close(); err != nil {
		t.Fatal(err)
	}
	s.ask(a.Stop, spec, resources.OK, "")
	if s.active() {
		t.Error("a stopped group whose disks are gone is still in the device mapper")
	}
}
