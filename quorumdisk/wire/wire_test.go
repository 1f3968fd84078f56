package wire_test

import (
	"bytes"
	"errors"
	"math"
	"testing"

	"github.com/holdfast-ha/holdfast/cluster/ident"
	"github.com/holdfast-ha/holdfast/quorumdisk/wire"
)

func TestRoundTrip(t *testing.T) {
	inc := ident.Incarnation{N: 7, Boot: ident.BootID{1, 2, 3}}
	var w wire.Writer
	w.U8(1)
	w.U32(2)
	w.U64(math.MaxUint64)
	w.I64(-3)
	w.Bool(true)
	w.Bool(false)
	w.Text("four")
	w.Text("")
	w.Bytes([]byte{5})
	w.UUID(ident.UUID{6})
	w.Inc(inc)
	w.Count(2)
	w.Raw([]byte{8, 9})
	r := wire.NewReader(w.B)
	if a, b, c, d := r.U8(), r.U32(), r.U64(), r.I64(); a != 1 || b != 2 || c != math.MaxUint64 || d != -3 {
		t.Error(a, b, c, d)
	}
	if a, b, c, d := r.Bool(), r.Bool(), r.Text(), r.Text(); !a || b || c != "four" || d != "" {
		t.Error(a, b, c, d)
	}
	if a, b, c := r.Bytes(), r.UUID(), r.Inc(); !bytes.Equal(a, []byte{5}) || b != (ident.UUID{6}) || c != inc {
		t.Error(a, b, c)
	}
	if n := r.Count(1); n != 2 || r.OneOf("thing", 8) != 8 || r.U8() != 9 || r.End() != nil {
		t.Error(n, r.End())
	}
}

// The first thing that is wrong is what End says, and nothing after it panics.
func TestRefusals(t *testing.T) {
	for name, c := range map[string]struct {
		in   []byte
		read func(*wire.Reader)
		want error
	}{
		"short":       {[]byte{1, 2, 3}, func(r *wire.Reader) { r.U32(); r.UUID(); r.Inc(); _ = r.Text() }, wire.ErrLength},
		"long":        {[]byte{1, 2}, func(r *wire.Reader) { r.U8() }, wire.ErrLength},
		"lying list":  {[]byte{255, 255, 255, 255, 0}, func(r *wire.Reader) { r.Count(16) }, wire.ErrLength},
		"lying text":  {[]byte{2, 0, 0, 0, 'a'}, func(r *wire.Reader) { _ = r.Text() }, wire.ErrLength},
		"no bool":     {[]byte{2}, func(r *wire.Reader) { r.Bool() }, wire.ErrValue},
		"no such one": {[]byte{3, 3}, func(r *wire.Reader) { r.OneOf("thing", 2); r.U64() }, wire.ErrValue},
	} {
		r := wire.NewReader(c.in)
		c.read(r)
		if err := r.End(); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
}

// Whatever the bytes are and in whatever order they are read, a Reader returns
// and gives no more than was there.
func FuzzReader(f *testing.F) {
	f.Add([]byte{2, 0, 0, 0, 'a', 'b', 1, 0}, []byte{6, 4, 0})
	f.Fuzz(func(t *testing.T, in, script []byte) {
		r, got := wire.NewReader(in), 0
		for _, op := range script {
			switch op % 9 {
			case 0:
				r.U8()
			case 1:
				r.U32()
			case 2:
				r.I64()
			case 3:
				r.UUID()
			case 4:
				r.Bool()
			case 5:
				got += r.Count(1)
			case 6:
				got += len(r.Text())
			case 7:
				got += len(r.Bytes())
			case 8:
				r.Inc()
			}
		}
		if got > len(in)*len(script) {
			t.Errorf("%d bytes out of %d", got, len(in))
		}
		_ = r.End()
	})
}
