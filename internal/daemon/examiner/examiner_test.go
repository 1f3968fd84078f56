package examiner

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-ha/holdfast/storage/program"
)

// TestReport: the doctor is found beside the daemon or where the package puts it, is
// called once for those that ask at once, and what is no report is an error.
func TestReport(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	for _, dir := range []string{"bin", "sbin"} {
		if err := os.Mkdir(filepath.Join(root, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	path := filepath.Join(root, "bin/holdfast")
	if err := os.WriteFile(path, nil, 0o755); err != nil {
		t.Fatal(err)
	}
	var called []string
	out, failed := `{"version": 1}`, error(nil)
	now := time.Unix(1e9, 0)
	e := New(func(_ context.Context, c program.Command) (program.Result, error) {
		called = append(called, strings.Join(c.Argv, " "))
		return program.Result{Stdout: out, Stderr: "no node.yaml", Code: 2}, failed
	}, "/etc/holdfast/node.yaml", func() (string, error) { return filepath.Join(root, "sbin/holdfastd"), nil }, func() time.Time { return now })
	for range 2 {
		if text, err := e.Report(t.Context()); err != nil || string(text) != out {
			t.Errorf("%q, %v", text, err)
		}
	}
	if len(called) != 1 || called[0] != path+" --config /etc/holdfast/node.yaml doctor --local --json" {
		t.Errorf("called %q", called)
	}
	now = now.Add(time.Minute)
	out = ""
	if text, err := e.Report(t.Context()); err == nil || !strings.Contains(err.Error(), "exits with 2: no node.yaml") {
		t.Errorf("%q, %v", text, err)
	}
	failed = errors.New("it had not ended")
	if text, err := e.Report(t.Context()); !errors.Is(err, failed) {
		t.Errorf("%q, %v", text, err)
	}
}
