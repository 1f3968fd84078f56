package lvm_test

import (
	"context"
	"encoding/json"
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

func TestMain(m *testing.M) { agenttest.Main(m, resources.Kinds{"lvm": lvm.Agent{}}) }

// wrapper is the real lvm, but for activation: a kernel without a device mapper has
// none, so that is a folder that looks like sysfs. Its argument is the real program.
const wrapper = `#!/bin/sh
case "$*" in
"vgchange "*"--activate y"*) mkdir -p $HOLDFAST_SYSFS/block/dm-7/dm $HOLDFAST_SYSFS/block/dm-7/holders
  echo hf--suite-data >$HOLDFAST_SYSFS/block/dm-7/dm/name; echo LVM-abc >$HOLDFAST_SYSFS/block/dm-7/dm/uuid; exit 0;;
"vgchange "*"--activate n"*) [ -n "$(%[1]s vgs --foreign --noheadings hf-suite 2>/dev/null)" ] || { echo "Volume group hf-suite not found" >&2; exit 5; }
  [ ! -e $HOLDFAST_SYSFS/stuck ] || { echo "Logical volume hf-suite/data in use." >&2; exit 5; }
  rm -rf $HOLDFAST_SYSFS/block/dm-7; exit 0;;
esac
exec %[1]s "$@"
`

// dmsetup is the device mapper's own program, for the same folder.
const dmsetup = `#!/bin/sh
[ "$1 $2" = "remove hf--suite-data" ] || exit 9
[ ! -e $HOLDFAST_SYSFS/stuck ] || { echo "Device or resource busy" >&2; exit 1; }
rm -rf $HOLDFAST_SYSFS/block/dm-7
`

// setting is a volume group on a loop device, seen by this machine alone.
type setting struct {
	t        *testing.T
	dir, dev string
	env      []string
	limit    time.Duration // of one operation
}

func newSetting(t *testing.T) *setting {
	t.Helper()
	mounttest.NeedRoot(t)
	real, err := exec.LookPath("lvm")
	if err != nil {
		t.Skip("lvm is not installed: apt-get install lvm2, or run test/setup.sh")
	}
	s := &setting{t: t, dir: t.TempDir(), limit: 5 * time.Second}
	image := filepath.Join(s.dir, "disk")
	s.write("disk", "")
	if err := os.Truncate(image, 64<<20); err != nil {
		t.Fatal(err)
	}
	s.dev = strings.TrimSpace(mounttest.Run(t, "losetup", "--find", "--show", image))
	t.Cleanup(func() { mounttest.Run(t, "losetup", "--detach", s.dev) })
	for _, d := range []string{"bin", "sys/block", "conf", "run"} {
		if err := os.MkdirAll(filepath.Join(s.dir, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	s.write("bin/lvm", fmt.Sprintf(wrapper, real))
	s.write("bin/dmsetup", dmsetup)
	s.write("conf/lvm.conf", fmt.Sprintf("devices { filter = [ \"a|^%s$|\", \"r|.*|\" ]\n use_devicesfile = 0 }\n", s.dev)+
		fmt.Sprintf("global { system_id_source = \"lvmlocal\"\n locking_dir = %q }\nbackup { backup = 0\n archive = 0 }\n", s.dir+"/run"))
	s.system("alpha")
	s.env = []string{"PATH=" + s.dir + "/bin:" + os.Getenv("PATH"), "LVM_SYSTEM_DIR=" + s.dir + "/conf", "HOLDFAST_SYSFS=" + s.dir + "/sys"}
	for _, e := range s.env {
		name, value, _ := strings.Cut(e, "=")
		t.Setenv(name, value)
	}
	s.lvm("pvcreate", "-y", s.dev)
	s.lvm("vgcreate", "--setautoactivation", "n", "hf-suite", s.dev)
	s.lvm("lvcreate", "--driverloaded", "n", "-an", "-Zn", "-Wn", "-n", "data", "-L", "8M", "hf-suite")
	return s
}

func (s *setting) write(name, text string) {
	s.t.Helper()
	if err := os.WriteFile(filepath.Join(s.dir, name), []byte(text), 0o755); err != nil {
		s.t.Fatal(err)
	}
}

// system makes this machine another one.
func (s *setting) system(id string) {
	s.write("conf/lvmlocal.conf", fmt.Sprintf("local { system_id = %q }\n", id))
}

func (s *setting) lvm(args ...string) string {
	s.t.Helper()
	return mounttest.Run(s.t, "lvm", args...)
}

func (s *setting) ask(v func(context.Context, resources.Request) resources.Report, spec map[string]any, outcome resources.Outcome, words string) resources.Report {
	s.t.Helper()
	raw, err := json.Marshal(spec)
	if err != nil {
		s.t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), s.limit)
	defer cancel()
	r := v(ctx, resources.Request{Service: "suite", Member: "m", Spec: raw, Timeout: s.limit})
	if r.Outcome != outcome || !strings.Contains(r.Text, words) {
		s.t.Errorf("%v: %s; want %v with %q", r.Outcome, r.Text, outcome, words)
	}
	return r
}

func TestLives(t *testing.T) {
	for _, owner := range []string{"system-id", "tag"} {
		t.Run(owner, func(t *testing.T) {
			s := newSetting(t)
			spec := map[string]any{"group": "hf-suite", "owner": owner}
			agenttest.Run(t, lvm.Agent{}, spec)
			agenttest.Lives(t, agenttest.Case{Kind: "lvm", Spec: spec, Env: s.env, Lose: func(t *testing.T) {
				s.lvm("vgchange", "--activate", "n", "hf-suite")
			}})
		})
	}
}

// What was another machine's becomes this one's with the start.
func TestTakeover(t *testing.T) {
	s := newSetting(t)
	spec := map[string]any{"group": "hf-suite"}
	a := lvm.Agent{}
	id := func() string {
		return strings.TrimSpace(s.lvm("vgs", "--foreign", "--noheadings", "-o", "vg_systemid", "hf-suite"))
	}
	s.ask(a.Start, spec, resources.OK, "1 volumes")
	s.ask(a.Stop, spec, resources.OK, "")
	if got := id(); !strings.HasSuffix(got, "alpha") {
		t.Errorf("system ID %q after the first start", got)
	}
	s.system("beta")
	s.ask(a.Fit, spec, resources.OK, s.dev)
	s.ask(a.Start, spec, resources.OK, "")
	if got := id(); !strings.HasSuffix(got, "beta") {
		t.Errorf("system ID %q after the takeover", got)
	}
	s.system("alpha")
	s.ask(a.Check, spec, resources.Failed, `belongs to the system "beta"`)
	s.ask(a.Stop, spec, resources.OK, "")
}

func TestRefusals(t *testing.T) {
	s := newSetting(t)
	spec := map[string]any{"group": "hf-suite"}
	a := lvm.Agent{}
	s.ask(a.Fit, map[string]any{"group": "nowhere"}, resources.Failed, "not seen on this node")
	s.lvm("vgchange", "--setautoactivation", "y", "hf-suite")
	s.ask(a.Fit, spec, resources.Failed, "vgchange --setautoactivation n hf-suite")
	s.ask(a.Start, spec, resources.Failed, "vgchange --setautoactivation n hf-suite")
	conf, err := os.ReadFile(filepath.Join(s.dir, "conf/lvm.conf"))
	if err != nil {
		t.Fatal(err)
	}
	s.write("conf/lvm.conf", string(conf)+"activation { auto_activation_volume_list = [ \"vg_root\" ] }\n")
	s.ask(a.Fit, spec, resources.OK, "")
	s.write("conf/lvm.conf", strings.ReplaceAll(string(conf), "lvmlocal", "none")+"activation { auto_activation_volume_list = [ ] }\n")
	s.ask(a.Fit, spec, resources.Failed, "system_id_source")
	s.ask(a.Fit, map[string]any{"group": "hf-suite", "owner": "tag"}, resources.OK, "")
}

// A volume in use is named, and is not stopped; and a group whose disks are gone is
// judged by what the kernel has.
func TestStopsThatFail(t *testing.T) {
	s := newSetting(t)
	spec := map[string]any{"group": "hf-suite"}
	a := lvm.Agent{}
	s.ask(a.Start, spec, resources.OK, "")
	s.write("sys/stuck", "")
	s.write("sys/block/dm-7/holders/dm-9", "")
	r := s.ask(a.Stop, spec, resources.Failed, "in use")
	if len(r.Holders) != 1 || r.Holders[0] != "hf--suite-data (dm-7) below dm-9" {
		t.Errorf("holders %q", r.Holders)
	}
	s.ask(a.Probe, spec, resources.OK, "")
	mounttest.Run(t, "dd", "if=/dev/zero", "of="+s.dev, "bs=1M", "count=2", "conv=notrunc")
	s.ask(a.Check, spec, resources.Failed, "disks are gone")
	s.ask(a.Stop, spec, resources.Failed, "busy")
	if err := os.Remove(filepath.Join(s.dir, "sys/stuck")); err != nil {
		t.Fatal(err)
	}
	s.ask(a.Stop, spec, resources.OK, "")
	t.Setenv("HOLDFAST_SYSFS", filepath.Join(s.dir, "no-sysfs"))
	s.ask(a.Probe, spec, resources.Unknown, "")
}
