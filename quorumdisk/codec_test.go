package quorumdisk_test

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-ha/holdfast/cluster"
	"github.com/holdfast-ha/holdfast/cluster/ident"
	"github.com/holdfast-ha/holdfast/cluster/register"
	q "github.com/holdfast-ha/holdfast/quorumdisk"
	"github.com/holdfast-ha/holdfast/storage"
)

var update = flag.Bool("update", false, "rewrite the golden files in testdata")

// filled gives bytes that name themselves in a hex dump.
func filled(n int, first byte) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = first + byte(i)
	}
	return b
}

func uuid(first byte) ident.UUID { return ident.UUID(filled(16, first)) }

func testKeys() q.Keys { return q.Keys{Current: q.Key(filled(32, 1))} }

func codec(t testing.TB, sector int) *q.Codec {
	t.Helper()
	c, err := q.NewCodec(testKeys(), uuid(0xc0), q.Layout{SectorSize: sector, Nmax: 16})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func incarnation() ident.Incarnation {
	return ident.Incarnation{N: 7, Boot: ident.BootID(filled(16, 0xb0))}
}

func header() q.BeatHeader {
	return q.BeatHeader{
		Node: 3, State: cluster.GuardBound, Host: uuid(0xa0), Inc: incarnation(), Seq: 0x1122334455667788,
		Lease: cluster.Lease{
			F: 5800 * time.Millisecond, G: 120 * time.Second, TMax: 2300 * time.Millisecond, M: 2,
			Class: cluster.WatchdogQualified, PauseBound: time.Millisecond,
		},
		DiskGen: 9,
		Latency: [q.MaxDisks]time.Duration{850 * time.Microsecond, -1, 1200 * time.Microsecond},
	}
}

func payload() cluster.Payload {
	p := cluster.Payload{
		Phase: cluster.MemberPhase, ViewAcked: 12,
		Committed: cluster.Claim{Ver: 44, Ballot: ballot(), Node: 2, Gen: 19},
		Reach:     [32]byte(filled(32, 0x40)), Score: -5, Protocol: 2, Registering: true,
		Released: cluster.Digest(filled(8, 0x60)), BlobGen: 1<<40 + 21,
	}
	for i := range cluster.MaxKills {
		p.Kills = append(p.Kills, cluster.Kill{Node: ident.NodeID(i + 4), Inc: uint32(70 + i), Boot: [8]byte(filled(8, byte(0x80+i))), Ver: uint64(43 + i)})
	}
	return p
}

func ballot() ident.Ballot { return ident.Ballot{Round: 5, Node: 2, Inc: 6, Life: 0x0102030405060708} }

func regHeader() register.Header {
	return register.Header{
		Node: 3, Slot: 5, Inc: 7, Gen: 21, Mbal: ident.Ballot{Round: 8, Node: 3, Inc: 7, Life: 99}, Bal: ballot(),
		Ver: 44, Len: 1000, Sum: [32]byte(filled(32, 0x20)),
	}
}

func superblock(sector int) q.Superblock {
	l := q.Layout{SectorSize: sector, Nmax: 16}
	return q.Superblock{
		Format: q.Format1, Cluster: uuid(0xc0), Disk: uuid(0xd0), Index: 1, DiskGen: 3, Layout: l, Size: 1 << 30,
		Created: time.Unix(1763800000, 0).UTC(), Identity: storage.Identity{Kind: "naa", Value: "600000000000000000000000000000aa"},
	}
}

func blob() q.BlobHeader { return q.BlobHeader{Node: 3, Inc: incarnation(), Gen: 1<<40 + 21} }

func blobBody() []byte { return filled(100, 1) }

// sealed is one kind of sector: how it is made and opened. open returns what was decoded.
type sealed struct {
	name string
	make func(c *q.Codec) ([]byte, error)
	open func(c *q.Codec, b []byte, node ident.NodeID, slot uint8) (any, error)
	want any
	slot uint8
}

func kinds(sector int) []sealed {
	h, p, rh, sb, bl := header(), payload(), regHeader(), superblock(sector), blob()
	beat := &cluster.Beat{Node: h.Node, Host: h.Host, Inc: h.Inc, Seq: h.Seq, State: h.State, Lease: h.Lease, DiskGen: h.DiskGen, Payload: p}
	return []sealed{
		{
			name: "beat", want: beat,
			make: func(c *q.Codec) ([]byte, error) {
				b := make([]byte, sector)
				raw, err := q.EncodePayload(nil, &p)
				return b, errors.Join(err, c.SealBeat(b, &h, raw))
			},
			open: func(c *q.Codec, b []byte, n ident.NodeID, _ uint8) (any, error) { return c.OpenBeat(b, n) },
		},
		{
			name: "header", want: rh, slot: rh.Slot,
			make: func(c *q.Codec) ([]byte, error) {
				b := make([]byte, sector)
				return b, c.SealHeader(b, &rh)
			},
			open: func(c *q.Codec, b []byte, n ident.NodeID, slot uint8) (any, error) {
				h, _, err := c.OpenHeader(b, n, slot)
				return h, err
			},
		},
		{
			name: "probe", want: [32]byte(filled(32, 0x70)),
			make: func(c *q.Codec) ([]byte, error) {
				b := make([]byte, sector)
				return b, c.SealProbe(b, 3, [32]byte(filled(32, 0x70)))
			},
			open: func(c *q.Codec, b []byte, n ident.NodeID, _ uint8) (any, error) {
				nonce, _, err := c.OpenProbe(b, n)
				return nonce, err
			},
		},
		{
			name: "superblock", want: sb, slot: 1,
			make: func(c *q.Codec) ([]byte, error) {
				b := make([]byte, sector)
				return b, c.SealSuperblock(b, &sb, 1)
			},
			open: func(c *q.Codec, b []byte, n ident.NodeID, slot uint8) (any, error) {
				s, err := q.DecodeSuperblock(b, slot)
				if err == nil {
					err = c.VerifySuperblock(b, &s, slot)
				}
				return s, err
			},
		},
		{
			name: "blob", want: &bl, slot: 1,
			make: func(c *q.Codec) ([]byte, error) { return c.SealBlob(nil, &bl, blobBody()) },
			open: func(c *q.Codec, b []byte, n ident.NodeID, slot uint8) (any, error) {
				h, body, err := c.OpenBlob(b, n, slot)
				if err == nil && !bytes.Equal(body, blobBody()) {
					err = fmt.Errorf("body %x", body)
				}
				return h, err
			},
		},
	}
}

func eachKind(t *testing.T, f func(t *testing.T, c *q.Codec, k sealed, b []byte)) {
	for _, sector := range []int{512, 4096} {
		for _, k := range kinds(sector) {
			t.Run(fmt.Sprintf("%s-%d", k.name, sector), func(t *testing.T) {
				c := codec(t, sector)
				b, err := k.make(c)
				if err != nil {
					t.Fatal(err)
				}
				f(t, c, k, b)
			})
		}
	}
}

func TestRoundTrip(t *testing.T) {
	eachKind(t, func(t *testing.T, c *q.Codec, k sealed, b []byte) {
		got, err := k.open(c, b, 3, k.slot)
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(got, k.want) {
			t.Errorf("decoded\n%+v, want\n%+v", got, k.want)
		}
	})
}

// The bytes on the disk never change within a format: nodes of different
// versions read each other.
func TestGolden(t *testing.T) {
	eachKind(t, func(t *testing.T, c *q.Codec, k sealed, b []byte) {
		golden(t, strings.ReplaceAll(strings.TrimPrefix(t.Name(), "TestGolden/"), "-", ".")+".hex", hex.Dump(b))
	})
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s differs; the format on the disk must not change:\n%s\nwant\n%s", path, got, want)
	}
}

func TestEveryBitFlipIsRefused(t *testing.T) {
	eachKind(t, func(t *testing.T, c *q.Codec, k sealed, b []byte) {
		for i := range len(b) * 8 {
			b[i/8] ^= 1 << (i % 8)
			if got, err := k.open(c, b, 3, k.slot); err == nil {
				t.Fatalf("bit %d of byte %d flipped and accepted: %+v", i%8, i/8, got)
			}
			b[i/8] ^= 1 << (i % 8)
		}
	})
}

func TestRefusals(t *testing.T) {
	eachKind(t, func(t *testing.T, c *q.Codec, k sealed, b []byte) {
		l := c.Layout()
		other := func(keys q.Keys, cluster ident.UUID) *q.Codec {
			o, err := q.NewCodec(keys, cluster, l)
			if err != nil {
				t.Fatal(err)
			}
			return o
		}
		refused := func(what string, want error, c *q.Codec, b []byte, node ident.NodeID, slot uint8) {
			t.Helper()
			if _, err := k.open(c, b, node, slot); !errors.Is(err, want) {
				t.Errorf("%s: %v, want %v", what, err, want)
			}
		}
		refused("another cluster", q.ErrCluster, other(testKeys(), uuid(0xee)), b, 3, k.slot)
		refused("another key", q.ErrSeal, other(q.Keys{Current: q.Key(filled(32, 99))}, uuid(0xc0)), b, 3, k.slot)
		if k.name != "beat" && k.name != "probe" {
			refused("another slot", q.ErrPlace, c, b, 3, k.slot^1)
		}
		if k.name != "superblock" {
			refused("another node", q.ErrPlace, c, b, 4, k.slot)
		}
		newer := bytes.Clone(b)
		newer[8] = 2
		refused("a newer format", q.ErrFormat, c, newer, 3, k.slot)
		foreign := bytes.Clone(b)
		copy(foreign, "SBD_SBD_")
		refused("other content", q.ErrMagic, c, foreign, 3, k.slot)
		torn := bytes.Clone(b)
		torn[30]++
		refused("a torn sector", q.ErrChecksum, c, torn, 3, k.slot)
		refused("a short buffer", q.ErrSectorSize, c, b[:100], 3, k.slot)
	})
}

// A sector that is moved and then made to look right in its own fields is still
// refused: the seal covers where it stands. Without the key that is all that an
// accident or a copy tool could do.
func TestSealCoversPlace(t *testing.T) {
	c := codec(t, 512)
	rh := regHeader()
	b := make([]byte, 512)
	if err := c.SealHeader(b, &rh); err != nil {
		t.Fatal(err)
	}
	b[10] = 4 // node
	fixChecksum(b)
	if _, _, err := c.OpenHeader(b, 4, rh.Slot); !errors.Is(err, q.ErrSeal) {
		t.Errorf("moved to node 4: %v, want %v", err, q.ErrSeal)
	}
}

// The seal as docs/formats/quorumdisk.md says, computed independently.
func TestSealIsAsDocumented(t *testing.T) {
	c, rh := codec(t, 512), regHeader()
	b := make([]byte, 512)
	if err := c.SealHeader(b, &rh); err != nil {
		t.Fatal(err)
	}
	key, _, err := testKeys().Derive(q.ForHeader, uuid(0xc0))
	if err != nil {
		t.Fatal(err)
	}
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte{2, 3, 5, 0}) // register header, node 3, slot 5
	mac.Write(b[:496])
	if !bytes.Equal(mac.Sum(nil)[:16], b[496:]) {
		t.Error("the seal is not what the documentation says")
	}
}

func TestRotation(t *testing.T) {
	older, newer := q.Key(filled(32, 1)), q.Key(filled(32, 50))
	l := q.Layout{SectorSize: 512, Nmax: 16}
	make1 := func(k q.Keys) *q.Codec {
		c, err := q.NewCodec(k, uuid(0xc0), l)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	before, first := make1(q.Keys{Current: older}), make1(q.Keys{Current: older, Previous: newer})
	second, after := make1(q.Keys{Current: newer, Previous: older}), make1(q.Keys{Current: newer})
	opens := func(from, to *q.Codec) error {
		h, b := header(), make([]byte, 512)
		if err := from.SealBeat(b, &h, nil); err != nil {
			t.Fatal(err)
		}
		_, err := to.OpenBeat(b, 3)
		return err
	}
	// Nodes are at most one step apart; each must read the other.
	steps := []*q.Codec{before, first, second, after}
	for i := range len(steps) - 1 {
		if err := errors.Join(opens(steps[i], steps[i+1]), opens(steps[i+1], steps[i])); err != nil {
			t.Errorf("between step %d and %d: %v", i, i+1, err)
		}
	}
	if err := opens(before, after); !errors.Is(err, q.ErrSeal) {
		t.Errorf("the old key still opens after the exchange: %v", err)
	}
}

func TestEmptySectors(t *testing.T) {
	for _, sector := range []int{512, 4096} {
		c, b := codec(t, sector), make([]byte, sector)
		if beat, err := c.OpenBeat(b, 3); beat != nil || err != nil {
			t.Errorf("empty beat: %v, %v", beat, err)
		}
		if h, err := c.PeekOwn(b, 3); h.Node != 0 || err != nil {
			t.Errorf("empty own beat: %+v, %v", h, err)
		}
		if _, ok, err := c.OpenHeader(b, 3, 0); ok || err != nil {
			t.Errorf("empty header: %v, %v", ok, err)
		}
		if _, ok, err := c.OpenProbe(b, 3); ok || err != nil {
			t.Errorf("empty probe: %v, %v", ok, err)
		}
		if bl, _, err := c.OpenBlob(b, 3, 0); bl != nil || err != nil {
			t.Errorf("empty blob: %v, %v", bl, err)
		}
	}
}

func TestBlobTooLarge(t *testing.T) {
	c := codec(t, 512)
	if _, err := c.SealBlob(nil, &q.BlobHeader{Node: 3}, make([]byte, q.MostBlob)); err != nil {
		t.Error(err)
	}
	if _, err := c.SealBlob(nil, &q.BlobHeader{Node: 3}, make([]byte, q.MostBlob+1)); !errors.Is(err, q.ErrTooLarge) {
		t.Errorf("%v, want %v", err, q.ErrTooLarge)
	}
}

// What is newer is refused with a sentence that names both versions and says what
// to do; what is older than all is damaged.
func TestNewerFormatIsRefusedWithASentence(t *testing.T) {
	eachKind(t, func(t *testing.T, c *q.Codec, k sealed, b []byte) {
		binary.LittleEndian.PutUint16(b[8:], uint16(q.Newest)+1)
		_, err := k.open(c, b, 3, k.slot)
		want := fmt.Sprintf("format %d is newer than format %d, the newest that this holdfast reads: upgrade holdfast", q.Newest+1, q.Newest)
		if !errors.Is(err, q.ErrFormat) || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
		binary.LittleEndian.PutUint16(b[8:], 0)
		if _, err := k.open(c, b, 3, k.slot); !errors.Is(err, q.ErrFormat) || !strings.Contains(err.Error(), "damaged") {
			t.Errorf("format 0: %v", err)
		}
	})
	p := payload()
	raw, err := q.EncodePayload(nil, &p)
	if err != nil {
		t.Fatal(err)
	}
	raw[0] = byte(q.NewestPayload) + 1
	_, err = q.DecodePayload(raw)
	if want := fmt.Sprintf("format %d is newer than format %d", q.NewestPayload+1, q.NewestPayload); err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("payload: %v, want %q", err, want)
	}
}
