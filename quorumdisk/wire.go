package quorumdisk

import (
	"encoding/binary"
	"fmt"

	"github.com/holdfast-ha/holdfast/cluster/ident"
)

// writer appends the values of a body: integers little endian and of fixed
// size, booleans as 0 or 1, texts and lists with a 32-bit length in front.
type writer struct{ b []byte }

func (w *writer) u8(v uint8)        { w.b = append(w.b, v) }
func (w *writer) u32(v uint32)      { w.b = binary.LittleEndian.AppendUint32(w.b, v) }
func (w *writer) u64(v uint64)      { w.b = binary.LittleEndian.AppendUint64(w.b, v) }
func (w *writer) i64(v int64)       { w.u64(uint64(v)) }
func (w *writer) raw(v []byte)      { w.b = append(w.b, v...) }
func (w *writer) count(n int)       { w.u32(uint32(n)) }
func (w *writer) text(s string)     { w.count(len(s)); w.b = append(w.b, s...) }
func (w *writer) bytes(v []byte)    { w.count(len(v)); w.raw(v) }
func (w *writer) uuid(u ident.UUID) { w.raw(u[:]) }

func (w *writer) inc(i ident.Incarnation) {
	w.u32(i.N)
	w.raw(i.Boot[:])
}

func (w *writer) bool(v bool) {
	if v {
		w.u8(1)
		return
	}
	w.u8(0)
}

// reader takes the values off again. After the first failure every value is
// zero and err says what was wrong.
type reader struct {
	b   []byte
	err error
}

func (r *reader) fail(err error, format string, args ...any) {
	if r.err == nil {
		r.err = fmt.Errorf("%w: %s", err, fmt.Sprintf(format, args...))
	}
	r.b = nil
}

// take returns the next n bytes, or n zero bytes and an error if there are not
// so many. n is at most 16 unless the bytes are known to be there.
func (r *reader) take(n int) []byte {
	if n > len(r.b) {
		r.fail(ErrLength, "%d bytes wanted where %d are left", n, len(r.b))
		return make([]byte, min(n, 16))
	}
	v := r.b[:n]
	r.b = r.b[n:]
	return v
}

func (r *reader) u8() uint8   { return r.take(1)[0] }
func (r *reader) u32() uint32 { return binary.LittleEndian.Uint32(r.take(4)) }
func (r *reader) u64() uint64 { return binary.LittleEndian.Uint64(r.take(8)) }
func (r *reader) i64() int64  { return int64(r.u64()) }

func (r *reader) bool() bool {
	v := r.u8()
	if v > 1 {
		r.fail(ErrValue, "%d where yes (1) or no (0) belongs", v)
	}
	return v == 1
}

// count reads the length of a list whose elements take at least size bytes
// each, so that no length makes us allocate more than the input holds.
func (r *reader) count(size int) int {
	n := r.u32()
	if int64(n)*int64(size) > int64(len(r.b)) {
		r.fail(ErrLength, "a list of %d where %d bytes are left", n, len(r.b))
		return 0
	}
	return int(n)
}

// bytes returns a copy; nil if it is empty.
func (r *reader) bytes() []byte {
	n := r.count(1)
	if n == 0 {
		return nil
	}
	return append([]byte(nil), r.take(n)...)
}

func (r *reader) text() string {
	n := r.count(1)
	if n == 0 {
		return ""
	}
	return string(r.take(n))
}

func (r *reader) uuid() ident.UUID { return ident.UUID(r.take(16)) }

func (r *reader) inc() ident.Incarnation {
	return ident.Incarnation{N: r.u32(), Boot: ident.BootID(r.take(16))}
}

// oneOf reads an enumeration with this highest value.
func (r *reader) oneOf(what string, highest uint8) uint8 {
	v := r.u8()
	if v > highest {
		r.fail(ErrValue, "%s %d", what, v)
		return 0
	}
	return v
}

// end returns the first failure, and refuses bytes that nothing asked for.
func (r *reader) end() error {
	if r.err == nil && len(r.b) > 0 {
		r.fail(ErrLength, "%d bytes too many", len(r.b))
	}
	return r.err
}
