package quorumdisk

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"hash/crc32"

	"github.com/holdfast-ha/holdfast/cluster/ident"
)

// Every record is 512 bytes at the start of its sector; the rest of a larger
// sector is zero. Integers are little endian. All records share this frame:
//
//	  0   8  magic                    another kind of record, or none
//	  8   2  format                   written by a newer program
//	 10   1  node (superblock: index) a sector that landed in another place
//	 11   1  slot (superblock: copy)
//	 12  16  cluster UUID             another cluster's disk
//	 28 464  fields of the record, the reserved ones zero
//	492   4  CRC32C of bytes 0-491    a torn or damaged sector
//	496  16  seal                     another key, a forged or moved sector
//
// The seal is the first 16 bytes of HMAC-SHA-256, with the key derived for the
// record's purpose, over 4 bytes that say where the record stands (purpose,
// node, slot, zero) and bytes 0 to 495.
const (
	recordSize = 512

	offMagic   = 0
	offFormat  = 8
	offNode    = 10
	offSlot    = 11
	offCluster = 12
	offFields  = 28
	offCRC     = 492
	offSeal    = 496

	sealSize = recordSize - offSeal
)

var (
	_ [offFormat - offMagic - 8]struct{}    = [0]struct{}{}
	_ [offNode - offFormat - 2]struct{}     = [0]struct{}{}
	_ [offSlot - offNode - 1]struct{}       = [0]struct{}{}
	_ [offCluster - offSlot - 1]struct{}    = [0]struct{}{}
	_ [offFields - offCluster - 16]struct{} = [0]struct{}{}
	_ [offSeal - offCRC - 4]struct{}        = [0]struct{}{}
	_ [sealSize - 16]struct{}               = [0]struct{}{}
)

// The magic numbers, as they read in a hex dump.
const (
	magicSuper  = "HOLDFAST"
	magicBeat   = "HFBEAT\r\n"
	magicHeader = "HFREGH\r\n"
	magicBlob   = "HFBLOB\r\n"
	magicProbe  = "HFPROB\r\n"
)

// A kind of record: what it is sealed for and how it is told from others.
type kind struct {
	magic   string
	purpose Purpose
}

func kindSuper() kind  { return kind{magicSuper, ForSuperblock} }
func kindBeat() kind   { return kind{magicBeat, ForBeat} }
func kindHeader() kind { return kind{magicHeader, ForHeader} }
func kindBlob() kind   { return kind{magicBlob, ForBlob} }
func kindProbe() kind  { return kind{magicProbe, ForProbe} }

// place is where a record belongs.
type place struct{ node, slot uint8 }

// String is for error messages.
func (p place) text(k kind) string {
	switch k.purpose {
	case ForSuperblock:
		return fmt.Sprintf("superblock %c", 'A'+p.slot)
	case ForHeader, ForBlob:
		return fmt.Sprintf("%v of node %d, slot %d", k.purpose, p.node, p.slot)
	}
	return fmt.Sprintf("%v of node %d", k.purpose, p.node)
}

// refuse says what is wrong with which record.
func refuse(k kind, p place, err error, detail string, args ...any) error {
	if detail != "" {
		err = fmt.Errorf("%w (%s)", err, fmt.Sprintf(detail, args...))
	}
	return fmt.Errorf("%s: %w", p.text(k), err)
}

// Codec seals and opens the sectors of one cluster's disks of one layout. It
// keeps hash states and is used by one goroutine.
type Codec struct {
	cluster ident.UUID
	layout  Layout
	macs    [ForNetwork][2]hash.Hash // by purpose: current and previous key; nil if there is none
	crc     *crc32.Table
	where   [4]byte
	sum     [sha256.Size]byte
}

// NewCodec derives the keys. It fails if there is no current key or no such
// layout.
func NewCodec(keys Keys, cluster ident.UUID, l Layout) (*Codec, error) {
	if err := l.Check(); err != nil {
		return nil, err
	}
	c := &Codec{cluster: cluster, layout: l, crc: crc32.MakeTable(crc32.Castagnoli)}
	for p := range ForNetwork {
		current, previous, err := keys.Derive(p, cluster)
		if err != nil {
			return nil, err
		}
		c.macs[p][0] = hmac.New(sha256.New, current)
		if previous != nil {
			c.macs[p][1] = hmac.New(sha256.New, previous)
		}
	}
	return c, nil
}

// Layout returns the layout that the codec was made for.
func (c *Codec) Layout() Layout { return c.layout }

// begin clears a sector and writes the front of the frame.
func (c *Codec) begin(sector []byte, k kind, p place) error {
	if len(sector) != c.layout.SectorSize {
		return refuse(k, p, ErrSectorSize, "a buffer of %d bytes for a sector of %d", len(sector), c.layout.SectorSize)
	}
	if k.purpose != ForSuperblock && !c.layout.Has(ident.NodeID(p.node)) {
		return refuse(k, p, ErrPlace, "there is room for nodes 1 to %d", c.layout.Nmax)
	}
	clear(sector)
	copy(sector[offMagic:], k.magic)
	binary.LittleEndian.PutUint16(sector[offFormat:], uint16(Format1))
	sector[offNode], sector[offSlot] = p.node, p.slot
	copy(sector[offCluster:], c.cluster[:])
	return nil
}

// finish writes checksum and seal.
func (c *Codec) finish(sector []byte, k kind, p place) {
	binary.LittleEndian.PutUint32(sector[offCRC:], crc32.Checksum(sector[:offCRC], c.crc))
	copy(sector[offSeal:recordSize], c.seal(0, sector, k, p))
}

// seal computes the seal with the current (0) or the previous (1) key. The
// result is valid until the next call.
func (c *Codec) seal(which int, sector []byte, k kind, p place) []byte {
	h := c.macs[k.purpose][which]
	h.Reset()
	c.where = [4]byte{byte(k.purpose), p.node, p.slot, 0}
	h.Write(c.where[:])
	h.Write(sector[:offSeal])
	return h.Sum(c.sum[:0])[:sealSize]
}

// sealed says whether the seal is good under either key.
func (c *Codec) sealed(sector []byte, k kind, p place) bool {
	for which, h := range c.macs[k.purpose] {
		if h != nil && hmac.Equal(c.seal(which, sector, k, p), sector[offSeal:recordSize]) {
			return true
		}
	}
	return false
}

// checkFront checks magic, format, cluster and place, and returns the bare
// reason: it is used where nothing may be allocated.
func (c *Codec) checkFront(sector []byte, k kind, p place) error {
	switch {
	case len(sector) != c.layout.SectorSize:
		return ErrSectorSize
	case string(sector[offMagic:offMagic+8]) != k.magic:
		return ErrMagic
	}
	f := Format(binary.LittleEndian.Uint16(sector[offFormat:]))
	switch {
	case f < Format1 || f > Newest:
		return ErrFormat
	case ident.UUID(sector[offCluster:offCluster+16]) != c.cluster:
		return ErrCluster
	case sector[offNode] != p.node || sector[offSlot] != p.slot:
		return ErrPlace
	}
	return nil
}

// checkBack checks the reserved bytes after used, the checksum and the seal.
func (c *Codec) checkBack(sector []byte, k kind, p place, used int) error {
	switch {
	case !isZero(sector[used:offCRC]) || !isZero(sector[recordSize:]):
		return ErrReserved
	case crc32.Checksum(sector[:offCRC], c.crc) != binary.LittleEndian.Uint32(sector[offCRC:]):
		return ErrChecksum
	case !c.sealed(sector, k, p):
		return ErrSeal
	}
	return nil
}

// explain adds to a bare reason what was found.
func (c *Codec) explain(sector []byte, k kind, p place, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, ErrMagic):
		return refuse(k, p, err, "%q", sector[:8])
	case errors.Is(err, ErrFormat):
		return refuse(k, p, CheckFormat(Format(binary.LittleEndian.Uint16(sector[offFormat:])), Newest), "")
	case errors.Is(err, ErrCluster):
		return refuse(k, p, err, "%v, not %v", ident.UUID(sector[offCluster:offCluster+16]), c.cluster)
	case errors.Is(err, ErrPlace):
		return refuse(k, p, err, "it says node %d, slot %d", sector[offNode], sector[offSlot])
	}
	return refuse(k, p, err, "")
}

// isZero says whether there are only zero bytes.
func isZero(b []byte) bool {
	for _, x := range b {
		if x != 0 {
			return false
		}
	}
	return true
}
