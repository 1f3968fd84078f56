package place

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"time"

	"github.com/holdfast-ha/holdfast/storage"
)

// A header of the table, UEFI 5.3.2, little endian (offsets in its block):
//
//	 0   8  "EFI PART"
//	 8   4  revision
//	12   4  bytes of the header: 92
//	16   4  CRC-32 of the header with this field zero     a torn or foreign header
//	20   4  zero
//	24   8  block of this copy                            a header that was moved
//	32   8  block of the other copy
//	40   8  first block that partitions may have
//	48   8  last block that partitions may have
//	56  16  identity of the device
//	72   8  first block of the entries
//	80   4  number of entries
//	84   4  bytes of an entry: 128
//	88   4  CRC-32 of the entries                         torn or foreign entries
const (
	signature = "EFI PART"

	// HeaderSize is the length of a header that counts, bytes.
	HeaderSize = 92
	// EntrySize is the length of an entry, bytes.
	EntrySize = 128

	offCRC        = 16
	offSelf       = 24
	offOther      = 32
	offLastUsable = 48
	offEntries    = 72
	offCount      = 80
	offEach       = 84
	offEntriesCRC = 88
)

// An entry, UEFI 5.3.3: type 16, identity 16, first block 8, last block 8,
// attributes 8, name 72 as UTF-16.
const (
	offFirst = 32
	offLast  = 40
	offName  = 56
)

// maxEntries bounds the table that is believed, bytes: tables have 16 KiB.
const maxEntries = 1 << 20

// Why one copy of a table does not hold.
var (
	errNoHeader = errors.New("no header is there")
	errHeader   = errors.New("its header's checksum is wrong")
	errEntries  = errors.New("its entries' checksum is wrong")
)

// Table is a partition table as it was read.
type Table struct {
	Sector    int                 // bytes of a block
	Last      int64               // block at the end of the device, where the second copy belongs
	First     Copy                // at the start of the device
	Second    Copy                // at its end
	Recovered bool                // the first copy is lost: the second one is used
	Protected bool                // there is a protective MBR
	Boot      [smallestBlock]byte // the first 512 bytes of the device
}

// smallestBlock is a protective MBR's size, bytes.
const smallestBlock = 512

// Copy is one of the two copies of a table.
type Copy struct {
	Header  [HeaderSize]byte
	Entries []byte
	Err     error // why it does not hold; nil: it does
}

// Good returns the copy that is used.
func (t *Table) Good() *Copy {
	if t.Recovered {
		return &t.Second
	}
	return &t.First
}

// ReadTable reads the table of a device, whatever the size of its blocks: a
// file, and a device that changed from 512 to 4096 bytes, do not tell it. It
// fails with ErrNone where there is no table, ErrDamaged where neither copy
// holds, and with errors of storage.
func ReadTable(d storage.Disk, timeout time.Duration) (*Table, error) {
	damaged := ErrNone
	for _, sector := range []int{512, 4096} {
		t, err := readTable(d, sector, timeout)
		if err == nil || !errors.Is(err, ErrDamaged) && !errors.Is(err, ErrNone) {
			return t, err
		}
		if errors.Is(err, ErrDamaged) {
			damaged = err
		}
	}
	return nil, damaged
}

func readTable(d storage.Disk, sector int, timeout time.Duration) (*Table, error) {
	size := d.Info().Size
	if size < 4*int64(sector) {
		return nil, ErrNone
	}
	t := &Table{Sector: sector, Last: size/int64(sector) - 1}
	boot, err := readAt(d, 0, smallestBlock, timeout)
	if err != nil {
		return nil, err
	}
	copy(t.Boot[:], boot)
	t.Protected = boot[510] == 0x55 && boot[511] == 0xaa && boot[446+4] == 0xee
	if t.First, err = readCopy(d, sector, 1, timeout); err != nil {
		return nil, err
	}
	if t.Second, err = readCopy(d, sector, t.Last, timeout); err != nil {
		return nil, err
	}
	switch first, second := t.First.Err, t.Second.Err; {
	case first == nil && second == nil && !bytes.Equal(t.First.Entries, t.Second.Entries):
		t.Second.Err = errors.New("its entries differ from those at the start, which hold")
	case first != nil && second == nil:
		t.Recovered = true
	case errors.Is(first, errNoHeader) && errors.Is(second, errNoHeader):
		return nil, ErrNone
	case first != nil:
		return nil, fmt.Errorf("%w (with blocks of %d bytes: at the start %w, at the end %w)", ErrDamaged, sector, first, second)
	}
	return t, nil
}

// readCopy reads the copy whose header stands in a block. What is wrong with it
// stands in the copy; the error is one of reading.
func readCopy(d storage.Disk, sector int, block int64, timeout time.Duration) (c Copy, err error) {
	header, err := readAt(d, block*int64(sector), HeaderSize, timeout)
	if err != nil {
		return c, err
	}
	copy(c.Header[:], header)
	if !bytes.HasPrefix(header, []byte(signature)) {
		c.Err = errNoHeader
		return c, nil
	}
	sum := binary.LittleEndian.Uint32(header[offCRC:])
	clear(header[offCRC : offCRC+4])
	n, each := binary.LittleEndian.Uint32(header[offCount:]), binary.LittleEndian.Uint32(header[offEach:])
	at, length := binary.LittleEndian.Uint64(header[offEntries:]), int64(n)*EntrySize
	switch blocks := d.Info().Size / int64(sector); {
	case crc32.ChecksumIEEE(header) != sum:
		c.Err = errHeader
	case binary.LittleEndian.Uint32(header[12:]) != HeaderSize || binary.LittleEndian.Uint64(header[offSelf:]) != uint64(block):
		c.Err = errors.New("its header is not this one's")
	case each != EntrySize || n == 0 || length > maxEntries:
		c.Err = fmt.Errorf("a header with %d entries of %d bytes", n, each)
	case at >= uint64(blocks) || length > (blocks-int64(at))*int64(sector):
		c.Err = fmt.Errorf("its entries are at block %d of %d", at, blocks)
	}
	if c.Err != nil {
		return c, nil
	}
	if c.Entries, err = readAt(d, int64(at)*int64(sector), int(length), timeout); err != nil {
		return c, err
	}
	if crc32.ChecksumIEEE(c.Entries) != binary.LittleEndian.Uint32(header[offEntriesCRC:]) {
		c.Err = errEntries
	}
	return c, nil
}

// readAt reads the whole sectors around.
func readAt(d storage.Disk, off int64, n int, timeout time.Duration) ([]byte, error) {
	sector := int64(d.Info().SectorSize)
	from, to := off/sector*sector, (off+int64(n)+sector-1)/sector*sector
	if end := d.Info().Size; to > end {
		to = end
	}
	around := make([]byte, max(to-from, off-from+int64(n)))
	if err := d.Read(around[:to-from], from, timeout); err != nil {
		return nil, err
	}
	return around[off-from:][:n], nil
}

// Header makes the header of the copy in block self, whose entries begin at
// block entries, from one that holds. The table then ends at block last.
func Header(from [HeaderSize]byte, self, other, entries, lastUsable int64) [HeaderSize]byte {
	h := from
	binary.LittleEndian.PutUint64(h[offSelf:], uint64(self))
	binary.LittleEndian.PutUint64(h[offOther:], uint64(other))
	binary.LittleEndian.PutUint64(h[offLastUsable:], uint64(lastUsable))
	binary.LittleEndian.PutUint64(h[offEntries:], uint64(entries))
	clear(h[offCRC : offCRC+4])
	binary.LittleEndian.PutUint32(h[offCRC:], crc32.ChecksumIEEE(h[:]))
	return h
}
