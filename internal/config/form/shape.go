package form

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

// Shape describes a value: what is accepted, and in words what it is for. It is
// the one source of the reader, of its messages and of the JSON Schema. It is
// made by the functions below.
type Shape struct {
	Keys    []Key  // object
	Or      *Shape // accepted as well, of another form
	form    form
	doc     string
	elem    *Shape              // list, table
	names   func(string) string // table: says what is wrong with a name
	enum    []string            // text
	check   func(string) string // text: says what is wrong with it
	least   int64               // number; span in ns
	most    int64               // 0: no limit
	empty   bool                // list, table: may be empty
	example string
	raw     bool // text: anything as it is written, also numbers; a list may repeat it
}

// Key is one key of an object.
type Key struct {
	name  string
	shape Shape
	must  bool
}

func (s Shape) key(name string) *Key {
	for i := range s.Keys {
		if s.Keys[i].name == name {
			return &s.Keys[i]
		}
	}
	return nil
}

// known lists the keys that may be written.
func (s Shape) known() []string {
	var list []string
	for _, k := range s.Keys {
		list = append(list, k.name)
	}
	return list
}

// Optional is a key that may be left out.
func Optional(name string, s Shape) Key { return Key{name: name, shape: s} }

// Required is a key that must be there.
func Required(name string, s Shape) Key { return Key{name: name, shape: s, must: true} }

// Object is a mapping with known keys.
func Object(doc string, keys ...Key) Shape { return Shape{form: object, doc: doc, Keys: keys} }

// List is a list of at least one value.
func List(doc string, elem Shape) Shape { return Shape{form: list, doc: doc, elem: &elem} }

// Table is a mapping whose keys are names that the administrator chooses; names
// says what is wrong with one.
func Table(doc string, names func(string) string, elem Shape) Shape {
	return Shape{form: table, doc: doc, names: names, elem: &elem, empty: true}
}

// Text is a text; check says what is wrong with it, and may be nil.
func Text(doc, example string, check func(string) string) Shape {
	return Shape{form: text, doc: doc, example: example, check: check}
}

// Raw is a text that means nothing here and is handed on as it is written.
func Raw(doc, example string) Shape {
	return Shape{form: text, doc: doc, example: example, raw: true}
}

// OneOf is a text that has one of a few values.
func OneOf(doc string, values ...string) Shape { return Shape{form: text, doc: doc, enum: values} }

// Truth is true or false.
func Truth(doc string) Shape { return Shape{form: truth, doc: doc} }

// Span is a duration from least to most; most 0 is no limit.
func Span(doc, example string, least, most time.Duration) Shape {
	return Shape{form: span, doc: doc, example: example, least: int64(least), most: int64(most)}
}

// Number is a whole number from least to most.
func Number(doc string, least, most int64) Shape {
	return Shape{form: number, doc: doc, least: least, most: most}
}

// describe says what a value of this shape looks like.
func (s Shape) describe() string {
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
	if s.Or != nil {
		w += ", or " + s.Or.describe()
	}
	return w
}
