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

// TestControllerGUID: a device that is missing or no controller is an error, and
// the call ends with its context.
func TestControllerGUID(t *testing.T) {
	for _, path := range []string{filepath.Join(t.TempDir(), "ipmi0"), "/dev/null"} {
		if g, err := controllerGUID(t.Context(), path); err == nil {
			t.Errorf("%s: %v", path, g)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if g, err := controllerGUID(ctx, filepath.Join(t.TempDir(), "ipmi0")); err == nil {
		t.Errorf("without time: %v", g)
	}
	// Whatever this machine is, both of its sources are named.
	found, err := InBand(t.Context())
	if missing := strings.Count(err2text(err), "\n") + 1; err != nil && len(found)+missing != 2 {
		t.Errorf("%v, %v", found, err)
	}
}

func err2text(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
