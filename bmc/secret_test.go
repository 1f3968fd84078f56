package bmc_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/holdfast-ha/holdfast/bmc"
)

func TestReadSecret(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string, mode os.FileMode) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		return path
	}
	t.Setenv("CREDENTIALS_DIRECTORY", dir)
	write("bmc", "from systemd\n", 0o400)
	for place, want := range map[string]string{
		write("good", "pass word\n", 0o600):     "pass word",
		write("bare", "password", 0o400):        "password",
		write("windows", "password\r\n", 0o600): "password",
		"credential:bmc":                        "from systemd",
	} {
		if s, err := bmc.ReadSecret(place); err != nil || s.Reveal() != want {
			t.Errorf("%s: %q, %v", place, s.Reveal(), err)
		}
	}
	for place, word := range map[string]string{
		write("group", "p\n", 0o640):                    "chmod 0600",
		write("world", "p\n", 0o604):                    "chmod 0600",
		write("empty", "\n", 0o600):                     "is empty",
		write("two", "p\nq\n", 0o600):                   "more than one line",
		write("zero", "p\x00q\n", 0o600):                "zero byte",
		write("long", strings.Repeat("p", 5000), 0o600): "longer than",
		dir:                           "no regular file",
		filepath.Join(dir, "missing"): "no such file",
		"credential:../good":          "plain name",
		"credential:":                 "plain name",
		"credential:missing":          "no such file",
	} {
		if s, err := bmc.ReadSecret(place); err == nil || !strings.Contains(err.Error(), word) {
			t.Errorf("%s: %q, %v; should speak of %q", place, s.Reveal(), err, word)
		}
	}
	t.Setenv("CREDENTIALS_DIRECTORY", "")
	if _, err := bmc.ReadSecret("credential:bmc"); err == nil || !strings.Contains(err.Error(), "LoadCredential=bmc") {
		t.Errorf("no credentials: %v", err)
	}
}

// TestSecretIsNotPrinted: no usual way of printing shows the password.
func TestSecretIsNotPrinted(t *testing.T) {
	o := bmc.Options{Password: bmc.NewSecret("hunter22")}
	var b bytes.Buffer
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x"} {
		fmt.Fprintf(&b, verb+"\n", o)
		fmt.Fprintf(&b, verb+"\n", o.Password)
	}
	slog.New(slog.NewTextHandler(&b, nil)).Info("x", "options", o, "password", o.Password)
	slog.New(slog.NewJSONHandler(&b, nil)).Info("x", "options", o, "password", o.Password)
	if err := json.NewEncoder(&b).Encode(o); err != nil {
		t.Fatal(err)
	}
	if text := b.String(); strings.Contains(text, "hunter22") || strings.Contains(text, fmt.Sprintf("%x", "hunter22")) {
		t.Errorf("the password was printed:\n%s", text)
	}
	if !strings.Contains(b.String(), "[password]") {
		t.Errorf("nothing was printed:\n%s", b.String())
	}
}
