package quorumdisk

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"hash/crc32"
	"time"

	"github.com/holdfast-ha/holdfast/cluster"
	"github.com/holdfast-ha/holdfast/cluster/ident"
	"github.com/holdfast-ha/holdfast/storage"
)

// A superblock, after the common front (offsets in the sector):
//
//	 10   1  index of the disk in its set
//	 11   1  copy: 0 is A, 1 is B
//	 12  16  cluster UUID
//	 28  16  disk UUID                two paths to one disk, or the wrong disk
//	 44   4  disk-set generation      a disk that was replaced and came back
//	 48   4  sector size              } another layout than the reader
//	 52   2  Nmax                     } would compute
//	 54   2  generations in a ring    }
//	 56   4  room for a body          }
//	 60   4  room for a blob          }
//	 64   8  size of the device       a device that grew or shrank
//	 72   8  created, Unix seconds    for people
//	 80  16  identity kind, padded    } a clone or a snapshot
//	 96 128  identity value, padded   } of this device
//	224 268  zero
const (
	offSuperDisk    = offFields
	offSuperGen     = 44
	offSuperSector  = 48
	offSuperNmax    = 52
	offSuperRing    = 54
	offSuperBody    = 56
	offSuperBlob    = 60
	offSuperSize    = 64
	offSuperCreated = 72
	offSuperKind    = 80
	offSuperValue   = 96
	offSuperEnd     = 224
)

var (
	_ [offSuperGen - offSuperDisk - 16]struct{}   = [0]struct{}{}
	_ [offSuperValue - offSuperKind - 16]struct{} = [0]struct{}{}
	_ [offSuperEnd - offSuperValue - 128]struct{} = [0]struct{}{}
)

// Superblock says what a quorum disk is. It is written when the disk is made,
// adopted, repaired or gets another key, and else only read.
type Superblock struct {
	Format   Format
	Cluster  ident.UUID
	Disk     ident.UUID
	Index    uint8 // place in the set of disks: 0 to 2
	DiskGen  uint32
	Layout   Layout
	Size     int64            // bytes of the device when it was formatted
	Created  time.Time        // for people, whole seconds
	Identity storage.Identity // of the device itself; see Recorded
}

// Recorded is an identity as a superblock can hold it: a value of more than 128
// bytes is replaced by its SHA-256.
func Recorded(id storage.Identity) storage.Identity {
	if len(id.Value) > offSuperEnd-offSuperValue {
		sum := sha256.Sum256([]byte(id.Value))
		id.Value = "sha256-" + hex.EncodeToString(sum[:])
	}
	return id
}

// SealSuperblock writes one copy (slot 0 is A, 1 is B) of a superblock into
// sector, which is one sector long. Format and Cluster are the codec's.
func (c *Codec) SealSuperblock(sector []byte, s *Superblock, slot uint8) error {
	k, p := kindSuper(), place{s.Index, slot}
	if err := c.begin(sector, k, p); err != nil {
		return err
	}
	id := Recorded(s.Identity)
	if len(id.Kind) > offSuperValue-offSuperKind || bytes.IndexByte([]byte(id.Kind+id.Value), 0) >= 0 {
		return refuse(k, p, ErrValue, "identity %q", id.String())
	}
	copy(sector[offSuperDisk:], s.Disk[:])
	binary.LittleEndian.PutUint32(sector[offSuperGen:], s.DiskGen)
	binary.LittleEndian.PutUint32(sector[offSuperSector:], uint32(s.Layout.SectorSize))
	binary.LittleEndian.PutUint16(sector[offSuperNmax:], uint16(s.Layout.Nmax))
	binary.LittleEndian.PutUint16(sector[offSuperRing:], Ring)
	binary.LittleEndian.PutUint32(sector[offSuperBody:], BodySize)
	binary.LittleEndian.PutUint32(sector[offSuperBlob:], BlobSize)
	binary.LittleEndian.PutUint64(sector[offSuperSize:], uint64(s.Size))
	binary.LittleEndian.PutUint64(sector[offSuperCreated:], uint64(s.Created.Unix()))
	copy(sector[offSuperKind:], id.Kind)
	copy(sector[offSuperValue:], id.Value)
	c.finish(sector, k, p)
	return nil
}

// DecodeSuperblock reads a superblock without the cluster's key: everything is
// checked but the seal, so that it says whose disk this is. slot is 0 for copy A
// and 1 for B; sector holds at least the sector that the superblock stands in.
// It fails with ErrMagic, ErrFormat, ErrPlace, ErrSectorSize, ErrReserved,
// ErrChecksum or ErrValue.
func DecodeSuperblock(sector []byte, slot uint8) (Superblock, error) {
	k, p := kindSuper(), place{slot: slot}
	if len(sector) < recordSize {
		return Superblock{}, refuse(k, p, ErrSectorSize, "%d bytes", len(sector))
	}
	p.node = sector[offNode]
	// Its own cluster and sector size are not known before it was read.
	c := &Codec{
		cluster: ident.UUID(sector[offCluster : offCluster+16]),
		layout:  Layout{SectorSize: int(binary.LittleEndian.Uint32(sector[offSuperSector:]))},
		crc:     crc32.MakeTable(crc32.Castagnoli),
	}
	switch size := c.layout.SectorSize; {
	case string(sector[:8]) != magicSuper || (size != SmallSector && size != LargeSector):
		c.layout.SectorSize = len(sector) // let the checks in their order say what is wrong
	case size > len(sector):
		return Superblock{}, refuse(k, p, ErrSectorSize, "it stands in a sector of %d bytes, %d were read", size, len(sector))
	default:
		sector = sector[:size]
	}
	if err := c.checkFront(sector, k, p); err != nil {
		return Superblock{}, c.explain(sector, k, p, err)
	}
	if !isZero(sector[offSuperEnd:offCRC]) || !isZero(sector[recordSize:]) {
		return Superblock{}, refuse(k, p, ErrReserved, "")
	}
	if crc32.Checksum(sector[:offCRC], c.crc) != binary.LittleEndian.Uint32(sector[offCRC:]) {
		return Superblock{}, refuse(k, p, ErrChecksum, "")
	}
	return superFields(sector, p)
}

func superFields(sector []byte, p place) (Superblock, error) {
	s := Superblock{
		Format:  Format(binary.LittleEndian.Uint16(sector[offFormat:])),
		Cluster: ident.UUID(sector[offCluster : offCluster+16]),
		Disk:    ident.UUID(sector[offSuperDisk : offSuperDisk+16]),
		Index:   sector[offNode],
		DiskGen: binary.LittleEndian.Uint32(sector[offSuperGen:]),
		Layout: Layout{
			SectorSize: int(binary.LittleEndian.Uint32(sector[offSuperSector:])),
			Nmax:       int(binary.LittleEndian.Uint16(sector[offSuperNmax:])),
		},
		Size:    int64(binary.LittleEndian.Uint64(sector[offSuperSize:])),
		Created: time.Unix(int64(binary.LittleEndian.Uint64(sector[offSuperCreated:])), 0).UTC(),
	}
	var padded error
	s.Identity.Kind, padded = unpad(sector[offSuperKind:offSuperValue], padded)
	s.Identity.Value, padded = unpad(sector[offSuperValue:offSuperEnd], padded)
	ring, body := binary.LittleEndian.Uint16(sector[offSuperRing:]), binary.LittleEndian.Uint32(sector[offSuperBody:])
	switch blob := binary.LittleEndian.Uint32(sector[offSuperBlob:]); {
	case padded != nil:
		return s, refuse(kindSuper(), p, padded, "after the identity")
	case ring != Ring || body != BodySize || blob != BlobSize:
		return s, refuse(kindSuper(), p, ErrValue, "rings of %d, bodies of %d and blobs of %d bytes", ring, body, blob)
	}
	if err := s.Layout.Check(); err != nil {
		return s, refuse(kindSuper(), p, err, "")
	}
	if s.Size < s.Layout.MinSize() {
		return s, refuse(kindSuper(), p, ErrValue, "a device of %d bytes", s.Size)
	}
	return s, nil
}

// unpad cuts the zero bytes at the end; others must not follow.
func unpad(b []byte, before error) (string, error) {
	text, rest, _ := bytes.Cut(b, []byte{0})
	if before == nil && !isZero(rest) {
		before = ErrReserved
	}
	return string(text), before
}

// VerifySuperblock checks cluster and seal of a superblock that
// DecodeSuperblock accepted. It fails with ErrCluster or ErrSeal.
func (c *Codec) VerifySuperblock(sector []byte, s *Superblock, slot uint8) error {
	k, p := kindSuper(), place{s.Index, slot}
	if len(sector) > c.layout.SectorSize {
		sector = sector[:c.layout.SectorSize]
	}
	if err := c.checkFront(sector, k, p); err != nil {
		return c.explain(sector, k, p, err)
	}
	if err := c.checkBack(sector, k, p, offSuperEnd); err != nil {
		return refuse(k, p, err, "this node needs the key that the cluster uses now")
	}
	return nil
}

// OfEpoch says whether the disk is of the epoch that a node's own file names. It
// fails with ErrGivenUp for an older disk, and with ErrBehind for a newer one.
func (s *Superblock) OfEpoch(epoch uint32) error {
	switch own := cluster.Epoch(s.DiskGen); {
	case own < epoch:
		return fmt.Errorf("quorum disk %v is of epoch %d, this node of %d: %w", s.Disk, own, epoch, ErrGivenUp)
	case own > epoch:
		return fmt.Errorf("quorum disk %v is of epoch %d, this node of %d: %w", s.Disk, own, epoch, ErrBehind)
	}
	return nil
}

// StillThere says whether the sector at SuperOffset, as read again, is that of
// this disk: same cluster, disk and index, and an intact checksum. The guard
// asks it in every cycle, before the beats beside it count: a LUN that was
// wiped or exchanged underneath gives no lease. It allocates nothing; the
// reason is one of the bare error values.
func (c *Codec) StillThere(sector []byte, s *Superblock) error {
	if err := c.checkFront(sector, kindSuper(), place{node: s.Index}); err != nil {
		return err
	}
	switch {
	case ident.UUID(sector[offSuperDisk:offSuperDisk+16]) != s.Disk:
		return ErrWrongDisk
	case crc32.Checksum(sector[:offCRC], c.crc) != binary.LittleEndian.Uint32(sector[offCRC:]):
		return ErrChecksum
	}
	return nil
}
