package sbd

import (
	"bytes"
	"fmt"
	"time"

	"github.com/holdfast-ha/holdfast/storage"
)

// Area is the SBD area of a disk behind a handle. It belongs to one goroutine,
// as the handle does. Every call takes the time that each single request to the
// disk may take; after an error of storage the outcome of a write is unknown.
type Area struct {
	disk   storage.Disk
	header Header
	buf    []byte // one sector of the area, or of the handle if that is larger
}

// ReadHeader reads and checks the header through any handle.
func ReadHeader(disk storage.Disk, timeout time.Duration) (Header, error) {
	b := make([]byte, disk.Info().SectorSize)
	if err := disk.Read(b, 0, timeout); err != nil {
		return Header{}, err
	}
	return DecodeHeader(b)
}

// Open reads the header. The handle's sectors may be larger than the area's (a
// disk with 4096-byte physical and 512-byte logical blocks): such an Area can
// only be read; to write, open the disk again with
// storage.Options{SectorSize: Header().SectorSize}.
func Open(disk storage.Disk, timeout time.Duration) (*Area, error) {
	h, err := ReadHeader(disk, timeout)
	if err != nil {
		return nil, err
	}
	size := disk.Info().SectorSize
	if h.SectorSize%size != 0 && size%h.SectorSize != 0 {
		return nil, fmt.Errorf("%w: %d bytes, the handle works with %d", ErrSectorSize, h.SectorSize, size)
	}
	return &Area{disk: disk, header: h, buf: make([]byte, max(h.SectorSize, size))}, nil
}

// Create writes a new area and reads it back; every slot is free after it. A
// running sbd on any node takes the changed header for a failure of the disk.
// The header is written last: an area that was left half made has none.
func Create(disk storage.Disk, h Header, timeout time.Duration) error {
	if s := disk.Info().SectorSize; s != h.SectorSize {
		return fmt.Errorf("%w: %d bytes, the handle works with %d", ErrSectorSize, h.SectorSize, s)
	}
	image, err := Image(h)
	if err != nil {
		return err
	}
	s := h.SectorSize
	for _, part := range []struct {
		b   []byte
		off int64
	}{{make([]byte, s), 0}, {image[s:], int64(s)}, {image[:s], 0}} {
		if err := disk.Write(part.b, part.off, timeout); err != nil {
			return err
		}
	}
	back := make([]byte, len(image))
	if err := disk.Read(back, 0, timeout); err != nil {
		return err
	}
	if !bytes.Equal(back, image) {
		return fmt.Errorf("SBD area: %w", ErrLost)
	}
	return nil
}

// Header returns the header as it was when the area was opened.
func (a *Area) Header() Header { return a.header }

// Changed says whether the header on the disk is another now: somebody made the
// area anew.
func (a *Area) Changed(timeout time.Duration) (bool, error) {
	h, err := ReadHeader(a.disk, timeout)
	return err == nil && h != a.header, err
}

// Slot is a slot that is in use, and its mailbox.
type Slot struct {
	Index int
	Name  string
	Mail  Mail
}

// List returns the slots in use.
func (a *Area) List(timeout time.Duration) ([]Slot, error) {
	b, err := a.all(timeout)
	if err != nil {
		return nil, err
	}
	var list []Slot
	for i := range a.slots() {
		name, used, err := DecodeSlot(b[a.header.SlotOffset(i):])
		if err != nil {
			return nil, err
		}
		if !used {
			continue
		}
		mail, err := DecodeMail(b[a.header.MailOffset(i):])
		if err != nil {
			return nil, err
		}
		list = append(list, Slot{i, name, mail})
	}
	return list, nil
}

func (a *Area) slots() int { return int(a.header.Slots) }

// all reads the area as a whole.
func (a *Area) all(timeout time.Duration) ([]byte, error) {
	size, s := (1+2*a.slots())*a.header.SectorSize, a.disk.Info().SectorSize
	b := make([]byte, (size+s-1)/s*s)
	return b, a.disk.Read(b, 0, timeout)
}

// Find returns the slot of a node; ok is false if it has none.
func (a *Area) Find(name string, timeout time.Duration) (slot int, ok bool, err error) {
	if err := CheckName(name); err != nil {
		return 0, false, err
	}
	list, err := a.List(timeout)
	if err != nil {
		return 0, false, err
	}
	for _, s := range list {
		if SameName(s.Name, name) {
			return s.Index, true, nil
		}
	}
	return 0, false, nil
}

// Claim returns the slot of a node, and takes the first free one if it has none:
// had is false then. Nothing on the disk keeps two nodes from claiming one slot
// at the same time, so the caller then waits Header().Allocate and asks Holds
// whether the claim has stood, and claims again if not. It fails with ErrFull.
func (a *Area) Claim(name string, timeout time.Duration) (slot int, had bool, err error) {
	return a.ClaimAt(0, name, timeout)
}

// ClaimAt is Claim, but of the free slots it takes prefer before all others.
func (a *Area) ClaimAt(prefer int, name string, timeout time.Duration) (slot int, had bool, err error) {
	if err := a.check(prefer); err != nil {
		return 0, false, err
	}
	if slot, had, err = a.Find(name, timeout); err != nil || had {
		return slot, had, err
	}
	b, err := a.all(timeout)
	if err != nil {
		return 0, false, err
	}
	for n := range a.slots() + 1 {
		i := n - 1
		if n == 0 {
			i = prefer
		}
		if _, used, err := DecodeSlot(b[a.header.SlotOffset(i):]); err != nil || used {
			continue
		}
		sector := make([]byte, a.header.SectorSize)
		if err := EncodeSlot(sector, name); err != nil {
			return 0, false, err
		}
		return i, false, a.write(sector, a.header.SlotOffset(i), timeout)
	}
	return 0, false, ErrFull
}

// Holds says whether a slot belongs to a node.
func (a *Area) Holds(slot int, name string, timeout time.Duration) (bool, error) {
	if err := a.check(slot); err != nil {
		return false, err
	}
	b, err := a.read(a.header.SlotOffset(slot), timeout)
	if err != nil {
		return false, err
	}
	has, used, err := DecodeSlot(b)
	return used && SameName(has, name), err
}

// Mail reads a mailbox.
func (a *Area) Mail(slot int, timeout time.Duration) (Mail, error) {
	if err := a.check(slot); err != nil {
		return Mail{}, err
	}
	b, err := a.read(a.header.MailOffset(slot), timeout)
	if err != nil {
		return Mail{}, err
	}
	return DecodeMail(b)
}

// Command reads only what a mailbox asks for. It allocates nothing of its own,
// for the guard's loop.
func (a *Area) Command(slot int, timeout time.Duration) (Command, error) {
	if err := a.check(slot); err != nil {
		return 0, err
	}
	b, err := a.read(a.header.MailOffset(slot), timeout)
	if err != nil {
		return 0, err
	}
	return Command(b[0]), nil
}

// Send writes a mailbox and reads it back. Success says that the disk holds the
// message, not that the node read it or obeyed; a write that failed is an error,
// also where the mailbox can be read but not written.
func (a *Area) Send(slot int, m Mail, timeout time.Duration) error {
	if err := a.check(slot); err != nil {
		return err
	}
	sector := make([]byte, a.header.SectorSize)
	if err := EncodeMail(sector, m); err != nil {
		return err
	}
	if err := a.write(sector, a.header.MailOffset(slot), timeout); err != nil {
		return fmt.Errorf("message %v to slot %d: %w", m.Command, slot, err)
	}
	return nil
}

func (a *Area) check(slot int) error {
	if slot < 0 || slot >= a.slots() {
		return fmt.Errorf("%w: %d, must be 0 to %d", ErrSlot, slot, a.slots()-1)
	}
	return nil
}

// read returns one sector of the area, valid until the next call.
func (a *Area) read(off int64, timeout time.Duration) ([]byte, error) {
	size := int64(len(a.buf))
	from := off / size * size
	if err := a.disk.Read(a.buf, from, timeout); err != nil {
		return nil, err
	}
	return a.buf[off-from : off-from+int64(a.header.SectorSize)], nil
}

// write writes one sector of the area and reads it back.
func (a *Area) write(sector []byte, off int64, timeout time.Duration) error {
	if s := a.disk.Info().SectorSize; a.header.SectorSize%s != 0 {
		return fmt.Errorf("%w: a sector of %d bytes cannot be written through a handle that works with %d", ErrSectorSize, a.header.SectorSize, s)
	}
	if err := a.disk.Write(sector, off, timeout); err != nil {
		return err
	}
	back, err := a.read(off, timeout)
	if err != nil {
		return err
	}
	if !bytes.Equal(back, sector) {
		return ErrLost
	}
	return nil
}
