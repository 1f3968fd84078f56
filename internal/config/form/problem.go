package form

import (
	"fmt"
	"regexp"
	"strings"
	"unicode/utf8"
)

// Problem is one thing that is wrong in a file.
type Problem struct {
	File         string
	Line, Column int    // from 1, the column in characters
	What         string // what is wrong, on what
	Remedy       string // what to do; may be empty
	source       string // the whole line
	width        int    // characters to mark
}

// Error is the place, what is wrong, the line with the place marked, and the
// remedy, on three lines.
func (p *Problem) Error() string {
	number := fmt.Sprint(p.Line)
	blank := strings.Repeat(" ", len(number))
	var s strings.Builder
	fmt.Fprintf(&s, "%s:%d:%d: %s\n", p.File, p.Line, p.Column, masked(p.What))
	fmt.Fprintf(&s, "%s| %s\n", number, strings.ReplaceAll(masked(p.source), "\t", " "))
	fmt.Fprintf(&s, "%s| %s%s", blank, strings.Repeat(" ", p.Column-1), strings.Repeat("~", p.width))
	if p.Remedy != "" {
		s.WriteString(" " + p.Remedy)
	}
	return s.String()
}

// masked gives a line with stars in place of what may be a password: problems are
// shown on screens and written to logs.
func masked(line string) string {
	stars := func(s string) string { return strings.Repeat("*", utf8.RuneCountInString(s)) }
	option := regexp.MustCompile(`(?i)((?:passwd|password|secret|secret_key|community|apikey|token)["']?\s*[:=]\s*)("[^"]*"|'[^']*'|[^\s,}&]+)`)
	line = option.ReplaceAllStringFunc(line, func(s string) string {
		parts := option.FindStringSubmatch(s)
		return parts[1] + stars(parts[2])
	})
	user := regexp.MustCompile(`(://[^:/@\s"']*:)(\S+)(@)`)
	return user.ReplaceAllStringFunc(line, func(s string) string {
		parts := user.FindStringSubmatch(s)
		return parts[1] + stars(parts[2]) + parts[3]
	})
}

// Problems are all the problems of a file, in the order of its lines. It is the
// error that reading a file returns.
type Problems []*Problem

// Error lists the problems, with a blank line between two.
func (p Problems) Error() string {
	const most = 25
	var parts []string
	for i, one := range p {
		if i == most {
			parts = append(parts, fmt.Sprintf("and %d more", len(p)-most))
			break
		}
		parts = append(parts, one.Error())
	}
	return strings.Join(parts, "\n\n")
}

// Unwrap gives errors.As the single problems.
func (p Problems) Unwrap() []error {
	list := make([]error, len(p))
	for i, one := range p {
		list[i] = one
	}
	return list
}

// clip fits the mark into the line it stands on.
func (p *Problem) clip() {
	length := utf8.RuneCountInString(p.source)
	p.Column = min(max(p.Column, 1), length+1)
	p.width = max(1, min(p.width, length-p.Column+1))
}

// nearest returns the name that a person most likely meant, or "".
func nearest(typed string, names []string) string {
	best, least := "", 1+max(2, utf8.RuneCountInString(typed)/3)
	for _, n := range names {
		if d := distance(fold(typed), fold(n)); d < least && d < len(n) {
			best, least = n, d
		}
	}
	return best
}

// fold makes alike what people mix up.
func fold(s string) string { return strings.ReplaceAll(strings.ToLower(s), "-", "_") }

// distance is Levenshtein's: how many characters to insert, remove or replace.
// (V. I. Levenshtein, 1965; the two-row form of Wagner and Fischer, 1974.)
func distance(a, b string) int {
	x, y := []rune(a), []rune(b)
	if len(x) > 64 || len(y) > 64 {
		return 1 << 10 // no name is that long
	}
	row := make([]int, len(y)+1)
	for j := range row {
		row[j] = j
	}
	for i := range x {
		diagonal := row[0]
		row[0] = i + 1
		for j := range y {
			replace := diagonal
			if x[i] != y[j] {
				replace++
			}
			diagonal = row[j+1]
			row[j+1] = min(replace, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(y)]
}

// Suggest is the remedy for a name that is not one of names.
func Suggest(typed string, names []string) string {
	if n := nearest(typed, names); n != "" {
		return "did you mean " + n + "?"
	}
	if len(names) == 0 {
		return ""
	}
	return "known: " + strings.Join(names, ", ")
}
