// Package live shows a text that changes on a terminal, again and again at the same
// place, without flicker: a frame is written over the one before it in one piece, line
// by line, and only what is left over of that is erased. The screen is cleared as a
// whole once, before the first frame, and when the window has another size.
package live

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/holdfast-ha/holdfast/internal/ctl/shell"
)

// Size is that of a terminal's window, in characters.
type Size struct{ Columns, Rows int }

// SizeOf asks the terminal; the zero Size where there is none, or it does not know.
func SizeOf(w io.Writer) Size {
	f, ok := w.(*os.File)
	if !ok {
		return Size{}
	}
	ws, err := unix.IoctlGetWinsize(int(f.Fd()), unix.TIOCGWINSZ)
	if err != nil {
		return Size{}
	}
	return Size{Columns: int(ws.Col), Rows: int(ws.Row)}
}

// Colour says whether words may be coloured: a person looks on, and has not said that
// he wants none (https://no-color.org), nor has a terminal without colours.
func Colour(w io.Writer) bool {
	return shell.IsTerminal(w) && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"
}

// The sequences of ECMA-48 that a frame is made of.
const (
	home      = "\033[H"  // cursor to the first place
	erase     = "\033[2J" // the whole screen
	eraseLine = "\033[K"  // from the cursor to the end of the line
	eraseRest = "\033[J"  // from the cursor to the end of the screen
	noWrap    = "\033[?7l"
	wrap      = "\033[?7h"
)

// Screen shows frames.
type Screen struct {
	out  io.Writer
	size func() Size
	last Size
	any  bool
}

// New makes a screen of a terminal.
func New(out io.Writer) *Screen {
	return &Screen{out: out, size: func() Size { return SizeOf(out) }}
}

// Show shows a frame in place of the one before. Of one that is higher than the window
// it shows the beginning, and how much is missing; a line that is longer ends at the
// edge.
func (s *Screen) Show(frame string) error {
	size := s.size()
	lines := strings.Split(strings.TrimRight(frame, "\n"), "\n")
	if size.Rows > 1 && len(lines) > size.Rows {
		more := len(lines) - size.Rows + 1
		lines = append(lines[:size.Rows-1:size.Rows-1], fmt.Sprintf("(%d lines more: make the window higher)", more))
	}
	var b bytes.Buffer
	b.WriteString(home)
	if !s.any || size != s.last {
		b.WriteString(erase)
	}
	s.any, s.last = true, size
	b.WriteString(noWrap)
	for i, line := range lines {
		if i > 0 {
			b.WriteString("\r\n")
		}
		b.WriteString(line + eraseLine)
	}
	b.WriteString(eraseRest + wrap)
	_, err := s.out.Write(b.Bytes())
	return err
}

// End leaves the last frame where it is, and the cursor below it.
func (s *Screen) End() error {
	if !s.any {
		return nil
	}
	_, err := io.WriteString(s.out, "\r\n")
	return err
}
