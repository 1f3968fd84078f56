// Package signature says what a disk carries, and where that is written: file
// systems, swap, members of arrays and volume groups, partition tables, and the
// quorum disks of this and other clusters. It is a table of the places at which
// formats leave their mark, and reads only those.
//
// It needs no other program, and complements blkid, which knows more formats and
// checks them more closely, but neither cluster's quorum disks nor the second
// copies of what was half erased: a mark is enough here, for who makes a quorum
// disk of a disk cannot take that back.
package signature

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"
	"time"

	"github.com/holdfast-ha/holdfast/storage"
)

// Holdfast is how a superblock of a quorum disk begins.
const Holdfast = "HOLDFAST"

// Found is one mark that stands on a disk.
type Found struct {
	What string `json:"what"`   // a phrase for people: "a file system (xfs)"
	Off  int64  `json:"offset"` // bytes from the start of the device
}

// String is for people.
func (f Found) String() string { return fmt.Sprintf("%s, at offset %d", f.What, f.Off) }

// window is what is read around a mark at once, bytes.
const window = 64 << 10

// Find looks for all marks, in the order of their places. Each request to the
// disk may take timeout; its errors are those of storage.
func Find(d storage.Disk, timeout time.Duration) ([]Found, error) {
	l := &looker{disk: d, size: d.Info().Size, timeout: timeout, windows: map[int64][]byte{}}
	for _, m := range marks() {
		for _, at := range m.at {
			if at < 0 {
				at += l.size
			}
			l.mark(m.what, at, m.magic)
		}
	}
	l.mbr()
	l.zfs()
	l.raid()
	l.drbd()
	if l.err != nil {
		return nil, l.err
	}
	slices.SortStableFunc(l.found, func(a, b Found) int { return int(min(max(a.Off-b.Off, -1), 1)) })
	return slices.Compact(l.found), nil
}

// looker keeps what was read, and the first error.
type looker struct {
	disk    storage.Disk
	size    int64
	timeout time.Duration
	windows map[int64][]byte
	found   []Found
	err     error
}

// at returns n bytes of the disk, and nil where they are not all there.
func (l *looker) at(off int64, n int) []byte {
	if off < 0 || off+int64(n) > l.size || l.err != nil {
		return nil
	}
	out := make([]byte, 0, n)
	for len(out) < n {
		from := (off + int64(len(out))) / window * window
		w := l.windows[from]
		if w == nil {
			w = make([]byte, min(window, l.size-from))
			if l.err = l.disk.Read(w, from, l.timeout); l.err != nil {
				return nil
			}
			l.windows[from] = w
		}
		rest := w[off+int64(len(out))-from:]
		out = append(out, rest[:min(len(rest), n-len(out))]...)
	}
	return out
}

func (l *looker) mark(what string, off int64, magic string) bool {
	if !bytes.Equal(l.at(off, len(magic)), []byte(magic)) {
		return false
	}
	l.found = append(l.found, Found{what, off})
	return true
}

// mbr looks for a master boot record with an entry: its two bytes alone end many
// boot sectors of file systems too.
func (l *looker) mbr() {
	b := l.at(0, 512)
	if len(b) < 512 || b[510] != 0x55 || b[511] != 0xaa {
		return
	}
	for i := 446; i < 510; i += 16 {
		if active, kind, sectors := b[i], b[i+4], b[i+12:i+16]; active&0x7f == 0 && kind != 0 && !bytes.Equal(sectors, make([]byte, 4)) {
			l.found = append(l.found, Found{"a partition table (MBR)", 510})
			return
		}
	}
}

// zfs looks for uberblocks: 128 of them from 128 KiB on, in whatever order of
// bytes the host had (vdev_impl.h).
func (l *looker) zfs() {
	const magic, first, each, count = 0x00bab10c, 128 << 10, 1 << 10, 128
	b := l.at(first, each*count)
	for i := 0; i+8 <= len(b); i += each {
		if binary.LittleEndian.Uint64(b[i:]) == magic || binary.BigEndian.Uint64(b[i:]) == magic {
			l.found = append(l.found, Found{"a member of a ZFS pool", int64(first + i)})
			return
		}
	}
}

// raid looks for the superblocks of Linux RAID that stand near the end, md(4):
// 1.0 at least 8 KiB before it on a boundary of 4 KiB, 0.90 in the last but one
// whole 64 KiB.
func (l *looker) raid() {
	const reserved = 64 << 10
	for _, at := range []int64{(l.size - 8<<10) &^ (4<<10 - 1), l.size&^(reserved-1) - reserved} {
		if !l.mark("a member of a Linux RAID array", at, le(0xa92b4efc)) {
			l.mark("a member of a Linux RAID array", at, be(0xa92b4efc)) // 0.90 has the host's order
		}
	}
}

// drbd looks for internal meta data: the last whole 4 KiB, its magic at 60
// (drbd_int.h; version 8, unclean, 9).
func (l *looker) drbd() {
	for _, magic := range []uint32{0x8374026a, 0x8374026b, 0x8374026c, 0x8374026d} {
		l.mark("a DRBD replica", l.size&^4095-4096+60, be(magic))
	}
}
