package form

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/goccy/go-yaml/ast"
)

// Value matches a node against a shape; where names it in messages. It returns
// nil after it has recorded why the node does not match.
func (r *Reader) Value(n ast.Node, s *Shape, where string) *Value {
	switch n.(type) {
	case *ast.AnchorNode, *ast.AliasNode, *ast.TagNode:
		r.Add(n, where+": anchors, aliases and tags are not used here", "write the value itself")
		return nil
	}
	got, ok := formOf(n)
	for s.Or != nil && !(ok && s.fits(got)) {
		s = s.Or
	}
	switch {
	case s.form == span && got == number && ok:
		r.Add(n, where+": a duration without its unit", fmt.Sprintf("write %ss, or %sms", n.GetToken().Value, n.GetToken().Value))
		return nil
	case s.form == text && ok && !s.fits(got) && (got == number || got == truth):
		r.Add(n, fmt.Sprintf("%s: want text, have %s", where, Shape{form: got}.describe()), "put it in quotes: "+strconv.Quote(n.GetToken().Value))
		return nil
	case !ok && s.empty: // nothing stands behind the colon
		return &Value{Node: n, Shape: s}
	case !ok:
		r.Add(n, where+": nothing is written here", "want "+s.describe())
		return nil
	case !s.fits(got):
		r.Add(n, fmt.Sprintf("%s: want %s, have %s", where, s.describe(), Shape{form: got}.describe()), s.hint())
		return nil
	}
	v := &Value{Node: n, Shape: s}
	if !r.fill(v, n, where) {
		return nil
	}
	return v
}

func (s Shape) hint() string {
	switch {
	case s.form == list:
		return "write [a, b], or one line with a dash for each"
	case len(s.enum) > 0:
		return "known: " + fmt.Sprint(s.enum)
	}
	return ""
}

// formOf tells what a node is; false: nothing, or nothing that is used here.
func formOf(n ast.Node) (form, bool) {
	switch n.(type) {
	case *ast.MappingNode, *ast.MappingValueNode:
		return object, true
	case *ast.SequenceNode:
		return list, true
	case *ast.StringNode, *ast.LiteralNode:
		return text, true
	case *ast.IntegerNode, *ast.FloatNode, *ast.InfinityNode, *ast.NanNode:
		return number, true
	case *ast.BoolNode:
		return truth, true
	}
	return text, false
}

func (s Shape) fits(got form) bool {
	switch s.form {
	case table:
		return got == object
	case span:
		return got == text
	case text:
		return got == text || s.raw && (got == number || got == truth)
	}
	return got == s.form
}

func (r *Reader) fill(v *Value, n ast.Node, where string) bool {
	switch v.Shape.form {
	case object, table:
		return r.mapping(v, entries(n), where)
	case list:
		return r.sequence(v, n.(*ast.SequenceNode), where)
	case number:
		return r.number(v, n, where)
	case truth:
		v.Truth = n.(*ast.BoolNode).Value
		return true
	case span:
		return r.span(v, n, where)
	default:
		return r.text(v, n, where)
	}
}

func entries(n ast.Node) []*ast.MappingValueNode {
	if m, ok := n.(*ast.MappingNode); ok {
		return m.Values
	}
	return []*ast.MappingValueNode{n.(*ast.MappingValueNode)}
}

// mapping reads all keys, so that all that is wrong is said at once.
func (r *Reader) mapping(v *Value, nodes []*ast.MappingValueNode, where string) bool {
	before := len(r.problems)
	seen := map[string]int{}
	for _, m := range nodes {
		name, ok := r.name(m.Key, where)
		if !ok {
			continue
		}
		if line, again := seen[name]; again {
			r.Add(m.Key, fmt.Sprintf("%s: %q is written twice", where, name), fmt.Sprintf("the first is on line %d", line))
			continue
		}
		seen[name] = m.Key.GetToken().Position.Line
		s := r.shapeOf(v.Shape, m.Key, name, where)
		if s == nil {
			continue
		}
		if one := r.Value(m.Value, s, below(where, name)); one != nil {
			v.Keys = append(v.Keys, Entry{Name: name, Node: m.Key, Value: one})
		}
	}
	for _, k := range v.Shape.Keys {
		if _, there := seen[k.name]; k.must && !there {
			r.Add(v.Node, fmt.Sprintf("%s: %q is missing", where, k.name), fmt.Sprintf("add %s: %s", k.name, k.shape.sample()))
		}
	}
	if len(nodes) == 0 && v.Shape.form == table && !v.Shape.empty {
		r.Add(v.Node, where+": is empty", "")
	}
	v.Wrong = len(r.problems) > before
	return !v.Wrong || len(v.Keys) > 0
}

func (s Shape) sample() string {
	switch {
	case s.example != "":
		return s.example
	case len(s.enum) > 0:
		return s.enum[0]
	}
	return "(" + s.describe() + ")"
}

func below(where, name string) string {
	if where == "the file" {
		return name
	}
	return where + "." + name
}

// name reads a key, which must be plain text.
func (r *Reader) name(k ast.MapKeyNode, where string) (string, bool) {
	switch k := k.(type) {
	case *ast.StringNode:
		return k.Value, true
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode:
		r.Add(k, fmt.Sprintf("%s: the key %s is not text", where, k.GetToken().Value), "put it in quotes: "+strconv.Quote(k.GetToken().Value))
	default:
		r.Add(k, where+": merge keys and keys that are not plain text are not used here", "write the keys themselves")
	}
	return "", false
}

// shapeOf is the shape of a key's value, nil after the key was refused.
func (r *Reader) shapeOf(s *Shape, k ast.MapKeyNode, name, where string) *Shape {
	if s.form == table {
		if s.names != nil {
			if wrong := s.names(name); wrong != "" {
				r.Add(k, fmt.Sprintf("%s: the name %q %s", where, name, wrong), "")
			}
		}
		return s.elem
	}
	found := s.key(name)
	if found == nil {
		r.Add(k, fmt.Sprintf("%s: unknown key %q", where, name), Suggest(name, s.known()))
		return nil
	}
	return &found.shape
}

func (r *Reader) sequence(v *Value, n *ast.SequenceNode, where string) bool {
	if len(n.Values) == 0 && !v.Shape.empty {
		r.Add(n, where+": the list is empty", "")
		return false
	}
	seen := map[string]int{}
	for i, e := range n.Values {
		one := r.Value(e, v.Shape.elem, fmt.Sprintf("%s[%d]", where, i+1))
		if one == nil {
			continue
		}
		if one.Shape.form == text && !v.Shape.elem.raw {
			if line, again := seen[one.Text]; again {
				r.Add(e, fmt.Sprintf("%s: %q is written twice", where, one.Text), fmt.Sprintf("the first is on line %d", line))
				continue
			}
			seen[one.Text] = first(e).Position.Line
		}
		v.List = append(v.List, one)
	}
	return true
}

func (r *Reader) number(v *Value, n ast.Node, where string) bool {
	i, ok := n.(*ast.IntegerNode)
	wide, fit := int64(0), false
	if ok {
		switch x := i.Value.(type) {
		case int64:
			wide, fit = x, true
		case uint64:
			wide, fit = int64(x), x < 1<<63
		}
	}
	if !fit || wide < v.Shape.least || v.Shape.most != 0 && wide > v.Shape.most {
		r.Add(n, fmt.Sprintf("%s: %s is not a whole number from %d to %d", where, n.GetToken().Value, v.Shape.least, v.Shape.most), "")
		return false
	}
	v.Num = wide
	return true
}

func (r *Reader) span(v *Value, n ast.Node, where string) bool {
	written := textOfNode(n)
	d, err := time.ParseDuration(written)
	if err != nil {
		r.Add(n, fmt.Sprintf("%s: %q is not a duration", where, written), "write a number and its unit, such as 500ms, 10s, 15m, 1h30m")
		return false
	}
	if int64(d) < v.Shape.least || v.Shape.most != 0 && int64(d) > v.Shape.most {
		limit := "at least " + short(time.Duration(v.Shape.least))
		if v.Shape.most != 0 {
			limit = fmt.Sprintf("from %s to %s", short(time.Duration(v.Shape.least)), short(time.Duration(v.Shape.most)))
		}
		r.Add(n, fmt.Sprintf("%s: %s is out of range", where, written), "must be "+limit)
		return false
	}
	v.Span = d
	return true
}

func (r *Reader) text(v *Value, n ast.Node, where string) bool {
	v.Text = textOfNode(n)
	switch {
	case v.Text == "" && !v.Shape.raw:
		r.Add(n, where+": the text is empty", "want "+v.Shape.describe())
		return false
	case len(v.Shape.enum) > 0 && !slices.Contains(v.Shape.enum, v.Text):
		r.Add(n, fmt.Sprintf("%s: %q is none of the values it may have", where, v.Text), Suggest(v.Text, v.Shape.enum))
		return false
	case !v.Shape.raw && !printable(v.Text):
		r.Add(n, where+": the text has characters that nobody can see", "write it on one line, without control characters")
		return false
	}
	if v.Shape.check != nil {
		if wrong := v.Shape.check(v.Text); wrong != "" {
			r.Add(n, fmt.Sprintf("%s: %q %s", where, v.Text, wrong), "want "+v.Shape.describe())
			return false
		}
	}
	return true
}

// short writes a duration as a person would: 1h instead of 1h0m0s.
func short(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

func printable(s string) bool {
	for _, c := range s {
		if c < ' ' || c == 0x7f || c == utf8.RuneError {
			return false
		}
	}
	return true
}

func textOfNode(n ast.Node) string {
	switch n := n.(type) {
	case *ast.StringNode:
		return n.Value
	case *ast.LiteralNode:
		return n.Value.Value
	}
	return n.GetToken().Value
}
