package packaging_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestExposure holds what docs/manual/install.md says of the units' exposure
// against systemd-analyze.
func TestExposure(t *testing.T) {
	const wanted = "systemd 252"
	version, err := exec.Command("systemd-analyze", "--version").Output()
	if err != nil || !strings.HasPrefix(string(version), wanted+" ") {
		t.Skipf("the figures are those of %s, as on Debian 12; here is %.20q (%v)", wanted, version, err)
	}
	text, err := os.ReadFile("../docs/manual/install.md")
	if err != nil {
		t.Fatal(err)
	}
	units, err := filepath.Glob("systemd/*.service")
	if err != nil || len(units) != 3 {
		t.Fatalf("units: %q, %v", units, err)
	}
	folders := strings.NewReplacer("@SBINDIR@", "/usr/sbin", "@BINDIR@", "/usr/bin")
	for _, unit := range units {
		name := filepath.Base(unit)
		content, err := os.ReadFile(unit)
		if err != nil {
			t.Fatal(err)
		}
		file := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(file, []byte(folders.Replace(string(content))), 0o644); err != nil {
			t.Fatal(err)
		}
		out, err := exec.Command("systemd-analyze", "security", "--offline=true", "--no-pager", file).CombinedOutput()
		said := regexp.MustCompile(`exposure level for ` + regexp.QuoteMeta(name) + `: ([0-9.]+)`).FindSubmatch(out)
		if err != nil || said == nil {
			t.Fatalf("systemd-analyze security %s: %v, %s", name, err, out)
		}
		if row := "| `" + name + "` | " + string(said[1]) + " |"; !strings.Contains(string(text), row) {
			t.Errorf("docs/manual/install.md: no row %q", row)
		}
	}
}
