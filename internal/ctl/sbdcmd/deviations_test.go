package sbdcmd_test

import (
	"bytes"
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/holdfast-ha/holdfast/quorumdisk"
	"github.com/holdfast-ha/holdfast/quorumdisk/volume"
	"github.com/holdfast-ha/holdfast/sbd"
	"github.com/holdfast-ha/holdfast/storage/storagetest"
)

const patience = 5 * time.Second

// TestFailedWriteIsAnError: sbd(8) waits msgwait and reports success when the
// mailbox cannot be written, with the victim running on.
func TestFailedWriteIsAnError(t *testing.T) {
	for name, fault := range map[string]storagetest.Fault{
		"out of space":    storagetest.NoSpace(),
		"write protected": storagetest.WriteProtected(),
		"lost":            {Kind: storagetest.Lost, Op: storagetest.Writes},
		"no answer":       {Kind: storagetest.Hang, Op: storagetest.Writes},
	} {
		b := newBench(t, "/a")
		b.run("-d", "/a", "create").says(t, 0)
		b.run("-d", "/a", "allocate", "beta").says(t, 0)
		b.faults["/a"] = fault
		for _, verb := range []string{"reset", "off", "test"} {
			r := b.run("-d", "/a", "message", "beta", verb)
			r.says(t, 1, "sbd: ", "/a", "sbd failed; please check the logs.")
		}
		b.run("-d", "/a", "ping", "beta").says(t, 1)
		b.run("-d", "/a", "allocate", "gamma").says(t, 1)
		delete(b.faults, "/a")
		if r := b.run("-d", "/a", "list"); r.out != "0\tbeta\tclear\t\n" {
			t.Errorf("%s: list says %q", name, r.out)
		}
	}
}

// TestMajority: a message has to reach more than half of the devices, and one
// that is broken does not keep it from the others.
func TestMajority(t *testing.T) {
	paths := []string{"/a", "/b", "/c"}
	for broken := range 4 {
		for n := 1; n <= 3; n++ {
			if broken > n {
				continue
			}
			b := newBench(t, paths[:n]...)
			var args []string
			for _, p := range paths[:n] {
				args = append(args, "-d", p)
			}
			b.run(append(args, "create")...).says(t, 0)
			b.run(append(args, "allocate", "beta")...).says(t, 0)
			for _, p := range paths[:broken] {
				b.faults[p] = storagetest.Fault{Op: storagetest.Reads, Err: syscall.EIO}
			}
			want := 1
			if 2*(n-broken) > n {
				want = 0
			}
			r := b.run(append(args, "-n", "alpha", "message", "beta", "reset")...)
			if r.code != want {
				t.Errorf("%d of %d devices broken: exit code %d\n%s", broken, n, r.code, r.err)
			}
			if want == 1 {
				r.says(t, 1, fmt.Sprintf("message has succeeded on %d of %d devices", n-broken, n))
			}
		}
	}
}

// TestWaits: reset waits msgwait, exit does not, allocate waits for its rivals.
func TestWaits(t *testing.T) {
	b := newBench(t, "/a")
	b.run("-d", "/a", "-2", "4", "-4", "17", "create").says(t, 0)
	b.slept = make(chan time.Duration, 10)
	b.run("-d", "/a", "allocate", "beta").says(t, 0, "slot 0 is unused - trying to own")
	b.run("-d", "/a", "message", "beta", "reset").says(t, 0)
	b.run("-d", "/a", "message", "beta", "exit").says(t, 0)
	b.run("-d", "/a", "-v", "message", "beta", "clear").says(t, 0, "Writing clear to node slot beta", "Messaging delay: 17", "clear successfully delivered to beta", "Device UUID: ")
	close(b.slept)
	var waited []time.Duration
	for d := range b.slept {
		waited = append(waited, d)
	}
	if got := fmt.Sprint(waited); got != "[4s 17s 17s]" {
		t.Errorf("waited %s", got)
	}
}

// TestLostClaim: of two nodes that take one slot the last writer has it, and the
// other takes the next.
func TestLostClaim(t *testing.T) {
	b := newBench(t, "/a")
	b.run("-d", "/a", "create").says(t, 0)
	b.during = func() {
		b.during = nil
		sector := make([]byte, 512)
		if err := sbd.EncodeSlot(sector, "rival"); err != nil {
			t.Error(err)
		}
		b.disks["/a"].Poke(512, sector)
	}
	b.run("-d", "/a", "allocate", "beta").says(t, 0, "slot 0 is unused", "slot 1 is unused", "Slot for beta has been allocated on /a.")
	if r := b.run("-d", "/a", "list"); r.out != "0\trival\tclear\t\n1\tbeta\tclear\t\n" {
		t.Errorf("list says %q", r.out)
	}
}

// TestMsgwait: derived where only the watchdog timeout is given, and said where
// it is too short.
func TestMsgwait(t *testing.T) {
	for _, c := range []struct {
		args string
		want int
		warn bool
	}{
		{"", 10, true}, // the bytes of sbd(8), which are not safe
		{"-4 13", 13, false},
		{"-4 12", 12, true},
		{"-1 5", 13, false},
		{"-1 30", 60, false},
		{"-1 7 -I 10", 29, false},
		{"-1 7 -3 4", 18, false},
		{"-1 30 -4 10", 10, true},
		{"-1 30 -4 60", 60, false},
	} {
		b := newBench(t, "/a")
		r := b.run(append(strings.Fields(c.args), "-d", "/a", "create")...)
		r.says(t, 0)
		if warned := strings.Contains(r.err, "is too short"); warned != c.warn {
			t.Errorf("create %s warned: %v, want %v: %s", c.args, warned, c.warn, r.err)
		}
		b.run("-d", "/a", "dump").says(t, 0, fmt.Sprintf("Timeout (msgwait)  : %d\n", c.want))
	}
}

func TestLongNames(t *testing.T) {
	b := newBench(t, "/a")
	b.run("-d", "/a", "create").says(t, 0)
	longest, long := strings.Repeat("x", 63), strings.Repeat("x", 64)
	b.run("-d", "/a", "allocate", longest).says(t, 0)
	for _, args := range [][]string{
		{"-d", "/a", "allocate", long}, {"-d", "/a", "message", long, "reset"}, {"-d", "/a", "ping", long}, {"-d", "/a", "-n", long, "list"},
	} {
		b.run(args...).says(t, 1, "Node name mustn't be longer than 63 chars.")
	}
	if r := b.run("-d", "/a", "list"); r.out != "0\t"+longest+"\tclear\t\n" {
		t.Errorf("list says %q", r.out)
	}
}

func TestNoDevice(t *testing.T) {
	b := newBench(t)
	for _, args := range []string{"create", "dump", "list", "allocate x", "message x test", "ping x"} {
		b.run(strings.Fields(args)...).says(t, 1, "needs a device", "SBD_DEVICE")
	}
}

// TestPing: an answer is success, none is a failure, and a pending reset stays.
func TestPing(t *testing.T) {
	b := newBench(t, "/a")
	b.run("-d", "/a", "-4", "3", "create").says(t, 0)
	b.run("-d", "/a", "allocate", "beta").says(t, 0)
	mailbox := int64(2 * 512)
	polls := 0
	b.during = func() {
		if polls++; polls == 2 {
			b.disks["/a"].Poke(mailbox, make([]byte, 512))
		}
	}
	b.run("-d", "/a", "-v", "ping", "BETA").says(t, 0, "BETA successfully pinged.")
	b.during = nil
	b.run("-d", "/a", "-n", "beta", "ping", "LOCAL").says(t, 1, "beta has not taken the test within 3s")
	b.run("-d", "/a", "ping", "gamma").says(t, 1, "no slot found for gamma")
	for _, pending := range []string{"reset", "off", "crashdump"} {
		b.run("-d", "/a", "-n", "alpha", "message", "beta", pending).says(t, 0)
		b.run("-d", "/a", "ping", "beta").says(t, 1, "waits in the mailbox", "alpha")
		b.run("-d", "/a", "message", "beta", "test").says(t, 1, "a test would replace it")
		b.run("-d", "/a", "list").says(t, 0, "0\tbeta\t"+pending+"\talpha\n")
	}
	b.run("-d", "/a", "message", "beta", "clear").says(t, 0)
	b.run("-d", "/a", "message", "beta", "test").says(t, 0)
}

func TestMessageRefusals(t *testing.T) {
	b := newBench(t, "/a")
	b.run("-d", "/a", "create").says(t, 0)
	b.run("-d", "/a", "message").says(t, 1, "No node was named")
	b.run("-d", "/a", "message", "beta").says(t, 1, "must be one of clear, test, reset")
	b.run("-d", "/a", "message", "beta", "poweroff").says(t, 1, `"poweroff"`)
	b.run("-d", "/a", "message", "beta", "reset").says(t, 1, "no slot found for beta")
	b.run("-d", "/a", "allocate").says(t, 1, "slot_allocate(): No name specified.")
}

func TestOddAreas(t *testing.T) {
	b := newBench(t, "/a", "/old")
	b.run("-d", "/a", "dump").says(t, 1, "==Dumping header on disk /a", "no SBD header here", "==Header on disk /a NOT dumped")
	b.run("-d", "/a", "list").says(t, 1, "== Slots on disk /a NOT dumped")
	b.run("-d", "/gone", "-d", "/a", "dump").says(t, 1, "== disk /gone unreadable!", "==Header on disk /a NOT dumped")
	b.run("-d", "/gone", "create").says(t, 1, "Initializing device /gone")
	// Minor version 0 has no UUID; a command that nobody knows has a word.
	b.run("-d", "/old", "create").says(t, 0)
	b.disks["/old"].Poke(32, []byte{0})
	b.disks["/old"].Poke(512, []byte("\x01n"))
	b.disks["/old"].Poke(1024, []byte("\x2afrom"))
	r := b.run("-d", "/old", "dump")
	r.says(t, 0, "Header version     : 2.0\nNumber of slots")
	b.run("-d", "/old", "list").says(t, 0, "0\tn\tundefined\tfrom\n")
	// Full.
	b.run("-d", "/a", "create").says(t, 0)
	for i := range sbd.Slots {
		b.disks["/a"].Poke(int64(1+2*i)*512, fmt.Appendf([]byte{1}, "n%d", i))
	}
	b.run("-d", "/a", "allocate", "n254").says(t, 0)
	b.run("-d", "/a", "allocate", "another").says(t, 1, "No more free slots.")
	// Too small for an area: nothing is written.
	b.disks["/tiny"] = storagetest.NewMemory(510*512, 512)
	b.disks["/tiny"].Poke(0, []byte("data"))
	b.run("-d", "/a", "-d", "/tiny", "create").says(t, 1, "/tiny is too small")
	if got := b.disks["/tiny"].Peek(0, 4); string(got) != "data" {
		t.Errorf("the refused device holds %q", got)
	}
	b.run("-d", "/a", "list").says(t, 0, "n254")
}

// TestQuorumDisk: create never takes a quorum disk, whole or damaged, and never
// one that is in use.
func TestQuorumDisk(t *testing.T) {
	b := newBench(t, "/a", "/q")
	m := storagetest.NewMemory(70<<20, 512)
	b.disks["/q"] = m
	_, err := volume.Create(m.Open("here"), volume.Options{
		Keys: quorumdisk.Keys{Current: quorumdisk.NewKey()}, Cluster: quorumdisk.NewUUID(), Disk: quorumdisk.NewUUID(), Created: time.Unix(1, 0), Timeout: patience,
	})
	if err != nil {
		t.Fatal(err)
	}
	before := m.Peek(0, 8<<20)
	b.run("-d", "/a", "-d", "/q", "create").says(t, 1, "quorum disk", "holdfast disk wipe /q", "nothing was written")
	b.run("-d", "/a", "dump").says(t, 1) // all devices are checked before the first is written
	if !bytes.Equal(m.Peek(0, 8<<20), before) {
		t.Error("the refused create wrote to the quorum disk")
	}
	// With an area on it, as its cluster has made it, the other verbs work, but
	// slots belong to the nodes' numbers.
	image, err := sbd.Image(sbd.DefaultHeader(512, quorumdisk.NewUUID()))
	if err != nil {
		t.Fatal(err)
	}
	m.Poke(0, image)
	m.Poke(512, []byte("\x01alpha"))
	b.run("-d", "/q", "message", "alpha", "reset").says(t, 0)
	b.run("-d", "/q", "list").says(t, 0, "0\talpha\treset\there")
	b.run("-d", "/q", "allocate", "alpha").says(t, 0)
	b.run("-d", "/q", "allocate", "beta").says(t, 1, "gets it when it joins")
	// Damaged copies do not make it free.
	m.Poke(quorumdisk.SuperOffset+20, []byte{0xee})
	m.Poke(70<<20-512+20, []byte{0xee})
	b.run("-d", "/q", "create").says(t, 1, "a Holdfast quorum disk")
}
