package live

import (
	"bytes"
	"strings"
	"testing"
)

// TestShow: the screen is cleared once and for another window, each frame is written
// in one piece over the one before, and none scrolls.
func TestShow(t *testing.T) {
	t.Parallel()
	var out pieces
	size := Size{Columns: 20, Rows: 3}
	s := New(&out)
	s.size = func() Size { return size }
	for _, frame := range []string{"one\ntwo\n", "one\nthree\n", "1\n2\n3\n4\n5\n"} {
		if err := s.Show(frame); err != nil {
			t.Fatal(err)
		}
	}
	size.Rows = 9
	if err := s.Show("1\n2\n3\n4\n5\n"); err != nil {
		t.Fatal(err)
	}
	if err := s.End(); err != nil {
		t.Fatal(err)
	}
	want := []string{
		home + erase + noWrap + "one\x1b[K\r\ntwo\x1b[K\x1b[J" + wrap,
		home + noWrap + "one\x1b[K\r\nthree\x1b[K\x1b[J" + wrap,
		home + noWrap + "1\x1b[K\r\n2\x1b[K\r\n(3 lines more: make the window higher)\x1b[K\x1b[J" + wrap,
		home + erase + noWrap + "1\x1b[K\r\n2\x1b[K\r\n3\x1b[K\r\n4\x1b[K\r\n5\x1b[K\x1b[J" + wrap,
		"\r\n",
	}
	if len(out.list) != len(want) {
		t.Fatalf("%q", out.list)
	}
	for i := range want {
		if out.list[i] != want[i] {
			t.Errorf("%d: %q, want %q", i, out.list[i], want[i])
		}
	}
}

// pieces keeps every Write by itself.
type pieces struct{ list []string }

// Write implements io.Writer.
func (p *pieces) Write(b []byte) (int, error) {
	p.list = append(p.list, string(b))
	return len(b), nil
}

// Terminal says that a person looks on.
func (p *pieces) Terminal() bool { return true }

func TestColour(t *testing.T) {
	for _, c := range []struct {
		to        any
		none, tty string
		want      bool
	}{{&pieces{}, "", "xterm", true}, {&pieces{}, "1", "xterm", false}, {&pieces{}, "", "dumb", false}, {&bytes.Buffer{}, "", "xterm", false}} {
		t.Setenv("NO_COLOR", c.none)
		t.Setenv("TERM", c.tty)
		var got bool
		switch w := c.to.(type) {
		case *pieces:
			got = Colour(w)
		case *bytes.Buffer:
			got = Colour(w)
		}
		if got != c.want {
			t.Errorf("%T, NO_COLOR=%q, TERM=%s: %t", c.to, c.none, c.tty, got)
		}
	}
	if s := SizeOf(&strings.Builder{}); s != (Size{}) {
		t.Errorf("%+v", s)
	}
}
