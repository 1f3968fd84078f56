package label

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"time"

	"github.com/diskfs/go-diskfs/partition/gpt"

	"github.com/holdfast-ha/holdfast/storage"
)

// A header of the table, UEFI 5.3.2: what it begins with, and where its checksum,
// the number of entries and the size of an entry stand.
const (
	signature    = "EFI PART"
	headerSize   = 92
	offCRC       = 16
	offEntries   = 80
	offEntrySize = 84
)

// maxEntries bounds the table that is believed, in bytes: tables have 16 KiB.
const maxEntries = 1 << 20

// readTable reads the table whatever the size of its blocks: a file, and a
// device that changed from 512 to 4096 bytes, do not tell it.
func readTable(d storage.Disk, timeout time.Duration) (*table, error) {
	damaged := error(nil)
	for _, sector := range []int{512, 4096} {
		v := &view{disk: d, timeout: timeout}
		there, err := v.plausible(sector)
		if err == nil && !there {
			continue
		}
		var t *gpt.Table
		if err == nil {
			t, err = gpt.Read(v, sector, sector)
		}
		switch {
		case v.err != nil:
			return nil, v.err
		case err != nil:
			damaged = fmt.Errorf("%w (with blocks of %d bytes: %w)", ErrDamaged, sector, err)
			continue
		}
		read := &table{Table: t, sector: sector}
		if !t.RecoveredFromBackup {
			read.secondBad = t.Verify(v, uint64(d.Info().Size))
		}
		return read, v.err
	}
	if damaged != nil {
		return nil, damaged
	}
	return nil, ErrNone
}

// view lets package gpt read a Disk. It keeps the first error of the disk, which
// is told apart from what is wrong with the table.
type view struct {
	disk    storage.Disk
	timeout time.Duration
	at      int64
	err     error
}

// plausible says whether there is a header at either place. It refuses one that
// is whole and describes a table of a size that nobody makes: package gpt would
// believe it and ask for the memory. One that is not whole is left to gpt.
func (v *view) plausible(sector int) (there bool, err error) {
	size := v.disk.Info().Size
	if size < 4*int64(sector) {
		return false, nil
	}
	header := make([]byte, sector)
	for _, off := range []int64{int64(sector), size/int64(sector)*int64(sector) - int64(sector)} {
		if _, err := v.ReadAt(header, off); err != nil {
			return false, err
		}
		if !bytes.HasPrefix(header, []byte(signature)) {
			continue
		}
		there = true
		sum := binary.LittleEndian.Uint32(header[offCRC:])
		clear(header[offCRC : offCRC+4])
		if crc32.ChecksumIEEE(header[:headerSize]) != sum {
			continue
		}
		n, each := binary.LittleEndian.Uint32(header[offEntries:]), binary.LittleEndian.Uint32(header[offEntrySize:])
		if each != gpt.PartitionEntrySize || n == 0 || uint64(n)*uint64(each) > maxEntries {
			err = fmt.Errorf("a header with %d entries of %d bytes", n, each)
		}
	}
	return there, err
}

// ReadAt implements io.ReaderAt: it reads the whole sectors around.
func (v *view) ReadAt(b []byte, off int64) (int, error) {
	info := v.disk.Info()
	sector := int64(info.SectorSize)
	if off < 0 || off >= info.Size {
		return 0, io.EOF
	}
	n := min(int64(len(b)), info.Size-off)
	from, to := off/sector*sector, (off+n+sector-1)/sector*sector
	around := make([]byte, to-from)
	if err := v.disk.Read(around, from, v.timeout); err != nil {
		v.err = err
		return 0, err
	}
	copy(b, around[off-from:off-from+n])
	if n < int64(len(b)) {
		return int(n), io.EOF
	}
	return int(n), nil
}

// Read implements io.Reader.
func (v *view) Read(b []byte) (int, error) {
	n, err := v.ReadAt(b, v.at)
	v.at += int64(n)
	return n, err
}

// Seek implements io.Seeker.
func (v *view) Seek(offset int64, whence int) (int64, error) {
	switch whence {
	case io.SeekCurrent:
		offset += v.at
	case io.SeekEnd:
		offset += v.disk.Info().Size
	}
	if offset < 0 {
		return 0, errors.New("seek before the start of the device")
	}
	v.at = offset
	return offset, nil
}

// Stat implements fs.File; nobody asks a view.
func (v *view) Stat() (fs.FileInfo, error) { return nil, fs.ErrInvalid }

// Close implements fs.File. The disk stays its owner's.
func (v *view) Close() error { return nil }
