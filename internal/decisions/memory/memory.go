// Package memory keeps the whole memory of a value, private fields and all, as
// bytes, and makes an equal value of them again. The decision log begins every
// file with the memory of the core, so that a life can be replayed from any file
// that is kept and not from its first one alone.
//
// It works by the types of the program, so that nothing of the core can be
// forgotten when a field is added, and no part of the core has to know of it.
// For the same reason the bytes mean something to the program alone that wrote
// them: Types is to be compared before they are read.
//
// What can be kept: numbers, strings, arrays, slices, maps, structs, pointers
// (two that were the same are the same again), and values of the interfaces whose
// types were named. A function cannot: ErrBusy. A field with the tag memory:"-"
// is left out: it is set anew by every call, and means nothing between two of them.
package memory

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"reflect"
	"slices"
	"unsafe"
)

// ErrBusy says that the value holds a function now, which has no bytes: the core
// does while a proposal is under way. Try again later.
var ErrBusy = errors.New("it holds a function now")

// Kinds are the types that may stand behind an interface, by name.
type Kinds map[string]reflect.Type

// KindsOf names the types of the examples.
func KindsOf(examples []any) Kinds {
	k := Kinds{}
	for _, v := range examples {
		k[reflect.TypeOf(v).String()] = reflect.TypeOf(v)
	}
	return k
}

// Save returns the memory of what v points to.
func (k Kinds) Save(v any) ([]byte, error) {
	w := &writer{kinds: k, seen: map[place]uint64{}}
	if err := w.value(reflect.ValueOf(v).Elem()); err != nil {
		return nil, err
	}
	return w.out, nil
}

// Digest returns the first eight bytes of a SHA-256 over the memory of what v
// points to. It does not see whether two pointers are the same, only whether what
// they point to is equal.
func (k Kinds) Digest(v any) ([8]byte, error) {
	w := &writer{kinds: k, sums: map[place][8]byte{}}
	if err := w.value(reflect.ValueOf(v).Elem()); err != nil {
		return [8]byte{}, err
	}
	return first(w.out), nil
}

func first(b []byte) [8]byte {
	sum := sha256.Sum256(b)
	return [8]byte(sum[:8])
}

// Types is a digest of everything that a value of v's type may consist of: the
// names, types and order of all fields. Memory can be loaded where it is equal.
func (k Kinds) Types(v any) [8]byte {
	var b bytes.Buffer
	seen := map[reflect.Type]bool{}
	var walk func(t reflect.Type)
	walk = func(t reflect.Type) {
		fmt.Fprintf(&b, "%s %s;", t, t.Kind())
		if seen[t] {
			return
		}
		seen[t] = true
		switch t.Kind() {
		case reflect.Pointer, reflect.Slice, reflect.Array:
			walk(t.Elem())
		case reflect.Map:
			walk(t.Key())
			walk(t.Elem())
		case reflect.Struct:
			for i := range t.NumField() {
				b.WriteString(t.Field(i).Name + " ")
				walk(t.Field(i).Type)
			}
		}
	}
	walk(reflect.TypeOf(v))
	names := make([]string, 0, len(k))
	for n := range k {
		names = append(names, n)
	}
	slices.Sort(names)
	for _, n := range names {
		walk(k[n])
	}
	return first(b.Bytes())
}

// place is what a pointer points to: a struct and its first field share an
// address.
type place struct {
	at unsafe.Pointer
	of reflect.Type
}

// writer writes one value. Either seen or sums is there.
type writer struct {
	kinds Kinds
	out   []byte
	seen  map[place]uint64  // Save: the number of every pointer that was met
	sums  map[place][8]byte // Digest: what every pointer points to
	depth int
}

const deepest = 1000 // pointers behind pointers: more is a ring, which nothing of the core is

func (w *writer) number(n uint64) { w.out = binary.AppendUvarint(w.out, n) }

func (w *writer) value(v reflect.Value) error {
	switch v.Kind() {
	case reflect.Bool:
		w.number(uint64(b2i(v.Bool())))
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		w.out = binary.AppendVarint(w.out, v.Int())
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64, reflect.Uintptr:
		w.number(v.Uint())
	case reflect.Float32, reflect.Float64:
		w.number(math.Float64bits(v.Float()))
	case reflect.String:
		w.number(uint64(v.Len()))
		w.out = append(w.out, v.String()...)
	case reflect.Struct:
		return w.fields(v)
	case reflect.Array:
		return w.list(v)
	case reflect.Slice:
		return w.slice(v)
	case reflect.Map:
		return w.mapped(v)
	case reflect.Pointer:
		return w.pointer(v)
	case reflect.Interface:
		return w.dynamic(v)
	case reflect.Func:
		if w.sums == nil && !v.IsNil() {
			return ErrBusy
		}
		if w.sums != nil {
			w.number(uint64(b2i(!v.IsNil())))
		}
	default:
		return fmt.Errorf("memory: a %s cannot be kept", v.Type())
	}
	return nil
}

func b2i(b bool) int {
	if b {
		return 1
	}
	return 0
}

// passing says that a field means something during a call only.
func passing(f reflect.StructField) bool { return f.Tag.Get("memory") == "-" }

func (w *writer) fields(v reflect.Value) error {
	for i := range v.NumField() {
		if passing(v.Type().Field(i)) {
			continue
		}
		if err := w.value(v.Field(i)); err != nil {
			return fmt.Errorf("%s.%s: %w", v.Type(), v.Type().Field(i).Name, err)
		}
	}
	return nil
}

func (w *writer) list(v reflect.Value) error {
	if v.Len() > 0 && v.Type().Elem().Kind() == reflect.Uint8 && (v.Kind() == reflect.Slice || v.CanAddr()) {
		w.out = append(w.out, v.Bytes()...)
		return nil
	}
	for i := range v.Len() {
		if err := w.octetOr(v.Index(i)); err != nil {
			return err
		}
	}
	return nil
}

// octetOr writes a byte as one byte, as Bytes does, and anything else as it is.
func (w *writer) octetOr(v reflect.Value) error {
	if v.Kind() == reflect.Uint8 {
		w.out = append(w.out, byte(v.Uint()))
		return nil
	}
	return w.value(v)
}

// slice writes 0 for nil, and else the length and one.
func (w *writer) slice(v reflect.Value) error {
	if v.IsNil() {
		w.number(0)
		return nil
	}
	w.number(uint64(v.Len()) + 1)
	return w.list(v)
}

// mapped writes the pairs in the order of their keys.
func (w *writer) mapped(v reflect.Value) error {
	if v.IsNil() {
		w.number(0)
		return nil
	}
	w.number(uint64(v.Len()) + 1)
	keys := v.MapKeys()
	slices.SortFunc(keys, compare)
	for _, k := range keys {
		if err := w.value(k); err != nil {
			return err
		}
		if err := w.value(v.MapIndex(k)); err != nil {
			return err
		}
	}
	return nil
}

// compare orders the keys of a map, so that pointers get the same numbers in
// every run.
func compare(a, b reflect.Value) int {
	switch {
	case a.CanInt():
		return cmp(a.Int(), b.Int())
	case a.CanUint():
		return cmp(a.Uint(), b.Uint())
	case a.Kind() == reflect.String:
		return cmp(a.String(), b.String())
	case a.Kind() == reflect.Bool:
		return b2i(a.Bool()) - b2i(b.Bool())
	case a.Kind() == reflect.Struct:
		for i := range a.NumField() {
			if c := compare(a.Field(i), b.Field(i)); c != 0 {
				return c
			}
		}
	case a.Kind() == reflect.Array:
		for i := range a.Len() {
			if c := compare(a.Index(i), b.Index(i)); c != 0 {
				return c
			}
		}
	}
	return 0
}

func cmp[T int64 | uint64 | string](a, b T) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

// pointer writes 0 for nil, 1 and what it points to for one that is new, and 2
// more than the number of one that was met before.
func (w *writer) pointer(v reflect.Value) error {
	if v.IsNil() {
		w.number(0)
		return nil
	}
	if w.depth++; w.depth > deepest {
		return fmt.Errorf("memory: a ring of pointers at %s", v.Type())
	}
	defer func() { w.depth-- }()
	at := place{v.UnsafePointer(), v.Type()}
	if w.sums != nil {
		return w.sum(at, v.Elem())
	}
	if n, ok := w.seen[at]; ok {
		w.number(n + 2)
		return nil
	}
	w.seen[at] = uint64(len(w.seen))
	w.number(1)
	return w.value(v.Elem())
}

func (w *writer) sum(at place, v reflect.Value) error {
	sum, ok := w.sums[at]
	if !ok {
		whole := w.out
		w.out = nil
		if err := w.value(v); err != nil {
			return err
		}
		sum = first(w.out)
		w.sums[at], w.out = sum, whole
	}
	w.number(1)
	w.out = append(w.out, sum[:]...)
	return nil
}

// dynamic writes the type's name, empty for nil, and the value.
func (w *writer) dynamic(v reflect.Value) error {
	if v.IsNil() {
		w.number(0)
		return nil
	}
	name := v.Elem().Type().String()
	if w.kinds[name] != v.Elem().Type() {
		return fmt.Errorf("memory: a %s behind an interface is not among the types that were named", name)
	}
	w.number(uint64(len(name)))
	w.out = append(w.out, name...)
	return w.value(v.Elem())
}
