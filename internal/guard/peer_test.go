package guard

import (
	"os/exec"
	"testing"
	"time"

	"github.com/holdfast-ha/holdfast/internal/guardwire"
	"github.com/holdfast-ha/holdfast/quorumdisk"
	"github.com/holdfast-ha/holdfast/sbd"
	"github.com/holdfast-ha/holdfast/sbd/watchdog/holder"
	"github.com/holdfast-ha/holdfast/storage"
	"github.com/holdfast-ha/holdfast/storage/storagetest"
	"github.com/holdfast-ha/holdfast/test/power"
)

// program finds a program of the distribution that messages come from.
func program(t *testing.T, name, debian string) string {
	t.Helper()
	for _, path := range []string{name, "/usr/sbin/" + name} {
		if found, err := exec.LookPath(path); err == nil {
			return found
		}
	}
	t.Skipf("%s is missing, so no message of it was tried: apt-get install --no-install-recommends %s (test/setup.sh does)", name, debian)
	return ""
}

// sbdDisk is a quorum disk on a loop device with blocks of logical bytes and an
// SBD area in which "alpha" has slot 1.
func sbdDisk(t *testing.T, logical int, l quorumdisk.Layout) string {
	t.Helper()
	device := storagetest.Loop(t, storagetest.File(t, l.MinSize()), logical)
	formatDisk(t, device, l)
	d, err := storage.Open(device, storage.Options{SectorSize: logical})
	must(t, err)
	defer func() { must(t, d.Close()) }()
	h := sbd.DefaultHeader(logical, diskUUID(0))
	h.MsgWait = time.Second // how long sbd waits after a message; nothing here rests on it
	must(t, sbd.Create(d, h, time.Minute))
	area, err := sbd.Open(d, time.Minute)
	must(t, err)
	for _, name := range []string{"other", "alpha"} {
		_, _, err := area.Claim(name, time.Minute)
		must(t, err)
	}
	return device
}

// A bound node obeys what the real sbd(8) and its fence agent write, on disks
// with blocks of 512 bytes, 4096 bytes, and 512 within 4096 (512e).
func TestMessagesOfTheRealSBD(t *testing.T) {
	real := program(t, "sbd", "sbd")
	for name, c := range map[string]struct{ logical, layout int }{"512": {512, 512}, "4096": {4096, 4096}, "512e": {512, 4096}} {
		t.Run(name, func(t *testing.T) {
			l := quorumdisk.Layout{SectorSize: c.layout, Nmax: layout.Nmax}
			device := sbdDisk(t, c.logical, l)
			n := newNodeOn(t, device, l)
			n.start()
			client := n.dial()
			n.claim(client)
			n.awaitMailbox(client)
			n.message(real, "-d", device, "message", "other", "reset")
			n.message(real, "-d", device, "message", "alpha", "test")
			waitFor(t, "the test message to be cleared", func() bool { return mailIn(t, device, c.logical, 1) == sbd.Clear })
			if n.dark() || mailIn(t, device, c.logical, 0) != sbd.Reset {
				t.Fatal("the mail of another node was taken, or a test ended this one")
			}
			n.message(real, "-d", device, "message", "alpha", "reset")
			waitFor(t, "the reset", n.dark)
			if !n.happened(power.ResetRequested) {
				t.Errorf("events %+v", n.emulator.Events())
			}
		})
	}
}

func TestFenceSBDAgent(t *testing.T) {
	agent := program(t, "fence_sbd", "fence-agents")
	program(t, "sbd", "sbd")
	l := quorumdisk.Layout{SectorSize: 512, Nmax: layout.Nmax}
	device := sbdDisk(t, 512, l)
	n := newNodeOn(t, device, l)
	n.start()
	client := n.dial()
	n.claim(client)
	n.awaitMailbox(client)
	n.message(agent, "--devices="+device, "-n", "alpha", "-o", "off")
	waitFor(t, "the reset", n.dark)
	if got := mailIn(t, device, 512, 1); got != sbd.Off {
		t.Fatalf("mail %v: what the node was told must outlive its reset", got)
	}
	// The boot after: it stays out until the agent says "on", which clears the message.
	n.reboot()
	n.start()
	client = n.dial()
	n.awaitMailbox(client)
	if e := n.tryClaim(client); e.OK {
		t.Fatal("a node that was told to stay off is bound")
	}
	n.message(agent, "--devices="+device, "-n", "alpha", "-o", "on")
	n.awaitMailbox(client)
	n.claim(client)
}

// reboot powers the node on again, with a new holder: the old one's machine is gone.
func (n *node) reboot() {
	n.t.Helper()
	must(n.t, n.holder.Close())
	var err error
	n.boot, err = n.control.PowerOn("alpha")
	must(n.t, err)
	n.holder, err = holder.Start(n.path("holder.sock"))
	must(n.t, err)
}

// message runs a program that writes to mailboxes, with a bound on its time.
func (n *node) message(path string, args ...string) {
	n.t.Helper()
	out, err := exec.CommandContext(n.t.Context(), path, args...).CombinedOutput()
	if err != nil {
		n.t.Fatalf("%s %q: %v: %s", path, args, err, out)
	}
}

// mailIn is what stands in a mailbox now.
func mailIn(t *testing.T, device string, size, slot int) sbd.Command {
	t.Helper()
	d, err := storage.Open(device, storage.Options{SectorSize: size, ReadOnly: true})
	must(t, err)
	defer func() { must(t, d.Close()) }()
	a, err := sbd.Open(d, time.Minute)
	must(t, err)
	m, err := a.Mail(slot, time.Minute)
	must(t, err)
	return m.Command
}

// awaitMailbox waits for two whole cycles: the mailbox was found and read then.
func (n *node) awaitMailbox(c *guardwire.Client) {
	n.t.Helper()
	seen := 0
	waitFor(n.t, "two cycles of the disk", func() bool {
		m, err := c.Receive()
		must(n.t, err)
		if table, ok := m.(*guardwire.Table); ok && table.SuperblockOK {
			seen++
		}
		return seen > 4
	})
}
