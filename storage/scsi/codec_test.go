package scsi

import (
	"encoding/hex"
	"errors"
	"strings"
	"testing"
)

// TestBytes compares with the layouts of SPC-4, written down by hand.
func TestBytes(t *testing.T) {
	for want, got := range map[string][]byte{
		"5e000000000000040000":                             reserveIn(inReadKeys, 1024),
		"5e020000000000000800":                             reserveIn(inCapabilities, 8),
		"5f060000000000001800":                             reserveOut(outRegisterIgnore, 0),
		"5f010700000000001800":                             reserveOut(outReserve, AllRegistrants),
		"5f050500000000001800":                             reserveOut(outPreemptAndAbort, RegistrantsOnly),
		"48abcdef0100000548abcdef020000030000000001000000": parameters(0x48abcdef01000005, 0x48abcdef02000003, true),
	} {
		if hex.EncodeToString(got) != want {
			t.Errorf("%x, want %s", got, want)
		}
	}
}

func unhex(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestParse(t *testing.T) {
	k, err := parseKeys(unhex(t, "00000007 00000010 48abcdef01000005 48abcdef02000003"))
	if err != nil || k.Generation != 7 || len(k.List) != 2 || k.List[1] != 0x48abcdef02000003 {
		t.Errorf("%+v, %v", k, err)
	}
	if _, err := parseKeys(unhex(t, "00000007 00000010 48abcdef01000005")); !errors.Is(err, ErrShort) {
		t.Errorf("a key that was cut off: %v", err)
	}
	if _, err := parseKeys(unhex(t, "00000007 00000009 48abcdef0100000500")); err == nil {
		t.Error("a part of a key")
	}
	r, err := parseReservation(unhex(t, "00000007 00000010 48abcdef01000005 00000000 00 05 0000"))
	if err != nil || !r.Held || r.Type != RegistrantsOnly || r.Key != 0x48abcdef01000005 {
		t.Errorf("%+v, %v", r, err)
	}
	if r, err := parseReservation(unhex(t, "00000007 00000000")); err != nil || r.Held {
		t.Errorf("none: %+v, %v", r, err)
	}
	if _, err := parseReservation(unhex(t, "00000007 00000010 48abcdef01000005 00000000 00 15 0000")); err == nil {
		t.Error("a scope that is no logical unit")
	}
	c, err := parseCapabilities(unhex(t, "0008 0d 81 ea01 0000"))
	if err != nil || !c.Persists || !c.Persisting || !c.AllPorts || !c.Offers(AllRegistrants) || !c.Offers(8) {
		t.Errorf("%+v, %v", c, err)
	}
	if c, _ := parseCapabilities(unhex(t, "0008 00 80 2000 0000")); c.Offers(AllRegistrants) || !c.Offers(RegistrantsOnly) {
		t.Errorf("%+v", c)
	}
}

func TestSense(t *testing.T) {
	for words, sense := range map[string]string{
		"unit attention: registrations preempted": "70 00 06 00 00 00 00 0a 00000000 2a 05 00 000000",
		"unit attention: power on or reset":       "72 06 29 00 00000000",
		"has no persistent reservations":          "70 00 05 00 00 00 00 0a 00000000 20 00 00 000000",
	} {
		err := parseSense(CheckCondition, unhex(t, sense))
		if !strings.Contains(err.Error(), words) || Attention(err) != strings.HasPrefix(words, "unit") {
			t.Errorf("%v, want %s", err, words)
		}
	}
	if err := parseSense(Conflict, nil); !IsConflict(err) || Attention(err) || !strings.Contains(err.Error(), "RESERVATION CONFLICT") {
		t.Error(err)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte{0, 0, 0, 7, 0, 0, 0, 8, 1, 2, 3, 4, 5, 6, 7, 8})
	f.Fuzz(func(t *testing.T, b []byte) {
		if k, err := parseKeys(b); err == nil && 8+8*len(k.List) > len(b) {
			t.Error("keys that are not there")
		}
		_, _ = parseReservation(b)
		_, _ = parseCapabilities(b)
		_ = parseSense(CheckCondition, b)
	})
}
