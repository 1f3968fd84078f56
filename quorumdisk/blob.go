package quorumdisk

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"

	"github.com/holdfast-ha/holdfast/cluster/ident"
)

// A status blob is a record and, from offset 512 on, its body (package
// statecodec), padded with zeros to whole sectors. A node has two places and
// writes generation g into place g modulo 2, so that a torn write leaves the
// generation before. The record, after the common front:
//
//	10   1  node
//	11   1  slot: generation modulo 2
//	28   4  inc                    } whose word this is
//	32  16  boot                   }
//	48   8  generation             the beat says which one it sums up
//	56   4  length of the body
//	60   4  zero
//	64  32  SHA-256 of the body    a blob that is half written
//	96 396  zero
const (
	offBlobInc  = offFields
	offBlobBoot = 32
	offBlobGen  = 48
	offBlobLen  = 56
	offBlobZero = 60
	offBlobSum  = 64
	offBlobEnd  = 96

	// MostBlob is how many bytes the body of a status blob may have.
	MostBlob = BlobSize - recordSize
)

var (
	_ [offBlobGen - offBlobBoot - 16]struct{} = [0]struct{}{}
	_ [offBlobLen - offBlobGen - 8]struct{}   = [0]struct{}{}
	_ [offBlobEnd - offBlobSum - 32]struct{}  = [0]struct{}{}
)

// BlobSlot is the place that a generation of a status blob belongs into.
func BlobSlot(gen uint64) uint8 { return uint8(gen % BlobSlots) }

// BlobHeader is what the record of a status blob says of it: whose word it is,
// and which generation.
type BlobHeader struct {
	Node ident.NodeID
	Inc  ident.Incarnation
	Gen  uint64
}

// SealBlob appends the sealed blob, whole sectors, to dst. It fails with
// ErrPlace (no such node) or ErrTooLarge (a body over MostBlob bytes).
func (c *Codec) SealBlob(dst []byte, h *BlobHeader, body []byte) ([]byte, error) {
	k, p := kindBlob(), place{uint8(h.Node), BlobSlot(h.Gen)}
	if len(body) > MostBlob {
		return dst, refuse(k, p, ErrTooLarge, "a body of %d bytes, at most %d", len(body), MostBlob)
	}
	out := make([]byte, c.layout.padded(recordSize+len(body)))
	front := make([]byte, c.layout.SectorSize)
	if err := c.begin(front, k, p); err != nil {
		return dst, err
	}
	binary.LittleEndian.PutUint32(front[offBlobInc:], h.Inc.N)
	copy(front[offBlobBoot:], h.Inc.Boot[:])
	binary.LittleEndian.PutUint64(front[offBlobGen:], h.Gen)
	binary.LittleEndian.PutUint32(front[offBlobLen:], uint32(len(body)))
	sum := sha256.Sum256(body)
	copy(front[offBlobSum:], sum[:])
	c.finish(front, k, p)
	copy(out, front[:recordSize])
	copy(out[recordSize:], body)
	return append(dst, out...), nil
}

// OpenBlob checks one of a node's two blobs in the bytes of its place, of which
// there may be more than it takes, and returns its record and its body, which is
// part of raw. A place that was never written (its record is all zero) gives nil
// and no error.
func (c *Codec) OpenBlob(raw []byte, node ident.NodeID, slot uint8) (*BlobHeader, []byte, error) {
	k, p := kindBlob(), place{uint8(node), slot}
	if len(raw) < c.layout.SectorSize {
		return nil, nil, refuse(k, p, ErrSectorSize, "%d bytes", len(raw))
	}
	if isZero(raw[:recordSize]) {
		return nil, nil, nil
	}
	// Its record shares the sector with the body: check it alone.
	front := make([]byte, c.layout.SectorSize)
	copy(front, raw[:recordSize])
	if err := c.checkFront(front, k, p); err != nil {
		return nil, nil, c.explain(front, k, p, err)
	}
	n := binary.LittleEndian.Uint32(front[offBlobLen:])
	if n > MostBlob || c.layout.padded(recordSize+int(n)) > len(raw) {
		return nil, nil, refuse(k, p, ErrLength, "a body of %d bytes", n)
	}
	body, end := raw[recordSize:recordSize+n], c.layout.padded(recordSize+int(n))
	if !isZero(front[offBlobZero:offBlobSum]) || !isZero(raw[recordSize+n:end]) {
		return nil, nil, refuse(k, p, ErrReserved, "")
	}
	if err := c.checkBack(front, k, p, offBlobEnd); err != nil {
		return nil, nil, c.explain(front, k, p, err)
	}
	if sum := sha256.Sum256(body); !bytes.Equal(sum[:], front[offBlobSum:offBlobEnd]) {
		return nil, nil, refuse(k, p, ErrChecksum, "the body is half written")
	}
	h := &BlobHeader{
		Node: node,
		Inc: ident.Incarnation{
			N:    binary.LittleEndian.Uint32(front[offBlobInc:]),
			Boot: ident.BootID(front[offBlobBoot : offBlobBoot+16]),
		},
		Gen: binary.LittleEndian.Uint64(front[offBlobGen:]),
	}
	if BlobSlot(h.Gen) != slot {
		return nil, nil, refuse(k, p, ErrValue, "generation %d", h.Gen)
	}
	return h, body, nil
}
