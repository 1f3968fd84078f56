package account

import (
	"bytes"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// court is a judge with a disk and a file that stories write to.
type court struct {
	*Judge
	disk, file []byte
	at         time.Time
	next       uint64
}

func (c *court) write(owner uint32, run uint64, confirmed bool) {
	c.next++
	k := Block{owner, run, c.next}
	b := make([]byte, Size)
	k.Encode(b)
	c.at = c.at.Add(10 * time.Millisecond)
	copy(c.disk[k.Number%Slots*Size:], b)
	c.Disk(int(owner), c.at, int64(k.Number%Slots)*Size, b)
	c.FileSystem(int(owner), c.at, 0)
	c.file = append(c.file, k.record()...)
	if confirmed {
		c.Confirm(Confirmation{OnDisk, k})
		c.Confirm(Confirmation{InFile, k})
	}
}

func TestJudge(t *testing.T) {
	for name, story := range map[string]struct {
		tell  func(c *court)
		crime string // empty: none
	}{
		"one owner after the other": {func(c *court) {}, ""},
		"the same node again": {func(c *court) {
			c.write(1, 103, true)
		}, ""},
		"a late write of the owner before": {func(c *court) {
			c.write(1, 101, false)
		}, TwoOwners},
		"a late write to the file system": {func(c *court) {
			c.FileSystem(1, c.at, 4096)
		}, TwoOwners},
		"a mount before the first block": {func(c *court) {
			c.FileSystem(3, c.at, 4096)
			c.FileSystem(3, c.at, 0)
			c.write(3, 103, true)
		}, ""},
		"a mount beside an owner who goes on": {func(c *court) {
			c.FileSystem(3, c.at, 4096)
			c.write(2, 102, true)
			c.write(3, 103, true)
		}, TwoOwners},
		"two mounts at once": {func(c *court) {
			c.FileSystem(3, c.at, 4096)
			c.FileSystem(1, c.at, 4096)
			c.write(3, 103, true)
		}, TwoOwners},
		"a block with another's name": {func(c *court) {
			b := make([]byte, Size)
			c.next++
			Block{2, 102, c.next}.Encode(b)
			c.Disk(1, c.at, int64(c.next%Slots)*Size, b)
		}, Torn},
		"half a block": {func(c *court) {
			b := make([]byte, Size)
			Block{2, 102, c.next + 1}.Encode(b)
			clear(b[Size/2:])
			c.Disk(2, c.at, int64((c.next+1)%Slots)*Size, b)
		}, Torn},
		"a confirmed block is gone": {func(c *court) {
			clear(c.disk[c.next%Slots*Size:][:Size])
		}, Lost},
		"a confirmed block is an older one": {func(c *court) {
			Block{1, 101, c.next - Slots}.Encode(c.disk[c.next%Slots*Size:][:Size])
		}, Lost},
		"blocks that nobody was told of": {func(c *court) {
			c.write(2, 102, false)
			c.write(2, 102, false)
		}, ""},
		"a new owner has not seen what was confirmed": {func(c *court) {
			c.next -= 5
			c.file = c.file[:len(c.file)-5*Length]
			c.write(3, 103, true)
		}, Lost},
		"a confirmed record is gone": {func(c *court) {
			c.file = c.file[:len(c.file)-Length]
		}, Lost},
		"confirmed, and not landed": {func(c *court) {
			c.Confirm(Confirmation{OnDisk, Block{3, 999, c.next + 1}})
		}, Lost},
		"the file ends in the middle": {func(c *court) {
			c.file = append(c.file, 1, 2, 3)
		}, Torn},
	} {
		t.Run(name, func(t *testing.T) {
			c := &court{Judge: NewJudge(), disk: make([]byte, Slots*Size), at: time.Unix(1, 0)}
			for range 300 {
				c.write(1, 101, true)
			}
			for range 100 {
				c.write(2, 102, true)
			}
			story.tell(c)
			if err := c.Audit(bytes.NewReader(c.disk), c.file); err != nil {
				t.Fatal(err)
			}
			found := c.Crimes()
			switch {
			case story.crime == "" && len(found) > 0:
				t.Errorf("an innocent is found guilty: %q", found)
			case story.crime != "" && (len(found) == 0 || !strings.HasPrefix(found[0], story.crime)):
				t.Errorf("found %q, want %q", found, story.crime)
			}
			if story.crime == "" && c.Takeovers() != len(c.Runs())-1 {
				t.Errorf("%d takeovers in %d runs", c.Takeovers(), len(c.Runs()))
			}
		})
	}
}

// TestWriter runs the real writer on a file, as the second of two, with a recorder, until its file may grow no more.
func TestWriter(t *testing.T) {
	socket, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()
	file := t.TempDir() + "/log"
	before := Block{7, 5, 1}
	if err := os.WriteFile(file, append(before.record(), "half"...), 0o600); err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	// The kernel ends a program that writes beyond the limit, with SIGXFSZ, or refuses the write.
	cmd := exec.Command("sh", "-c", "ulimit -f 1; exec \"$@\"", "sh", self, "-test.run", "^TestWriterItself$")
	cmd.Env = append(os.Environ(), "ACCOUNT_FILE="+file, "ACCOUNT_RECORDER="+socket.LocalAddr().String())
	if out, err := cmd.CombinedOutput(); err == nil {
		t.Fatalf("it wrote more than it may: %s", out)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	list, whole := Records(text)
	if !whole || len(list) < 3 || list[0] != before || list[1].Run == 5 || list[1].Run != list[2].Run {
		t.Fatalf("%v %v", list, whole)
	}
	b := make([]byte, 100)
	if err := socket.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	for _, want := range list[1:] {
		n, _, err := socket.ReadFrom(b)
		if err != nil {
			t.Fatal(err)
		}
		if c, err := readDatagram(b[:n]); err != nil || c != (Confirmation{InFile, want}) {
			t.Fatalf("%v, %v, want %v", c, err, want)
		}
	}
}

// TestWriterItself is the writer of TestWriter, in a process of its own.
func TestWriterItself(t *testing.T) {
	file := os.Getenv("ACCOUNT_FILE")
	if file == "" {
		return // nothing to do beside TestWriter
	}
	if err := Run([]string{"-file", file, "-recorder", os.Getenv("ACCOUNT_RECORDER"), "-pace", "0s"}, os.Stderr); err != nil {
		t.Fatal(err)
	}
}
