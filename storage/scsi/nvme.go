package scsi

import (
	"encoding/binary"
	"fmt"
	"slices"
)

// The requests and types of <linux/pr.h>.
const (
	prRegister     = 200
	prReserve      = 201
	prPreemptAbort = 204

	prIgnoreKey = 1 // flag of prRegister
)

// change is a request of <linux/pr.h>: old and new are the keys in the order of
// its structs.
type change struct {
	request  uint
	old, new uint64
	kind     uint32 // type of the reservation, as NVMe numbers it
	flags    uint32
}

// namespace is an NVMe namespace as the kernel offers it, or a simulated one.
type namespace interface {
	// change carries out a request. A conflict is a *StatusError, as is what the
	// namespace does not know.
	change(c change) error
	// report is the answer to Reservation Report.
	report() (nvmeStatus, error)
	// rescap is byte 31 of Identify Namespace: what it can reserve.
	rescap() (byte, error)
}

// nvme is a path to a namespace that understands the commands of a SCSI path and
// answers with the same bytes, so that all above them is the same for both.
//
// The differences that remain: a registration belongs to a host, by its host
// identifier, and not to a path, so that a namespace has one path here; and two
// machines with the same /etc/nvme/hostid are one registrant, which neither can
// tell. The kernel makes every registration outlive a loss of power.
type nvme struct {
	name string
	ns   namespace
}

// Name implements Path.
func (p *nvme) Name() string { return p.name }

// Command implements Path for the commands of this package.
func (p *nvme) Command(cdb, send []byte, receive int) ([]byte, error) {
	if len(cdb) < 10 {
		return nil, errNoCommand()
	}
	switch action := cdb[1] & 0x1f; cdb[0] {
	case opReserveIn:
		b, err := p.in(action)
		return b[:min(len(b), receive)], err
	case opReserveOut:
		if len(send) < parameterLength {
			return nil, fmt.Errorf("parameters of %d bytes: %w", len(send), ErrShort)
		}
		return nil, p.out(action, Type(cdb[2]&0x0f), binary.BigEndian.Uint64(send), binary.BigEndian.Uint64(send[8:]))
	}
	return nil, errNoCommand()
}

// errNoCommand is the answer to what a device does not know.
func errNoCommand() error { return &StatusError{Status: CheckCondition, Key: 5, Code: 0x20} }

func (p *nvme) out(action byte, t Type, key, other uint64) error {
	switch action {
	case outRegisterIgnore:
		// With an old key the driver asks to replace whatever is registered, or
		// nothing; without one a key that is there already is a conflict.
		return p.ns.change(change{request: prRegister, old: other, new: other, flags: prIgnoreKey})
	case outReserve:
		return p.ns.change(change{request: prReserve, old: key, kind: nvmeKind(t)})
	case outPreemptAndAbort:
		// The driver sends the first key as the sender's and the second as the victim's.
		return p.ns.change(change{request: prPreemptAbort, old: key, new: other, kind: nvmeKind(t)})
	}
	return errNoCommand()
}

func (p *nvme) in(action byte) ([]byte, error) {
	if action == inCapabilities {
		return p.capabilities()
	}
	s, err := p.ns.report()
	if err != nil {
		return nil, err
	}
	b := binary.BigEndian.AppendUint32(nil, s.Generation)
	if action == inReadKeys {
		b = binary.BigEndian.AppendUint32(b, uint32(8*len(s.Registrants)))
		for _, r := range s.Registrants {
			b = binary.BigEndian.AppendUint64(b, r.Key)
		}
		return b, nil
	}
	t, held := scsiType(s.Kind)
	if !held {
		return binary.BigEndian.AppendUint32(b, 0), nil
	}
	var holder uint64
	for _, r := range s.Registrants {
		if r.Holds && t != AllRegistrants && t != 8 {
			holder = r.Key
		}
	}
	b = binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint32(b, 16), holder)
	return append(b, 0, 0, 0, 0, 0, byte(t), 0, 0), nil
}

// capabilities makes REPORT CAPABILITIES of RESCAP: bit 0 registrations can
// outlive a loss of power, bits 1 to 6 the types of NVMe in their order.
func (p *nvme) capabilities() ([]byte, error) {
	can, err := p.ns.rescap()
	if err != nil {
		return nil, err
	}
	if can == 0 {
		return nil, errNoCommand()
	}
	s, err := p.ns.report()
	if err != nil {
		return nil, err
	}
	b := make([]byte, 8)
	b[1], b[2], b[3] = 8, can&1, 0x80
	if s.Persists {
		b[3] |= 1
	}
	masks := []uint16{1 << 9, 1 << 11, 1 << 13, 1 << 14, 1 << 15, 1}
	var mask uint16
	for i, m := range masks {
		if can&(2<<i) != 0 {
			mask |= m
		}
	}
	binary.BigEndian.PutUint16(b[4:], mask)
	return b, nil
}

// kinds are the types of SCSI in the order in which NVMe, and <linux/pr.h>, number
// them from 1.
func kinds() []Type { return []Type{1, 3, RegistrantsOnly, 6, AllRegistrants, 8} }

// nvmeKind gives 0 for what NVMe does not have.
func nvmeKind(t Type) uint32 { return uint32(slices.Index(kinds(), t) + 1) }

func scsiType(kind byte) (t Type, held bool) {
	if kind < 1 || int(kind) > len(kinds()) {
		return 0, false
	}
	return kinds()[kind-1], true
}

// nvmeStatus is Reservation Status of the NVMe base specification.
type nvmeStatus struct {
	Generation  uint32
	Kind        byte // 0: nothing is reserved
	Persists    bool // registrations outlive a loss of power
	Registrants []nvmeRegistrant
}

// nvmeRegistrant is one controller of a registered host.
type nvmeRegistrant struct {
	Key   uint64
	Holds bool
}

// parseNVMeStatus decodes Reservation Status, little endian: generation (4 bytes),
// type (1), number of registered controllers (2), reserved (2), persistence (1);
// entries begin at 24 and have 24 bytes each, or, extended, at 64 with 64. An entry
// is controller (2), status with bit 0 "holds" (1), reserved (5), then host
// identifier (8) and key (8); extended, key (8) and host identifier (16).
func parseNVMeStatus(b []byte, extended bool) (nvmeStatus, error) {
	size, keyAt := 24, 16
	if extended {
		size, keyAt = 64, 8
	}
	if len(b) < size {
		return nvmeStatus{}, ErrShort
	}
	s := nvmeStatus{Generation: binary.LittleEndian.Uint32(b), Kind: b[4], Persists: b[9]&1 != 0}
	n := int(binary.LittleEndian.Uint16(b[5:]))
	if len(b) < size*(1+n) {
		return s, fmt.Errorf("the reservation report announces %d controllers and has %d bytes: %w", n, len(b), ErrShort)
	}
	for i := range n {
		e := b[size*(1+i):]
		s.Registrants = append(s.Registrants, nvmeRegistrant{binary.LittleEndian.Uint64(e[keyAt:]), e[2]&1 != 0})
	}
	return s, nil
}
