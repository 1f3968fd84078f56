// Package quorumdisk is the format of a Holdfast quorum disk: its layout, and
// the codecs of the records on it. Package statecodec has the body of a register
// block, package volume works on a disk with both.
// docs/formats/quorumdisk.md has the same in pictures.
//
// A quorum disk is what all nodes can read when they cannot hear each other. It
// carries, from its start: the SBD area (package sbd), a superblock, the beat
// table (one sector per node: "this node and this boot of it was there"), the
// register (the cluster's state: per node a ring of headers and of bodies), the
// status blobs, and a second superblock. Every region has one writer per node,
// nothing is ever cleared, and every record says which fault it guards against.
//
// Codecs are total and strict: no clock, no I/O, and a sector is refused with
// the first of magic, format, cluster, place, length, reserved zero, checksum
// and seal that does not fit, each with an error value of its own. Errors name
// the region and the node; the caller adds the disk.
//
// A Codec seals and opens sectors. The guard uses SealBeat and FindKill, which
// allocate nothing, and never looks into the daemon's payload beyond the kill
// records. A Codec belongs to one goroutine at a time.
package quorumdisk

import (
	"errors"
	"fmt"

	"github.com/holdfast-ha/holdfast/quorumdisk/wire"
)

// Format is the version of the on-disk format. Every record carries the format
// it was written in. A reader refuses a record of a newer format than Newest
// rather than guess, and reads all that are older. A newer format is written only
// once every member can read it, so that a cluster can be upgraded node by node.
// There are no feature bits: reserved bytes are zero and are checked, so that
// whatever changes the meaning of a record is a new format, with its consequences
// written at its constant.
type Format uint16

const (
	// Format1 is the first format: all that docs/formats/quorumdisk.md says.
	Format1 Format = 1 + iota

	formatEnd
)

// Newest is the newest format that this program reads and writes.
const Newest = formatEnd - 1

// String is for people.
func (f Format) String() string { return fmt.Sprintf("format %d", uint16(f)) }

// CheckFormat refuses a format that is newer than newest, or none at all, with an
// error that wraps ErrFormat, names both and says what to do.
func CheckFormat(found, newest Format) error {
	switch {
	case found < Format1:
		return fmt.Errorf("%w: %v was never written by any holdfast, the oldest is %v: it is damaged; see what stands there with holdfast disk dump",
			ErrFormat, found, Format1)
	case found > newest:
		return fmt.Errorf("%w: %v is newer than %v, the newest that this holdfast reads: upgrade holdfast on this node to the version of the others",
			ErrFormat, found, newest)
	}
	return nil
}

// Why a record was refused, in the order in which it is checked. Errors of this
// package wrap one of these.
var (
	ErrMagic    = errors.New("no such record here (magic)")
	ErrFormat   = errors.New("written in a format that this holdfast does not know")
	ErrCluster  = errors.New("belongs to another cluster")
	ErrPlace    = errors.New("belongs to another place: it was copied or written to the wrong sector")
	ErrLength   = wire.ErrLength
	ErrReserved = errors.New("reserved bytes are not zero: damaged, or written by a newer version of holdfast")
	ErrChecksum = errors.New("the checksum does not match: the sector is damaged or half written")
	ErrSeal     = errors.New("sealed with another cluster key")
	ErrValue    = wire.ErrValue
	ErrTooLarge = errors.New("too large for its place on the quorum disk")

	// ErrSectorSize: a buffer or handle of another sector size than the disk's.
	ErrSectorSize = errors.New("the sector size does not fit")
	// ErrWrongDisk: not a record but the disk is another one.
	ErrWrongDisk = errors.New("another quorum disk of the same cluster: check the disks in node.yaml")
	// ErrGivenUp: not a record but the whole disk is out of date.
	ErrGivenUp = errors.New("of a set of quorum disks that was given up: the cluster was recovered onto new ones, and what stands here is out of date; holdfast disk wipe makes it free")
	// ErrBehind: not the disk but this node is out of date.
	ErrBehind = errors.New("of a newer set of quorum disks than this node knows: the cluster was recovered onto it; on this node: holdfast disk recover --adopt")
)
