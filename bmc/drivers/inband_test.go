package drivers

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestFirmwareGUID(t *testing.T) {
	path := filepath.Join(t.TempDir(), "product_uuid")
	if _, err := firmwareGUID(path); err == nil || strings.Contains(err.Error(), path) {
		t.Errorf("the caller names the path: %v", err)
	}
	for text, valid := range map[string]bool{
		"3d1c4a50-9b2e-11ee-8c90-0242ac120002\n": true,
		"Not Settable\n":                         false,
		"03000200-0400-0500-0006-000700080009\n": false,
	} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		g, err := firmwareGUID(path)
		if valid != (err == nil) || valid == g.IsZero() {
			t.Errorf("%q: %v, %v", text, g, err)
		}
	}
}

// TestControllerTells: the GUID where it is usable, and the address of every network
// card; a machine whose GUID is a placeholder is known by its cards.
func TestControllerTells(t *testing.T) {
	placeholder := append([]byte{0}, make([]byte, 16)...)
	good := append([]byte{0}, []byte("0123456789abcdef")...)
	for name, c := range map[string]struct {
		guid []byte
		want int
		err  bool
	}{"usable": {good, 2, false}, "placeholder": {placeholder, 1, false}, "not known": {[]byte{0xc1}, 1, false}} {
		told, err := tellAll(func(netFn, command byte, data []byte) ([]byte, error) {
			switch {
			case netFn == 6 && command == 0x37:
				return c.guid, nil
			case netFn == 0x0c && command == 2 && data[0] == 8 && data[1] == 5:
				return []byte{0, 0x11, 0x52, 0x54, 0, 1, 2, 3}, nil
			case data[0] == 1:
				return []byte{0, 0x11, 0, 0, 0, 0, 0, 0}, nil // a card without an address
			}
			return []byte{0xcc}, nil
		})
		if (err != nil) != c.err || len(told) != c.want || told[len(told)-1].String() != "52:54:00:01:02:03" {
			t.Errorf("%s: %v, %v", name, told, err)
		}
	}
	if told, err := tellAll(func(_, _ byte, data []byte) ([]byte, error) {
		if data == nil {
			return placeholder, nil
		}
		return []byte{0xcc}, nil
	}); err == nil || len(told) != 0 {
		t.Errorf("a controller that tells nothing: %v, %v", told, err)
	}
}

// TestControllerGUID: a device that is missing or no controller is an error, and
// the call ends with its context.
func TestControllerGUID(t *testing.T) {
	for _, path := range []string{filepath.Join(t.TempDir(), "ipmi0"), "/dev/null"} {
		if g, err := controllerGUIDs(t.Context(), path); err == nil {
			t.Errorf("%s: %v", path, g)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if g, err := controllerGUIDs(ctx, filepath.Join(t.TempDir(), "ipmi0")); err == nil {
		t.Errorf("without time: %v", g)
	}
	// Whatever this machine is, both of its sources are named.
	found, err := InBand(t.Context())
	if missing := strings.Count(err2text(err), "\n") + 1; err != nil && len(found)+missing < 2 {
		t.Errorf("%v, %v", found, err)
	}
}

func err2text(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
