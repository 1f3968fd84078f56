package quorumdisk

import (
	"fmt"

	"github.com/holdfast-ha/holdfast/cluster/ident"
	"github.com/holdfast-ha/holdfast/cluster/register"
)

// Where the regions begin, in bytes, and how large their parts are. The places
// are fixed so that a rescue tool finds them without a superblock.
//
//	0                            SBD area: 511 sectors of the SBD area's own size
//	4 MiB    S                   superblock, copy A
//	4 MiB+S  Nmax x S            beat table; one read fetches superblock and beats
//	6 MiB    Nmax x S            probes: for tests of the disk; nothing depends on them
//	7 MiB    Nmax x S            beacons of a node that measures its watchdog; nothing depends on them
//	8 MiB    Nmax x 16 x S       register headers
//	32 MiB   Nmax x 16 x 128 KiB register bodies
//	then     Nmax x 2 x 64 KiB   status blobs
//	end-S    S                   superblock, copy B: in the last sector of the device
//
// S is the sector size (512 or 4096), Nmax the number of nodes there is room for.
const (
	SBDOffset     = 0
	SuperOffset   = 4 << 20
	ProbeOffset   = 6 << 20
	BeaconsOffset = 7 << 20
	HeadersOffset = 8 << 20
	BodiesOffset  = 32 << 20

	Ring      = register.Generations // generations of a node's block
	BodySize  = 128 << 10            // room for a body, bytes
	BlobSlots = 2
	BlobSize  = 64 << 10 // room for a status blob with its header, bytes

	SmallSector = 512
	LargeSector = 4096

	// DefaultNodes is how many nodes there is room for if nobody says otherwise.
	DefaultNodes = 16
)

// The largest table of every region fits in front of the next one.
const (
	largestTable   = (1 + ident.MaxNodes) * LargeSector
	largestProbes  = ident.MaxNodes * LargeSector
	largestHeaders = ident.MaxNodes * Ring * LargeSector
	sbdArea        = 511 * LargeSector
)

var (
	_ [SuperOffset - sbdArea]struct{}
	_ [ProbeOffset - SuperOffset - largestTable]struct{}
	_ [BeaconsOffset - ProbeOffset - largestProbes]struct{}
	_ [HeadersOffset - BeaconsOffset - largestProbes]struct{} // one sector for each node as well
	_ [BodiesOffset - HeadersOffset - largestHeaders]struct{}
	_ [BodySize % LargeSector]struct{} = [0]struct{}{}
	_ [BlobSize % LargeSector]struct{} = [0]struct{}{}
)

// Layout says where things are on a disk of this sector size and room.
type Layout struct {
	SectorSize int // bytes: 512 or 4096
	Nmax       int // nodes there is room for, 1 to 255
}

// Check returns an error that wraps ErrSectorSize or ErrValue if there is no
// such layout.
func (l Layout) Check() error {
	if l.SectorSize != SmallSector && l.SectorSize != LargeSector {
		return fmt.Errorf("%w: %d bytes is neither 512 nor 4096", ErrSectorSize, l.SectorSize)
	}
	if l.Nmax < 1 || l.Nmax > ident.MaxNodes {
		return fmt.Errorf("%w: room for %d nodes, must be 1 to %d", ErrValue, l.Nmax, ident.MaxNodes)
	}
	return nil
}

// Has says whether a node's regions are on the disk.
func (l Layout) Has(n ident.NodeID) bool { return n >= 1 && int(n) <= l.Nmax }

// TableSize is the length in bytes of the one read that fetches superblock A
// and all beats; it begins at SuperOffset.
func (l Layout) TableSize() int { return (1 + l.Nmax) * l.SectorSize }

// Beat is a node's sector inside the bytes of that read.
func (l Layout) Beat(table []byte, n ident.NodeID) []byte {
	return table[int(n)*l.SectorSize : (int(n)+1)*l.SectorSize]
}

// BeatOffset is the place of a node's beat.
func (l Layout) BeatOffset(n ident.NodeID) int64 {
	return SuperOffset + int64(n)*int64(l.SectorSize)
}

// ProbeOffset is the place of a node's probe sector.
func (l Layout) ProbeOffset(n ident.NodeID) int64 {
	return ProbeOffset + int64(n-1)*int64(l.SectorSize)
}

// BeaconOffset is the place of a node's beacon sector, package sbd/watchdog/beacon.
func (l Layout) BeaconOffset(n ident.NodeID) int64 {
	return BeaconsOffset + int64(n-1)*int64(l.SectorSize)
}

// HeadersSize is the length in bytes of the read that fetches all register headers.
func (l Layout) HeadersSize() int { return l.Nmax * Ring * l.SectorSize }

// HeaderOffset is the place of a generation's header; slot is 0 to Ring-1.
func (l Layout) HeaderOffset(n ident.NodeID, slot uint8) int64 {
	return HeadersOffset + (int64(n-1)*Ring+int64(slot))*int64(l.SectorSize)
}

// BodyOffset is the place of a generation's body.
func (l Layout) BodyOffset(n ident.NodeID, slot uint8) int64 {
	return BodiesOffset + (int64(n-1)*Ring+int64(slot))*BodySize
}

// BlobsOffset is where the status blobs begin.
func (l Layout) BlobsOffset() int64 { return BodiesOffset + int64(l.Nmax)*Ring*BodySize }

// BlobOffset is the place of one of a node's two status blobs.
func (l Layout) BlobOffset(n ident.NodeID, slot uint8) int64 {
	return l.BlobsOffset() + (int64(n-1)*BlobSlots+int64(slot))*BlobSize
}

// End is where the status blobs end.
func (l Layout) End() int64 { return l.BlobsOffset() + int64(l.Nmax)*BlobSlots*BlobSize }

// MinSize is the size in bytes of the smallest device with room for all of it,
// in whole MiB.
func (l Layout) MinSize() int64 {
	const mib = 1 << 20
	return (l.End() + int64(l.SectorSize) + mib - 1) / mib * mib
}

// BackupOffset is the place of superblock B on a device of this size in bytes.
func (l Layout) BackupOffset(size int64) int64 {
	s := int64(l.SectorSize)
	return size/s*s - s
}

// padded is n rounded up to whole sectors.
func (l Layout) padded(n int) int {
	return (n + l.SectorSize - 1) / l.SectorSize * l.SectorSize
}
