package secret

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func write(t *testing.T, path, text string, mode os.FileMode) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
}

func TestFill(t *testing.T) {
	own, passed := t.TempDir(), t.TempDir()
	write(t, filepath.Join(own, "db"), "hunter2\n", 0o600)
	write(t, filepath.Join(own, "open"), "everybody\n", 0o644)
	write(t, filepath.Join(passed, "token"), "of-systemd", 0o400)
	t.Setenv("CREDENTIALS_DIRECTORY", passed)
	name, value, _ := strings.Cut(At(own).Environ(), "=")
	t.Setenv(name, value)
	p := Here()
	for _, c := range []struct{ spec, want, wrong string }{
		{`{"agent":"heartbeat:db2","with":{"password":"secret:db","user":"db"}}`, `{"agent":"heartbeat:db2","with":{"password":"hunter2","user":"db"}}`, ""},
		{`{"env":{"A":"secret:token","B":"x"},"run":["secret:db"]}`, `{"env":{"A":"of-systemd","B":"x"},"run":["secret:db"]}`, ""},
		{`{"run":"a line"}`, `{"run":"a line"}`, ""},
		{`{"env":{"A":"secret:none"}}`, `{"env":{"A":""}}`, "secret none is missing on this node: write it into " + own + "/none, with mode 0600"},
		{`{"env":{"A":"secret:open"}}`, `{"env":{"A":""}}`, "chmod 0600"},
		{`{"env":{"A":"secret:../db"}}`, `{"env":{"A":""}}`, "is no name of a secret"},
	} {
		got, err := p.Fill(json.RawMessage(c.spec))
		if string(got) != c.want || (err == nil) != (c.wrong == "") || err != nil && !strings.Contains(err.Error(), c.wrong) {
			t.Errorf("%s: %s, %v; want %s, %q", c.spec, got, err, c.want, c.wrong)
		}
	}
	text := p.Hide(json.RawMessage(`{"with":{"password":"secret:db"}}`), "login with hunter2 failed: hunter2")
	if text != "login with (secret:db) failed: (secret:db)" {
		t.Error(text)
	}
	if _, err := (Places{}).Read("db"); err == nil {
		t.Error("a secret from nowhere")
	}
}
