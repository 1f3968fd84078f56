package bmc_test

import (
	"errors"
	"testing"

	"github.com/holdfast-ha/holdfast/bmc"
)

func guid(t *testing.T, text string) bmc.GUID {
	t.Helper()
	g, err := bmc.ParseGUID(text)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// TestGUIDByteOrders: one machine, as four places may tell it.
func TestGUIDByteOrders(t *testing.T) {
	want := guid(t, "00112233-4455-6677-8899-aabbccddeeff")
	for order, text := range map[string]string{
		"as printed":               "00112233445566778899AABBCCDDEEFF",
		"SMBIOS, fields swapped":   "33221100-5544-7766-8899-aabbccddeeff",
		"IPMI, all reversed":       "ffeeddcc-bbaa-9988-7766-554433221100",
		"SMBIOS fields, reversed":  "ffeeddccbbaa99886677445500112233",
		"with space around, upper": " 00112233-4455-6677-8899-AABBCCDDEEFF\n",
	} {
		if g := guid(t, text); !want.Same(g) || !g.Same(want) {
			t.Errorf("%s: %s is not taken for %s", order, g, want)
		}
	}
	for _, other := range []string{"00112233-4455-6677-8899-aabbccddeefe", "10112233-4455-6677-8899-aabbccddeeff"} {
		if want.Same(guid(t, other)) {
			t.Errorf("%s is taken for %s", other, want)
		}
	}
	if (bmc.GUID{}).Same(bmc.GUID{}) {
		t.Error("two unknown machines are taken for one")
	}
}

func TestGUIDRefused(t *testing.T) {
	for _, text := range []string{
		"", "00112233", "00112233-4455-6677-8899-aabbccddeefg", "00112233-4455-6677-8899-aabbccddeeff00",
		"00000000-0000-0000-0000-000000000000", "ffffffff-ffff-ffff-ffff-ffffffffffff",
		"03000200-0400-0500-0006-000700080009", "00020003-0004-0005-0006-000700080009",
		"12345678-1234-5678-90ab-cddeefaabbcc",
	} {
		if g, err := bmc.ParseGUID(text); err == nil {
			t.Errorf("%q was taken for the identity %s", text, g)
		}
	}
}

func TestAccept(t *testing.T) {
	mine, other := guid(t, "00112233-4455-6677-8899-aabbccddeeff"), guid(t, "3d1c4a50-9b2e-11ee-8c90-0242ac120002")
	o := bmc.Options{Expect: []bmc.GUID{other, mine}}
	if err := o.Accept(bmc.Identity{GUID: mine}); err != nil {
		t.Errorf("the second of the expected: %v", err)
	}
	for _, seen := range []bmc.Identity{{}, {Name: "node1"}, {GUID: guid(t, "3d1c4a50-9b2e-11ee-8c90-0242ac120003")}} {
		if err := o.Accept(seen); !errors.Is(err, bmc.ErrOtherMachine) {
			t.Errorf("%v: %v", seen, err)
		}
		if err := (bmc.Options{}).Accept(seen); err != nil {
			t.Errorf("nobody expected, %v: %v", seen, err)
		}
	}
}

// TestMAC: an address of a network card is an identity of its own.
func TestMAC(t *testing.T) {
	mac := guid(t, "52:54:00:AB:cd:ef")
	if !mac.IsMAC() || mac.String() != "52:54:00:ab:cd:ef" || !mac.Same(guid(t, mac.String())) || mac.Same(guid(t, "52:54:00:ab:cd:ee")) {
		t.Errorf("%s", mac)
	}
	whole := guid(t, "00112233-4455-6677-8899-525400abcdef")
	if whole.IsMAC() || mac.Same(whole) {
		t.Errorf("%s is taken for %s", whole, mac)
	}
	for _, text := range []string{"00:00:00:00:00:00", "ff:ff:ff:ff:ff:ff", "01:00:5e:00:00:01", "52:54:00:ab:cd:ef:00:01", "52:54:00"} {
		if g, err := bmc.ParseGUID(text); err == nil {
			t.Errorf("%s is taken for %s", text, g)
		}
	}
	for _, c := range []struct {
		expect []bmc.GUID
		seen   bmc.GUID
		want   bool
	}{
		{nil, bmc.GUID{}, true},
		{nil, whole, false},
		{[]bmc.GUID{whole}, whole, false},
		{[]bmc.GUID{mac}, whole, true},
		{[]bmc.GUID{mac, whole}, whole, false},
	} {
		if got := (bmc.Options{Expect: c.expect}).WantsMAC(c.seen); got != c.want {
			t.Errorf("%v, and %s is seen: %v", c.expect, c.seen, got)
		}
	}
}
