// Package screen draws what the holdfast command shows to people, for a terminal
// of 80 columns. It is pure: values in, text out; the clock stands in the values.
package screen

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"
	"unicode/utf8"

	"github.com/holdfast-ha/holdfast/internal/api"
)

// Width is what a line keeps to, so that it fits any terminal.
const Width = 80

// Table aligns columns. Done must be called.
type Table struct {
	out  io.Writer
	rows *bytes.Buffer
	w    *tabwriter.Writer
	fit  bool // lines are cut to Width
}

// NewTable begins a table.
func NewTable(out io.Writer) Table {
	var b bytes.Buffer
	return Table{out: out, rows: &b, w: tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)}
}

// Row adds a row.
func (t Table) Row(cells ...string) { fmt.Fprintln(t.w, strings.Join(cells, "\t")) }

// Done writes the table, without blanks at the ends of its lines.
func (t Table) Done() {
	_ = t.w.Flush() // a buffer takes everything
	for line := range strings.Lines(t.rows.String()) {
		line = strings.TrimRight(line, " \n")
		if t.fit {
			line = Clip(line, Width)
		}
		fmt.Fprintln(t.out, line)
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
func Wrap(text string, room int, indent string) string {
	var b strings.Builder
	for i, word := range strings.Fields(text) {
		n := utf8.RuneCountInString(word)
		switch {
		case i == 0:
		case room < 1+n:
			b.WriteString("\n" + indent)
			room = Width - len(indent)
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
