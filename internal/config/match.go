package config

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/goccy/go-yaml/ast"
)

// value matches a node against a shape; where names it in messages. It returns
// nil after it has recorded why the node does not match.
func (r *reader) value(n ast.Node, s *shape, where string) *value {
	switch n.(type) {
	case *ast.AnchorNode, *ast.AliasNode, *ast.TagNode:
		r.add(n, where+": anchors, aliases and tags are not used here", "write the value itself")
		return nil
	}
	got, ok := formOf(n)
	for s.or != nil && !(ok && s.fits(got)) {
		s = s.or
	}
	switch {
	case s.form == span && got == number && ok:
		r.add(n, where+": a duration without its unit", fmt.Sprintf("write %ss, or %sms", n.GetToken().Value, n.GetToken().Value))
		return nil
	case s.form == text && ok && !s.fits(got) && (got == number || got == truth):
		r.add(n, fmt.Sprintf("%s: want text, have %s", where, shape{form: got}.describe()), "put it in quotes: "+strconv.Quote(n.GetToken().Value))
		return nil
	case !ok && s.empty: // nothing stands behind the colon
		return &value{node: n, shape: s}
	case !ok:
		r.add(n, where+": nothing is written here", "want "+s.describe())
		return nil
	case !s.fits(got):
		r.add(n, fmt.Sprintf("%s: want %s, have %s", where, s.describe(), shape{form: got}.describe()), s.hint())
		return nil
	}
	v := &value{node: n, shape: s}
	if !r.fill(v, n, where) {
		return nil
	}
	return v
}

func (s shape) hint() string {
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

func (s shape) fits(got form) bool {
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

func (r *reader) fill(v *value, n ast.Node, where string) bool {
	switch v.shape.form {
	case object, table:
		return r.mapping(v, entries(n), where)
	case list:
		return r.sequence(v, n.(*ast.SequenceNode), where)
	case number:
		return r.number(v, n, where)
	case truth:
		v.truth = n.(*ast.BoolNode).Value
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
func (r *reader) mapping(v *value, nodes []*ast.MappingValueNode, where string) bool {
	before := len(r.problems)
	seen := map[string]int{}
	for _, m := range nodes {
		name, ok := r.name(m.Key, where)
		if !ok {
			continue
		}
		if line, again := seen[name]; again {
			r.add(m.Key, fmt.Sprintf("%s: %q is written twice", where, name), fmt.Sprintf("the first is on line %d", line))
			continue
		}
		seen[name] = m.Key.GetToken().Position.Line
		s := r.shapeOf(v.shape, m.Key, name, where)
		if s == nil {
			continue
		}
		if one := r.value(m.Value, s, below(where, name)); one != nil {
			v.keys = append(v.keys, entry{name: name, node: m.Key, value: one})
		}
	}
	for _, k := range v.shape.keys {
		if _, there := seen[k.name]; k.must && !there {
			r.add(v.node, fmt.Sprintf("%s: %q is missing", where, k.name), fmt.Sprintf("add %s: %s", k.name, k.shape.sample()))
		}
	}
	if len(nodes) == 0 && v.shape.form == table && !v.shape.empty {
		r.add(v.node, where+": is empty", "")
	}
	v.wrong = len(r.problems) > before
	return !v.wrong || len(v.keys) > 0
}

func (s shape) sample() string {
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
func (r *reader) name(k ast.MapKeyNode, where string) (string, bool) {
	switch k := k.(type) {
	case *ast.StringNode:
		return k.Value, true
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode:
		r.add(k, fmt.Sprintf("%s: the key %s is not text", where, k.GetToken().Value), "put it in quotes: "+strconv.Quote(k.GetToken().Value))
	default:
		r.add(k, where+": merge keys and keys that are not plain text are not used here", "write the keys themselves")
	}
	return "", false
}

// shapeOf is the shape of a key's value, nil after the key was refused.
func (r *reader) shapeOf(s *shape, k ast.MapKeyNode, name, where string) *shape {
	if s.form == table {
		if s.names != nil {
			if wrong := s.names(name); wrong != "" {
				r.add(k, fmt.Sprintf("%s: the name %q %s", where, name, wrong), "")
			}
		}
		return s.elem
	}
	found := s.key(name)
	switch {
	case found == nil:
		r.add(k, fmt.Sprintf("%s: unknown key %q", where, name), suggest(name, s.known()))
		return nil
	case found.refused != "":
		r.add(k, fmt.Sprintf("%s: %s", below(where, name), found.refused), "")
		return nil
	}
	return &found.shape
}

func (r *reader) sequence(v *value, n *ast.SequenceNode, where string) bool {
	if len(n.Values) == 0 && !v.shape.empty {
		r.add(n, where+": the list is empty", "")
		return false
	}
	seen := map[string]int{}
	for i, e := range n.Values {
		one := r.value(e, v.shape.elem, fmt.Sprintf("%s[%d]", where, i+1))
		if one == nil {
			continue
		}
		if one.shape.form == text && !v.shape.elem.raw {
			if line, again := seen[one.text]; again {
				r.add(e, fmt.Sprintf("%s: %q is written twice", where, one.text), fmt.Sprintf("the first is on line %d", line))
				continue
			}
			seen[one.text] = first(e).Position.Line
		}
		v.list = append(v.list, one)
	}
	return true
}

func (r *reader) number(v *value, n ast.Node, where string) bool {
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
	if !fit || wide < v.shape.least || v.shape.most != 0 && wide > v.shape.most {
		r.add(n, fmt.Sprintf("%s: %s is not a whole number from %d to %d", where, n.GetToken().Value, v.shape.least, v.shape.most), "")
		return false
	}
	v.num = wide
	return true
}

func (r *reader) span(v *value, n ast.Node, where string) bool {
	written := textOfNode(n)
	d, err := time.ParseDuration(written)
	if err != nil {
		r.add(n, fmt.Sprintf("%s: %q is not a duration", where, written), "write a number and its unit, such as 500ms, 10s, 15m, 1h30m")
		return false
	}
	if int64(d) < v.shape.least || v.shape.most != 0 && int64(d) > v.shape.most {
		limit := "at least " + short(time.Duration(v.shape.least))
		if v.shape.most != 0 {
			limit = fmt.Sprintf("from %s to %s", short(time.Duration(v.shape.least)), short(time.Duration(v.shape.most)))
		}
		r.add(n, fmt.Sprintf("%s: %s is out of range", where, written), "must be "+limit)
		return false
	}
	v.span = d
	return true
}

func (r *reader) text(v *value, n ast.Node, where string) bool {
	v.text = textOfNode(n)
	switch {
	case v.text == "" && !v.shape.raw:
		r.add(n, where+": the text is empty", "want "+v.shape.describe())
		return false
	case len(v.shape.enum) > 0 && !slices.Contains(v.shape.enum, v.text):
		r.add(n, fmt.Sprintf("%s: %q is none of the values it may have", where, v.text), suggest(v.text, v.shape.enum))
		return false
	case !v.shape.raw && !printable(v.text):
		r.add(n, where+": the text has characters that nobody can see", "write it on one line, without control characters")
		return false
	}
	if v.shape.check != nil {
		if wrong := v.shape.check(v.text); wrong != "" {
			r.add(n, fmt.Sprintf("%s: %q %s", where, v.text, wrong), "want "+v.shape.describe())
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
