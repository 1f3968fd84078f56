package screen

import (
	"io"
	"strings"
)

// Style is how a word stands out on a terminal. It is a rune that stands before the
// word in a text that is not finished yet, with plain behind it: so tables and line
// breaks are made without knowing whether there will be colours.
type Style rune

// The styles. No text from elsewhere holds these: control characters are taken out
// of it.
const (
	plain Style = '\x01'
	good  Style = '\x02'
	heed  Style = '\x03' // yellow: something goes on, or is not as it should be
	bad   Style = '\x04' // red: somebody should do something
	head  Style = '\x05' // bold
)

// in puts a text in a style; an empty one stays empty.
func in(s Style, text string) string {
	if text == "" {
		return ""
	}
	return string(rune(s)) + text + string(rune(plain))
}

// sgr is ECMA-48's Select Graphic Rendition of a style: of the eight colours alone,
// which every terminal has and lets its owner choose.
func (s Style) sgr() string {
	return map[Style]string{plain: "\033[0m", good: "\033[32m", heed: "\033[33m", bad: "\033[1;31m", head: "\033[1m"}[s]
}

// control is a character that does something to a terminal instead of being shown.
func control(r rune) bool { return r < ' ' || r >= 0x7f && r < 0xa0 }

// clean takes control characters out of a text from elsewhere, so that nothing in it
// moves the cursor.
func clean(text string) string {
	return strings.Map(func(r rune) rune {
		if control(r) {
			return ' '
		}
		return r
	}, text)
}

// width is how many columns a text takes.
func width(text string) int {
	n := 0
	for _, r := range text {
		if !control(r) {
			n++
		}
	}
	return n
}

// cut is a text cut to so many columns, with its styles.
func cut(text string, most int) string {
	if width(text) <= most {
		return text
	}
	var b strings.Builder
	n := 0
	for _, r := range text {
		switch {
		case control(r):
			b.WriteRune(r)
		case n < most-1:
			b.WriteRune(r)
			n++
		case n == most-1:
			b.WriteByte('~')
			n++
		}
	}
	return b.String()
}

// paint writes a finished text, with the styles as colours or without them. No
// colour reaches over the end of a line, so that whoever shows only some of the
// lines shows them as they are.
func paint(w io.Writer, text string, colour bool) error {
	var b strings.Builder
	now := plain
	set := func(s Style) {
		if colour && s != now {
			b.WriteString(s.sgr())
		}
		now = s
	}
	for _, r := range text {
		switch {
		case r == '\n':
			was := now
			set(plain)
			b.WriteByte('\n')
			set(was)
		case control(r):
			set(Style(r))
		default:
			b.WriteRune(r)
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}
