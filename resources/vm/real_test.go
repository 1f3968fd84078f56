package vm_test

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/holdfast-ha/holdfast/resources"
	"github.com/holdfast-ha/holdfast/resources/agenttest"
	"github.com/holdfast-ha/holdfast/resources/vm"
)

// node starts libvirt with its driver for QEMU as that of a node of its own: with a host
// name, a host UUID and directories that no other has, and one that is of this test only.
const node = `set -e
hostname "$1"; dir="$2/$1"
for d in /etc/libvirt /run/libvirt /var/cache/libvirt /var/lib/libvirt /var/log/libvirt; do mkdir -p $d; mount -t tmpfs x $d; done
mkdir "$dir"; cp /etc/passwd /etc/group "$dir"/
grep -q libvirt-qemu "$dir"/passwd || { echo libvirt-qemu:x:64055:64055::/:/bin/false >>"$dir"/passwd; echo libvirt-qemu:x:64055: >>"$dir"/group; }
mount --bind "$dir"/passwd /etc/passwd; mount --bind "$dir"/group /etc/group
cat >"$dir"/libvirtd.conf <<END
unix_sock_dir = "$dir"
auth_unix_rw = "none"
auth_unix_ro = "none"
host_uuid = "$3"
END
cat >/etc/libvirt/qemu.conf <<END
user = "root"
group = "root"
dynamic_ownership = 0
remember_owner = 0
security_driver = "none"
cgroup_controllers = []
namespaces = []
stdio_handler = "file"
migration_port_min = $4
migration_port_max = $(($4 + 50))
END
exec libvirtd -f "$dir"/libvirtd.conf -p "$dir"/pid`

// net gives both a loopback of their own, over which the memory goes.
const network = `ip link set lo up
unshare --mount --uts --propagation private /bin/sh -c "$2" sh alpha "$1" 11111111-1111-4111-8111-111111111111 49300 >"$1"/alpha.log 2>&1 & a=$!
unshare --mount --uts --propagation private /bin/sh -c "$2" sh beta "$1" 22222222-2222-4222-8222-222222222222 49400 >"$1"/beta.log 2>&1 & b=$!
trap 'kill $a $b' TERM
wait; wait`

// counter is a guest of 512 bytes, assembled by hand for the 8086 of a PC's boot: no
// kernel, and up within a second. The sector behind it is (boots) and (count), both 32
// bits, and how often it found there what it did not write. Ten milliseconds apart it reads the sector,
// compares it with what it has last written, and writes the next count: a second guest
// that writes to the same disk is seen, and so is one that goes on from older memory.
var counter = []byte{
	0xfa, 0x31, 0xc0, 0x8e, 0xd8, 0x8e, 0xc0, 0x8e, 0xd0, 0xbc, 0x00, 0x7c, // cli; segments 0, stack at 7c00
	0x88, 0x16, 0x08, 0x90, 0xfb, //                                           drive = dl; sti
	0xb0, 0x34, 0xe6, 0x43, 0xb8, 0x9c, 0x2e, 0xe6, 0x40, 0x88, 0xe0, 0xe6, 0x40, // timer: 100 Hz
	0xe8, 0x4c, 0x00, //                                                       call read
	0x66, 0xff, 0x06, 0x04, 0x80, //                                           boots++
	0x66, 0xa1, 0x00, 0x80, 0x66, 0xa3, 0x00, 0x90, //                         mine.count = count
	0x66, 0xa1, 0x04, 0x80, 0x66, 0xa3, 0x04, 0x90, //                         mine.boots = boots
	0xe8, 0x38, 0x00, //                                                       call write
	0xe8, 0x31, 0x00, //                                                 again: call read
	0x66, 0xa1, 0x00, 0x80, 0x66, 0x3b, 0x06, 0x00, 0x90, 0x75, 0x1b, //       if count != mine.count goto bad
	0x66, 0xa1, 0x04, 0x80, 0x66, 0x3b, 0x06, 0x04, 0x90, 0x75, 0x10, //       if boots != mine.boots goto bad
	0x66, 0xff, 0x06, 0x00, 0x80, 0x66, 0xff, 0x06, 0x00, 0x90, //             count++; mine.count++
	0xe8, 0x12, 0x00, 0xf4, 0xeb, 0xd7, //                                     call write; hlt; goto again
	0x66, 0xff, 0x06, 0x08, 0x80, 0xe8, 0x07, 0x00, 0xf4, 0xeb, 0xfd, //  bad: found++; call write; halt for ever
	0xb4, 0x42, 0xeb, 0x03, //                                           read: ah = 42; goto io
	0xb8, 0x00, 0x43, //                                                write: ax = 4300
	0xbe, 0x7e, 0x7c, 0x8a, 0x16, 0x08, 0x90, 0xcd, 0x13, 0xc3, //          io: BIOS disk call for the packet; ret
	0x10, 0x00, 0x01, 0x00, 0x00, 0x80, 0x00, 0x00, 0x01, 0, 0, 0, 0, 0, 0, 0, // packet: sector 1 at 8000
}

// pair is two nodes with a libvirt each, and the disk of a guest that both have.
type pair struct {
	t    *testing.T
	dir  string
	disk string
	spec map[string]any
}

func newPair(t *testing.T) *pair {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("not root: two libvirts are started in namespaces of their own; run this test as root")
	}
	for program, brings := range map[string]string{
		"libvirtd": "libvirt-daemon", "virsh": "libvirt-clients", "unshare": "util-linux", "ip": "iproute2", "losetup": "util-linux", "qemu-system-x86_64": "qemu-system-x86",
	} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skipf("%s is not installed: apt-get install %s, or run test/setup.sh", program, brings)
		}
	}
	if found, _ := filepath.Glob("/usr/lib/*/libvirt/connection-driver/libvirt_driver_qemu.so"); len(found) == 0 {
		t.Skip("libvirt has no driver for QEMU here: apt-get install libvirt-daemon-driver-qemu, or run test/setup.sh")
	}
	dir, err := os.MkdirTemp("", "hf-vm-")
	if err != nil {
		t.Fatal(err)
	}
	p := &pair{t: t, dir: dir}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	image := filepath.Join(dir, "disk")
	boot := make([]byte, 64<<10)
	copy(boot, counter)
	boot[510], boot[511] = 0x55, 0xaa
	if err := os.WriteFile(image, boot, 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("losetup", "--find", "--show", "--direct-io=on", image).Output()
	if err != nil {
		t.Fatalf("losetup: %v", err)
	}
	p.disk = strings.TrimSpace(string(out))
	t.Cleanup(func() { _ = exec.Command("losetup", "--detach", p.disk).Run() })
	p.start()
	xml := filepath.Join(dir, "shop.xml")
	p.spec = map[string]any{
		"domain": "shop", "xml": xml, "connect": p.at("alpha"), "grace": "1s",
		"migrate": map[string]any{"to": p.at("{node}"), "via": "tcp://127.0.0.1", "within": "20s"},
	}
	text := fmt.Sprintf(`<domain type='qemu'><name>shop</name><memory unit='MiB'>16</memory><vcpu>1</vcpu>
<os><type arch='x86_64' machine='pc'>hvm</type></os>
<devices><emulator>/usr/bin/qemu-system-x86_64</emulator>
<disk type='block' device='disk'><driver name='qemu' type='raw' cache='none'/><source dev='%s'/><target dev='hda' bus='ide'/></disk>
<controller type='usb' model='none'/><memballoon model='none'/></devices></domain>`, p.disk)
	if err := os.WriteFile(xml, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return p
}

// start starts both libvirts, and ends them and their guests with the test.
func (p *pair) start() {
	p.t.Helper()
	cmd := exec.Command("unshare", "--net", "/bin/sh", "-c", network, "sh", p.dir, node)
	if err := cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() {
		for _, n := range []string{"alpha", "beta"} {
			_ = exec.Command("virsh", "-q", "-c", p.at(n), "destroy", "shop").Run() // it need not run
		}
		_ = cmd.Process.Signal(unix.SIGTERM)
		_ = cmd.Wait()
		for _, n := range []string{"alpha", "beta"} {
			if text, err := os.ReadFile(filepath.Join(p.dir, n+".log")); p.t.Failed() && err == nil {
				p.t.Logf("%s: %s", n, text)
			}
		}
	})
	for _, n := range []string{"alpha", "beta"} {
		p.until("libvirt of "+n+" answers", func() bool { return exec.Command("virsh", "-q", "-c", p.at(n), "list").Run() == nil })
	}
}

func (p *pair) at(node string) string {
	return "qemu+unix:///system?socket=" + p.dir + "/" + node + "/libvirt-sock"
}

func (p *pair) until(what string, good func() bool) {
	p.t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !good(); {
		if time.Now().After(deadline) {
			p.t.Fatalf("waited in vain until %s", what)
		}
	}
}

// seen is what the guest has written: how often it has counted, how often it was booted,
// and how often it found what it had not written.
type seen struct{ count, boots, found uint32 }

func (p *pair) seen() seen {
	p.t.Helper()
	f, err := os.OpenFile(p.disk, os.O_RDONLY|unix.O_DIRECT, 0)
	if err != nil {
		p.t.Fatal(err)
	}
	defer f.Close()
	buf, err := unix.Mmap(-1, 0, os.Getpagesize(), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE) // aligned, as direct I/O wants it
	if err != nil {
		p.t.Fatal(err)
	}
	defer func() { _ = unix.Munmap(buf) }()
	if _, err := f.ReadAt(buf[:512], 512); err != nil {
		p.t.Fatal(err)
	}
	u := binary.LittleEndian.Uint32
	return seen{u(buf), u(buf[4:]), u(buf[8:])}
}

// as asks the agent of a node.
func (p *pair) as(name string, verb func(vm.Agent, context.Context, resources.Request) resources.Report, req resources.Request) resources.Report {
	p.t.Helper()
	p.spec["connect"] = p.at(name)
	raw, err := json.Marshal(p.spec)
	if err != nil {
		p.t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Second)
	defer cancel()
	req.Service, req.Member, req.Spec, req.Timeout = "shop", "vm", raw, 50*time.Second
	r := verb(vm.Agent{Dir: filepath.Join(p.dir, "run-"+name)}, ctx, req)
	p.t.Logf("%s, term %d: %v: %s", name, req.Term, r.Outcome, r.Text)
	return r
}

func (p *pair) want(r resources.Report, o resources.Outcome, words string) {
	p.t.Helper()
	if r.Outcome != o || !strings.Contains(r.Text, words) {
		p.t.Fatalf("%v: %s; want %v with %q", r.Outcome, r.Text, o, words)
	}
}

// counts waits until the guest has counted on from there.
func (p *pair) counts(from seen) {
	p.t.Helper()
	p.until("the guest counts", func() bool { return p.seen().count > from.count+5 })
}

// still is for how long the guest has stood still at most, until done says so: what a
// user of it would have noticed.
func (p *pair) still(done <-chan struct{}) time.Duration {
	longest, last, since := time.Duration(0), p.seen().count, time.Now()
	for {
		if now := p.seen().count; now != last {
			longest, last, since = max(longest, time.Since(since)), now, time.Now()
		}
		select {
		case <-done:
			return longest
		case <-time.After(2 * time.Millisecond):
		}
	}
}

// TestLiveMigration hands a guest over between two libvirts with QEMU: it counts on,
// without a boot, and nobody else wrote meanwhile; what was not taken is never resumed.
func TestLiveMigration(t *testing.T) {
	if testing.Short() {
		t.Skip("boots guests of two libvirts: go test without -short runs it")
	}
	p := newPair(t)
	t.Run("suite", func(t *testing.T) { agenttest.Run(t, vm.Agent{Dir: filepath.Join(p.dir, "run-alpha")}, p.spec) })
	p.want(p.as("alpha", vm.Agent.Start, resources.Request{Term: 4}), resources.OK, "runs")
	p.counts(p.seen())
	for _, c := range []struct {
		name  string
		do    func()
		boots uint32 // in it
	}{
		{"there", p.there, 0},
		{"what was not taken", p.notTaken, 1},
		{"called off", p.calledOff, 1},
		{"aborted", p.aborted, 1},
		{"refused", p.refused, 1},
	} {
		before := p.seen()
		t.Run(c.name, func(t *testing.T) {
			p.t = t
			c.do()
			p.counts(p.seen())
			if now := p.seen(); now.boots != before.boots+c.boots || now.found != 0 || now.count < before.count {
				t.Errorf("%+v before, %+v now, want %d boots: it was booted, or met what it did not write", before, now, c.boots)
			}
		})
		p.t = t
	}
}

// there moves the guest from alpha, in term 4, to beta.
func (p *pair) there() {
	done, longest := make(chan struct{}), make(chan time.Duration, 1)
	go func() { longest <- p.still(done) }()
	began := time.Now()
	p.want(p.as("alpha", vm.Agent.Stop, resources.Request{Term: 4, Goal: "beta"}), resources.OK, "handed to beta as it ran")
	p.want(p.as("alpha", vm.Agent.Probe, resources.Request{Term: 4}), resources.NotRunning, "")
	paused := p.seen()
	p.want(p.as("beta", vm.Agent.Probe, resources.Request{Term: 5}), resources.NotRunning, "has never run here")
	if now := p.seen(); now != paused {
		p.t.Errorf("the guest goes on before it is granted to beta: %+v, then %+v", paused, now)
	}
	p.want(p.as("beta", vm.Agent.Start, resources.Request{Term: 5, Resume: true}), resources.OK, "goes on as it ran")
	p.counts(paused)
	took := time.Since(began)
	close(done)
	p.t.Logf("the guest stood still for %v of the %v that stop, probes and start took", <-longest, took)
}

// notTaken hands it back to alpha, which is not given the next term, but a later one.
func (p *pair) notTaken() {
	p.want(p.as("beta", vm.Agent.Stop, resources.Request{Term: 5, Goal: "alpha"}), resources.OK, "handed to alpha as it ran")
	p.want(p.as("alpha", vm.Agent.Start, resources.Request{Term: 7, Resume: true}), resources.OK, "a paused copy of it was destroyed")
}

// calledOff has alpha start again in the term in which it has handed it over.
func (p *pair) calledOff() {
	p.want(p.as("alpha", vm.Agent.Stop, resources.Request{Term: 7, Goal: "beta"}), resources.OK, "handed to beta as it ran")
	p.want(p.as("alpha", vm.Agent.Start, resources.Request{Term: 7, Resume: true}), resources.OK, "runs")
	p.want(p.as("beta", vm.Agent.Probe, resources.Request{Term: 8}), resources.NotRunning, "not known")
}

// aborted gives a migration no time: the least bandwidth takes longer.
func (p *pair) aborted() {
	migrate := p.spec["migrate"].(map[string]any)
	migrate["within"], migrate["bandwidth"] = "1ms", 1
	r := p.as("alpha", vm.Agent.Stop, resources.Request{Term: 7, Goal: "beta"})
	migrate["within"] = "20s"
	delete(migrate, "bandwidth")
	p.want(r, resources.OK, "not handed to beta as it ran: it had not ended within 1ms")
	p.want(p.as("beta", vm.Agent.Probe, resources.Request{Term: 8}), resources.NotRunning, "not known")
	p.want(p.as("beta", vm.Agent.Start, resources.Request{Term: 8, Resume: true}), resources.OK, "shop runs")
}

// refused has another machine of that name in the way.
func (p *pair) refused() {
	other := filepath.Join(p.dir, "other.xml")
	text := "<domain type='qemu'><name>shop</name><memory unit='MiB'>16</memory><os><type arch='x86_64' machine='pc'>hvm</type></os></domain>"
	if err := os.WriteFile(other, []byte(text), 0o600); err != nil {
		p.t.Fatal(err)
	}
	virsh(p.t, p.at("alpha"), "create", other, "--paused")
	p.want(p.as("beta", vm.Agent.Stop, resources.Request{Term: 8, Goal: "alpha"}), resources.OK, "not handed to alpha as it ran: migrate: error")
	virsh(p.t, p.at("alpha"), "destroy", "shop") // it was left alone
	p.want(p.as("alpha", vm.Agent.Start, resources.Request{Term: 9, Resume: true}), resources.OK, "shop runs")
}
