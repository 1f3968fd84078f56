package heartbeat

import (
	"bytes"
	"testing"

	"pgregory.net/rapid"

	"github.com/holdfast-ha/holdfast/cluster/ident"
)

// Whatever differs between two packets' headers gives them different keys, but
// the link and the counter, which are of one life.
func TestSealer(t *testing.T) {
	base := header{from: 1, to: 2, boot: ident.BootID{3}, life: 4, cluster: ident.UUID{5}}
	sealed := sealer(Key{6}, base).Seal(nil, nil, []byte("text"), nil)
	if text, err := sealer(Key{6}, header{from: 1, to: 2, boot: ident.BootID{3}, life: 4, cluster: ident.UUID{5}, link: 1, counter: 9}).Open(nil, nil, sealed, nil); err != nil || string(text) != "text" {
		t.Fatalf("%q, %v", text, err)
	}
	for name, change := range map[string]func(*Key, *header){
		"key": func(k *Key, _ *header) { k[31]++ }, "from": func(_ *Key, h *header) { h.from = 9 }, "to": func(_ *Key, h *header) { h.to = 9 },
		"boot": func(_ *Key, h *header) { h.boot[15]++ }, "life": func(_ *Key, h *header) { h.life++ }, "cluster": func(_ *Key, h *header) { h.cluster[15]++ },
	} {
		k, h := Key{6}, base
		change(&k, &h)
		if _, err := sealer(k, h).Open(nil, nil, sealed, nil); err == nil {
			t.Errorf("another %s gives the same key", name)
		}
	}
}

// The window accepts no counter twice, accepts what is new, and refuses only
// what is too old to know.
func TestWindow(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var w window
		seen := map[uint64]bool{}
		highest := uint64(0)
		for range rapid.IntRange(1, 200).Draw(t, "packets") {
			base := max(0, int(highest)-80)
			c := uint64(rapid.IntRange(base, int(highest)+80).Draw(t, "counter"))
			want := c != 0 && !seen[c] && (c > highest || highest-c < 64)
			if got := w.accept(c); got != want {
				t.Fatalf("counter %d with highest %d: accepted %v, want %v", c, highest, got, want)
			}
			if want {
				seen[c] = true
				highest = max(highest, c)
			}
		}
		if w.total != uint64(len(seen)) {
			t.Fatalf("total %d of %d", w.total, len(seen))
		}
	})
}

func TestRetiredIsBounded(t *testing.T) {
	p := past{line: line{links: make([]window, 1)}}
	boot := func(i int) header { return header{boot: ident.BootID{byte(i), byte(i >> 8), 1}, life: 1, counter: 1} }
	for i := range 1000 {
		if ok, fresh := p.accept(boot(i), uint32(i+1), false); !ok || !fresh {
			t.Fatalf("boot %d: accepted %v, fresh %v", i, ok, fresh)
		}
	}
	if len(p.retired) != mostRetired {
		t.Errorf("%d former boots are kept, want %d", len(p.retired), mostRetired)
	}
	for _, i := range []int{0, 500, 998} { // forgotten ones are known by their number
		if ok, _ := p.accept(boot(i), uint32(i+1), false); ok {
			t.Errorf("former boot %d is accepted", i)
		}
	}
}

// Of two machines with one identity the one that a node listens to is the later; the
// other one is heard again when that has been silent for long, but never by a packet
// that was seen before, not even by one that was refused then.
func TestOtherMachineComesBack(t *testing.T) {
	p := past{line: line{links: make([]window, 1)}}
	one := func(counter uint64) header { return header{boot: ident.BootID{1}, life: 1, counter: counter} }
	two := func(counter uint64) header { return header{boot: ident.BootID{2}, life: 1, counter: counter} }
	for i, c := range []struct {
		h         header
		inc       uint32
		silent    bool
		ok, fresh bool
	}{
		{one(1), 5, true, true, true},
		{one(2), 5, false, true, false},
		{two(1), 6, false, true, true},   // the spare takes its place
		{one(3), 5, false, false, false}, // while that is heard
		{one(2), 5, true, false, false},  // seen, and recorded
		{one(3), 5, true, false, false},  // refused, and recorded
		{one(4), 5, true, true, true},
		{one(5), 5, false, true, false},
		{two(2), 6, false, false, false},
		{two(3), 6, true, true, true}, // it was only away
		{header{boot: ident.BootID{1}, life: 2, counter: 1}, 7, true, true, true},
		{one(9), 5, true, false, false}, // an older life of it
		{header{boot: ident.BootID{3}, life: 1, counter: 1}, 4, true, false, false},
	} {
		if ok, fresh := p.accept(c.h, c.inc, c.silent); ok != c.ok || fresh != c.fresh {
			t.Errorf("packet %d: accepted %v, fresh %v", i, ok, fresh)
		}
	}
}

// Parts arrive in any order, repeated, mixed with those of older and newer
// messages; what comes out is whole, right, and in order.
func TestAssembly(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var all []part
		bodies := map[uint64][]byte{}
		for n := range rapid.IntRange(1, 5).Draw(t, "messages") {
			body := bytes.Repeat([]byte{byte(n + 1)}, rapid.IntRange(1, mostParts*mostPart).Draw(t, "length"))
			bodies[uint64(n+1)] = body
			parts := (len(body) + mostPart - 1) / mostPart
			for i := range parts {
				all = append(all, part{number: uint64(n + 1), part: uint8(i), parts: uint8(parts), bytes: body[i*mostPart : min((i+1)*mostPart, len(body))]})
			}
		}
		var a assembly
		last := uint64(0)
		for _, p := range rapid.Permutation(append(all, all...)).Draw(t, "order") {
			if got := a.add(p); got != nil {
				if p.number <= last || !bytes.Equal(got, bodies[p.number]) {
					t.Fatalf("message %d after %d, %d bytes of %d", p.number, last, len(got), len(bodies[p.number]))
				}
				last = p.number
			}
		}
	})
}

func TestAssemblyInOrder(t *testing.T) {
	var a assembly
	for n := range uint64(3) {
		if got := a.add(part{number: n + 1, parts: 2, bytes: make([]byte, mostPart)}); got != nil {
			t.Fatal("half a message")
		}
		if got := a.add(part{number: n + 1, part: 1, parts: 2, bytes: []byte{9}}); len(got) != mostPart+1 || got[mostPart] != 9 {
			t.Fatalf("message %d: %d bytes", n+1, len(got))
		}
	}
	if got := a.add(part{number: 4, parts: mostParts, part: mostParts - 1, bytes: []byte{1}}); got != nil || a.have != 1<<63 {
		t.Fatalf("the last of %d parts: %x", mostParts, a.have)
	}
}

// Whatever arrives, a part is either refused or within its bounds.
func FuzzPart(f *testing.F) {
	f.Add(part{number: 1, parts: 1, bytes: []byte{1}}.append(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) < preamble {
			return
		}
		p, err := parsePart(b)
		if err != nil {
			return
		}
		if p.part >= p.parts || p.parts > mostParts || len(p.bytes) == 0 || !bytes.Equal(p.append(nil), b) {
			t.Fatalf("%+v", p)
		}
		var a assembly
		a.add(p)
	})
}
