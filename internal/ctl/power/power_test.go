package power_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/holdfast-ha/holdfast/bmc"
	"github.com/holdfast-ha/holdfast/bmc/bmctest"
	"github.com/holdfast-ha/holdfast/internal/ctl/power"
)

// TestVerify: a controller is taken over only if it speaks for this machine, in
// whatever byte order, and says that it is on; and no refusal holds the password.
func TestVerify(t *testing.T) {
	etc := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(etc, name)
		if err := os.WriteFile(path, []byte(text+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	wrong := write("wrong", "not-the-password")
	m := bmctest.NewMachine(t, bmctest.Honest)
	own := []bmc.GUID{m.GUID}
	turned := m.GUID // as SMBIOS has it: the first three fields the other way round
	slices.Reverse(turned[0:4])
	slices.Reverse(turned[4:6])
	slices.Reverse(turned[6:8])
	url := bmctest.NewRedfish(t, m).URL("1")
	off, silent := bmctest.NewMachine(t, bmctest.SaysOff), bmctest.NewMachine(t, bmctest.Anonymous)

	if _, _, err := (&power.Claim{URL: url}).Verify(t.Context(), etc, own); err == nil || !strings.Contains(err.Error(), filepath.Join(etc, "bmc.secret")) {
		t.Errorf("without a password: %v", err)
	}
	right := write("bmc.secret", bmctest.Password)
	for _, c := range []struct {
		name, words string
		claim       power.Claim
		own         []bmc.GUID
	}{
		{"it", "", power.Claim{URL: url}, own},
		{"it, in another byte order", "", power.Claim{URL: url, PasswordFile: right}, []bmc.GUID{turned}},
		{"none", "", power.Claim{}, nil},
		{"another machine", "expected is", power.Claim{URL: url}, []bmc.GUID{{1, 2, 3}}},
		{"a machine that does not know itself", "does not know who it is", power.Claim{URL: url}, nil},
		{"one that says off", "another machine", power.Claim{URL: bmctest.NewRedfish(t, off).URL("1")}, own},
		{"one that names nobody", "does not say", power.Claim{URL: bmctest.NewRedfish(t, silent).URL("1")}, own},
		{"a wrong password", "password", power.Claim{URL: url, PasswordFile: wrong}, own},
		{"an agent", "fencing.ways", power.Claim{URL: "agent:fence_x"}, own},
		{"a password in it", "holds a password", power.Claim{URL: "ipmi://admin:not-the-password@h"}, own},
	} {
		got, told, err := c.claim.Verify(t.Context(), etc, c.own)
		if c.words != "" {
			if err == nil || !strings.Contains(err.Error(), c.words) || strings.Contains(err.Error(), "not-the-password") || told != "" {
				t.Errorf("%s: %v, told %q", c.name, err, told)
			}
			continue
		}
		if err != nil || (got.URL == "") != (c.claim.URL == "") || c.claim.URL != "" && (got.PasswordFile != right || told != got.URL+"#"+m.GUID.String()) {
			t.Errorf("%s: %+v, told %q, %v", c.name, got, told, err)
		}
	}
}
