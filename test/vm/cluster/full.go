package cluster

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os/exec"
	"sync"
	"testing"
	"time"

	"github.com/holdfast-ha/holdfast/test/vm/account"
	"github.com/holdfast-ha/holdfast/test/vm/chassis"
	"github.com/holdfast-ha/holdfast/test/vm/disk"
	"github.com/holdfast-ha/holdfast/test/vm/image"
	"github.com/holdfast-ha/holdfast/test/vm/lab"
	"github.com/holdfast-ha/holdfast/test/vm/machine"
	"github.com/holdfast-ha/holdfast/test/vm/network"
)

// FullWithin is what a full cluster promises. Its watchdogs are measured, so that each counts for little more than its timeout.
const FullWithin = 15 * time.Second

// filesSize is the size of the file system of the service, in bytes.
const filesSize = 32 << 20

// Full is a cluster with all that a node can have: three quorum disks, measured watchdogs, a management controller each, and a
// service whose owners are held to account on a disk and on a file system. What a service manager does, its Attendants do.
type Full struct {
	*Cluster
	Quorums [3]*disk.Disk
	Spare   *disk.Disk // of the size of a quorum disk, used by nobody
	Files   *disk.Disk // the file system
	Judge   *account.Judge

	recorder net.PacketConn
	attended sync.WaitGroup
	calm     context.CancelFunc
	found    calmness // of the test's goroutine
	rests    []*rest
}

// OpenFull makes a full cluster of three nodes. More flags are for the build of its programs.
func OpenFull(t testing.TB, flags ...string) *Full {
	t.Helper()
	f := &Full{Cluster: &Cluster{within: FullWithin}, Judge: account.NewJudge()}
	f.Lab = lab.Open(t, fullContent(t, flags))
	if err := f.listen(t); err != nil {
		t.Fatal(err)
	}
	for i := range f.Quorums {
		f.Quorums[i] = f.Disk(fmt.Sprintf("QUORUM%d", i+1), quorumSize)
	}
	f.Spare, f.Data, f.Files = f.Disk("QUORUM4", quorumSize), f.Disk("DATA1", account.Slots*account.Size), f.Disk("FILES1", filesSize)
	f.watch()
	f.Links = [2]*network.Switch{f.Network("hb0"), f.Network("hb1")}
	format(t, f.Files)
	for i := 1; i <= 3; i++ {
		f.add(t, i)
	}
	ctx := f.Context(12 * time.Minute)
	for _, c := range f.Controllers {
		c.Power(true)
	}
	for _, n := range f.Nodes {
		if err := Await(ctx, n.Name+" boots", func() error { return booted(n) }); err != nil {
			t.Fatal(err)
		}
	}
	if err := f.measure(ctx); err != nil {
		t.Fatal(err)
	}
	if err := f.form(ctx); err != nil {
		t.Fatal(err)
	}
	if err := f.configure(ctx, f.configuration()); err != nil {
		t.Fatal(err)
	}
	if _, err := f.AwaitOwner(ctx); err != nil {
		t.Fatal(err)
	}
	f.attend(t)
	return f
}

func booted(n *Node) error {
	if n.LastBoot().ID == "" {
		return errors.New("it does not answer")
	}
	return nil
}

// fullContent is the initial file system: the programs of Holdfast, built with flags, and those that they need.
func fullContent(t testing.TB, flags []string) image.Content {
	t.Helper()
	files, dir := map[string]string{}, t.TempDir()
	for _, name := range []string{"holdfast", "holdfastd", "holdfast-guard"} {
		program, err := image.Program(t.Context(), dir, "cmd/"+name, flags...)
		if err != nil {
			t.Fatal(err)
		}
		files["usr/bin/"+name] = program
	}
	demo, err := image.Program(t.Context(), dir, "test/demo")
	if err != nil {
		t.Fatal(err)
	}
	files["usr/bin/demo"] = demo
	tools, err := image.HostPrograms("blkid")
	if err != nil {
		t.Fatal(err)
	}
	return image.Content{Files: files, Records: tools, Modules: []string{"ext4", "crc32c_generic"}}
}

// listen opens the recorder.
func (f *Full) listen(t testing.TB) (err error) {
	if f.recorder, err = net.ListenPacket("udp", "127.0.0.1:0"); err != nil {
		return err
	}
	done := make(chan struct{})
	go func() { // ends with the socket
		defer close(done)
		f.Judge.Listen(f.recorder)
	}()
	t.Cleanup(func() {
		if err := f.recorder.Close(); err != nil {
			t.Error(err)
		}
		<-done
	})
	return nil
}

// watch shows the judge all that lands.
func (f *Full) watch() {
	number := func(name string) (n int) {
		_, _ = fmt.Sscanf(name, "n%d", &n)
		return n
	}
	f.Data.Observe(func(w disk.Write) { f.Judge.Disk(number(w.Machine), w.At, w.Offset, w.Data) })
	f.Files.Observe(func(w disk.Write) { f.Judge.FileSystem(number(w.Machine), w.At, w.Offset) })
}

func format(t testing.TB, d *disk.Disk) {
	t.Helper()
	out, err := exec.Command("mkfs.ext4", "-q", "-F", "-E", "lazy_itable_init=0,lazy_journal_init=0", d.Path()).CombinedOutput()
	if err != nil {
		t.Fatalf("mkfs.ext4 (package e2fsprogs; test/setup.sh installs it): %v: %s", err, out)
	}
}

// add makes node number i with its controller; the second one's speaks IPMI, the others' Redfish.
func (f *Full) add(t testing.TB, i int) {
	t.Helper()
	own := f.Disk(fmt.Sprintf("OWN%d", i), ownSize)
	format(t, own)
	n := &Node{Number: i, timeout: Timeout, Machine: f.Machine(lab.Plan{
		Name: fmt.Sprintf("n%d", i), Number: i, Watchdog: true, Networks: f.Links[:], UUID: firmware(i),
		Disks:   []*disk.Disk{f.Quorums[0], f.Quorums[1], f.Quorums[2], f.Spare, f.Data, f.Files, own},
		Modules: []string{"crc32c_generic", "ext4", "i6300esb", "softdog"},
	})}
	kind := chassis.Redfish
	if i == 2 {
		kind = chassis.IPMI
	}
	c := chassis.Open(t, kind, n.Machine)
	n.options = []string{"--bmc", c.URL, "--bmc-password", etcFile("bmc.secret")}
	for q := 1; q <= 3; q++ {
		n.options = append(n.options, "--disk", fmt.Sprintf("/dev/disk/by-id/virtio-QUORUM%d", q))
	}
	f.Nodes, f.Controllers = append(f.Nodes, n), append(f.Controllers, c)
}

// etcFile is a file of a node's configuration.
func etcFile(name string) string { return own + "/etc/" + name }

// Controller is the controller of a node.
func (f *Full) Controller(n *Node) *chassis.Controller { return f.Controllers[n.Number-1] }

// Place is where the file system of the service is mounted.
const Place = "/srv/account"

// configuration leaves the journal to the kernel: a program that checks the file system first costs an emulated machine seconds.
func (f *Full) configuration() string {
	recorder := fmt.Sprintf("%s:%d", machine.Host, f.recorder.LocalAddr().(*net.UDPAddr).Port)
	return fmt.Sprintf(`cluster:
  name: rig
  failover_within: %s
  quarantine: off
fencing:
  ways:
    n1: [bmc, disk]
    n2: [bmc, disk]
    n3: [bmc, disk]
  power_on: true
services:
  %s:
    stack:
      - exec: {run: [/init, account, -disk, /dev/disk/by-id/virtio-DATA1, -recorder, %[3]q, -pace, 100ms]}
      - filesystem: {device: /dev/disk/by-id/virtio-FILES1, at: %[4]s, type: ext4, fsck: never}
      - exec: {run: [/init, account, -file, %[4]s/log, -recorder, %[3]q, -pace, 250ms]}
`, FullWithin, service, recorder, Place)
}
