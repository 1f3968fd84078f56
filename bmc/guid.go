package bmc

import (
	"encoding/hex"
	"fmt"
	"net"
	"slices"
	"strings"
)

// GUID is the UUID of a machine as its controller or its firmware tells it. Its
// bytes come in different orders from different places, see Same.
//
// Where a maker forgot it, the address of the controller's network card stands in
// its place: ten zero bytes and the six of the address, see FromMAC.
type GUID [16]byte

// FromMAC makes the identity of a machine whose controller has no usable GUID, of
// the address of that controller's network card. One that is no card's own is
// refused.
func FromMAC(mac []byte) (GUID, error) {
	var g GUID
	copy(g[10:], mac)
	if len(mac) != 6 || mac[0]&1 != 0 || g.IsZero() {
		return GUID{}, fmt.Errorf("%x is no address of a network card", mac)
	}
	return g, nil
}

// IsMAC says that the GUID is the address of a network card.
func (g GUID) IsMAC() bool { return [10]byte(g[:10]) == [10]byte{} && !g.IsZero() }

// ParseGUID reads the 32 hexadecimal digits of a GUID, with or without hyphens,
// in either case, or the address of a network card with colons. Values that firmware puts where a maker forgot the real one
// (all bytes equal, or the counting pattern of a reference firmware) are
// refused: they do not tell two machines apart.
func ParseGUID(text string) (GUID, error) {
	var g GUID
	if mac, err := net.ParseMAC(strings.TrimSpace(text)); err == nil && len(mac) == 6 {
		return FromMAC(mac)
	}
	digits := strings.ReplaceAll(strings.TrimSpace(text), "-", "")
	raw, err := hex.DecodeString(digits)
	if err != nil || len(raw) != len(g) {
		return g, fmt.Errorf("%q is no GUID: 32 hexadecimal digits are expected", OneLine(text))
	}
	copy(g[:], raw)
	if g.placeholder() {
		return GUID{}, fmt.Errorf("%s is a placeholder of the firmware, not the identity of a machine: set the real UUID with the maker's tool", g)
	}
	return g, nil
}

// IsZero says whether the GUID is not known.
func (g GUID) IsZero() bool { return g == GUID{} }

// String gives the usual form, 00112233-4455-6677-8899-aabbccddeeff, in the
// order of the bytes as they came; of an address of a network card the usual form of
// that.
func (g GUID) String() string {
	if g.IsMAC() {
		return net.HardwareAddr(g[10:]).String()
	}
	return fmt.Sprintf("%x-%x-%x-%x-%x", g[0:4], g[4:6], g[6:8], g[8:10], g[10:16])
}

// Same says whether two GUIDs name one machine, whichever order their bytes are
// in. Redfish and the kernel's product_uuid print the fields in network order;
// SMBIOS 2.6 (DSP0134, 7.2.1) stores the first three fields least significant
// byte first; IPMI 2.0 (22.14, 20.8) sends the whole least significant byte
// first; controllers follow the one, the other, or both at once. The zero GUID
// is never the same as anything.
func (g GUID) Same(other GUID) bool {
	if g.IsZero() || other.IsZero() {
		return false
	}
	for _, order := range []GUID{other, other.swapped(), other.reversed(), other.reversed().swapped(), other.swapped().reversed()} {
		if g == order {
			return true
		}
	}
	return false
}

func (g GUID) reversed() GUID {
	slices.Reverse(g[:])
	return g
}

// swapped turns the first three fields around, as SMBIOS does.
func (g GUID) swapped() GUID {
	slices.Reverse(g[0:4])
	slices.Reverse(g[4:6])
	slices.Reverse(g[6:8])
	return g
}

// placeholder says whether the GUID is one that many machines share.
func (g GUID) placeholder() bool {
	same := true
	for _, b := range g {
		same = same && b == g[0]
	}
	if same {
		return true
	}
	// The two values of reference firmware that makers have shipped.
	counting := GUID{0x03, 0x00, 0x02, 0x00, 0x04, 0x00, 0x05, 0x00, 0x00, 0x06, 0x00, 0x07, 0x00, 0x08, 0x00, 0x09}
	numbers := GUID{0x12, 0x34, 0x56, 0x78, 0x12, 0x34, 0x56, 0x78, 0x90, 0xab, 0xcd, 0xde, 0xef, 0xaa, 0xbb, 0xcc}
	for _, known := range []GUID{counting, numbers} {
		if g == known || g == known.swapped() {
			return true
		}
	}
	return false
}

// WantsMAC says that a controller which names itself so is to be asked for the
// address of its network card as well: it names no usable GUID, or another one than
// expected where such an address is expected.
func (o Options) WantsMAC(seen GUID) bool {
	return seen.IsZero() || slices.ContainsFunc(o.Expect, GUID.IsMAC) && !slices.ContainsFunc(o.Expect, seen.Same)
}

// Accept says whether the machine that a controller named is the expected one.
// Its error has ErrOtherMachine in its chain. No expectation accepts everything.
func (o Options) Accept(seen Identity) error {
	if len(o.Expect) == 0 {
		return nil
	}
	if seen.GUID.IsZero() {
		return fmt.Errorf("%w: the controller does not say which machine it switches; expected is %s", ErrOtherMachine, o.Expect[0])
	}
	for _, g := range o.Expect {
		if g.Same(seen.GUID) {
			return nil
		}
	}
	return fmt.Errorf("%w: the controller switches %s, expected is %s; is the address right?", ErrOtherMachine, seen, o.Expect[0])
}
