package api

import (
	"errors"
	"net/netip"
	"reflect"
	"testing"
)

func sampleToken() Token {
	t := Token{Addresses: []netip.AddrPort{netip.MustParseAddrPort("10.0.0.11:7320"), netip.MustParseAddrPort("[fd00::1]:7320")}}
	for i := range t.Secret {
		t.Secret[i] = byte(i + 1)
	}
	for i := range t.Fingerprint {
		t.Fingerprint[i] = byte(200 - i)
	}
	return t
}

func TestTokenComesBack(t *testing.T) {
	want := sampleToken()
	got, err := ParseToken(" " + want.String() + "\n")
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

// A token is pasted by hand: what is cut off or mistyped must never parse.
func TestDamagedTokenIsRefused(t *testing.T) {
	good := sampleToken().String()
	for i := range good {
		if _, err := ParseToken(good[:i]); !errors.Is(err, ErrToken) {
			t.Errorf("cut at %d: %v", i, err)
		}
		other := byte('A')
		if good[i] == other {
			other = 'B'
		}
		if _, err := ParseToken(good[:i] + string(other) + good[i+1:]); !errors.Is(err, ErrToken) && i != len(good)-1 {
			t.Errorf("changed at %d: %v", i, err)
		}
	}
}
