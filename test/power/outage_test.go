package power_test

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"github.com/holdfast-ha/holdfast/test/power"
)

// writerMain appends to a file once for every line of input and says how it went.
func writerMain(path string) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	fmt.Println("ready")
	in := bufio.NewReader(os.Stdin)
	for {
		if _, err := in.ReadString('\n'); err != nil {
			return err
		}
		_, err := f.Write(make([]byte, 4096))
		fmt.Println("wrote", errors.Join(err, f.Sync()))
	}
}

func needRoot(t *testing.T, what string) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skipf("needs root, for %s: run the tests with sudo", what)
	}
}

func tool(t *testing.T, args ...string) string {
	t.Helper()
	if _, err := exec.LookPath(args[0]); err != nil {
		t.Skipf("needs %s: install e2fsprogs and util-linux", args[0])
	}
	out, err := exec.Command(args[0], args[1:]...).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %v: %s", args, err, out)
	}
	return strings.TrimSpace(string(out))
}

// loopFS makes an ext4 file system on a loop device and mounts it.
func loopFS(t *testing.T) (disk, mountpoint string) {
	t.Helper()
	dir := t.TempDir()
	image := filepath.Join(dir, "image")
	f, err := os.Create(image)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(f.Truncate(32<<20), f.Close()); err != nil {
		t.Fatal(err)
	}
	tool(t, "mkfs.ext4", "-q", "-F", image)
	disk = tool(t, "losetup", "-f", "--show", image)
	t.Cleanup(func() { exec.Command("losetup", "-d", disk).Run() }) // detached already, if all went well
	mountpoint = filepath.Join(dir, "mnt")
	if err := os.Mkdir(mountpoint, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount(disk, mountpoint, "ext4", 0, ""); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Unmount(mountpoint, unix.MNT_DETACH) })
	return disk, mountpoint
}

func (p *process) write(t *testing.T) string {
	t.Helper()
	if _, err := fmt.Fprintln(p.input); err != nil {
		t.Fatal(err)
	}
	line, err := p.out.ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(line)
}

// TestAStoppedWriterWakesToNothing is the reset's point: a writer that slept
// through it and wakes later must not reach the disk, which somebody else owns by
// then, neither through its file system nor directly.
func TestAStoppedWriterWakesToNothing(t *testing.T) {
	needRoot(t, "a file system on a loop device")
	disk, mountpoint := loopFS(t)
	onFS := start(t, "writer", nil, filepath.Join(mountpoint, "data"))
	raw := start(t, "writer", nil, disk)
	for _, w := range []*process{onFS, raw} {
		if got := w.write(t); got != "wrote <nil>" {
			t.Fatalf("before the reset: %s", got)
		}
		if err := w.Process.Signal(unix.SIGSTOP); err != nil {
			t.Fatal(err)
		}
	}
	e, c, _ := testPower(t, power.Supply{
		Disks: []string{disk}, Spare: []int{onFS.Process.Pid, raw.Process.Pid},
	})
	if err := c.Reset("alpha", "test"); err != nil {
		t.Fatal(err)
	}
	noTrouble(t, e)
	for _, w := range []*process{onFS, raw} {
		if err := w.Process.Signal(unix.SIGCONT); err != nil {
			t.Fatal(err)
		}
		if got := w.write(t); got == "wrote <nil>" {
			t.Errorf("a writer woke after the reset and its write landed")
		}
	}
	if mounted(t, mountpoint) {
		t.Error("still mounted")
	}
	for _, w := range []*process{onFS, raw} {
		w.Process.Kill()
		w.ended(t)
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	if ro := readOnly(t, disk); ro {
		t.Errorf("%s was left read-only for whoever uses it next", disk)
	}
}

func readOnly(t *testing.T, disk string) bool {
	t.Helper()
	f, err := os.Open(disk)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	ro, err := unix.IoctlGetInt(int(f.Fd()), unix.BLKROGET)
	if err != nil {
		t.Fatal(err)
	}
	return ro != 0
}

func mounted(t *testing.T, path string) bool {
	t.Helper()
	b, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	return strings.Contains(string(b), " "+path+" ")
}

// TestUnsyncedDataIsLost: killing the processes alone would leave the kernel to
// write back what they had dirtied. Nothing of that may reach the disk.
func TestUnsyncedDataIsLost(t *testing.T) {
	needRoot(t, "a file system on a loop device")
	disk, mountpoint := loopFS(t)
	synced, dirty := filepath.Join(mountpoint, "synced"), filepath.Join(mountpoint, "dirty")
	f, err := os.Create(synced)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString("kept"); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(f.Sync(), f.Close(), os.WriteFile(dirty, []byte("lost"), 0o600)); err != nil {
		t.Fatal(err)
	}
	e, c, _ := testPower(t, power.Supply{Mounts: []string{mountpoint}, Disks: []string{disk}})
	if err := c.PowerOff("alpha", "test"); err != nil {
		t.Fatal(err)
	}
	noTrouble(t, e)
	if mounted(t, mountpoint) {
		t.Fatal("still mounted")
	}
	if out, err := exec.Command("losetup", disk).CombinedOutput(); err == nil {
		t.Errorf("still attached: %s", out)
	}
	image := filepath.Join(filepath.Dir(mountpoint), "image")
	tool(t, "losetup", disk, image)
	if err := unix.Mount(disk, mountpoint, "ext4", 0, ""); err != nil {
		t.Fatal(err)
	}
	if b, err := os.ReadFile(synced); err != nil || string(b) != "kept" {
		t.Errorf("what was synced: %q, %v", b, err)
	}
	if b, err := os.ReadFile(dirty); err == nil && string(b) == "lost" {
		t.Error("what was never synced survived the power loss: it was flushed")
	}
	if st, err := c.State("alpha"); err != nil || st.State != power.Off {
		t.Errorf("state %+v, %v, want off", st, err)
	}
}

// TestAMountInItsOwnNamespaceIsFound: such a mount is in nobody else's list.
func TestAMountInItsOwnNamespaceIsFound(t *testing.T) {
	needRoot(t, "mount namespaces")
	disk, mountpoint := loopFS(t)
	const marker = "HOLDFAST_POWER_TEST=hidden-mount"
	sleeper := startIn(t, unix.CLONE_NEWNS, marker, "writer", filepath.Join(mountpoint, "data"))
	if err := unix.Unmount(mountpoint, 0); err != nil { // here, not there
		t.Fatal(err)
	}
	e, c, _ := testPower(t, power.Supply{Marker: marker, Disks: []string{disk}})
	if err := c.Reset("alpha", "test"); err != nil {
		t.Fatal(err)
	}
	noTrouble(t, e)
	if sig := sleeper.ended(t); sig != unix.SIGKILL {
		t.Errorf("the process ended by %v", sig)
	}
	if out, err := exec.Command("losetup", disk).CombinedOutput(); err == nil {
		t.Errorf("still attached, so still mounted somewhere: %s", out)
	}
}

func TestProcessesAreKilledByMarker(t *testing.T) {
	const marker = "HOLDFAST_POWER_TEST=by-marker"
	victim := start(t, "sleeper", []string{marker})
	bystander := start(t, "sleeper", []string{marker + "-not"})
	spared := start(t, "sleeper", []string{marker})
	e, c, _ := testPower(t, power.Supply{Marker: marker, Spare: []int{spared.Process.Pid}})
	if err := c.Reset("alpha", "test"); err != nil {
		t.Fatal(err)
	}
	noTrouble(t, e)
	if sig := victim.ended(t); sig != unix.SIGKILL {
		t.Errorf("the node's process ended by %v", sig)
	}
	for _, p := range []*process{bystander, spared} {
		if err := p.Process.Signal(unix.Signal(0)); err != nil {
			t.Errorf("a process that is not the node's, or spared, is gone: %v", err)
		}
	}
}

func TestProcessesAreKilledByCgroup(t *testing.T) {
	needRoot(t, "a cgroup")
	root := cgroupRoot(t)
	dir := filepath.Join(root, fmt.Sprintf("hf-power-test-%d", os.Getpid()), "alpha")
	if err := os.MkdirAll(filepath.Join(dir, "guard"), 0o755); err != nil {
		t.Skipf("needs a cgroup of version 2 that can be written: %v", err)
	}
	t.Cleanup(func() {
		for _, d := range []string{filepath.Join(dir, "guard"), dir, filepath.Dir(dir)} {
			if err := removeCgroup(d); err != nil {
				t.Error(err)
			}
		}
	})
	stopped, deep, spared := start(t, "sleeper", nil), start(t, "sleeper", nil), start(t, "sleeper", nil)
	join := func(dir string, p *process) {
		if err := os.WriteFile(filepath.Join(dir, "cgroup.procs"), fmt.Append(nil, p.Process.Pid), 0); err != nil {
			t.Fatal(err)
		}
	}
	join(dir, stopped)
	join(filepath.Join(dir, "guard"), deep)
	join(dir, spared)
	if err := stopped.Process.Signal(unix.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	e, c, _ := testPower(t, power.Supply{Cgroups: []string{dir}, Spare: []int{spared.Process.Pid}})
	if err := c.Reset("alpha", "test"); err != nil {
		t.Fatal(err)
	}
	noTrouble(t, e)
	for _, p := range []*process{stopped, deep} {
		if sig := p.ended(t); sig != unix.SIGKILL {
			t.Errorf("a process of the node ended by %v", sig)
		}
	}
	if err := spared.Process.Signal(unix.Signal(0)); err != nil {
		t.Errorf("the spared process is gone: %v", err)
	}
	spared.Process.Kill()
	spared.ended(t)
}

// removeCgroup removes an empty cgroup; the kernel may take a moment to see that
// it is empty.
func removeCgroup(dir string) error {
	for deadline := time.Now().Add(5 * time.Second); ; <-time.After(5 * time.Millisecond) {
		err := unix.Rmdir(dir)
		if err == nil || errors.Is(err, unix.ENOENT) || time.Now().After(deadline) {
			return err
		}
	}
}

func cgroupRoot(t *testing.T) string {
	t.Helper()
	b, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(b)) {
		before, after, _ := strings.Cut(line, " - ")
		if strings.HasPrefix(after, "cgroup2 ") {
			return strings.Fields(before)[4]
		}
	}
	t.Skip("needs cgroups of version 2: mount one with mount -t cgroup2 none /sys/fs/cgroup")
	return ""
}

// TestLinksGoDark: a service's address must not come back with the power.
func TestLinksGoDark(t *testing.T) {
	needRoot(t, "a network namespace")
	path := networkNamespace(t)
	ns, err := netns.GetFromPath(path)
	if err != nil {
		t.Fatal(err)
	}
	defer ns.Close()
	h, err := netlink.NewHandleAt(ns)
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	if err := h.LinkAdd(&netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: "lan"}}); err != nil {
		t.Skipf("needs a kernel that can make a bridge: %v", err)
	}
	lan, err := h.LinkByName("lan")
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range []string{"192.0.2.1/24", "192.0.2.100/24"} {
		addr, err := netlink.ParseAddr(a)
		if err != nil {
			t.Fatal(err)
		}
		if err := h.AddrAdd(lan, addr); err != nil {
			t.Fatal(err)
		}
	}
	if err := h.LinkSetUp(lan); err != nil {
		t.Fatal(err)
	}
	e, c, _ := testPower(t, power.Supply{NetNS: path, Links: []power.Link{{Name: "lan", Keep: []string{"192.0.2.1/24"}}}})
	if err := c.Reset("alpha", "test"); err != nil {
		t.Fatal(err)
	}
	up := func() bool {
		l, err := h.LinkByName("lan")
		if err != nil {
			t.Fatal(err)
		}
		return l.Attrs().RawFlags&unix.IFF_UP != 0
	}
	if up() {
		t.Error("the link is up after the power loss")
	}
	addrs, err := h.AddrList(lan, netlink.FAMILY_V4)
	if err != nil || len(addrs) != 1 || addrs[0].IPNet.String() != "192.0.2.1/24" {
		t.Errorf("addresses after the power loss: %v, %v, want the node's own", addrs, err)
	}
	if _, err := c.PowerOn("alpha"); err != nil {
		t.Fatal(err)
	}
	if !up() {
		t.Error("the link is down after power-on")
	}
	noTrouble(t, e)
}

// networkNamespace makes one that lasts as long as the test.
func networkNamespace(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "ns")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	own, err := netns.Get()
	if err != nil {
		t.Fatal(err)
	}
	defer own.Close()
	fresh, err := netns.New()
	if err == nil {
		err = unix.Mount("/proc/thread-self/ns/net", path, "", unix.MS_BIND, "")
		fresh.Close()
	}
	if err := errors.Join(err, netns.Set(own)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(path, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return path
}

// TestEmulatorAsAProcess: its starter's death ends it, and it takes over the
// socket of one that was killed.
func TestEmulatorAsAProcess(t *testing.T) {
	dir, err := os.MkdirTemp("", "hf-power-")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	socket, log := filepath.Join(dir, "power"), filepath.Join(dir, "log")
	first := start(t, "emulator", nil, "-socket", socket, "-log", log, "-stdin")
	first.Process.Kill()
	first.ended(t)
	second := start(t, "emulator", nil, "-socket", socket, "-log", log, "-stdin")
	c, err := power.DialControl(socket)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.Register(power.Node{Name: "alpha"}); err != nil {
		t.Fatal(err)
	}
	if b, err := os.ReadFile(log); err != nil || !strings.Contains(string(b), `"what":"registered","node":"alpha"`) {
		t.Errorf("log %q, %v", b, err)
	}
	if err := second.input.Close(); err != nil {
		t.Fatal(err)
	}
	if sig := second.ended(t); sig != -1 {
		t.Errorf("the emulator ended by %v, want an orderly end with its standard input", sig)
	}
}
