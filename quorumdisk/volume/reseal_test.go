package volume_test

import (
	"bytes"
	"errors"
	"testing"
	"time"

	"github.com/holdfast-ha/holdfast/cluster"
	"github.com/holdfast-ha/holdfast/cluster/ident"
	"github.com/holdfast-ha/holdfast/cluster/register"
	q "github.com/holdfast-ha/holdfast/quorumdisk"
	"github.com/holdfast-ha/holdfast/quorumdisk/volume"
	"github.com/holdfast-ha/holdfast/storage/storagetest"
)

// written is a disk with a record of every kind, of two nodes, sealed with key 1.
func written(t *testing.T, sector int) (*storagetest.Memory, q.Key) {
	t.Helper()
	old := q.Key{1}
	m := storagetest.NewMemory(70<<20, sector)
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	o := volume.Options{Keys: q.Keys{Current: old}, Cluster: ident.UUID{1}, Disk: ident.UUID{2}, DiskGen: 1, Created: time.Unix(1e9, 0), Timeout: wait}
	_, err := volume.Create(m.Open("a"), o)
	must(err)
	v, err := volume.Open(m.Open("a"), o.Keys, volume.Expect{}, wait)
	must(err)
	for _, n := range []ident.NodeID{1, 2} {
		for g := uint64(1); g < 40; g++ {
			_, err := v.WriteBlock(register.Header{Node: n, Inc: 1, Gen: g, Mbal: ident.Ballot{Round: g, Node: n}}, nil, wait)
			must(err)
		}
		must(v.WriteProbe(n, [32]byte{7}, wait))
		must(v.WriteBlob(&cluster.Blob{Node: n, Inc: ident.Incarnation{N: 1}, Gen: 4}, wait))
		must(v.WriteBlob(&cluster.Blob{Node: n, Inc: ident.Incarnation{N: 1}, Gen: 5}, wait))
		b := make([]byte, sector)
		must(v.Codec().SealBeat(b, &q.BeatHeader{Node: n, Inc: ident.Incarnation{N: 1}}, nil))
		must(v.WriteBeat(n, b, wait))
	}
	return m, old
}

// TestReseal: every record is found, and changes in its seal alone; who has only the
// new key then reads what who had the old one read before.
func TestReseal(t *testing.T) {
	for _, sector := range []int{512, 4096} {
		m, old := written(t, sector)
		next := q.Key{2}
		both, err := volume.Open(m.Open("b"), q.Keys{Current: next, Previous: old}, volume.Expect{}, wait)
		if err != nil {
			t.Fatal(err)
		}
		before, err := both.ReadHeaders(wait)
		if err != nil {
			t.Fatal(err)
		}
		found, err := both.SealedBefore(wait)
		if want := 2 + 2*(1+1+q.Ring+q.BlobSlots); err != nil || len(found) != want {
			t.Fatalf("%d records of the old key, %v; want %d", len(found), err, want)
		}
		was := map[int64][]byte{}
		for _, at := range found {
			was[at.Off] = bytes.Clone(m.Peek(at.Off, sector))
		}
		if _, err := volume.Open(m.Open("c"), q.Keys{Current: next}, volume.Expect{}, wait); !errors.Is(err, q.ErrSeal) {
			t.Errorf("the new key alone opens it already: %v", err)
		}
		n, err := both.Reseal(func(at q.Place) bool { return at.Node == 1 }, wait)
		if err != nil || n != 1+1+q.Ring+q.BlobSlots {
			t.Errorf("%d resealed, %v", n, err)
		}
		if n, err := both.Reseal(func(at q.Place) bool { return at.Node != 1 }, wait); err != nil || n != len(found)-20 {
			t.Errorf("%d resealed, %v", n, err)
		}
		for off, w := range was {
			is := m.Peek(off, sector)
			if bytes.Equal(is[496:512], w[496:512]) || !bytes.Equal(is[:496], w[:496]) || !bytes.Equal(is[512:], w[512:]) {
				t.Errorf("at %d another thing changed than the seal", off)
			}
		}
		after, err := volume.Open(m.Open("c"), q.Keys{Current: next}, volume.Expect{}, wait)
		if err != nil {
			t.Fatal(err)
		}
		findings, err := after.Verify(wait)
		for _, f := range findings {
			t.Errorf("%s: %v", f.Where, f.Err)
		}
		if err != nil {
			t.Error(err)
		}
		have, err := after.ReadHeaders(wait)
		if err != nil || len(have.Valid) != len(before.Valid) || len(have.Bad) > 0 {
			t.Errorf("%d headers, %d bad, %v; before %d", len(have.Valid), len(have.Bad), err, len(before.Valid))
		}
		if rest, err := both.SealedBefore(wait); err != nil || len(rest) > 0 {
			t.Errorf("left: %v, %v", rest, err)
		}
	}
}
