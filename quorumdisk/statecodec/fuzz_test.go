package statecodec_test

import (
	"bytes"
	"reflect"
	"testing"

	"github.com/holdfast-ha/holdfast/cluster"
	"github.com/holdfast-ha/holdfast/quorumdisk/statecodec"
)

// Whatever the bytes are, a decoder returns; and what it accepts, it would have
// written itself.

func FuzzState(f *testing.F) {
	b, err := statecodec.Encode(state())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Add([]byte("HFS\x01"))
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := statecodec.Decode(b)
		if err != nil {
			return
		}
		body, err := statecodec.Encode(s)
		if err != nil {
			return // it compresses less well than what was found
		}
		again, err := statecodec.Decode(body)
		if err != nil || !reflect.DeepEqual(s, again) {
			t.Errorf("%+v became %+v, %v", s, again, err)
		}
	})
}

// FuzzPlainState looks behind the compressor, which hides the decoder from
// random changes.
func FuzzPlainState(f *testing.F) {
	f.Add(statecodec.Plain(state()))
	f.Add(statecodec.Plain(&cluster.State{}))
	f.Fuzz(func(t *testing.T, plain []byte) {
		s, err := statecodec.ReadPlain(plain)
		if err != nil {
			return
		}
		if again := statecodec.Plain(s); !bytes.Equal(again, plain) {
			t.Errorf("%x decoded to %+v, encoded again %x", plain, s, again)
		}
	})
}

// The same for status blobs, with and without the compressor.
func FuzzBlob(f *testing.F) {
	body, err := statecodec.EncodeBlob(blob())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(body)
	f.Add(statecodec.PlainBlob(blob()))
	f.Fuzz(func(t *testing.T, b []byte) {
		if got, err := statecodec.DecodeBlob(b); err == nil {
			if body, err := statecodec.EncodeBlob(got); err == nil {
				if again, err := statecodec.DecodeBlob(body); err != nil || !reflect.DeepEqual(got, again) {
					t.Errorf("%+v became %+v, %v", got, again, err)
				}
			}
		}
		if got, err := statecodec.ReadBlob(b); err == nil {
			if again := statecodec.PlainBlob(got); !bytes.Equal(again, b) {
				t.Errorf("%x decoded to %+v, encoded again %x", b, got, again)
			}
		}
	})
}
