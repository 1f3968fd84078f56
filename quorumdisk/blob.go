package quorumdisk

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/holdfast-ha/holdfast/cluster"
	"github.com/holdfast-ha/holdfast/cluster/ident"
	"github.com/holdfast-ha/holdfast/quorumdisk/wire"
)

// A status blob is a record and, from offset 512 on, its body, padded with
// zeros to whole sectors. A node has two places and writes generation g into
// place g modulo 2, so that a torn write leaves the generation before. The
// record, after the common front:
//
//	10   1  node
//	11   1  slot: generation modulo 2
//	28   4  inc                    } whose word this is
//	32  16  boot                   }
//	48   4  generation             the beat says which one it sums up
//	52   4  length of the body
//	56   8  zero
//	64  32  SHA-256 of the body    a blob that is half written
//	96 396  zero
//
// The body is a list of released terms (text service, u64 term) and a list of
// run states (text service, u64 term, u8 state, text).
const (
	offBlobInc  = offFields
	offBlobBoot = 32
	offBlobGen  = 48
	offBlobLen  = 52
	offBlobZero = 56
	offBlobSum  = 64
	offBlobEnd  = 96

	maxBlobBody = BlobSize - recordSize

	minReleased = 4 + 8
	minRunState = 4 + 8 + 1 + 4
)

var (
	_ [offBlobGen - offBlobBoot - 16]struct{} = [0]struct{}{}
	_ [offBlobEnd - offBlobSum - 32]struct{}  = [0]struct{}{}
)

// BlobSlot is the place that a generation of a status blob belongs into.
func BlobSlot(gen uint32) uint8 { return uint8(gen % BlobSlots) }

// SealBlob appends the sealed blob, whole sectors, to dst. It fails with
// ErrPlace (no such node), ErrValue (an unknown service state) or ErrTooLarge.
func (c *Codec) SealBlob(dst []byte, b *cluster.Blob) ([]byte, error) {
	k, p := kindBlob(), place{uint8(b.Node), BlobSlot(b.Gen)}
	for _, s := range b.Services {
		if s.State > cluster.Broken {
			return dst, refuse(k, p, ErrValue, "state %d of service %q", s.State, s.Service)
		}
	}
	var w wire.Writer
	putBlob(&w, b)
	if len(w.B) > maxBlobBody {
		return dst, refuse(k, p, ErrTooLarge, "%d bytes for %d released terms and %d services, at most %d",
			len(w.B), len(b.Released), len(b.Services), maxBlobBody)
	}
	out := make([]byte, c.layout.padded(recordSize+len(w.B)))
	front := make([]byte, c.layout.SectorSize)
	if err := c.begin(front, k, p); err != nil {
		return dst, err
	}
	binary.LittleEndian.PutUint32(front[offBlobInc:], b.Inc.N)
	copy(front[offBlobBoot:], b.Inc.Boot[:])
	binary.LittleEndian.PutUint32(front[offBlobGen:], b.Gen)
	binary.LittleEndian.PutUint32(front[offBlobLen:], uint32(len(w.B)))
	sum := sha256.Sum256(w.B)
	copy(front[offBlobSum:], sum[:])
	c.finish(front, k, p)
	copy(out, front[:recordSize])
	copy(out[recordSize:], w.B)
	return append(dst, out...), nil
}

// OpenBlob checks and decodes one of a node's two blobs from the bytes of its
// place, of which there may be more than it takes. A place that was never
// written (its record is all zero) holds no blob, and that is no error.
func (c *Codec) OpenBlob(raw []byte, node ident.NodeID, slot uint8) (*cluster.Blob, error) {
	k, p := kindBlob(), place{uint8(node), slot}
	if len(raw) < c.layout.SectorSize {
		return nil, refuse(k, p, ErrSectorSize, "%d bytes", len(raw))
	}
	if isZero(raw[:recordSize]) {
		return nil, nil
	}
	// Its record shares the sector with the body: check it alone.
	front := make([]byte, c.layout.SectorSize)
	copy(front, raw[:recordSize])
	if err := c.checkFront(front, k, p); err != nil {
		return nil, c.explain(front, k, p, err)
	}
	n := binary.LittleEndian.Uint32(front[offBlobLen:])
	if n > maxBlobBody || c.layout.padded(recordSize+int(n)) > len(raw) {
		return nil, refuse(k, p, ErrLength, "a body of %d bytes", n)
	}
	body, end := raw[recordSize:recordSize+n], c.layout.padded(recordSize+int(n))
	if !isZero(front[offBlobZero:offBlobSum]) || !isZero(raw[recordSize+n:end]) {
		return nil, refuse(k, p, ErrReserved, "")
	}
	if err := c.checkBack(front, k, p, offBlobEnd); err != nil {
		return nil, c.explain(front, k, p, err)
	}
	if sum := sha256.Sum256(body); !bytes.Equal(sum[:], front[offBlobSum:offBlobEnd]) {
		return nil, refuse(k, p, ErrChecksum, "the body is half written")
	}
	b := &cluster.Blob{
		Node: node,
		Inc: ident.Incarnation{
			N:    binary.LittleEndian.Uint32(front[offBlobInc:]),
			Boot: ident.BootID(front[offBlobBoot : offBlobBoot+16]),
		},
		Gen: binary.LittleEndian.Uint32(front[offBlobGen:]),
	}
	if err := decodeBlob(body, b, slot); err != nil {
		return nil, refuse(k, p, err, "")
	}
	return b, nil
}

func decodeBlob(body []byte, b *cluster.Blob, slot uint8) error {
	if BlobSlot(b.Gen) != slot {
		return fmt.Errorf("%w: generation %d in slot %d", ErrValue, b.Gen, slot)
	}
	r := wire.NewReader(body)
	for range r.Count(minReleased) {
		b.Released = append(b.Released, cluster.Released{Service: r.Text(), Term: r.U64()})
	}
	for range r.Count(minRunState) {
		b.Services = append(b.Services, cluster.RunState{
			Service: r.Text(), Term: r.U64(),
			State: cluster.ServiceState(r.OneOf("service state", uint8(cluster.Broken))),
			Text:  r.Text(),
		})
	}
	return r.End()
}

func putBlob(w *wire.Writer, b *cluster.Blob) {
	putReleased(w, b.Released)
	w.Count(len(b.Services))
	for _, s := range b.Services {
		w.Text(s.Service)
		w.U64(s.Term)
		w.U8(uint8(s.State))
		w.Text(s.Text)
	}
}

func putReleased(w *wire.Writer, list []cluster.Released) {
	w.Count(len(list))
	for _, r := range list {
		w.Text(r.Service)
		w.U64(r.Term)
	}
}

// Digest sums up what was released, for the beat: the first 8 bytes of the
// SHA-256 of the list, encoded as in a blob and sorted by service and term. An
// empty list has the digest of an empty list, not zero.
func Digest(released []cluster.Released) cluster.Digest {
	sorted := slices.SortedFunc(slices.Values(released), func(a, b cluster.Released) int {
		return cmp.Or(cmp.Compare(a.Service, b.Service), cmp.Compare(a.Term, b.Term))
	})
	var w wire.Writer
	putReleased(&w, sorted)
	sum := sha256.Sum256(w.B)
	return cluster.Digest(sum[:8])
}
