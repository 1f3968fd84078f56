package vm_test

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
	"github.com/holdfast-ha/holdfast/resources/vm"
)

func TestMain(m *testing.M) { agenttest.Main(m, resources.Kinds{"vm": vm.Agent{}}) }

// inside starts libvirt in a mount namespace of its own: with its own settings, and
// with the user that its driver for QEMU asks for even where that is not used.
const inside = `set -e
mkdir -p /etc/libvirt /run/libvirt /var/cache/libvirt /var/lib/libvirt
for d in /etc/libvirt /run/libvirt /var/cache/libvirt /var/lib/libvirt; do mount -t tmpfs x $d; done
cp /etc/passwd /etc/group "$1"/
grep -q libvirt-qemu "$1"/passwd || { echo libvirt-qemu:x:64055:64055::/:/bin/false >>"$1"/passwd; echo libvirt-qemu:x:64055: >>"$1"/group; }
mount --bind "$1"/passwd /etc/passwd; mount --bind "$1"/group /etc/group
exec libvirtd -f "$1"/libvirtd.conf -p "$1"/pid`

// hypervisor is libvirt with its test driver, whose machines exist in its memory
// only; the address to reach it by.
func hypervisor(t *testing.T) string {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("not root: libvirt is started in a mount namespace; run this test as root")
	}
	for _, p := range []string{"libvirtd", "virsh", "unshare"} {
		if _, err := exec.LookPath(p); err != nil {
			t.Skipf("%s is not installed: apt-get install libvirt-daemon libvirt-clients, or run test/setup.sh", p)
		}
	}
	dir, err := os.MkdirTemp("", "hf-vm-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	conf := fmt.Sprintf("unix_sock_dir = %q\nauth_unix_rw = \"none\"\nauth_unix_ro = \"none\"\n", dir)
	if err := os.WriteFile(filepath.Join(dir, "libvirtd.conf"), []byte(conf), 0o644); err != nil {
		t.Fatal(err)
	}
	address := "test+unix:///default?socket=" + dir + "/libvirt-sock"
	start := func(argv ...string) {
		cmd := exec.Command(argv[0], argv[1:]...)
		log, err := os.Create(filepath.Join(dir, filepath.Base(argv[0])+".log"))
		if err != nil {
			t.Fatal(err)
		}
		cmd.Stdout, cmd.Stderr = log, log
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
			log.Close()
			if text, err := os.ReadFile(log.Name()); t.Failed() && err == nil {
				t.Logf("%s: %s", argv[0], text)
			}
		})
	}
	start("unshare", "--mount", "--propagation", "private", "/bin/sh", "-c", inside, "sh", dir)
	deadline := time.Now().Add(20 * time.Second)
	for exec.Command("virsh", "-c", address, "list").Run() != nil {
		if time.Now().After(deadline) {
			t.Fatal("waited in vain until libvirt answers")
		}
	}
	// The driver forgets its machines when the last connection goes.
	start("virsh", "-c", address, "event", "--loop", "--event", "lifecycle")
	// Until that one is there, each call meets a driver of its own, whose machine runs.
	for state := ""; state != "shut off"; {
		_ = exec.Command("virsh", "-c", address, "destroy", "test").Run() // whether it did anything is seen next
		out, err := exec.Command("virsh", "-c", address, "domstate", "test").Output()
		if state = strings.TrimSpace(string(out)); time.Now().After(deadline) {
			t.Fatalf("waited in vain until the machine of libvirt's test driver is off: %q, %v", state, err)
		}
	}
	return address
}

func virsh(t *testing.T, address string, args ...string) {
	t.Helper()
	if out, err := exec.Command("virsh", append([]string{"-c", address}, args...)...).CombinedOutput(); err != nil {
		t.Fatalf("virsh %v: %v: %s", args, err, out)
	}
}

func ask(t *testing.T, v func(context.Context, resources.Request) resources.Report, spec map[string]any, outcome resources.Outcome, words string) {
	t.Helper()
	raw, err := json.Marshal(spec)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	r := v(ctx, resources.Request{Service: "suite", Member: "m", Spec: raw, Timeout: 20 * time.Second})
	if r.Outcome != outcome || !strings.Contains(r.Text, words) {
		t.Errorf("%v: %s; want %v with %q", r.Outcome, r.Text, outcome, words)
	}
}

func TestLibvirt(t *testing.T) {
	address := hypervisor(t)
	spec := map[string]any{"domain": "test", "connect": address}
	t.Run("suite", func(t *testing.T) { agenttest.Run(t, vm.Agent{}, spec) })
	t.Run("lives", func(t *testing.T) {
		agenttest.Lives(t, agenttest.Case{Kind: "vm", Spec: spec, Lose: func(t *testing.T) { virsh(t, address, "destroy", "test") }})
	})
	a := vm.Agent{}
	t.Run("a transient machine", func(t *testing.T) {
		file := filepath.Join(t.TempDir(), "guest.xml")
		text := "<domain type='test'><name>guest</name><memory>1024</memory><os><type>hvm</type></os></domain>"
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		guest := map[string]any{"domain": "guest", "connect": address}
		ask(t, a.Fit, guest, resources.Failed, "virsh define")
		ask(t, a.Start, guest, resources.Failed, "virsh define")
		guest["xml"] = file
		agenttest.Run(t, a, guest)
	})
	t.Run("paused", func(t *testing.T) {
		ask(t, a.Start, spec, resources.OK, "runs")
		virsh(t, address, "suspend", "test")
		ask(t, a.Check, spec, resources.Failed, "paused")
		ask(t, a.Probe, spec, resources.OK, "paused")
		ask(t, a.Start, spec, resources.Failed, "stopped first")
		ask(t, a.Stop, spec, resources.OK, "shut off")
	})
	t.Run("autostart", func(t *testing.T) {
		virsh(t, address, "autostart", "test")
		ask(t, a.Fit, spec, resources.Failed, "virsh autostart --disable test")
		ask(t, a.Start, spec, resources.Failed, "virsh autostart --disable test")
		virsh(t, address, "autostart", "--disable", "test")
		ask(t, a.Fit, spec, resources.OK, "")
	})
}

// A hypervisor that does not answer says nothing about its machines.
func TestNoAnswer(t *testing.T) {
	if _, err := exec.LookPath("virsh"); err != nil {
		t.Skip("virsh is not installed: apt-get install libvirt-clients, or run test/setup.sh")
	}
	spec := map[string]any{"domain": "test", "connect": "test+unix:///default?socket=" + t.TempDir() + "/none"}
	a := vm.Agent{}
	ask(t, a.Probe, spec, resources.Unknown, "does not answer")
	ask(t, a.Stop, spec, resources.Unknown, "does not answer")
	ask(t, a.Check, spec, resources.Unknown, "does not answer")
	ask(t, a.Fit, spec, resources.Failed, "does not answer")
}

func TestBadSpecifications(t *testing.T) {
	for _, s := range []map[string]any{{}, {"domain": "--all"}, {"domain": "a", "xml": "rel"}, {"domain": "a", "connect": "-x"}, {"domain": "a", "migrate": true}} {
		ask(t, vm.Agent{}.Start, s, resources.Failed, "")
	}
}
