package statecodec_test

import (
	"encoding/hex"
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"

	"github.com/holdfast-ha/holdfast/cluster"
	q "github.com/holdfast-ha/holdfast/quorumdisk"
	"github.com/holdfast-ha/holdfast/quorumdisk/statecodec"
	"github.com/holdfast-ha/holdfast/quorumdisk/wire"
)

func blob() *cluster.Blob {
	return &cluster.Blob{
		Released: []cluster.Released{{Service: "orders", Term: 4}, {Service: "reports", Term: 9}},
		Services: []cluster.RunState{{Service: "billing", Term: 2, State: cluster.Up, Text: "since 3 h"}, {Service: "orders", Term: 4, State: cluster.Broken}},
	}
}

func TestBlobRoundTrip(t *testing.T) {
	for _, b := range []*cluster.Blob{blob(), {}} {
		body, err := statecodec.EncodeBlob(b)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := statecodec.DecodeBlob(body); err != nil || !reflect.DeepEqual(got, b) {
			t.Errorf("%+v, %v, want %+v", got, err, b)
		}
	}
	golden(t, "blob.hex", hex.Dump(statecodec.PlainBlob(blob())))
}

// names are the hardest service names to compress: as long as they may be, of all
// characters that they may have, at random.
func names(n int) []string {
	const letters = "abcdefghijklmnopqrstuvwxyz0123456789-"
	r, list := rand.New(rand.NewPCG(3, 4)), make([]string, n)
	for i := range list {
		name := []byte(fmt.Sprintf("s%04d", i))
		for len(name) < 63 {
			name = append(name, letters[r.IntN(len(letters))])
		}
		list[i] = string(name)
	}
	return list
}

// A node that runs, and has released, a thousand services has room for all of it,
// whatever they are called; where the texts are too much, they go.
func TestBlobOfAThousandServices(t *testing.T) {
	b := &cluster.Blob{}
	r := rand.New(rand.NewPCG(5, 6))
	for _, name := range names(1000) {
		text := make([]byte, 120)
		for i := range text {
			text[i] = ' ' + byte(r.IntN(95))
		}
		b.Released = append(b.Released, cluster.Released{Service: name, Term: uint64(r.IntN(1000))})
		b.Services = append(b.Services, cluster.RunState{Service: name, Term: uint64(r.IntN(1000)), State: cluster.Up, Text: string(text)})
	}
	body, err := statecodec.EncodeBlob(b)
	if err != nil {
		t.Fatal(err)
	}
	got, err := statecodec.DecodeBlob(body)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d bytes of %d", len(body), q.MostBlob)
	if len(body) > q.MostBlob || !reflect.DeepEqual(got.Released, b.Released) || len(got.Services) != len(b.Services) {
		t.Errorf("%d bytes of body, %d released, %d services", len(body), len(got.Released), len(got.Services))
	}
	for i, s := range got.Services {
		if w := b.Services[i]; s.Service != w.Service || s.Term != w.Term || s.State != w.State || !strings.HasPrefix(w.Text, s.Text) {
			t.Fatalf("%+v became %+v", w, s)
		}
	}
}

func TestBlobRefusals(t *testing.T) {
	b := blob()
	b.Services[0].State = 99
	if _, err := statecodec.EncodeBlob(b); !errors.Is(err, wire.ErrValue) {
		t.Errorf("%v, want %v", err, wire.ErrValue)
	}
	b = &cluster.Blob{}
	for _, name := range names(3000) {
		b.Released = append(b.Released, cluster.Released{Service: name, Term: 1})
	}
	if _, err := statecodec.EncodeBlob(b); !errors.Is(err, q.ErrTooLarge) || !strings.Contains(err.Error(), "fewer services") {
		t.Errorf("%v, want %v", err, q.ErrTooLarge)
	}
	z, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer z.Close()
	for name, c := range map[string]struct {
		body []byte
		want error
	}{
		"empty":    {nil, q.ErrMagic},
		"a state":  {[]byte("HFS\x01 and more"), q.ErrMagic},
		"newer":    {[]byte{'H', 'F', 'B', byte(statecodec.Newest) + 1, 0}, q.ErrFormat},
		"bomb":     {z.EncodeAll(make([]byte, statecodec.MaxPlainBlob+1), []byte("HFB\x01")), q.ErrTooLarge},
		"too long": {make([]byte, q.MostBlob+1), q.ErrTooLarge},
	} {
		if _, err := statecodec.DecodeBlob(c.body); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
}
