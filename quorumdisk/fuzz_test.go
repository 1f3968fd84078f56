package quorumdisk_test

import (
	"bytes"
	"testing"

	"github.com/holdfast-ha/holdfast/cluster"
	"github.com/holdfast-ha/holdfast/cluster/ident"
	q "github.com/holdfast-ha/holdfast/quorumdisk"
)

// Whatever the bytes are, a decoder returns; and what it accepts, it would have
// written itself.

func FuzzSectors(f *testing.F) {
	for _, sector := range []int{512, 4096} {
		for _, k := range kinds(sector) {
			b, err := k.make(codec(f, sector))
			if err != nil {
				f.Fatal(err)
			}
			f.Add(b, uint8(3), k.slot)
		}
		f.Add(make([]byte, sector), uint8(1), uint8(0))
	}
	codecs, openers := []*q.Codec{codec(f, 512), codec(f, 4096)}, kinds(512)
	f.Fuzz(func(t *testing.T, b []byte, node, slot uint8) {
		for _, c := range codecs {
			for _, k := range openers {
				_, _ = k.open(c, b, ident.NodeID(node), slot)
			}
			_, _ = c.PeekOwn(b, ident.NodeID(node))
			_, _ = c.FindKill(b, ident.NodeID(node), incarnation())
			if h, body, err := c.OpenBlob(b, ident.NodeID(node), slot); err == nil && h != nil {
				if again, err := c.SealBlob(nil, h, body); err != nil || !bytes.HasPrefix(b, again) {
					t.Errorf("a blob sealed again differs: %v", err)
				}
			}
			h, ok, err := c.OpenHeader(b, ident.NodeID(node), slot)
			if err != nil || !ok {
				continue
			}
			again := make([]byte, len(b))
			if err := c.SealHeader(again, &h); err != nil || !bytes.Equal(again, b) {
				t.Errorf("sealed again it differs: %v", err)
			}
		}
	})
}

func FuzzPayload(f *testing.F) {
	p := payload()
	full, err := q.EncodePayload(nil, &p)
	if err != nil {
		f.Fatal(err)
	}
	empty, err := q.EncodePayload(nil, &cluster.Payload{})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(full)
	f.Add(empty)
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := q.DecodePayload(b)
		if err != nil {
			return
		}
		again, err := q.EncodePayload(nil, &p)
		if err != nil || !bytes.Equal(again, b) {
			t.Errorf("%x decoded to %+v, encoded again %x, %v", b, p, again, err)
		}
	})
}

func FuzzKeys(f *testing.F) {
	f.Add([]byte("0101010101010101010101010101010101010101010101010101010101010101\n"))
	f.Add([]byte(""))
	f.Fuzz(func(t *testing.T, text []byte) {
		k, err := q.ParseKeys(text)
		if err == nil && k.Current.IsZero() {
			t.Error("accepted a file without a key")
		}
	})
}
