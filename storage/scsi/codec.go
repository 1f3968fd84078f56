package scsi

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// Type is the type of a reservation, as SPC-4 numbers them in its table of
// persistent reservation types.
type Type uint8

// The types that keep everybody but the registrants from writing. With AllRegistrants
// every registrant holds the reservation, so that it outlives each of them; with
// RegistrantsOnly it ends with its holder.
const (
	RegistrantsOnly Type = 5 // write exclusive, registrants only
	AllRegistrants  Type = 7 // write exclusive, all registrants
)

// String names a type.
func (t Type) String() string {
	names := map[Type]string{
		1: "write exclusive", 3: "exclusive access", RegistrantsOnly: "write exclusive, registrants only",
		6: "exclusive access, registrants only", AllRegistrants: "write exclusive, all registrants", 8: "exclusive access, all registrants",
	}
	if n, ok := names[t]; ok {
		return fmt.Sprintf("type %d (%s)", uint8(t), n)
	}
	return fmt.Sprintf("type %d", uint8(t))
}

// Operation codes and service actions of SPC-4.
const (
	opReserveIn  = 0x5e // PERSISTENT RESERVE IN
	opReserveOut = 0x5f // PERSISTENT RESERVE OUT

	inReadKeys        = 0x00
	inReadReservation = 0x01
	inCapabilities    = 0x02

	outReserve         = 0x01
	outPreemptAndAbort = 0x05
	outRegisterIgnore  = 0x06 // REGISTER AND IGNORE EXISTING KEY

	// parameterLength is the basic parameter list of PERSISTENT RESERVE OUT.
	parameterLength = 24
	aptplBit        = 0x01 // of byte 20: activate persist through power loss
)

// ErrShort is an answer that ends before what it announces, or has to hold.
var ErrShort = errors.New("the answer is too short")

// reserveIn builds the command descriptor of PERSISTENT RESERVE IN:
//
//	0      5Eh
//	1      bits 0-4 service action
//	2-6    reserved
//	7-8    allocation length, big endian
//	9      control
func reserveIn(action byte, length uint16) []byte {
	c := make([]byte, 10)
	c[0], c[1] = opReserveIn, action
	binary.BigEndian.PutUint16(c[7:], length)
	return c
}

// reserveOut builds the command descriptor of PERSISTENT RESERVE OUT:
//
//	0      5Fh
//	1      bits 0-4 service action
//	2      bits 4-7 scope (0: the logical unit), bits 0-3 type
//	3-4    reserved
//	5-8    parameter list length, big endian
//	9      control
func reserveOut(action byte, t Type) []byte {
	c := make([]byte, 10)
	c[0], c[1], c[2] = opReserveOut, action, byte(t)&0x0f
	binary.BigEndian.PutUint32(c[5:], parameterLength)
	return c
}

// parameters builds the basic parameter list of PERSISTENT RESERVE OUT:
//
//	0-7    reservation key: the sender's registered one
//	8-15   service action reservation key: the new one, or the one to preempt
//	16-19  obsolete
//	20     bit 0 APTPL, bit 2 ALL_TG_PT, bit 3 SPEC_I_PT
//	21     reserved
//	22-23  obsolete
func parameters(key, action uint64, aptpl bool) []byte {
	p := make([]byte, parameterLength)
	binary.BigEndian.PutUint64(p, key)
	binary.BigEndian.PutUint64(p[8:], action)
	if aptpl {
		p[20] = aptplBit
	}
	return p
}

// Keys is what READ KEYS answers. A key is there once for every path that
// registered it.
type Keys struct {
	Generation uint32 // PRGENERATION: counts registrations and preemptions
	List       []uint64
}

// parseKeys decodes READ KEYS: generation (4 bytes), additional length in bytes
// (4), then keys of 8 bytes, all big endian. An answer that was cut off at the
// allocation length is an error: a key that is not seen may be the one that matters.
func parseKeys(b []byte) (Keys, error) {
	if len(b) < 8 {
		return Keys{}, ErrShort
	}
	k := Keys{Generation: binary.BigEndian.Uint32(b)}
	n := int(binary.BigEndian.Uint32(b[4:]))
	if n%8 != 0 {
		return k, fmt.Errorf("READ KEYS announces %d bytes, which are no whole keys", n)
	}
	if n > len(b)-8 {
		return k, fmt.Errorf("READ KEYS announces %d bytes of keys and has %d: %w", n, len(b)-8, ErrShort)
	}
	for at := 8; at < 8+n; at += 8 {
		k.List = append(k.List, binary.BigEndian.Uint64(b[at:]))
	}
	return k, nil
}

// Reservation is what READ RESERVATION answers; Held is false where there is none.
type Reservation struct {
	Generation uint32
	Held       bool
	Key        uint64 // of the holder; zero for all registrants
	Type       Type
}

// parseReservation decodes READ RESERVATION: generation (4 bytes), additional
// length (4): 0 or 16; then key (8), obsolete (4), reserved (1), scope and type (1).
func parseReservation(b []byte) (Reservation, error) {
	if len(b) < 8 {
		return Reservation{}, ErrShort
	}
	r := Reservation{Generation: binary.BigEndian.Uint32(b)}
	switch n := binary.BigEndian.Uint32(b[4:]); {
	case n == 0:
		return r, nil
	case n < 16 || len(b) < 24:
		return r, fmt.Errorf("READ RESERVATION announces %d bytes and has %d: %w", n, len(b)-8, ErrShort)
	}
	if scope := b[21] >> 4; scope != 0 {
		return r, fmt.Errorf("the reservation has scope %d, not the logical unit", scope)
	}
	r.Held, r.Key, r.Type = true, binary.BigEndian.Uint64(b[8:]), Type(b[21]&0x0f)
	return r, nil
}

// Capabilities is what REPORT CAPABILITIES answers.
type Capabilities struct {
	Persists   bool // PTPL_C: registrations can outlive a loss of power
	Persisting bool // PTPL_A: and they do now
	AllPorts   bool // ATP_C: one REGISTER can be for all target ports
	Known      bool // the type mask is valid
	Types      uint16
}

// Offers says that a type is offered, as far as the device says.
func (c Capabilities) Offers(t Type) bool {
	bit := map[Type]uint16{1: 1 << 9, 3: 1 << 11, RegistrantsOnly: 1 << 13, 6: 1 << 14, AllRegistrants: 1 << 15, 8: 1}[t]
	return !c.Known || c.Types&bit != 0
}

// parseCapabilities decodes REPORT CAPABILITIES: length (2 bytes), then a byte
// with ATP_C (bit 2) and PTPL_C (bit 0), a byte with TMV (bit 7) and PTPL_A (bit
// 0), and the type mask (2): the first byte has the types 7 (bit 7), 6, 5, 3 (bit
// 3) and 1 (bit 1), the second type 8 (bit 0).
func parseCapabilities(b []byte) (Capabilities, error) {
	if len(b) < 8 || binary.BigEndian.Uint16(b) < 8 {
		return Capabilities{}, ErrShort
	}
	return Capabilities{
		Persists: b[2]&1 != 0, AllPorts: b[2]&4 != 0, Persisting: b[3]&1 != 0,
		Known: b[3]&0x80 != 0, Types: binary.BigEndian.Uint16(b[4:]),
	}, nil
}

// Status is the SCSI status of a command.
type Status uint8

// The statuses that matter here.
const (
	Good           Status = 0x00
	CheckCondition Status = 0x02
	Conflict       Status = 0x18 // RESERVATION CONFLICT
)

// StatusError is a command that a device has answered with something else than good.
type StatusError struct {
	Status         Status
	Key, Code, Sub byte // of the sense data: sense key, additional code, qualifier
}

// Error says in words what the device said.
func (e *StatusError) Error() string {
	switch e.Status {
	case Conflict:
		return "RESERVATION CONFLICT: this node's key is not registered on this path, or was taken away"
	case 0x08:
		return "BUSY: the device asks to come again"
	case 0x28:
		return "TASK SET FULL: the device asks to come again"
	case CheckCondition:
		return "CHECK CONDITION: " + e.sense()
	}
	return fmt.Sprintf("SCSI status %#02x", uint8(e.Status))
}

func (e *StatusError) sense() string {
	codes := map[[2]byte]string{
		{0x29, 0x00}: "power on or reset", {0x2a, 0x03}: "reservations preempted", {0x2a, 0x04}: "reservations released",
		{0x2a, 0x05}: "registrations preempted", {0x2f, 0x00}: "commands cleared by another initiator",
		{0x20, 0x00}: "no such command: the device has no persistent reservations", {0x24, 0x00}: "invalid field in the command",
		{0x26, 0x00}: "invalid field in the parameters", {0x55, 0x04}: "insufficient registration resources",
		{0x04, 0x0b}: "the target port is in standby", {0x3f, 0x0e}: "reported LUNs have changed",
	}
	text := map[byte]string{2: "not ready", 5: "illegal request", 6: "unit attention", 7: "data protect", 0xb: "aborted command"}[e.Key]
	if text == "" {
		text = fmt.Sprintf("sense key %#x", e.Key)
	}
	if words := codes[[2]byte{e.Code, e.Sub}]; words != "" {
		return text + ": " + words
	}
	return fmt.Sprintf("%s: %02x/%02x", text, e.Code, e.Sub)
}

// Attention says that an error is a unit attention: the device tells of something
// that happened before, and has not looked at the command, which is to be sent again.
func Attention(err error) bool {
	var e *StatusError
	return errors.As(err, &e) && e.Status == CheckCondition && e.Key == 6
}

// IsConflict says that an error is a RESERVATION CONFLICT.
func IsConflict(err error) bool {
	var e *StatusError
	return errors.As(err, &e) && e.Status == Conflict
}

// parseSense makes an error of a status and its sense data, in fixed (70h, 71h)
// or descriptor (72h, 73h) format.
func parseSense(status Status, b []byte) error {
	e := &StatusError{Status: status}
	if len(b) == 0 {
		return e
	}
	switch b[0] & 0x7f {
	case 0x70, 0x71:
		if len(b) > 2 {
			e.Key = b[2] & 0x0f
		}
		if len(b) > 13 {
			e.Code, e.Sub = b[12], b[13]
		}
	case 0x72, 0x73:
		if len(b) > 3 {
			e.Key, e.Code, e.Sub = b[1]&0x0f, b[2], b[3]
		}
	}
	return e
}
