package config

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

const (
	mostSource = 1 << 20 // bytes: a thousand services of five members take half of it; a register body has 128 KiB, compressed
	mostDepth  = 40      // nested brackets, or dashes on one line
)

// value is one value of a file that has the right shape, with its place.
type value struct {
	node  ast.Node
	shape *shape
	text  string
	num   int64
	truth bool
	span  time.Duration
	list  []*value
	keys  []entry // object and table, in the order of the file
	wrong bool    // something in it was refused already
}

type entry struct {
	name string
	node ast.Node
	*value
}

// get returns the value of a key, nil if it is not there. A nil value has no keys.
func (v *value) get(name string) *value {
	if v == nil {
		return nil
	}
	for _, e := range v.keys {
		if e.name == name {
			return e.value
		}
	}
	return nil
}

// str is the text of a key, "" if it is not there.
func (v *value) str(name string) string {
	if g := v.get(name); g != nil {
		return g.text
	}
	return ""
}

// yes is the truth of a key, false if it is not there.
func (v *value) yes(name string) bool {
	g := v.get(name)
	return g != nil && g.truth
}

// dur is the duration of a key, 0 if it is not there.
func (v *value) dur(name string) time.Duration {
	if g := v.get(name); g != nil {
		return g.span
	}
	return 0
}

// items are the items of a list, nil if it is not there.
func (v *value) items(name string) []*value {
	if g := v.get(name); g != nil {
		return g.list
	}
	return nil
}

// texts are the texts of a list, nil if it is not there.
func (v *value) texts(name string) []string {
	var out []string
	for _, e := range v.items(name) {
		out = append(out, e.text)
	}
	return out
}

// reader reads one file and collects what is wrong with it.
type reader struct {
	file     string
	lines    []string
	problems Problems
}

// read parses src and matches it against s. The value is nil only if the file
// is no YAML at all; otherwise it holds what was right.
func read(file string, src []byte, s *shape) (*reader, *value) {
	r := &reader{file: file, lines: strings.Split(strings.ReplaceAll(string(src), "\r\n", "\n"), "\n")}
	if !r.readable(src) {
		return r, nil
	}
	f, err := parser.ParseBytes(src, 0, parser.AllowDuplicateMapKey())
	if err != nil {
		r.syntax(err)
		return r, nil
	}
	if len(f.Docs) > 1 {
		second := f.Docs[1].Body
		if second == nil {
			r.at(len(r.lines), 1, 1, "a second document in one file", "remove the line with ---")
		} else {
			r.add(second, "a second document in one file", "remove the line with --- and what follows")
		}
		return r, nil
	}
	if len(f.Docs) == 0 || f.Docs[0].Body == nil {
		r.at(1, 1, 1, "the file is empty", "it must begin with "+strings.Join(s.known(), ":, ")+":")
		return r, nil
	}
	return r, r.value(f.Docs[0].Body, s, "the file")
}

// readable refuses what the parser should not even see.
func (r *reader) readable(src []byte) bool {
	if len(src) > mostSource {
		r.at(1, 1, 1, fmt.Sprintf("the file has %d bytes, more than %d", len(src), mostSource), "")
		return false
	}
	if !utf8.Valid(src) || bytes.ContainsAny(src, "\x00\ufeff") {
		r.at(1, 1, 1, "the file is not plain UTF-8 text", "save it as UTF-8, without a byte order mark")
		return false
	}
	depth := 0
	for i, line := range r.lines {
		for _, c := range line {
			switch c {
			case '[', '{':
				depth++
			case ']', '}':
				depth = max(0, depth-1)
			}
		}
		if depth > mostDepth || strings.Count(line, "- ") > mostDepth || strings.Count(line, "? ") > mostDepth {
			r.at(i+1, 1, len(line), "too deeply nested", "")
			return false
		}
	}
	return true
}

func (r *reader) syntax(err error) {
	var e yaml.Error
	if !errors.As(err, &e) || e.GetToken() == nil || e.GetToken().Position == nil {
		r.at(1, 1, 1, "not YAML: "+err.Error(), "")
		return
	}
	t := e.GetToken()
	r.at(t.Position.Line, t.Position.Column, width(t), "not YAML: "+e.GetMessage(), "")
}

// at records a problem at a place.
func (r *reader) at(line, column, width int, what, remedy string) {
	line = min(max(line, 1), len(r.lines))
	p := &Problem{File: r.file, Line: line, Column: column, What: what, Remedy: remedy, source: r.lines[line-1], width: width}
	p.clip()
	r.problems = append(r.problems, p)
}

// add records a problem at a node.
func (r *reader) add(n ast.Node, what, remedy string) {
	t := first(n)
	if t == nil || t.Position == nil {
		r.at(1, 1, 1, what, remedy)
		return
	}
	r.at(t.Position.Line, t.Position.Column, width(t), what, remedy)
}

// err returns the problems in the order of the file, nil if there are none.
func (r *reader) err() error {
	if len(r.problems) == 0 {
		return nil
	}
	slices.SortStableFunc(r.problems, func(a, b *Problem) int {
		if a.Line != b.Line {
			return a.Line - b.Line
		}
		return a.Column - b.Column
	})
	return r.problems
}

// first is the token that a person sees first of a node: for a block mapping,
// whose own token is a colon, the first key.
func first(n ast.Node) *token.Token {
	switch n := n.(type) {
	case *ast.MappingNode:
		if !n.IsFlowStyle && len(n.Values) > 0 {
			return first(n.Values[0])
		}
	case *ast.MappingValueNode:
		return n.Key.GetToken()
	}
	return n.GetToken()
}

// width is how many characters of its line a token takes.
func width(t *token.Token) int {
	origin, _, _ := strings.Cut(strings.TrimSpace(t.Origin), "\n")
	return utf8.RuneCountInString(origin)
}
