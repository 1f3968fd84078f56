package guardwire

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/holdfast-ha/holdfast/cluster/ident"
)

// Why a packet is refused.
var (
	ErrShort   = errors.New("the packet ends too early")
	ErrMagic   = errors.New("not a packet of the guard's protocol")
	ErrVersion = errors.New("another version of the guard's protocol: guard and daemon must be of one release")
	ErrLength  = errors.New("the packet is longer than its content")
	ErrValue   = errors.New("a value that no encoder writes")
	ErrKind    = errors.New("no message of this kind goes this way")
	ErrTooLong = errors.New("longer than the protocol allows")
)

// writer appends the parts of a body. It never fails: what is too long is
// refused before (payload, table) or cut (text).
type writer struct{ b []byte }

func (w *writer) u8(v uint8)              { w.b = append(w.b, v) }
func (w *writer) u16(v uint16)            { w.b = binary.BigEndian.AppendUint16(w.b, v) }
func (w *writer) u32(v uint32)            { w.b = binary.BigEndian.AppendUint32(w.b, v) }
func (w *writer) u64(v uint64)            { w.b = binary.BigEndian.AppendUint64(w.b, v) }
func (w *writer) instant(t ident.Instant) { w.u64(uint64(t)) }
func (w *writer) span(d time.Duration)    { w.u64(uint64(d)) }

func (w *writer) truth(v bool) {
	if v {
		w.u8(1)
		return
	}
	w.u8(0)
}

func (w *writer) text(s string) {
	if len(s) > MaxText {
		s = s[:MaxText]
	}
	w.u16(uint16(len(s)))
	w.b = append(w.b, s...)
}

func (w *writer) bytes(p []byte) {
	w.u32(uint32(len(p)))
	w.b = append(w.b, p...)
}

func (w *writer) inc(i ident.Incarnation) {
	w.u32(i.N)
	w.b = append(w.b, i.Boot[:]...)
}

// reader takes the parts of a body off its front. The first error stays, and
// every later part is zero.
type reader struct {
	b   []byte
	err error
}

func (r *reader) take(n int) []byte {
	if r.err == nil && len(r.b) < n {
		r.err = ErrShort
	}
	if r.err != nil {
		return nil
	}
	p := r.b[:n]
	r.b = r.b[n:]
	return p
}

func (r *reader) u8() uint8 {
	if p := r.take(1); p != nil {
		return p[0]
	}
	return 0
}

func (r *reader) u16() uint16 {
	if p := r.take(2); p != nil {
		return binary.BigEndian.Uint16(p)
	}
	return 0
}

func (r *reader) u32() uint32 {
	if p := r.take(4); p != nil {
		return binary.BigEndian.Uint32(p)
	}
	return 0
}

func (r *reader) u64() uint64 {
	if p := r.take(8); p != nil {
		return binary.BigEndian.Uint64(p)
	}
	return 0
}

func (r *reader) instant() ident.Instant { return ident.Instant(r.u64()) }
func (r *reader) span() time.Duration    { return time.Duration(r.u64()) }

// most reads a byte that is at most limit: an enumeration, or a truth value.
func (r *reader) most(limit uint8) uint8 {
	v := r.u8()
	if v > limit && r.err == nil {
		r.err = ErrValue
	}
	return v
}

func (r *reader) truth() bool { return r.most(1) == 1 }

func (r *reader) text() string {
	n := int(r.u16())
	if n > MaxText && r.err == nil {
		r.err = ErrTooLong
	}
	return string(r.take(n))
}

func (r *reader) bytes(limit int) []byte {
	n := r.u32()
	if n > uint32(limit) && r.err == nil {
		r.err = ErrTooLong
	}
	return append([]byte(nil), r.take(int(n))...)
}

func (r *reader) inc() ident.Incarnation {
	i := ident.Incarnation{N: r.u32()}
	copy(i.Boot[:], r.take(len(i.Boot)))
	return i
}

func (r *reader) uuid() ident.UUID {
	var u ident.UUID
	copy(u[:], r.take(len(u)))
	return u
}

// count reads the length of a list.
func (r *reader) count() int {
	n := r.u16()
	if n > MaxList && r.err == nil {
		r.err = ErrTooLong
	}
	if r.err != nil {
		return 0
	}
	return int(n)
}

// body is any message: it knows its kind and how to write and read itself.
type body interface {
	Kind() Kind
	encode(*writer)
	decode(*reader)
}

// packet appends a whole packet.
func (w *writer) packet(conn, seq uint64, m body) {
	at := len(w.b)
	w.b = append(w.b, 'H', 'F', 'G', 'W', version, byte(m.Kind()), 0, 0)
	w.u64(conn)
	w.u64(seq)
	w.u32(0)
	m.encode(w)
	binary.BigEndian.PutUint32(w.b[at+24:], uint32(len(w.b)-at-headerSize))
}

// appendPacket appends a whole packet to dst.
func appendPacket(dst []byte, conn, seq uint64, m body) []byte {
	w := writer{dst}
	w.packet(conn, seq, m)
	return w.b
}

// decodePacket reads one packet; empty returns an empty message of a kind, or nil.
func decodePacket(p []byte, empty func(Kind) body) (Header, body, error) {
	if len(p) < headerSize {
		return Header{}, nil, ErrShort
	}
	h := Header{Kind: Kind(p[5]), Conn: binary.BigEndian.Uint64(p[8:]), Seq: binary.BigEndian.Uint64(p[16:])}
	switch {
	case string(p[:4]) != "HFGW":
		return h, nil, ErrMagic
	case p[4] != version:
		return h, nil, fmt.Errorf("version %d: %w", p[4], ErrVersion)
	case p[6]|p[7] != 0:
		return h, nil, ErrValue
	}
	if n := binary.BigEndian.Uint32(p[24:]); int64(n) > int64(len(p)-headerSize) {
		return h, nil, ErrShort
	} else if int64(n) < int64(len(p)-headerSize) {
		return h, nil, ErrLength
	}
	m := empty(h.Kind)
	if m == nil {
		return h, nil, fmt.Errorf("kind %d: %w", h.Kind, ErrKind)
	}
	r := reader{b: p[headerSize:]}
	m.decode(&r)
	if r.err == nil && len(r.b) > 0 {
		r.err = ErrLength
	}
	if r.err != nil {
		return h, nil, fmt.Errorf("%s: %w", h.Kind, r.err)
	}
	return h, m, nil
}
