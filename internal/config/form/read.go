package form

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

// Value is one value of a file that has the right shape, with its place. Which
// of the fields holds it follows from the shape.
type Value struct {
	Node  ast.Node
	Shape *Shape
	Text  string
	Num   int64
	Truth bool
	Span  time.Duration
	List  []*Value
	Keys  []Entry // object and table, in the order of the file
	Wrong bool    // something in it was refused already
}

// Entry is one key of an object or a table, with its value.
type Entry struct {
	Name string
	Node ast.Node // the key itself
	*Value
}

// Get returns the value of a key, nil if it is not there. A nil value has no keys.
func (v *Value) Get(name string) *Value {
	if v == nil {
		return nil
	}
	for _, e := range v.Keys {
		if e.Name == name {
			return e.Value
		}
	}
	return nil
}

// Str is the text of a key, "" if it is not there.
func (v *Value) Str(name string) string {
	if g := v.Get(name); g != nil {
		return g.Text
	}
	return ""
}

// Yes is the truth of a key, false if it is not there.
func (v *Value) Yes(name string) bool {
	g := v.Get(name)
	return g != nil && g.Truth
}

// Dur is the duration of a key, 0 if it is not there.
func (v *Value) Dur(name string) time.Duration {
	if g := v.Get(name); g != nil {
		return g.Span
	}
	return 0
}

// Items are the items of a list, nil if it is not there.
func (v *Value) Items(name string) []*Value {
	if g := v.Get(name); g != nil {
		return g.List
	}
	return nil
}

// Texts are the texts of a list, nil if it is not there.
func (v *Value) Texts(name string) []string {
	var out []string
	for _, e := range v.Items(name) {
		out = append(out, e.Text)
	}
	return out
}

// IsText says whether it is a text, where its shape accepts other forms as well.
func (v *Value) IsText() bool { return v.Shape.form == text }

// IsObject says whether it is an object, where its shape accepts other forms too.
func (v *Value) IsObject() bool { return v.Shape.form == object }

// Plain is the value as encoding/json writes it: maps, lists, texts, whole
// numbers and truths; a duration is a text in its shortest form.
func (v *Value) Plain() any {
	switch v.Shape.form {
	case object, table:
		m := map[string]any{}
		for _, e := range v.Keys {
			m[e.Name] = e.Value.Plain()
		}
		return m
	case list:
		l := []any{}
		for _, e := range v.List {
			l = append(l, e.Plain())
		}
		return l
	case number:
		return v.Num
	case truth:
		return v.Truth
	case span:
		return short(v.Span)
	}
	return v.Text
}

// Reader reads one file and collects what is wrong with it.
type Reader struct {
	file     string
	lines    []string
	problems Problems
}

// Read parses src and matches it against s. The value is nil only if the file
// is no YAML at all; otherwise it holds what was right.
func Read(file string, src []byte, s *Shape) (*Reader, *Value) {
	r := &Reader{file: file, lines: strings.Split(strings.ReplaceAll(string(src), "\r\n", "\n"), "\n")}
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
			r.Add(second, "a second document in one file", "remove the line with --- and what follows")
		}
		return r, nil
	}
	if len(f.Docs) == 0 || f.Docs[0].Body == nil {
		r.at(1, 1, 1, "the file is empty", "it must begin with "+strings.Join(s.known(), ":, ")+":")
		return r, nil
	}
	return r, r.Value(f.Docs[0].Body, s, "the file")
}

// readable refuses what the parser should not even see.
func (r *Reader) readable(src []byte) bool {
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

func (r *Reader) syntax(err error) {
	var e yaml.Error
	if !errors.As(err, &e) || e.GetToken() == nil || e.GetToken().Position == nil {
		r.at(1, 1, 1, "not YAML: "+err.Error(), "")
		return
	}
	t := e.GetToken()
	r.at(t.Position.Line, t.Position.Column, width(t), "not YAML: "+e.GetMessage(), "")
}

// at records a problem at a place.
func (r *Reader) at(line, column, width int, what, remedy string) {
	line = min(max(line, 1), len(r.lines))
	p := &Problem{File: r.file, Line: line, Column: column, What: what, Remedy: remedy, source: r.lines[line-1], width: width}
	p.clip()
	r.problems = append(r.problems, p)
}

// Add records a problem at a node.
func (r *Reader) Add(n ast.Node, what, remedy string) {
	t := first(n)
	if t == nil || t.Position == nil {
		r.at(1, 1, 1, what, remedy)
		return
	}
	r.at(t.Position.Line, t.Position.Column, width(t), what, remedy)
}

// Err returns the problems in the order of the file, nil if there are none.
func (r *Reader) Err() error {
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

// first is the token that a person sees first of a Node: for a block mapping,
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
