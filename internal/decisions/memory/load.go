package memory

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"reflect"
	"unsafe"
)

// errMemory says that bytes are not what Save made of a value of this type.
var errMemory = errors.New("memory: these bytes are of another program, or damaged")

// Load makes what v points to equal to what Save was given.
func (k Kinds) Load(data []byte, v any) (err error) {
	r := &reader{kinds: k, in: data}
	if err := r.value(reflect.ValueOf(v).Elem()); err != nil {
		return err
	}
	if len(r.in) > 0 {
		return fmt.Errorf("%w: %d bytes too many", errMemory, len(r.in))
	}
	return nil
}

type reader struct {
	kinds Kinds
	in    []byte
	met   []reflect.Value // every pointer that was read, in the order of Save
}

func (r *reader) number() (uint64, error) {
	n, size := binary.Uvarint(r.in)
	if size <= 0 {
		return 0, errMemory
	}
	r.in = r.in[size:]
	return n, nil
}

// count reads a length that what is left can hold, for elements of at least one byte.
func (r *reader) count() (int, error) {
	n, err := r.number()
	if err == nil && n > uint64(len(r.in))+1 {
		err = errMemory
	}
	return int(n), err
}

func (r *reader) bytes(n int) ([]byte, error) {
	if n > len(r.in) {
		return nil, errMemory
	}
	b := r.in[:n]
	r.in = r.in[n:]
	return b, nil
}

// value reads into v, which can be addressed.
func (r *reader) value(v reflect.Value) error {
	v = settable(v)
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			if passing(v.Type().Field(i)) {
				continue
			}
			if err := r.value(v.Field(i)); err != nil {
				return err
			}
		}
		return nil
	case reflect.Array:
		return r.list(v)
	case reflect.Slice:
		return r.slice(v)
	case reflect.Map:
		return r.mapped(v)
	case reflect.Pointer:
		return r.pointer(v)
	case reflect.Interface:
		return r.dynamic(v)
	case reflect.Func:
		v.SetZero()
		return nil
	}
	return r.plain(v)
}

// settable gives a private field as one that may be set.
func settable(v reflect.Value) reflect.Value {
	if v.CanSet() {
		return v
	}
	return reflect.NewAt(v.Type(), unsafe.Pointer(v.UnsafeAddr())).Elem()
}

func (r *reader) plain(v reflect.Value) error {
	switch v.Kind() {
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		n, size := binary.Varint(r.in)
		if size <= 0 {
			return errMemory
		}
		r.in = r.in[size:]
		v.SetInt(n)
		return nil
	case reflect.String:
		n, err := r.count()
		if err != nil {
			return err
		}
		b, err := r.bytes(n)
		v.SetString(string(b))
		return err
	}
	n, err := r.number()
	if err != nil {
		return err
	}
	switch v.Kind() {
	case reflect.Bool:
		v.SetBool(n != 0)
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64, reflect.Uintptr:
		v.SetUint(n)
	case reflect.Float32, reflect.Float64:
		v.SetFloat(math.Float64frombits(n))
	default:
		return fmt.Errorf("memory: a %s cannot be kept", v.Type())
	}
	return nil
}

func (r *reader) list(v reflect.Value) error {
	if v.Type().Elem().Kind() == reflect.Uint8 {
		b, err := r.bytes(v.Len())
		reflect.Copy(v, reflect.ValueOf(b).Convert(reflect.SliceOf(v.Type().Elem())))
		return err
	}
	for i := range v.Len() {
		if err := r.value(v.Index(i)); err != nil {
			return err
		}
	}
	return nil
}

func (r *reader) slice(v reflect.Value) error {
	n, err := r.count()
	if err != nil {
		return err
	}
	if n == 0 {
		v.SetZero()
		return nil
	}
	v.Set(reflect.MakeSlice(v.Type(), n-1, n-1))
	return r.list(v)
}

func (r *reader) mapped(v reflect.Value) error {
	n, err := r.count()
	if err != nil {
		return err
	}
	if n == 0 {
		v.SetZero()
		return nil
	}
	v.Set(reflect.MakeMapWithSize(v.Type(), n-1))
	for range n - 1 {
		key, val := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
		if err := r.value(key); err != nil {
			return err
		}
		if err := r.value(val); err != nil {
			return err
		}
		v.SetMapIndex(key, val)
	}
	return nil
}

func (r *reader) pointer(v reflect.Value) error {
	n, err := r.number()
	switch {
	case err != nil:
		return err
	case n == 0:
		v.SetZero()
		return nil
	case n == 1:
		p := reflect.New(v.Type().Elem())
		r.met = append(r.met, p)
		v.Set(p)
		return r.value(p.Elem())
	case n-2 < uint64(len(r.met)) && r.met[n-2].Type() == v.Type():
		v.Set(r.met[n-2])
		return nil
	}
	return errMemory
}

func (r *reader) dynamic(v reflect.Value) error {
	n, err := r.count()
	if err != nil {
		return err
	}
	if n == 0 {
		v.SetZero()
		return nil
	}
	name, err := r.bytes(n)
	if err != nil {
		return err
	}
	t, ok := r.kinds[string(name)]
	if !ok || !t.AssignableTo(v.Type()) {
		return fmt.Errorf("%w: it holds a %s", errMemory, name)
	}
	val := reflect.New(t).Elem()
	if err := r.value(val); err != nil {
		return err
	}
	v.Set(val)
	return nil
}
