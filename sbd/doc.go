// Package sbd reads and writes the SBD area of a disk: the format of ClusterLabs
// sbd 1.5 (header version 2.1), byte for byte, so that its tools and agents work
// on a Holdfast quorum disk and Holdfast's on an SBD device. It stands at the
// start of the disk:
//
//	sector 0          header
//	sector 1 + 2*i    slot i: which node it belongs to (i = 0 to 254)
//	sector 2 + 2*i    mailbox of slot i: the last message to that node
//
// A sector is the device's logical block. Nothing here is checksummed, sealed or
// versioned by the format, and several writers may write one mailbox: mail is a
// request to a node that runs, never a proof of anything.
//
// Header, integers big endian, the rest of the sector zero:
//
//	 0  8  "SBD_SBD_"
//	 8  1  version: 2
//	 9  1  slots: 255
//	10  2  zero
//	12  4  sector size
//	16  4  timeouts in seconds: watchdog,
//	20  4    allocate,
//	24  4    loop,
//	28  4    message wait
//	32  1  minor version: 1; 0 on old disks without UUID
//	33 16  UUID
//
// Slot: 1 byte in use (0: free), then 64 bytes name, padded with zeros, of which
// 63 count. Mailbox: 1 byte command, signed, then 64 bytes name of the sender.
// Names are compared without regard to case. Slots are never freed.
package sbd

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/holdfast-ha/holdfast/cluster/ident"
)

const (
	// Slots is the number of slots of an area.
	Slots = 255
	// MaxName is the longest name in bytes.
	MaxName = 63
	// Sectors is the number of sectors of an area.
	Sectors = 1 + 2*Slots

	magic      = "SBD_SBD_"
	version    = 2
	minor      = 1
	headerSize = 52
	recordSize = 65

	offVersion  = 8
	offSlots    = 9
	offSector   = 12
	offWatchdog = 16
	offAllocate = 20
	offLoop     = 24
	offMsgWait  = 28
	offMinor    = 32
	offUUID     = 33
)

var (
	_ [headerSize - offUUID - 16 - 3]struct{} = [0]struct{}{}
	_ [recordSize - 1 - MaxName - 1]struct{}  = [0]struct{}{}
)

// Why an area or a request was refused. Errors of this package wrap one of them.
var (
	ErrMagic      = errors.New("no SBD header here; to write one: holdfast sbd create")
	ErrVersion    = errors.New("an SBD header of another version than 2")
	ErrSectorSize = errors.New("the SBD header's sector size does not fit the handle")
	ErrName       = errors.New("a node name has 1 to 63 bytes and no zero byte")
	ErrTimeout    = errors.New("a timeout is whole seconds, 0 to 4294967295")
	ErrSlot       = errors.New("there is no such slot")
	ErrFull       = errors.New("all 255 slots are taken")
	ErrLost       = errors.New("read back, the disk does not hold what was written")
)

// Header is what sector 0 says.
type Header struct {
	Minor      uint8 // 1, or 0 on an old disk, which has no UUID
	Slots      uint8
	SectorSize int // bytes
	UUID       ident.UUID
	Watchdog   time.Duration // whole seconds, all four
	Allocate   time.Duration
	Loop       time.Duration
	MsgWait    time.Duration
}

// DefaultHeader is what `sbd create` writes without options.
func DefaultHeader(sectorSize int, id ident.UUID) Header {
	return Header{
		Minor: minor, Slots: Slots, SectorSize: sectorSize, UUID: id,
		Watchdog: 5 * time.Second, Allocate: 2 * time.Second, Loop: time.Second, MsgWait: 10 * time.Second,
	}
}

// timeouts lists where the four stand.
func (h *Header) timeouts() [4]struct {
	off int
	d   *time.Duration
} {
	return [4]struct {
		off int
		d   *time.Duration
	}{{offWatchdog, &h.Watchdog}, {offAllocate, &h.Allocate}, {offLoop, &h.Loop}, {offMsgWait, &h.MsgWait}}
}

// EncodeHeader writes the header into sector, which has h.SectorSize bytes. It
// fails with ErrSectorSize, ErrVersion (more than version 2.1 with 255 slots) or
// ErrTimeout.
func EncodeHeader(sector []byte, h Header) error {
	if len(sector) != h.SectorSize || (h.SectorSize != 512 && h.SectorSize != 4096) {
		return fmt.Errorf("%w: %d bytes in a buffer of %d", ErrSectorSize, h.SectorSize, len(sector))
	}
	if h.Minor > minor || h.Slots != Slots {
		return fmt.Errorf("%w: 2.%d with %d slots", ErrVersion, h.Minor, h.Slots)
	}
	clear(sector)
	copy(sector, magic)
	sector[offVersion], sector[offSlots], sector[offMinor] = version, h.Slots, h.Minor
	binary.BigEndian.PutUint32(sector[offSector:], uint32(h.SectorSize))
	for _, t := range h.timeouts() {
		s := *t.d / time.Second
		if s < 0 || s > math.MaxUint32 || s*time.Second != *t.d {
			return fmt.Errorf("%w: %v", ErrTimeout, *t.d)
		}
		binary.BigEndian.PutUint32(sector[t.off:], uint32(s))
	}
	if h.Minor > 0 {
		copy(sector[offUUID:], h.UUID[:])
	}
	return nil
}

// DecodeHeader reads a header from the start of a disk: sector has at least 512
// bytes. It fails with ErrMagic, ErrVersion or ErrSectorSize (neither 512 nor
// 4096; whether it fits the device is for the caller to compare). What follows
// the header in the sector is ignored, as the format wants it.
func DecodeHeader(sector []byte) (Header, error) {
	if len(sector) < headerSize || string(sector[:len(magic)]) != magic {
		return Header{}, ErrMagic
	}
	if sector[offVersion] != version {
		return Header{}, fmt.Errorf("%w: %d", ErrVersion, sector[offVersion])
	}
	h := Header{
		Minor: sector[offMinor], Slots: sector[offSlots], SectorSize: int(binary.BigEndian.Uint32(sector[offSector:])),
	}
	if h.SectorSize != 512 && h.SectorSize != 4096 {
		return Header{}, fmt.Errorf("%w: %d bytes", ErrSectorSize, h.SectorSize)
	}
	for _, t := range h.timeouts() {
		*t.d = time.Duration(binary.BigEndian.Uint32(sector[t.off:])) * time.Second
	}
	if h.Minor > 0 {
		h.UUID = ident.UUID(sector[offUUID : offUUID+16])
	}
	return h, nil
}

// Image is a new area: the header, and 255 free slots with empty mailboxes.
func Image(h Header) ([]byte, error) {
	b := make([]byte, Sectors*max(h.SectorSize, 1))
	if err := EncodeHeader(b[:max(h.SectorSize, 1)], h); err != nil {
		return nil, err
	}
	return b, nil
}

// SlotOffset is the place of a slot in bytes from the start of the disk.
func (h *Header) SlotOffset(slot int) int64 { return int64(1+2*slot) * int64(h.SectorSize) }

// MailOffset is the place of a slot's mailbox in bytes from the start of the disk.
func (h *Header) MailOffset(slot int) int64 { return int64(2+2*slot) * int64(h.SectorSize) }

// Command is what a mailbox asks of a node.
type Command int8

// The commands. What they do is sbd(8)'s; what Holdfast makes of them is in
// docs/formats/sbd.md. A negative command is ignored by everybody.
const (
	Clear Command = iota
	Test
	Reset
	Off
	Exit
	CrashDump
)

func commands() [6]string {
	return [6]string{"clear", "test", "reset", "off", "exit", "crashdump"}
}

// String is the word of sbd(8), or "undefined" and the number.
func (c Command) String() string {
	if names := commands(); c >= 0 && int(c) < len(names) {
		return names[c]
	}
	return fmt.Sprintf("undefined (%d)", int8(c))
}

// ParseCommand is the inverse of String for the six commands.
func ParseCommand(s string) (Command, error) {
	names := commands()
	for i, n := range names {
		if n == s {
			return Command(i), nil
		}
	}
	return 0, fmt.Errorf("message %q: it must be one of %s", s, strings.Join(names[:], ", "))
}

// Mail is the content of a mailbox.
type Mail struct {
	Command Command
	From    string // the sender's name; may be empty
}

// EncodeMail writes a mailbox into a whole sector. It fails with ErrName if the
// sender's name is too long.
func EncodeMail(sector []byte, m Mail) error {
	if m.From != "" {
		if err := CheckName(m.From); err != nil {
			return err
		}
	}
	return encode(sector, byte(m.Command), m.From)
}

// DecodeMail reads a mailbox. Any bytes are mail of some command; the caller
// refuses those it does not know. It fails with ErrSectorSize if the sector is
// too short for one.
func DecodeMail(sector []byte) (Mail, error) {
	first, name, err := decode(sector)
	return Mail{Command(first), name}, err
}

// EncodeSlot writes the slot of a node into a whole sector; the empty name makes
// it free. It fails with ErrName.
func EncodeSlot(sector []byte, name string) error {
	if name == "" {
		return encode(sector, 0, "")
	}
	if err := CheckName(name); err != nil {
		return err
	}
	return encode(sector, 1, name)
}

// DecodeSlot reads a slot; used is false if it is free. It fails with
// ErrSectorSize if the sector is too short for one.
func DecodeSlot(sector []byte) (name string, used bool, err error) {
	first, name, err := decode(sector)
	if err != nil || first == 0 {
		return "", false, err
	}
	return name, true, nil
}

// CheckName returns an error that wraps ErrName for a name that would be cut or
// could not be told from another. sbd(8) cuts it silently and then finds it in
// the slot of another node.
func CheckName(name string) error {
	if name == "" || len(name) > MaxName || strings.IndexByte(name, 0) >= 0 {
		return fmt.Errorf("%w: %q has %d", ErrName, name, len(name))
	}
	return nil
}

// SameName says whether two names mean one node: case does not count.
func SameName(a, b string) bool {
	return strings.EqualFold(a[:min(len(a), MaxName)], b[:min(len(b), MaxName)])
}

func encode(sector []byte, first byte, name string) error {
	if len(sector) < recordSize {
		return fmt.Errorf("%w: a buffer of %d bytes", ErrSectorSize, len(sector))
	}
	clear(sector)
	sector[0] = first
	copy(sector[1:1+MaxName], name)
	return nil
}

func decode(sector []byte) (first byte, name string, err error) {
	if len(sector) < recordSize {
		return 0, "", fmt.Errorf("%w: a buffer of %d bytes", ErrSectorSize, len(sector))
	}
	text, _, _ := bytes.Cut(sector[1:1+MaxName], []byte{0})
	return sector[0], string(text), nil
}
