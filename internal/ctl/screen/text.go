// Package screen draws what the holdfast command shows to people, for a terminal
// of 80 columns. It is pure: values in, text out; the clock stands in the values.
package screen

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/holdfast-ha/holdfast/internal/api"
)

// Width is what a line keeps to, so that it fits any terminal.
const Width = 80

// Table aligns columns. Done must be called.
type Table struct {
	out  io.Writer
	rows *[][]string
	fit  int // lines are cut to so many columns; 0: they are not
}

// NewTable begins a table.
func NewTable(out io.Writer) Table { return Table{out: out, rows: &[][]string{}} }

// Row adds a row.
func (t Table) Row(cells ...string) { *t.rows = append(*t.rows, cells) }

// gap is how far apart columns are.
const gap = 2

// Done writes the table, without blanks at the ends of its lines. The last cell of a
// row makes no column wider.
func (t Table) Done() {
	var widths []int
	for _, row := range *t.rows {
		for i, cell := range row[:max(0, len(row)-1)] {
			if i == len(widths) {
				widths = append(widths, 0)
			}
			widths[i] = max(widths[i], width(cell))
		}
	}
	for _, row := range *t.rows {
		var line strings.Builder
		for i, cell := range row {
			line.WriteString(cell)
			if i < len(row)-1 {
				line.WriteString(strings.Repeat(" ", widths[i]-width(cell)+gap))
			}
		}
		text := strings.TrimRight(line.String(), " \n")
		if t.fit > 0 {
			text = strings.TrimRight(cut(text, t.fit), " ")
		}
		fmt.Fprintln(t.out, text)
	}
}

// Seconds writes a duration as people read it: three digits that count, and
// minutes, hours or days where seconds say nothing any more.
func Seconds(d time.Duration) string {
	switch {
	case d < 0:
		return "never"
	case d == 0:
		return "0 s"
	case d < time.Millisecond:
		return fmt.Sprintf("%d us", d.Microseconds())
	case d < time.Second:
		return fmt.Sprintf("%d ms", d.Milliseconds())
	case d < 100*time.Second:
		return strings.TrimSuffix(fmt.Sprintf("%.1f", d.Seconds()), ".0") + " s"
	case d < 10*time.Minute:
		return fmt.Sprintf("%.0f s", d.Seconds())
	case d < 2*time.Hour:
		return fmt.Sprintf("%d min", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%d h", int(d.Hours()))
	}
	return fmt.Sprintf("%d days", int(d.Hours()/24))
}

// Size writes bytes in MiB, or smaller units where that is nothing.
func Size(n int64) string {
	switch {
	case n >= 1<<20:
		return fmt.Sprintf("%d MiB", n>>20)
	case n >= 1<<10:
		return fmt.Sprintf("%d KiB", n>>10)
	}
	return fmt.Sprintf("%d bytes", n)
}

// Wrap breaks text into lines that end by column Width: the first has room for so
// many characters, the others begin with indent.
func Wrap(text string, room int, indent string) string { return wrap(text, room, Width, indent) }

// wrap is Wrap for lines that end by another column.
func wrap(text string, room, columns int, indent string) string {
	var b strings.Builder
	for i, word := range strings.Fields(text) {
		n := width(word)
		switch {
		case i == 0:
		case room < 1+n:
			b.WriteString("\n" + indent)
			room = columns - len(indent)
		default:
			b.WriteByte(' ')
			room--
		}
		b.WriteString(word)
		room -= n
	}
	return b.String()
}

// Plural is "1 node" or "3 nodes".
func Plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// Result is the line that says what was committed; word stands for an answer that
// says nothing itself.
func Result(r *api.Result, word string) string {
	text := r.Text
	if text == "" {
		text = word
	}
	if r.State > 0 {
		text += fmt.Sprintf(" (state %d)", r.State)
	}
	return text
}
