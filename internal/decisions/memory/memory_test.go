package memory

import (
	"errors"
	"reflect"
	"strings"
	"testing"
)

type inner struct {
	n    int
	next *inner
}

type shape interface{ shape() }

type round struct{ r float64 }

func (round) shape() {}

type square struct{ a uint8 }

func (square) shape() {}

type outer struct {
	name    string
	yes     bool
	first   *inner
	second  *inner
	bytes   []byte
	none    []byte
	empty   []int
	fixed   [4]byte
	table   map[string]*inner
	byPlace map[[2]int8]uint16
	shapes  []shape
	f       func()
	call    func() `memory:"-"`
}

func example() *outer {
	shared := &inner{n: -7, next: &inner{n: 1 << 40}}
	return &outer{
		name: "orders", yes: true, first: shared, second: shared, bytes: []byte{0, 255}, empty: []int{}, fixed: [4]byte{1, 2, 3, 4},
		table: map[string]*inner{"b": shared, "a": {n: 3}}, byPlace: map[[2]int8]uint16{{-1, 2}: 9, {1, 2}: 10},
		shapes: []shape{round{2.5}, nil, square{200}},
	}
}

func kinds() Kinds { return KindsOf([]any{round{}, square{}}) }

func TestComesBack(t *testing.T) {
	want := example()
	want.call = func() {}
	b, err := kinds().Save(want)
	if err != nil {
		t.Fatal(err)
	}
	want.call = nil
	var have outer
	if err := kinds().Load(b, &have); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(&have, want) {
		t.Errorf("%+v, want %+v", have, *want)
	}
	if have.first != have.second || have.table["b"] != have.first {
		t.Error("pointers that were the same are not any more")
	}
	if have.none != nil || have.empty == nil {
		t.Error("nil and empty were mixed up")
	}
	again, err := kinds().Save(&have)
	if err != nil || string(again) != string(b) {
		t.Errorf("the same memory has other bytes: %v", err)
	}
}

// What is damaged, or of other types, is refused and never believed.
func TestRefused(t *testing.T) {
	b, err := kinds().Save(example())
	if err != nil {
		t.Fatal(err)
	}
	for n := range b {
		if kinds().Load(b[:n], new(outer)) == nil {
			t.Fatalf("%d of %d bytes were enough", n, len(b))
		}
	}
	if err := kinds().Load(append(b, 0), new(outer)); !errors.Is(err, errMemory) {
		t.Errorf("a byte too many: %v", err)
	}
	if _, err := KindsOf([]any{round{}}).Save(example()); err == nil || !strings.Contains(err.Error(), "memory.square") {
		t.Errorf("a type that was not named: %v", err)
	}
	busy := example()
	busy.f = func() {}
	if _, err := kinds().Save(busy); !errors.Is(err, ErrBusy) {
		t.Errorf("a function: %v", err)
	}
	ring := example()
	ring.first.next = ring.first
	if _, err := kinds().Digest(ring); err == nil {
		t.Error("a ring of pointers has a digest")
	}
	if kinds().Types(&outer{}) == kinds().Types(&inner{}) {
		t.Error("two types look the same")
	}
}

// A digest is about values: whether two pointers are the same does not count.
func TestDigest(t *testing.T) {
	a, b := example(), example()
	copied := *b.first
	b.second = &copied
	sumA, err := kinds().Digest(a)
	if err != nil {
		t.Fatal(err)
	}
	if sumB, err := kinds().Digest(b); err != nil || sumA != sumB {
		t.Errorf("equal values, %v", err)
	}
	b.second.n++
	if sumB, err := kinds().Digest(b); err != nil || sumA == sumB {
		t.Errorf("another value was not noticed, %v", err)
	}
}

func FuzzLoad(f *testing.F) {
	b, err := kinds().Save(example())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Fuzz(func(t *testing.T, b []byte) { _ = kinds().Load(b, new(outer)) })
}
