package quorumdisk

import (
	"encoding/binary"

	"github.com/holdfast-ha/holdfast/cluster/ident"
	"github.com/holdfast-ha/holdfast/cluster/register"
)

// A register header, after the common front (offsets in the sector):
//
//	 10   1  node                     a sector written by another node
//	 11   1  slot in the ring         a late write that landed in a newer one's place
//	 28   4  inc                      } which of the ring is the newest:
//	 32   8  generation               } highest (inc, generation)
//	 40   8  version of the value
//	 48  24  highest ballot entered
//	 72  24  ballot of the accepted value
//	 96   4  length of the body
//	100   4  zero
//	104  32  SHA-256 of the body      a body that is torn, or was replaced since
//	136 356  zero
const (
	offHeaderInc  = offFields
	offHeaderGen  = 32
	offHeaderVer  = 40
	offHeaderMbal = 48
	offHeaderBal  = 72
	offHeaderLen  = 96
	offHeaderZero = 100
	offHeaderSum  = 104
	offHeaderEnd  = 136
)

var (
	_ [offHeaderBal - offHeaderMbal - ballotSize]struct{} = [0]struct{}{}
	_ [offHeaderLen - offHeaderBal - ballotSize]struct{}  = [0]struct{}{}
	_ [offHeaderEnd - offHeaderSum - 32]struct{}          = [0]struct{}{}
)

// SealHeader writes a register header into sector, which is one sector long. It
// fails with ErrSectorSize, ErrPlace (no such node or slot, or a slot that is
// not that of the generation) or ErrLength (a body over BodySize).
func (c *Codec) SealHeader(sector []byte, h *register.Header) error {
	k, p := kindHeader(), place{uint8(h.Node), h.Slot}
	if err := c.begin(sector, k, p); err != nil {
		return err
	}
	if h.Slot != uint8(h.Gen%Ring) || h.Gen == 0 {
		return refuse(k, p, ErrPlace, "generation %d belongs into slot %d", h.Gen, h.Gen%Ring)
	}
	if h.Len > BodySize {
		return refuse(k, p, ErrLength, "a body of %d bytes, at most %d", h.Len, BodySize)
	}
	binary.LittleEndian.PutUint32(sector[offHeaderInc:], h.Inc)
	binary.LittleEndian.PutUint64(sector[offHeaderGen:], h.Gen)
	binary.LittleEndian.PutUint64(sector[offHeaderVer:], h.Ver)
	putBallot(sector[offHeaderMbal:], h.Mbal)
	putBallot(sector[offHeaderBal:], h.Bal)
	binary.LittleEndian.PutUint32(sector[offHeaderLen:], h.Len)
	copy(sector[offHeaderSum:], h.Sum[:])
	c.finish(sector, k, p)
	return nil
}

// OpenHeader checks and decodes the header in a slot of a node's ring. ok is
// false, without an error, if nothing was ever written there (all zero).
func (c *Codec) OpenHeader(sector []byte, node ident.NodeID, slot uint8) (h register.Header, ok bool, err error) {
	k, p := kindHeader(), place{uint8(node), slot}
	if len(sector) == c.layout.SectorSize && isZero(sector) {
		return h, false, nil
	}
	if err := c.checkFront(sector, k, p); err != nil {
		return h, false, c.explain(sector, k, p, err)
	}
	h = register.Header{
		Node: node,
		Slot: slot,
		Inc:  binary.LittleEndian.Uint32(sector[offHeaderInc:]),
		Gen:  binary.LittleEndian.Uint64(sector[offHeaderGen:]),
		Mbal: getBallot(sector[offHeaderMbal:]),
		Bal:  getBallot(sector[offHeaderBal:]),
		Ver:  binary.LittleEndian.Uint64(sector[offHeaderVer:]),
		Len:  binary.LittleEndian.Uint32(sector[offHeaderLen:]),
		Sum:  [32]byte(sector[offHeaderSum:offHeaderEnd]),
	}
	if h.Len > BodySize {
		return h, false, refuse(k, p, ErrLength, "a body of %d bytes, at most %d", h.Len, BodySize)
	}
	if !isZero(sector[offHeaderZero:offHeaderSum]) || !isZero(sector[offHeaderMbal+21:offHeaderBal]) ||
		!isZero(sector[offHeaderBal+21:offHeaderLen]) {
		return h, false, refuse(k, p, ErrReserved, "")
	}
	if err := c.checkBack(sector, k, p, offHeaderEnd); err != nil {
		return h, false, c.explain(sector, k, p, err)
	}
	if h.Slot != uint8(h.Gen%Ring) || h.Gen == 0 {
		return h, false, refuse(k, p, ErrValue, "generation %d belongs into slot %d", h.Gen, h.Gen%Ring)
	}
	return h, true, nil
}

// A probe, after the common front: 28 32 nonce, then zero.
const offProbeEnd = offFields + 32

// SealProbe writes a probe: a nonce that one node leaves for another to find, so
// that both know they see the same disk.
func (c *Codec) SealProbe(sector []byte, node ident.NodeID, nonce [32]byte) error {
	k, p := kindProbe(), place{node: uint8(node)}
	if err := c.begin(sector, k, p); err != nil {
		return err
	}
	copy(sector[offFields:], nonce[:])
	c.finish(sector, k, p)
	return nil
}

// OpenProbe checks and decodes a node's probe. ok is false, without an error, if
// nothing was ever written there.
func (c *Codec) OpenProbe(sector []byte, node ident.NodeID) (nonce [32]byte, ok bool, err error) {
	k, p := kindProbe(), place{node: uint8(node)}
	if len(sector) == c.layout.SectorSize && isZero(sector) {
		return nonce, false, nil
	}
	if err := c.checkFront(sector, k, p); err != nil {
		return nonce, false, c.explain(sector, k, p, err)
	}
	if err := c.checkBack(sector, k, p, offProbeEnd); err != nil {
		return nonce, false, c.explain(sector, k, p, err)
	}
	return [32]byte(sector[offFields:offProbeEnd]), true, nil
}
