package quorumdisk_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"testing"
	"time"

	"github.com/holdfast-ha/holdfast/cluster"
	"github.com/holdfast-ha/holdfast/cluster/ident"
	q "github.com/holdfast-ha/holdfast/quorumdisk"
)

func fixChecksum(b []byte) {
	binary.LittleEndian.PutUint32(b[492:], crc32.Checksum(b[:492], crc32.MakeTable(crc32.Castagnoli)))
}

func TestLeaseIsRoundedUp(t *testing.T) {
	c, h, b := codec(t, 512), header(), make([]byte, 512)
	h.Lease.F, h.Lease.G = time.Second+1, q.Unlimited
	if err := c.SealBeat(b, &h, nil); err != nil {
		t.Fatal(err)
	}
	got, err := c.PeekOwn(b, 3)
	if err != nil {
		t.Fatal(err)
	}
	if got.Lease.F != time.Second+time.Microsecond {
		t.Errorf("F = %v: a promise may only become longer", got.Lease.F)
	}
	if got.Lease.G != q.Unlimited {
		t.Errorf("G = %v, want unlimited", got.Lease.G)
	}
	if got.Latency != h.Latency {
		t.Errorf("latency %v, want %v", got.Latency, h.Latency)
	}
	h.Lease.G = 2 * time.Hour // more than the field holds
	if err := c.SealBeat(b, &h, nil); err != nil {
		t.Fatal(err)
	}
	if got, err = c.PeekOwn(b, 3); err != nil || got.Lease.G < 2*time.Hour {
		t.Errorf("G = %v, %v: a promise may only become longer", got.Lease.G, err)
	}
}

func TestSealBeatRefuses(t *testing.T) {
	c, b := codec(t, 512), make([]byte, 512)
	for name, change := range map[string]struct {
		f       func(*q.BeatHeader)
		payload int
		want    error
	}{
		"no node":           {func(h *q.BeatHeader) { h.Node = 0 }, 0, q.ErrPlace},
		"node without room": {func(h *q.BeatHeader) { h.Node = 17 }, 0, q.ErrPlace},
		"long payload":      {func(*q.BeatHeader) {}, q.MaxPayload + 1, q.ErrLength},
		"negative F":        {func(h *q.BeatHeader) { h.Lease.F = -1 }, 0, q.ErrValue},
		"endless F":         {func(h *q.BeatHeader) { h.Lease.F = q.Unlimited }, 0, q.ErrValue},
		"unknown state":     {func(h *q.BeatHeader) { h.State = 99 }, 0, q.ErrValue},
		"unknown class":     {func(h *q.BeatHeader) { h.Lease.Class = 99 }, 0, q.ErrValue},
	} {
		h := header()
		change.f(&h)
		if err := c.SealBeat(b, &h, make([]byte, change.payload)); !errors.Is(err, change.want) {
			t.Errorf("%s: %v, want %v", name, err, change.want)
		}
	}
}

// A value that no writer writes is refused even under a good seal.
func TestOpenBeatRefusesValues(t *testing.T) {
	c, h, b := codec(t, 512), header(), make([]byte, 512)
	if err := c.SealBeat(b, &h, []byte{99, 1, 2}); err != nil {
		t.Fatal(err)
	}
	if _, err := c.OpenBeat(b, 3); !errors.Is(err, q.ErrFormat) {
		t.Errorf("a payload of a newer format: %v, want %v", err, q.ErrFormat)
	}
	if got, err := c.PeekOwn(b, 3); err != nil || got.Inc != h.Inc {
		t.Errorf("the guard needs no payload: %+v, %v", got, err)
	}
}

func TestPayload(t *testing.T) {
	p := payload()
	b, err := q.EncodePayload(nil, &p)
	if err != nil || len(b) > q.MaxPayload {
		t.Fatalf("%d bytes, %v", len(b), err)
	}
	for n := range b {
		if _, err := q.DecodePayload(b[:n]); err == nil {
			t.Errorf("cut to %d bytes and accepted", n)
		}
	}
	for name, c := range map[string]struct {
		at   int
		to   byte
		want error
	}{
		"format": {0, 2, q.ErrFormat}, "phase": {1, 4, q.ErrValue}, "flags": {4, 2, q.ErrReserved}, "count": {5, 9, q.ErrLength},
		"zero": {7, 1, q.ErrReserved}, "ballot": {45, 1, q.ErrReserved}, "node": {57, 1, q.ErrReserved}, "before the blob": {63, 1, q.ErrReserved},
		"kill node": {112, 0, q.ErrValue}, "kill zero": {113, 1, q.ErrReserved},
	} {
		bad := bytes.Clone(b)
		bad[c.at] = c.to
		if _, err := q.DecodePayload(bad); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
	p.Kills = append(p.Kills, cluster.Kill{Node: 1})
	if _, err := q.EncodePayload(nil, &p); !errors.Is(err, q.ErrTooLarge) {
		t.Errorf("nine kill records: %v", err)
	}
}

// table builds the bytes of a read of superblock and beats, with a beat of
// every node but skip; node 5 carries the kill records.
func table(t testing.TB, c *q.Codec, kills ...cluster.Kill) []byte {
	t.Helper()
	l := c.Layout()
	b := make([]byte, l.TableSize())
	for n := ident.NodeID(1); l.Has(n); n++ {
		p := payload()
		p.Kills = nil
		if n == 5 {
			p.Kills = kills
		}
		raw, err := q.EncodePayload(nil, &p)
		if err != nil {
			t.Fatal(err)
		}
		h := header()
		h.Node = n
		if err := c.SealBeat(l.Beat(b, n), &h, raw); err != nil {
			t.Fatal(err)
		}
	}
	return b
}

func TestFindKill(t *testing.T) {
	mine := cluster.Kill{Node: 3, Inc: 7, Boot: [8]byte(filled(8, 0xb0)), Ver: 44}
	otherBoot, otherInc, otherNode := mine, mine, mine
	otherBoot.Boot[7]++
	otherInc.Inc++
	otherNode.Node = 4
	for _, sector := range []int{512, 4096} {
		c := codec(t, sector)
		tab := table(t, c, otherBoot, otherInc, otherNode, mine)
		if k, ok := c.FindKill(tab, 3, incarnation()); !ok || k != mine {
			t.Errorf("found %+v, %v, want %+v", k, ok, mine)
		}
		if k, ok := c.FindKill(tab, 9, incarnation()); ok {
			t.Errorf("node 9 obeys %+v", k)
		}
		if k, ok := c.FindKill(tab, 5, incarnation()); ok {
			t.Errorf("obeys a record in its own beat: %+v", k)
		}
		if k, ok := c.FindKill(table(t, c, otherBoot, otherInc, otherNode), 3, incarnation()); ok {
			t.Errorf("obeys the record of another life: %+v", k)
		}
		// A record that is not sealed, or half written, kills nobody.
		sector5 := c.Layout().Beat(tab, 5)
		sector5[500] ^= 1
		if k, ok := c.FindKill(tab, 3, incarnation()); ok {
			t.Errorf("obeys a forged record: %+v", k)
		}
		sector5[500] ^= 1
		sector5[90], sector5[91] = 0xff, 0xff // payload length
		if k, ok := c.FindKill(tab, 3, incarnation()); ok {
			t.Errorf("reads past the payload: %+v", k)
		}
		if _, ok := c.FindKill(tab[:len(tab)-1], 3, incarnation()); ok {
			t.Error("accepts a short table")
		}
	}
}

func TestGuardAllocatesNothing(t *testing.T) {
	c, h, b := codec(t, 512), header(), make([]byte, 512)
	p := payload()
	raw, err := q.EncodePayload(nil, &p)
	if err != nil {
		t.Fatal(err)
	}
	mine := cluster.Kill{Node: 3, Inc: 7, Boot: [8]byte(filled(8, 0xb0)), Ver: 44}
	tab := table(t, c, mine)
	sb := superblock(512)
	if err := c.SealSuperblock(tab[:512], &sb, 0); err != nil {
		t.Fatal(err)
	}
	for name, f := range map[string]func() bool{
		"SealBeat":   func() bool { return c.SealBeat(b, &h, raw) == nil },
		"FindKill":   func() bool { _, ok := c.FindKill(tab, 3, incarnation()); return ok },
		"FindKill 2": func() bool { _, ok := c.FindKill(tab, 4, incarnation()); return !ok },
		"PeekOwn":    func() bool { _, err := c.PeekOwn(b, 3); return err == nil },
		"StillThere": func() bool { return c.StillThere(tab[:512], &sb) == nil },
	} {
		if !f() {
			t.Errorf("%s fails", name)
		}
		if n := testing.AllocsPerRun(100, func() { f() }); n != 0 {
			t.Errorf("%s allocates %v times", name, n)
		}
	}
}

func TestStillThere(t *testing.T) {
	c, sb, b := codec(t, 512), superblock(512), make([]byte, 512)
	if err := c.SealSuperblock(b, &sb, 0); err != nil {
		t.Fatal(err)
	}
	other := sb
	other.Disk = uuid(0x11)
	o := make([]byte, 512)
	if err := c.SealSuperblock(o, &other, 0); err != nil {
		t.Fatal(err)
	}
	torn := bytes.Clone(b)
	torn[300]++
	for name, x := range map[string]struct {
		b    []byte
		want error
	}{
		"the same": {b, nil}, "wiped": {make([]byte, 512), q.ErrMagic}, "exchanged": {o, q.ErrWrongDisk}, "torn": {torn, q.ErrChecksum},
	} {
		if err := c.StillThere(x.b, &sb); !errors.Is(err, x.want) {
			t.Errorf("%s: %v, want %v", name, err, x.want)
		}
	}
}

func BenchmarkFindKillNone(b *testing.B) {
	c := codec(b, 512)
	tab := table(b, c)
	b.ReportAllocs()
	for b.Loop() {
		c.FindKill(tab, 3, incarnation())
	}
}
