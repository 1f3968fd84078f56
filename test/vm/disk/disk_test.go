package disk

import (
	"bytes"
	"encoding/binary"
	"io"
	"net"
	"os"
	"syscall"
	"testing"
	"time"
)

// client speaks as much NBD as QEMU does.
type client struct {
	t    *testing.T
	conn net.Conn
}

func connect(t *testing.T, d *Disk, name string) client {
	t.Helper()
	path, err := d.Export(name)
	if err != nil {
		t.Fatal(err)
	}
	conn, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	_ = conn.SetDeadline(time.Now().Add(30 * time.Second))
	c := client{t, conn}
	c.read(18)
	c.send(uint32(3))
	const structured = 8 // an option that is refused
	c.send(uint64(optionMagic), uint32(structured), uint32(0))
	if b := c.read(20); binary.BigEndian.Uint32(b[12:]) != repNotSupported {
		t.Fatalf("an option that nobody knows: %x", b)
	}
	c.send(uint64(optionMagic), uint32(optGo), uint32(6), uint32(0), uint16(0))
	if b := c.read(32); binary.BigEndian.Uint64(b[22:]) != uint64(d.size) {
		t.Fatalf("size: %x", b)
	}
	c.read(20)
	return c
}

func (c client) send(values ...any) {
	c.t.Helper()
	var b bytes.Buffer
	for _, v := range values {
		_ = binary.Write(&b, binary.BigEndian, v) // never fails into memory
	}
	if _, err := c.conn.Write(b.Bytes()); err != nil {
		c.t.Fatal(err)
	}
}

func (c client) read(n int) []byte {
	c.t.Helper()
	b := make([]byte, n)
	if _, err := io.ReadFull(c.conn, b); err != nil {
		c.t.Fatal(err)
	}
	return b
}

func (c client) write(text string) syscall.Errno {
	c.t.Helper()
	c.send(uint32(requestMagic), uint16(0), uint16(cmdWrite), uint64(1), uint64(512), uint32(len(text)), []byte(text))
	return syscall.Errno(binary.BigEndian.Uint32(c.read(16)[4:]))
}

func (c client) get(n int) (string, syscall.Errno) {
	c.t.Helper()
	c.send(uint32(requestMagic), uint16(0), uint16(cmdRead), uint64(2), uint64(512), uint32(n))
	if errno := syscall.Errno(binary.BigEndian.Uint32(c.read(16)[4:])); errno != 0 {
		return "", errno
	}
	return string(c.read(n)), 0
}

func TestFaults(t *testing.T) {
	dir, err := os.MkdirTemp("", "hfdisk-") // a test's own folder can be too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	d, err := Make(dir, "D1", 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	a, b := connect(t, d, "a"), connect(t, d, "b")
	set := func(f Fault) {
		t.Helper()
		if err := d.Set("a", f); err != nil {
			t.Fatal(err)
		}
	}
	if errno := a.write("one"); errno != 0 {
		t.Fatal(errno)
	}
	if text, errno := b.get(3); text != "one" || errno != 0 {
		t.Errorf("b reads %q, %v", text, errno)
	}
	set(Fault{Error: syscall.ENOSPC, Reading: true})
	if errno := a.write("two"); errno != syscall.ENOSPC {
		t.Errorf("no space: %v", errno)
	}
	if text, errno := a.get(3); text != "one" || errno != 0 {
		t.Errorf("a reads %q, %v", text, errno)
	}
	set(Fault{Error: syscall.EIO})
	if _, errno := a.get(3); errno != syscall.EIO {
		t.Errorf("cut: %v", errno)
	}
	if errno := b.write("two"); errno != 0 {
		t.Errorf("a fault before a is one before b: %v", errno)
	}
	set(Fault{Hang: true})
	a.send(uint32(requestMagic), uint16(0), uint16(cmdWrite), uint64(1), uint64(512), uint32(3), []byte("new"))
	if text, _ := b.get(3); text != "two" {
		t.Errorf("a write that hangs is on the disk: %q", text)
	}
	set(Fault{})
	if errno := syscall.Errno(binary.BigEndian.Uint32(a.read(16)[4:])); errno != 0 {
		t.Errorf("a write that hung: %v", errno)
	}
	set(Fault{Hang: true})
	a.send(uint32(requestMagic), uint16(0), uint16(cmdWrite), uint64(1), uint64(512), uint32(3), []byte("old"))
	_ = a.conn.Close() // the power goes: the request goes with it
	if err := d.Close(); err == nil {
		return
	}
	t.Error(err)
}
