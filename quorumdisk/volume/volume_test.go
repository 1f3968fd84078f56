package volume_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/holdfast-ha/holdfast/cluster"
	"github.com/holdfast-ha/holdfast/cluster/ident"
	"github.com/holdfast-ha/holdfast/cluster/register"
	q "github.com/holdfast-ha/holdfast/quorumdisk"
	"github.com/holdfast-ha/holdfast/quorumdisk/statecodec"
	"github.com/holdfast-ha/holdfast/quorumdisk/volume"
	"github.com/holdfast-ha/holdfast/storage"
	"github.com/holdfast-ha/holdfast/storage/storagetest"
)

const (
	mib  = 1 << 20
	wait = 5 * time.Second
)

func uuid(b byte) ident.UUID { return ident.UUID(bytes.Repeat([]byte{b}, 16)) }

func testKeys() q.Keys { return q.Keys{Current: q.Key(bytes.Repeat([]byte{7}, 32))} }

func options() volume.Options {
	return volume.Options{
		Keys: testKeys(), Cluster: uuid(0xc0), Disk: uuid(0xd0), Index: 1, DiskGen: 3, Created: time.Unix(1763800000, 0),
		SBD: bytes.Repeat([]byte("SBD "), 511*128), Timeout: wait,
	}
}

func expect() volume.Expect { return volume.Expect{Cluster: uuid(0xc0), Disk: uuid(0xd0)} }

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// formatted gives a quorum disk in memory and a volume on it.
func formatted(t *testing.T, sector int) (*storagetest.Memory, *volume.Volume) {
	t.Helper()
	m := storagetest.NewMemory(70*mib, sector)
	_, err := volume.Create(m.Open("alpha"), options())
	must(t, err)
	return m, open(t, m)
}

func open(t *testing.T, m *storagetest.Memory) *volume.Volume {
	t.Helper()
	v, err := volume.Open(m.Open("alpha"), testKeys(), expect(), wait)
	must(t, err)
	return v
}

func bothSectors(t *testing.T, f func(t *testing.T, sector int)) {
	t.Run("512", func(t *testing.T) { f(t, 512) })
	t.Run("4096", func(t *testing.T) { f(t, 4096) })
}

func TestCreateAndOpen(t *testing.T) {
	bothSectors(t, func(t *testing.T, sector int) {
		m := storagetest.NewMemory(70*mib, sector)
		noise := bytes.Repeat([]byte{0xaa}, 40*mib)
		m.Poke(0, noise)
		m.Poke(30*mib, noise)
		s, err := volume.Create(m.Open("alpha"), options())
		must(t, err)
		v := open(t, m)
		if got := v.Superblock(); got != s || got.Layout != (q.Layout{SectorSize: sector, Nmax: q.DefaultNodes}) || len(v.Notes()) > 0 {
			t.Errorf("superblock %+v, written %+v, notes %v", got, s, v.Notes())
		}
		if got := m.Peek(0, len(options().SBD)); !bytes.Equal(got, options().SBD) {
			t.Error("the SBD area is not what was given")
		}
		snap, err := v.Snapshot(wait)
		must(t, err)
		for _, b := range snap.Beats {
			if b.Beat != nil || b.Err != "" {
				t.Errorf("a beat on a new disk: %+v", b)
			}
		}
		if len(snap.Headers.Valid)+len(snap.Headers.Bad) > 0 {
			t.Errorf("headers on a new disk: %+v", snap.Headers)
		}
		if found, err := v.Verify(wait); err != nil || len(found) > 0 {
			t.Errorf("findings on a new disk: %v, %v", found, err)
		}
	})
}

func TestCreateLeavesTheSBDAreaAlone(t *testing.T) {
	m, o := storagetest.NewMemory(70*mib, 512), options()
	m.Poke(0, []byte("SBD_SBD_"))
	o.SBD = nil
	_, err := volume.Create(m.Open("alpha"), o)
	must(t, err)
	if got := m.Peek(0, 8); string(got) != "SBD_SBD_" {
		t.Errorf("the SBD area reads %q", got)
	}
}

func TestCreateRefuses(t *testing.T) {
	small := storagetest.NewMemory(65*mib, 512)
	if _, err := volume.Create(small.Open("a"), options()); !errors.Is(err, volume.ErrTooSmall) || !strings.Contains(err.Error(), "67 MiB") {
		t.Errorf("a small device: %v", err)
	}
	m, _ := formatted(t, 512)
	if _, err := volume.Create(m.Open("a"), options()); !errors.Is(err, volume.ErrFormatted) {
		t.Errorf("a quorum disk: %v", err)
	}
	o := options()
	o.Cluster = ident.UUID{}
	if _, err := volume.Create(storagetest.NewMemory(70*mib, 512).Open("a"), o); !errors.Is(err, q.ErrValue) {
		t.Errorf("no cluster: %v", err)
	}
}

// Whichever write fails, a disk that was left half made is no quorum disk, and
// it can be made anew.
func TestHalfCreatedIsUnformatted(t *testing.T) {
	for after := 0; ; after++ {
		m := storagetest.NewMemory(70*mib, 512)
		h := m.Open("alpha")
		h.Inject(storagetest.Fault{Op: storagetest.Writes, Skip: after, Err: syscall.EIO})
		_, err := volume.Create(h, options())
		if err == nil {
			if after < 5 {
				t.Fatalf("only %d writes", after)
			}
			return
		}
		_, err = volume.Open(m.Open("beta"), testKeys(), expect(), wait)
		if err == nil { // B was written, and everything else before it
			v := open(t, m)
			if found, err := v.Verify(wait); err != nil || len(v.Notes()) == 0 || len(found) == 0 {
				t.Errorf("after %d writes: opened without a word: %v, %v", after, found, err)
			}
			continue
		}
		if !errors.Is(err, volume.ErrUnformatted) {
			t.Errorf("after %d writes: %v, want %v", after, err, volume.ErrUnformatted)
		}
		if _, err := volume.Create(m.Open("beta"), options()); err != nil {
			t.Errorf("after %d writes: creating it again: %v", after, err)
		}
	}
}

func TestOpenRefuses(t *testing.T) {
	m, v := formatted(t, 512)
	try := func(what string, m *storagetest.Memory, k q.Keys, e volume.Expect, want error, words ...string) {
		t.Helper()
		_, err := volume.Open(m.Open("beta"), k, e, wait)
		if !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", what, err, want)
			return
		}
		for _, w := range words {
			if !strings.Contains(err.Error(), w) {
				t.Errorf("%s: %q does not name %q", what, err, w)
			}
		}
	}
	try("unformatted", storagetest.NewMemory(70*mib, 512), testKeys(), expect(), volume.ErrUnformatted, "holdfast init")
	try("tiny", storagetest.NewMemory(mib, 512), testKeys(), expect(), volume.ErrUnformatted)
	try("foreign cluster", m, testKeys(), volume.Expect{Cluster: uuid(0x11)}, q.ErrCluster, uuid(0x11).String(), uuid(0xc0).String())
	try("another disk", m, testKeys(), volume.Expect{Disk: uuid(0x11)}, q.ErrWrongDisk, uuid(0x11).String(), uuid(0xd0).String())
	try("wrong key", m, q.Keys{Current: q.Key(uuid2(9))}, expect(), q.ErrSeal)
	try("no key", m, q.Keys{}, expect(), q.ErrKeyFile)
	clone := m.Clone(storage.Identity{Kind: "naa", Value: "6000clone"})
	try("clone", clone, testKeys(), expect(), volume.ErrIdentity, "naa:6000clone", v.Superblock().Identity.String(), "adopt-clone")

	broken, newer := m.Snapshot(), m.Snapshot()
	end := v.Layout().BackupOffset(70 * mib)
	for _, off := range []int64{q.SuperOffset, end} {
		m.Poke(off+200, []byte{1})
	}
	try("both damaged", m, testKeys(), expect(), volume.ErrDamaged, "keep a copy")
	m.Restore(newer)
	for _, off := range []int64{q.SuperOffset, end} {
		m.Poke(off+8, []byte{9})
	}
	try("newer", m, testKeys(), expect(), q.ErrFormat, "format 9")
	m.Restore(broken)
	try("again", m, testKeys(), expect(), nil)
}

func uuid2(b byte) [32]byte { return [32]byte(bytes.Repeat([]byte{b}, 32)) }

func TestEitherSuperblockWillDo(t *testing.T) {
	bothSectors(t, func(t *testing.T, sector int) {
		m, v := formatted(t, sector)
		for name, off := range map[string]int64{"superblock A": q.SuperOffset, "superblock B": v.Layout().BackupOffset(70 * mib)} {
			for _, damage := range [][]byte{make([]byte, sector), {1}} {
				m.Poke(off, damage)
				v := open(t, m)
				if notes := strings.Join(v.Notes(), "\n"); !strings.Contains(notes, name) || !strings.Contains(notes, "repair") {
					t.Errorf("%s damaged, notes %q", name, notes)
				}
				serve := expect()
				serve.Serve = true
				if _, err := volume.Open(m.Open("a"), testKeys(), serve, wait); errors.Is(err, volume.ErrOverwritten) != (name == "superblock A") {
					t.Errorf("%s damaged, to decide by it: %v", name, err)
				}
				must(t, v.Repair(wait))
				if v = open(t, m); len(v.Notes()) > 0 {
					t.Errorf("repaired, notes %q", v.Notes())
				}
			}
		}
	})
}

func TestAdoptClone(t *testing.T) {
	m, _ := formatted(t, 512)
	id := storage.Identity{Kind: "naa", Value: strings.Repeat("long", 50)}
	clone := m.Clone(id)
	if v, err := volume.Open(clone.Open("a"), testKeys(), volume.Expect{AnyDevice: true}, wait); err != nil || len(v.Notes()) == 0 {
		t.Errorf("looking at a clone: %v", err)
	}
	if _, err := volume.AdoptClone(clone.Open("a"), testKeys(), volume.Expect{Cluster: uuid(1)}, wait); !errors.Is(err, q.ErrCluster) {
		t.Errorf("adopting the clone of another cluster's disk: %v", err)
	}
	_, err := volume.AdoptClone(clone.Open("a"), testKeys(), expect(), wait)
	must(t, err)
	if v := open(t, clone); v.Superblock().Identity != q.Recorded(id) || len(v.Notes()) > 0 {
		t.Errorf("adopted: %+v, notes %v", v.Superblock(), v.Notes())
	}
}

func TestWipe(t *testing.T) {
	bothSectors(t, func(t *testing.T, sector int) {
		m, v := formatted(t, sector)
		must(t, v.Bootstrap(firstState(), 1, wait))
		must(t, volume.Wipe(m.Open("a"), wait))
		if _, err := volume.Open(m.Open("a"), testKeys(), expect(), wait); !errors.Is(err, volume.ErrUnformatted) {
			t.Errorf("wiped, yet %v", err)
		}
		if at := m.Peek(v.Layout().HeaderOffset(1, 1), sector); !bytes.Equal(at, make([]byte, sector)) {
			t.Error("a header survived")
		}
		must(t, volume.Wipe(m.Open("a"), wait))
		_, err := volume.Create(m.Open("a"), options())
		must(t, err)
	})
}

func firstState() *cluster.State {
	return &cluster.State{
		Ver: 1, Cluster: uuid(0xc0), Config: []byte("cluster: {name: test}\n"), ConfigRev: 1, View: 1,
		Nodes:    []cluster.NodeState{{ID: 1, Name: "alpha"}, {ID: 2, Name: "beta"}},
		Services: []cluster.Grant{{Service: "orders", Owner: 1, Term: 1}},
		Disks:    []ident.UUID{uuid(0xd0)}, DiskGen: 3,
	}
}

func TestBootstrap(t *testing.T) {
	bothSectors(t, func(t *testing.T, sector int) {
		m, v := formatted(t, sector)
		second := firstState()
		second.Ver = 2
		if err := v.Bootstrap(second, 1, wait); !errors.Is(err, q.ErrValue) {
			t.Errorf("version 2 first: %v", err)
		}
		must(t, v.Bootstrap(firstState(), 1, wait))
		if err := v.Bootstrap(firstState(), 1, wait); !errors.Is(err, volume.ErrNotEmpty) {
			t.Errorf("twice: %v", err)
		}
		s, h, err := open(t, m).NewestState(wait)
		must(t, err)
		if !reflect.DeepEqual(s, firstState()) || h.Bal != (ident.Ballot{Round: 1, Node: 1, Inc: 1}) || h.Gen != 1 || h.Ver != 1 {
			t.Errorf("read back %+v, %+v", s, h)
		}
	})
}

func block(gen uint64) register.Header {
	b := ident.Ballot{Round: gen, Node: 3, Inc: 1, Life: 5}
	return register.Header{Node: 3, Inc: 1, Gen: gen, Mbal: b, Bal: b, Ver: gen}
}

func TestRing(t *testing.T) {
	bothSectors(t, func(t *testing.T, sector int) {
		_, v := formatted(t, sector)
		var written []register.Header
		for gen := range uint64(q.Ring + 3) {
			h, err := v.WriteBlock(block(gen+1), bytes.Repeat([]byte{byte(gen)}, int(gen)*1000+1), wait)
			must(t, err)
			written = append(written, h)
		}
		all, err := v.ReadHeaders(wait)
		must(t, err)
		if len(all.Valid) != q.Ring || len(all.Bad) > 0 {
			t.Fatalf("%d headers, %v", len(all.Valid), all.Bad)
		}
		last := written[len(written)-1]
		if b, ok := all.Block(3); !ok || b != last {
			t.Errorf("block %+v, want %+v", b, last)
		}
		body, err := v.ReadBody(last, wait)
		if err != nil || len(body) != int(last.Len) || body[0] != q.Ring+2 {
			t.Errorf("body of %d bytes, %v", len(body), err)
		}
		if _, err := v.ReadBody(written[0], wait); !errors.Is(err, volume.ErrStale) {
			t.Errorf("a body that was replaced: %v", err)
		}
	})
}

// A header that is not written, or half written, leaves the generation before.
func TestTornHeader(t *testing.T) {
	m, v := formatted(t, 512)
	first, err := v.WriteBlock(block(1), []byte("first"), wait)
	must(t, err)
	h := m.Open("alpha")
	w, err := volume.Open(h, testKeys(), expect(), wait)
	must(t, err)
	h.Inject(storagetest.Fault{Op: storagetest.Writes, Skip: 1, Err: syscall.EIO}) // the body lands, the header does not
	if _, err := w.WriteBlock(block(2), []byte("second"), wait); !errors.Is(err, syscall.EIO) {
		t.Errorf("write: %v", err)
	}
	m.Poke(v.Layout().HeaderOffset(3, 2), []byte("HFREGH\r\n\x01\x00\x03\x02"))
	all, err := v.ReadHeaders(wait)
	must(t, err)
	if b, ok := all.Block(3); !ok || b != first || len(all.Bad) != 1 {
		t.Errorf("block %+v, bad %v", b, all.Bad)
	}
	if body, err := v.ReadBody(first, wait); err != nil || string(body) != "first" {
		t.Errorf("body %q, %v", body, err)
	}
}

func TestHeaderWithoutBody(t *testing.T) {
	_, v := formatted(t, 512)
	h, err := v.WriteBlock(register.Header{Node: 2, Inc: 1, Gen: 1, Mbal: ident.Ballot{Round: 4, Node: 2}}, nil, wait)
	must(t, err)
	if body, err := v.ReadBody(h, wait); err != nil || body != nil {
		t.Errorf("body %q, %v", body, err)
	}
	if s, _, err := v.NewestState(wait); s != nil || err != nil {
		t.Errorf("state %+v, %v", s, err)
	}
	if found, err := v.Verify(wait); err != nil || len(found) > 0 {
		t.Errorf("findings %v, %v", found, err)
	}
	if _, err := v.WriteBlock(block(1), make([]byte, q.BodySize+1), wait); !errors.Is(err, q.ErrTooLarge) {
		t.Errorf("a body that does not fit: %v", err)
	}
	h, err = v.WriteBlock(block(1), make([]byte, q.BodySize), wait)
	must(t, err)
	if body, err := v.ReadBody(h, wait); err != nil || len(body) != q.BodySize {
		t.Errorf("the largest body: %d bytes, %v", len(body), err)
	}
}

func TestBlobs(t *testing.T) {
	m, v := formatted(t, 4096)
	inc := ident.Incarnation{N: 2, Boot: ident.BootID(uuid(5))}
	for gen := range uint64(4) {
		must(t, v.WriteBlob(&cluster.Blob{Node: 2, Inc: inc, Gen: gen, Released: []cluster.Released{{Service: "a", Term: uint64(gen)}}}, wait))
	}
	if b, err := v.ReadBlob(2, 2, wait); err != nil || b.Released[0].Term != 2 {
		t.Errorf("generation 2: %+v, %v", b, err)
	}
	if _, err := v.ReadBlob(2, 1, wait); !errors.Is(err, volume.ErrStale) {
		t.Errorf("generation 1: %v", err)
	}
	if _, err := v.ReadBlob(1, 1, wait); !errors.Is(err, volume.ErrStale) {
		t.Errorf("never written: %v", err)
	}
	if b, err := v.NewestBlob(2, wait); err != nil || b.Gen != 3 {
		t.Errorf("newest: %+v, %v", b, err)
	}
	m.Poke(v.Layout().BlobOffset(2, 1)+600, []byte{1}) // torn
	if b, err := v.NewestBlob(2, wait); err != nil || b.Gen != 2 {
		t.Errorf("newest but torn: %+v, %v", b, err)
	}
	if b, err := v.NewestBlob(9, wait); b != nil || err != nil {
		t.Errorf("none: %+v, %v", b, err)
	}
}

func TestProbe(t *testing.T) {
	m, v := formatted(t, 512)
	must(t, v.WriteProbe(2, uuid2(8), wait))
	if n, ok, err := open(t, m).ReadProbe(2, wait); !ok || err != nil || n != uuid2(8) {
		t.Errorf("%x, %v, %v", n, ok, err)
	}
	if _, ok, err := v.ReadProbe(3, wait); ok || err != nil {
		t.Errorf("never written: %v, %v", ok, err)
	}
}

// full puts something into every region.
func full(t *testing.T, sector int) (*storagetest.Memory, *volume.Volume) {
	m, v := formatted(t, sector)
	must(t, v.Bootstrap(firstState(), 1, wait))
	beat(t, v, 1, 100)
	beat(t, v, 2, 100)
	must(t, v.WriteBlob(&cluster.Blob{Node: 2, Gen: 1, Services: []cluster.RunState{{Service: "orders", State: cluster.Up}}}, wait))
	must(t, v.WriteProbe(1, uuid2(3), wait))
	return m, v
}

func beat(t *testing.T, v *volume.Volume, n ident.NodeID, seq uint64) {
	t.Helper()
	sector := make([]byte, v.Layout().SectorSize)
	p, err := q.EncodePayload(nil, &cluster.Payload{Phase: cluster.MemberPhase, Kills: []cluster.Kill{{Node: 9}}})
	must(t, err)
	h := q.BeatHeader{Node: n, Seq: seq, State: cluster.GuardBound, Lease: cluster.Lease{F: time.Second, G: q.Unlimited}}
	must(t, v.Codec().SealBeat(sector, &h, p))
	must(t, v.WriteBeat(n, sector, wait))
}

func TestReport(t *testing.T) {
	_, v := full(t, 512)
	first, err := v.Snapshot(wait)
	must(t, err)
	beat(t, v, 1, 200)
	r, err := v.Report(first, time.Second, wait)
	must(t, err)
	if len(r.Nodes) != 2 || !*r.Nodes[0].Beating || *r.Nodes[1].Beating {
		t.Errorf("node 1 beats and node 2 does not: %+v", r.Nodes)
	}
	if r.Newest == nil || r.Newest.Owners["orders"] != "alpha" || r.Nodes[1].BlobGen != 1 || r.Nodes[0].Version != 1 {
		t.Errorf("%+v, %+v", r, r.Newest)
	}
	text, err := json.Marshal(r)
	must(t, err)
	for _, want := range []string{`"guard_state":"bound"`, `"watched_seconds":1`, uuid(0xd0).String()} {
		if !strings.Contains(string(text), want) {
			t.Errorf("no %s in %s", want, text)
		}
	}
	if r, err = v.Report(nil, 0, wait); err != nil || r.Nodes[0].Beating != nil {
		t.Errorf("who looked once knows nothing: %+v, %v", r, err)
	}
}

func TestDump(t *testing.T) {
	m, v := full(t, 512)
	m.Poke(v.Layout().BeatOffset(2)+30, []byte{0x55})
	var b strings.Builder
	must(t, v.Dump(&b, wait))
	for _, want := range []string{
		"beat node 1: bound", "kill record: node 9", "checksum", "000001f0", "header node 1 slot 1", `"orders" term 0: running`,
		"cluster: {name: test}", "register bodies", "G unlimited",
	} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("no %q in\n%s", want, b.String())
		}
	}
	if strings.Contains(b.String(), "0707070707") {
		t.Error("the key is in the dump")
	}
	if err := v.Dump(brokenPipe{}, wait); !errors.Is(err, syscall.EPIPE) {
		t.Errorf("a writer that fails: %v", err)
	}
}

type brokenPipe struct{}

func (brokenPipe) Write([]byte) (int, error) { return 0, syscall.EPIPE }

// Damage in every region is found, and only that of the newest block is grave.
func TestVerify(t *testing.T) {
	bothSectors(t, func(t *testing.T, sector int) {
		m, v := full(t, sector)
		whole, l := m.Snapshot(), v.Layout()
		if found, err := v.Verify(wait); err != nil || len(found) > 0 {
			t.Fatalf("on a whole disk: %v, %v", found, err)
		}
		for name, c := range map[string]struct {
			off     int64
			serious bool
		}{
			"superblock":       {q.SuperOffset + 50, true},
			"beats":            {l.BeatOffset(2) + 50, true},
			"register headers": {l.HeaderOffset(1, 1) + 30, false},
			"register bodies":  {l.BodyOffset(1, 1) + 30, true},
			"status blobs":     {l.BlobOffset(2, 1) + 520, false},
			"probes":           {l.ProbeOffset(1) + 30, false},
		} {
			m.Poke(c.off, []byte{0x77})
			found, err := v.Verify(wait)
			if err != nil || len(found) != 1 || !strings.HasPrefix(found[0].Where, name) || found[0].Serious != c.serious || found[0].Remedy == "" {
				t.Errorf("%s damaged: found %+v, %v", name, found, err)
			}
			m.Restore(whole)
		}
	})
}

func TestNewestStatePassesOverDamage(t *testing.T) {
	m, v := full(t, 512)
	s := firstState()
	s.Ver = 2
	body, err := statecodec.Encode(s)
	must(t, err)
	h, err := v.WriteBlock(block(2), body, wait)
	must(t, err)
	if got, _, err := v.NewestState(wait); err != nil || got.Ver != 2 {
		t.Fatalf("%+v, %v", got, err)
	}
	m.Poke(v.Layout().BodyOffset(h.Node, h.Slot)+10, []byte{0})
	if got, _, err := v.NewestState(wait); err != nil || got.Ver != 1 {
		t.Errorf("with the newest body damaged: %+v, %v", got, err)
	}
}

// The end of a device that grew is elsewhere; superblock B is found where it
// was, and repair moves it.
func TestGrownDevice(t *testing.T) {
	m, _ := formatted(t, 512)
	grown := storagetest.NewMemory(80*mib, 512)
	grown.Poke(0, m.Peek(0, 70*mib))
	v := open(t, grown)
	if notes := strings.Join(v.Notes(), "\n"); !strings.Contains(notes, "grown") {
		t.Errorf("notes %q", notes)
	}
	must(t, v.Repair(wait))
	if v = open(t, grown); len(v.Notes()) > 0 {
		t.Errorf("repaired, notes %q", v.Notes())
	}
	shrunk := storagetest.NewMemory(60*mib, 512)
	shrunk.Poke(0, m.Peek(0, 60*mib))
	if _, err := volume.Open(shrunk.Open("a"), testKeys(), expect(), wait); !errors.Is(err, volume.ErrTooSmall) {
		t.Errorf("shrunk: %v", err)
	}
}

// A disk that was laid out with small sectors is refused by a handle that works
// with large ones, and the other way round it is fine.
func TestSectorSizes(t *testing.T) {
	m, _ := formatted(t, 512)
	large := storagetest.NewMemory(70*mib, 4096)
	large.Poke(0, m.Peek(0, 70*mib))
	if _, err := volume.Open(large.Open("a"), testKeys(), expect(), wait); !errors.Is(err, q.ErrSectorSize) {
		t.Errorf("small layout, large handle: %v", err)
	}
	m, _ = formatted(t, 4096)
	small := storagetest.NewMemory(70*mib, 512)
	small.Poke(0, m.Peek(0, 70*mib))
	if v := open(t, small); v.Layout().SectorSize != 4096 || len(v.Notes()) > 0 {
		t.Errorf("large layout, small handle: %+v, %v", v.Layout(), v.Notes())
	}
}

// The same on a real file with direct I/O.
func TestRealFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "quorum")
	f, err := os.Create(path)
	must(t, err)
	must(t, errors.Join(f.Truncate(70*mib), f.Close()))
	disk, err := storage.Open(path, storage.Options{})
	if errors.Is(err, syscall.EINVAL) || errors.Is(err, syscall.EOPNOTSUPP) {
		t.Skipf("the file system of %s has no direct I/O; set TMPDIR to a directory on ext4 or xfs: %v", path, err)
	}
	must(t, err)
	defer func() { must(t, disk.Close()) }()
	_, err = volume.Create(disk, options())
	must(t, err)
	v, err := volume.Open(disk, testKeys(), expect(), wait)
	must(t, err)
	must(t, v.Bootstrap(firstState(), 1, wait))
	beat(t, v, 1, 7)
	s, _, err := v.NewestState(wait)
	must(t, err)
	if !reflect.DeepEqual(s, firstState()) {
		t.Errorf("read back %+v", s)
	}
	if found, err := v.Verify(wait); err != nil || len(found) > 0 {
		t.Errorf("findings %v, %v", found, err)
	}
}

func TestKeyExchange(t *testing.T) {
	m, v := full(t, 512)
	next := q.Keys{Current: q.NewKey(), Previous: testKeys().Current}
	w, err := volume.Open(m.Open("a"), next, expect(), wait)
	must(t, err)
	must(t, w.Repair(wait))
	if _, err := volume.Open(m.Open("a"), q.Keys{Current: next.Current}, expect(), wait); err != nil {
		t.Errorf("with the new key alone: %v", err)
	}
	if _, err := volume.Open(m.Open("a"), testKeys(), expect(), wait); !errors.Is(err, q.ErrSeal) {
		t.Errorf("with the old key alone: %v", err)
	}
	if _, err := v.ReadHeaders(wait); err != nil {
		t.Error(err)
	}
}

// A device that acknowledges what it does not keep is found out at once.
func TestCreateReadsBack(t *testing.T) {
	for _, k := range []storagetest.Kind{storagetest.Lost, storagetest.Late} {
		m := storagetest.NewMemory(70*mib, 512)
		m.Poke(q.HeadersOffset+5000, []byte("left over"))
		h := m.Open("alpha")
		h.Inject(storagetest.Fault{Kind: k, Op: storagetest.Writes, Off: q.HeadersOffset, Len: mib})
		if _, err := volume.Create(h, options()); err == nil || !strings.Contains(err.Error(), "register headers") {
			t.Errorf("a disk that loses writes: %v", err)
		}
		if _, err := volume.Open(m.Open("beta"), testKeys(), expect(), wait); !errors.Is(err, volume.ErrUnformatted) {
			t.Errorf("and is used: %v", err)
		}
	}
}

// TestWipedDiskHasNoHeaders: a disk that is wiped, or exchanged for another, while
// it is open must not look like one on which nobody has accepted anything.
func TestWipedDiskHasNoHeaders(t *testing.T) {
	bothSectors(t, func(t *testing.T, sector int) {
		m, v := formatted(t, sector)
		_, err := v.WriteBlock(register.Header{Node: 1, Inc: 1, Gen: 1, Mbal: ident.Ballot{Round: 1, Node: 1, Inc: 1}}, nil, wait)
		must(t, err)
		if all, err := v.ReadHeaders(wait); err != nil || len(all.Valid) != 1 {
			t.Fatalf("%d headers, %v: want the one that was written", len(all.Valid), err)
		}
		before := m.Snapshot()
		m.Restore(storagetest.NewMemory(70*mib, sector).Snapshot())
		if _, err := v.ReadHeaders(wait); !errors.Is(err, q.ErrMagic) {
			t.Errorf("headers of a wiped disk: %v, want %v", err, q.ErrMagic)
		}
		o := options()
		o.Disk = uuid(0xd9)
		_, err = volume.Create(m.Open("alpha"), o)
		must(t, err)
		if _, err := v.ReadHeaders(wait); !errors.Is(err, q.ErrWrongDisk) {
			t.Errorf("headers of an exchanged disk: %v, want %v", err, q.ErrWrongDisk)
		}
		m.Restore(before)
		if _, err := v.ReadHeaders(wait); err != nil {
			t.Errorf("the disk is back, but %v", err)
		}
		// Where superblock A was damaged before, B is what has to stay.
		m.Poke(q.SuperOffset, make([]byte, sector))
		b := open(t, m)
		if _, err := b.ReadHeaders(wait); err != nil {
			t.Errorf("a disk that was opened by superblock B: %v", err)
		}
		m.Poke(v.Layout().BackupOffset(70*mib), make([]byte, sector))
		if _, err := b.ReadHeaders(wait); !errors.Is(err, q.ErrMagic) {
			t.Errorf("without superblock B: %v, want %v", err, q.ErrMagic)
		}
	})
}
