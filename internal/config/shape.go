package config

import "time"

// form is what a value looks like in YAML.
type form uint8

const (
	object form = iota // a mapping with known keys
	table              // a mapping whose keys are names that the admin chooses
	list
	text
	number
	truth
	span // a duration with its unit
)

// shape describes a value: what is accepted, and in words what it is for. It is
// the one source of the reader, of its messages and of the JSON Schema.
type shape struct {
	form    form
	doc     string
	keys    []key               // object
	elem    *shape              // list, table
	names   func(string) string // table: says what is wrong with a name
	enum    []string            // text
	check   func(string) string // text: says what is wrong with it
	least   int64               // number; span in ns
	most    int64               // 0: no limit
	empty   bool                // list, table: may be empty
	or      *shape              // accepted as well, of another form
	example string
	raw     bool // text: anything as it is written, also numbers; a list may repeat it
}

// key is one key of an object.
type key struct {
	name    string
	shape   shape
	must    bool
	refused string // why this version does not accept it, and what to do
}

func (s shape) key(name string) *key {
	for i := range s.keys {
		if s.keys[i].name == name {
			return &s.keys[i]
		}
	}
	return nil
}

// names of the keys that may be written.
func (s shape) known() []string {
	var list []string
	for _, k := range s.keys {
		if k.refused == "" {
			list = append(list, k.name)
		}
	}
	return list
}

func optional(name string, s shape) key { return key{name: name, shape: s} }

func required(name string, s shape) key { return key{name: name, shape: s, must: true} }

func objectOf(doc string, keys ...key) shape { return shape{form: object, doc: doc, keys: keys} }

func listOf(doc string, elem shape) shape { return shape{form: list, doc: doc, elem: &elem} }

func tableOf(doc string, names func(string) string, elem shape) shape {
	return shape{form: table, doc: doc, names: names, elem: &elem, empty: true}
}

func textOf(doc, example string, check func(string) string) shape {
	return shape{form: text, doc: doc, example: example, check: check}
}

// rawOf is a text that means nothing here and is handed on as it is written.
func rawOf(doc, example string) shape {
	return shape{form: text, doc: doc, example: example, raw: true}
}

func oneOf(doc string, values ...string) shape { return shape{form: text, doc: doc, enum: values} }

func truthOf(doc string) shape { return shape{form: truth, doc: doc} }

func spanOf(doc, example string, least, most time.Duration) shape {
	return shape{form: span, doc: doc, example: example, least: int64(least), most: int64(most)}
}

func numberOf(doc string, least, most int64) shape {
	return shape{form: number, doc: doc, least: least, most: most}
}

// describe says what a value of this shape looks like.
func (s shape) describe() string {
	var w string
	switch s.form {
	case object, table:
		w = "a mapping (key: value)"
	case list:
		w = "a list"
	case number:
		w = "a whole number"
	case truth:
		w = "true or false"
	case span:
		w = "a duration"
	default:
		w = "text"
	}
	if s.example != "" {
		w += " such as " + s.example
	}
	if s.or != nil {
		w += ", or " + s.or.describe()
	}
	return w
}
