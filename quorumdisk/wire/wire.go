// Package wire is how values are written one after the other in the bodies on a
// quorum disk: integers little endian and of fixed size, booleans as one byte 0
// or 1, texts and lists with a 32-bit length in front. What the values mean is
// said by the packages that use it. A Reader never allocates more than its input
// could hold, whatever lengths it is told.
package wire

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/holdfast-ha/holdfast/cluster/ident"
)

// Why a body was refused. Errors of a Reader wrap one of these.
var (
	ErrLength = errors.New("a length inside does not fit")
	ErrValue  = errors.New("a value is out of its range")
)

// Writer appends values to B. It cannot fail.
type Writer struct{ B []byte }

// U8 appends one byte.
func (w *Writer) U8(v uint8) { w.B = append(w.B, v) }

// U32 appends 4 bytes.
func (w *Writer) U32(v uint32) { w.B = binary.LittleEndian.AppendUint32(w.B, v) }

// U64 appends 8 bytes.
func (w *Writer) U64(v uint64) { w.B = binary.LittleEndian.AppendUint64(w.B, v) }

// I64 appends 8 bytes, two's complement.
func (w *Writer) I64(v int64) { w.U64(uint64(v)) }

// Raw appends bytes without a length.
func (w *Writer) Raw(v []byte) { w.B = append(w.B, v...) }

// Count appends the length of a list.
func (w *Writer) Count(n int) { w.U32(uint32(n)) }

// Text appends a text with its length in bytes.
func (w *Writer) Text(s string) { w.Count(len(s)); w.B = append(w.B, s...) }

// Bytes appends bytes with their length.
func (w *Writer) Bytes(v []byte) { w.Count(len(v)); w.Raw(v) }

// UUID appends 16 bytes.
func (w *Writer) UUID(u ident.UUID) { w.Raw(u[:]) }

// Inc appends an incarnation: its number, then its boot identity.
func (w *Writer) Inc(i ident.Incarnation) {
	w.U32(i.N)
	w.Raw(i.Boot[:])
}

// Bool appends 1 for true and 0 for false.
func (w *Writer) Bool(v bool) {
	if v {
		w.U8(1)
		return
	}
	w.U8(0)
}

// Reader takes the values off again. After the first failure every value is zero
// and End says what was wrong.
type Reader struct {
	b   []byte
	err error
}

// NewReader reads from b, which it does not change.
func NewReader(b []byte) *Reader { return &Reader{b: b} }

// Fail makes the reader refuse its input with err, unless it has already.
func (r *Reader) Fail(err error, format string, args ...any) {
	if r.err == nil {
		r.err = fmt.Errorf("%w: %s", err, fmt.Sprintf(format, args...))
	}
	r.b = nil
}

// take returns the next n bytes, or n zero bytes and an error if there are not
// so many. n is at most 16 unless the bytes are known to be there.
func (r *Reader) take(n int) []byte {
	if n > len(r.b) {
		r.Fail(ErrLength, "%d bytes wanted where %d are left", n, len(r.b))
		return make([]byte, min(n, 16))
	}
	v := r.b[:n]
	r.b = r.b[n:]
	return v
}

// U8 reads one byte.
func (r *Reader) U8() uint8 { return r.take(1)[0] }

// U32 reads 4 bytes.
func (r *Reader) U32() uint32 { return binary.LittleEndian.Uint32(r.take(4)) }

// U64 reads 8 bytes.
func (r *Reader) U64() uint64 { return binary.LittleEndian.Uint64(r.take(8)) }

// I64 reads 8 bytes, two's complement.
func (r *Reader) I64() int64 { return int64(r.U64()) }

// Bool reads a byte that is 0 or 1.
func (r *Reader) Bool() bool {
	v := r.U8()
	if v > 1 {
		r.Fail(ErrValue, "%d where yes (1) or no (0) belongs", v)
	}
	return v == 1
}

// Count reads the length of a list whose elements take at least size bytes
// each, so that no length makes us allocate more than the input holds.
func (r *Reader) Count(size int) int {
	n := r.U32()
	if int64(n)*int64(size) > int64(len(r.b)) {
		r.Fail(ErrLength, "a list of %d where %d bytes are left", n, len(r.b))
		return 0
	}
	return int(n)
}

// Bytes returns a copy; nil if it is empty.
func (r *Reader) Bytes() []byte {
	n := r.Count(1)
	if n == 0 {
		return nil
	}
	return append([]byte(nil), r.take(n)...)
}

// Text reads a text with its length.
func (r *Reader) Text() string {
	n := r.Count(1)
	if n == 0 {
		return ""
	}
	return string(r.take(n))
}

// UUID reads 16 bytes.
func (r *Reader) UUID() ident.UUID { return ident.UUID(r.take(16)) }

// Inc reads an incarnation.
func (r *Reader) Inc() ident.Incarnation {
	return ident.Incarnation{N: r.U32(), Boot: ident.BootID(r.take(16))}
}

// OneOf reads an enumeration with this highest value.
func (r *Reader) OneOf(what string, highest uint8) uint8 {
	v := r.U8()
	if v > highest {
		r.Fail(ErrValue, "%s %d", what, v)
		return 0
	}
	return v
}

// More says that there are bytes which nothing has asked for yet.
func (r *Reader) More() bool { return len(r.b) > 0 }

// End returns the first failure, and refuses bytes that nothing asked for.
func (r *Reader) End() error {
	if r.err == nil && len(r.b) > 0 {
		r.Fail(ErrLength, "%d bytes too many", len(r.b))
	}
	return r.err
}
