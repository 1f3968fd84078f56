package sbd_test

import (
	"bytes"
	"encoding/hex"
	"errors"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/holdfast-ha/holdfast/cluster/ident"
	"github.com/holdfast-ha/holdfast/sbd"
	"github.com/holdfast-ha/holdfast/storage/storagetest"
)

const wait = 5 * time.Second

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// The bytes that sbd 1.5.2 writes, by its source and a dump of one of its disks.
const wantHeader = "" +
	"5342445f5342445f" + "02" + "ff" + "0000" + "00000200" + "00000005" + "00000002" + "00000001" + "0000000a" + "01" +
	"cd6c3b7ea0754c6bbbe9df3a605f0b14" + "000000"

func diskID(t testing.TB) ident.UUID {
	id, err := ident.ParseUUID("cd6c3b7e-a075-4c6b-bbe9-df3a605f0b14")
	must(t, err)
	return id
}

func TestHeaderBytes(t *testing.T) {
	b := bytes.Repeat([]byte{0xee}, 512)
	h := sbd.DefaultHeader(512, diskID(t))
	must(t, sbd.EncodeHeader(b, h))
	if got := hex.EncodeToString(b[:52]); got != wantHeader {
		t.Errorf("header\n%s, want\n%s", got, wantHeader)
	}
	if !bytes.Equal(b[52:], make([]byte, 460)) {
		t.Error("the rest of the sector is not zero")
	}
	if got, err := sbd.DecodeHeader(b); err != nil || got != h {
		t.Errorf("decoded %+v, %v", got, err)
	}
}

func TestSlotAndMailBytes(t *testing.T) {
	b := bytes.Repeat([]byte{0xee}, 512)
	must(t, sbd.EncodeSlot(b, "node1"))
	if want := append([]byte("\x01node1"), make([]byte, 506)...); !bytes.Equal(b, want) {
		t.Errorf("slot\n%x, want\n%x", b, want)
	}
	must(t, sbd.EncodeMail(b, sbd.Mail{Command: sbd.Reset, From: "node2"}))
	if want := append([]byte("\x02node2"), make([]byte, 506)...); !bytes.Equal(b, want) {
		t.Errorf("mail\n%x, want\n%x", b, want)
	}
	if m, err := sbd.DecodeMail(b); err != nil || m != (sbd.Mail{Command: sbd.Reset, From: "node2"}) {
		t.Errorf("decoded %+v, %v", m, err)
	}
	// A name without a zero behind it, and a command that nobody knows.
	full := append([]byte{0xff}, bytes.Repeat([]byte{'x'}, 64)...)
	if m, err := sbd.DecodeMail(full); err != nil || m.Command != -1 || len(m.From) != sbd.MaxName {
		t.Errorf("decoded %+v, %v", m, err)
	}
}

func TestHeaderRefusals(t *testing.T) {
	good := make([]byte, 512)
	must(t, sbd.EncodeHeader(good, sbd.DefaultHeader(512, diskID(t))))
	for name, c := range map[string]struct {
		at   int
		to   byte
		want error
	}{
		"magic": {0, 'X', sbd.ErrMagic}, "version": {8, 3, sbd.ErrVersion}, "sector": {14, 3, sbd.ErrSectorSize},
	} {
		b := bytes.Clone(good)
		b[c.at] = c.to
		if _, err := sbd.DecodeHeader(b); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
	if _, err := sbd.DecodeHeader(good[:51]); !errors.Is(err, sbd.ErrMagic) {
		t.Errorf("short: %v", err)
	}
	for _, d := range []time.Duration{-time.Second, 1500 * time.Millisecond, 1 << 62} {
		h := sbd.DefaultHeader(512, diskID(t))
		h.MsgWait = d
		if err := sbd.EncodeHeader(good, h); !errors.Is(err, sbd.ErrTimeout) {
			t.Errorf("message wait %v: %v", d, err)
		}
	}
	if _, err := sbd.Image(sbd.Header{}); !errors.Is(err, sbd.ErrSectorSize) {
		t.Errorf("the zero header: %v", err)
	}
}

func TestOldHeaderHasNoUUID(t *testing.T) {
	h := sbd.DefaultHeader(512, diskID(t))
	h.Minor = 0
	b := make([]byte, 512)
	must(t, sbd.EncodeHeader(b, h))
	if got, err := sbd.DecodeHeader(b); err != nil || !got.UUID.IsZero() || got.Minor != 0 {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestCommands(t *testing.T) {
	for c := sbd.Clear; c <= sbd.CrashDump; c++ {
		if got, err := sbd.ParseCommand(c.String()); err != nil || got != c {
			t.Errorf("%v: %v, %v", c, got, err)
		}
	}
	if _, err := sbd.ParseCommand("poweroff"); err == nil || !strings.Contains(err.Error(), "crashdump") {
		t.Errorf("an unknown word: %v", err)
	}
	if got := sbd.Command(6).String(); got != "undefined (6)" {
		t.Errorf("command 6 is %q", got)
	}
}

func created(t *testing.T, sector int) (*storagetest.Memory, *sbd.Area) {
	t.Helper()
	m := storagetest.NewMemory(4<<20, sector)
	m.Poke(0, bytes.Repeat([]byte{0xaa}, 4<<20))
	must(t, sbd.Create(m.Open("a"), sbd.DefaultHeader(sector, diskID(t)), wait))
	a, err := sbd.Open(m.Open("a"), wait)
	must(t, err)
	return m, a
}

func TestArea(t *testing.T) {
	for _, sector := range []int{512, 4096} {
		m, a := created(t, sector)
		if rest := m.Peek(int64(511*sector), sector); rest[0] != 0xaa {
			t.Error("create wrote beyond the area")
		}
		if list, err := a.List(wait); err != nil || len(list) > 0 {
			t.Errorf("a new area has %v, %v", list, err)
		}
		for want, name := range []string{"alpha", "beta"} {
			slot, had, err := a.Claim(name, wait)
			if err != nil || had || slot != want {
				t.Errorf("claim of %s: %d, %v, %v", name, slot, had, err)
			}
		}
		if slot, had, err := a.Claim("ALPHA", wait); err != nil || !had || slot != 0 {
			t.Errorf("claim of ALPHA: %d, %v, %v", slot, had, err)
		}
		if ok, err := a.Holds(1, "beta", wait); !ok || err != nil {
			t.Errorf("beta holds 1: %v, %v", ok, err)
		}
		if ok, err := a.Holds(2, "beta", wait); ok || err != nil {
			t.Errorf("beta holds 2: %v, %v", ok, err)
		}
		must(t, a.Send(1, sbd.Mail{Command: sbd.Off, From: "alpha"}, wait))
		if c, err := a.Command(1, wait); c != sbd.Off || err != nil {
			t.Errorf("command %v, %v", c, err)
		}
		want := []sbd.Slot{{Index: 0, Name: "alpha"}, {Index: 1, Name: "beta", Mail: sbd.Mail{Command: sbd.Off, From: "alpha"}}}
		list, err := a.List(wait)
		if err != nil || len(list) != 2 || list[0] != want[0] || list[1] != want[1] {
			t.Errorf("list %+v, %v", list, err)
		}
		if raw := m.Peek(int64(4*sector), 6); string(raw) != "\x03alpha" {
			t.Errorf("mailbox of slot 1 holds %q", raw)
		}
		if _, _, err := a.Find(strings.Repeat("x", 64), wait); !errors.Is(err, sbd.ErrName) {
			t.Errorf("a name that would be cut: %v", err)
		}
		if err := a.Send(255, sbd.Mail{}, wait); !errors.Is(err, sbd.ErrSlot) {
			t.Errorf("slot 255: %v", err)
		}
	}
}

func TestFull(t *testing.T) {
	m, a := created(t, 512)
	for i := range sbd.Slots {
		m.Poke(int64(1+2*i)*512, append([]byte{1, 'n', byte('0' + i%10), byte('0' + i/10%10), byte('0' + i/100)}, make([]byte, 60)...))
	}
	if _, _, err := a.Claim("another", wait); !errors.Is(err, sbd.ErrFull) {
		t.Errorf("%v, want %v", err, sbd.ErrFull)
	}
}

// A disk that can be read but not written is what makes upstream's tool report
// a fencing that did not happen.
func TestFailedSendIsAnError(t *testing.T) {
	m, _ := created(t, 512)
	for name, f := range map[string]storagetest.Fault{
		"no space": storagetest.NoSpace(), "write protected": storagetest.WriteProtected(),
		"lost": {Kind: storagetest.Lost, Op: storagetest.Writes},
	} {
		h := m.Open("a")
		a, err := sbd.Open(h, wait)
		must(t, err)
		h.Inject(f)
		if err := a.Send(0, sbd.Mail{Command: sbd.Reset, From: "b"}, wait); err == nil {
			t.Errorf("%s: reported as sent", name)
		}
	}
	h := m.Open("a")
	h.Inject(storagetest.Fault{Op: storagetest.Writes, Skip: 1, Err: syscall.EIO})
	if err := sbd.Create(h, sbd.DefaultHeader(512, diskID(t)), wait); !errors.Is(err, syscall.EIO) {
		t.Errorf("create: %v", err)
	}
	if _, err := sbd.Open(m.Open("a"), wait); !errors.Is(err, sbd.ErrMagic) {
		t.Errorf("half made: %v", err)
	}
}

// 512-byte logical on 4096-byte physical blocks: readable, not writable.
func TestLargerHandle(t *testing.T) {
	m, a := created(t, 512)
	_, _, err := a.Claim("alpha", wait)
	must(t, err)
	must(t, a.Send(0, sbd.Mail{Command: sbd.Test, From: "beta"}, wait))
	large := storagetest.NewMemory(4<<20, 4096)
	large.Poke(0, m.Peek(0, 4<<20))
	b, err := sbd.Open(large.Open("a"), wait)
	must(t, err)
	if c, err := b.Command(0, wait); c != sbd.Test || err != nil {
		t.Errorf("command %v, %v", c, err)
	}
	if list, err := b.List(wait); err != nil || len(list) != 1 {
		t.Errorf("list %v, %v", list, err)
	}
	if err := b.Send(0, sbd.Mail{}, wait); !errors.Is(err, sbd.ErrSectorSize) {
		t.Errorf("send: %v", err)
	}
	if err := sbd.Create(large.Open("a"), sbd.DefaultHeader(512, diskID(t)), wait); !errors.Is(err, sbd.ErrSectorSize) {
		t.Errorf("create: %v", err)
	}
}

func TestChanged(t *testing.T) {
	m, a := created(t, 512)
	if c, err := a.Changed(wait); c || err != nil {
		t.Errorf("%v, %v", c, err)
	}
	must(t, sbd.Create(m.Open("b"), sbd.DefaultHeader(512, ident.UUID{1}), wait))
	if c, err := a.Changed(wait); !c || err != nil {
		t.Errorf("made anew: %v, %v", c, err)
	}
}

func FuzzDecode(f *testing.F) {
	b := make([]byte, 512)
	must(f, sbd.EncodeHeader(b, sbd.DefaultHeader(512, ident.UUID{1})))
	f.Add(bytes.Clone(b))
	must(f, sbd.EncodeMail(b, sbd.Mail{Command: sbd.CrashDump, From: "node1"}))
	f.Add(b)
	f.Fuzz(func(t *testing.T, b []byte) {
		again := make([]byte, 4096)
		if h, err := sbd.DecodeHeader(b); err == nil && h.Slots == sbd.Slots && h.Minor <= 1 {
			must(t, sbd.EncodeHeader(again[:h.SectorSize], h))
			if back, err := sbd.DecodeHeader(again); err != nil || back != h {
				t.Errorf("%+v became %+v, %v", h, back, err)
			}
		}
		if m, err := sbd.DecodeMail(b); err == nil {
			must(t, sbd.EncodeMail(again, m))
			if back, err := sbd.DecodeMail(again); err != nil || back != m {
				t.Errorf("%+v became %+v, %v", m, back, err)
			}
		}
		if name, used, err := sbd.DecodeSlot(b); err == nil && used && name != "" {
			must(t, sbd.EncodeSlot(again, name))
		}
	})
}
