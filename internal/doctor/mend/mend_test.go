package mend_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-ha/holdfast/internal/doctor"
	"github.com/holdfast-ha/holdfast/internal/doctor/mend"
	"github.com/holdfast-ha/holdfast/storage/program"
)

// bench is one with a root of its own, that notes what is called.
func bench(t *testing.T, fails string) (*mend.Bench, *[]string) {
	t.Helper()
	var called []string
	return &mend.Bench{Root: t.TempDir(), Records: t.TempDir(), Now: time.Now, Run: func(_ context.Context, c program.Command) (program.Result, error) {
		line := strings.Join(c.Argv, " ")
		called = append(called, line)
		if line == fails {
			return program.Result{Code: 7, Stderr: "no such thing"}, nil
		}
		return program.Result{}, nil
	}}, &called
}

func finding(c *doctor.Change) doctor.Finding { return doctor.Finding{Check: "test", Fix: c} }

// TestAStepThatFails: what was done before it is taken back, and nothing is recorded.
func TestAStepThatFails(t *testing.T) {
	t.Parallel()
	b, called := bench(t, "b")
	err := b.Do(t.Context(), finding(&doctor.Change{
		Files: []doctor.Edit{{Path: "/etc/new/dir/file", Text: "x"}}, Run: [][]string{{"a"}, {"b"}}, Back: [][]string{{"c"}},
	}))
	if err == nil || !strings.Contains(err.Error(), "b: it exits with 7: no such thing") {
		t.Errorf("%v", err)
	}
	if !slices.Equal(*called, []string{"a", "b", "c"}) {
		t.Errorf("called %q", *called)
	}
	if _, err := os.Stat(filepath.Join(b.Root, "etc")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("directories are left: %v", err)
	}
	if made, err := b.Made(); err != nil || len(made) != 0 {
		t.Errorf("%+v, %v", made, err)
	}
	if err := b.Do(t.Context(), finding(&doctor.Change{Files: []doctor.Edit{{Path: "/proc/sys/none", Text: "1", Value: true}}})); err == nil {
		t.Error("a setting that the kernel does not have was written")
	}
	if err := b.Do(t.Context(), finding(&doctor.Change{Files: []doctor.Edit{{Path: "/etc", Link: "/dev/null"}}})); err != nil {
		t.Error(err) // nothing was there
	}
}

// TestSomebodyElse: a file that was changed since, or that is the administrator's
// own, is left alone.
func TestSomebodyElse(t *testing.T) {
	t.Parallel()
	b, called := bench(t, "")
	one, two := finding(&doctor.Change{Files: []doctor.Edit{{Path: "/one", Text: "1\n"}}}), finding(&doctor.Change{Files: []doctor.Edit{{Path: "/two", Text: "2\n"}}, Back: [][]string{{"z"}}})
	path := filepath.Join(b.Root, "one")
	if err := os.WriteFile(path, []byte("0\n"), 0o640); err != nil {
		t.Fatal(err)
	}
	for _, x := range []doctor.Finding{one, two} {
		if err := b.Do(t.Context(), x); err != nil {
			t.Fatal(err)
		}
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o640 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	if err := os.WriteFile(path, []byte("mine\n"), 0o640); err != nil {
		t.Fatal(err)
	}
	told := 0
	err := b.Undo(t.Context(), func(*mend.Record) { told++ })
	if err == nil || !strings.Contains(err.Error(), "/one was changed by somebody else") || told != 1 || !slices.Equal(*called, []string{"z"}) {
		t.Errorf("%v, %d taken back, called %q", err, told, *called)
	}
	if text, err := os.ReadFile(path); err != nil || string(text) != "mine\n" {
		t.Errorf("%q, %v", text, err)
	}
	if err := os.WriteFile(path, []byte("1\n"), 0o640); err != nil {
		t.Fatal(err)
	}
	if err := b.Undo(t.Context(), func(*mend.Record) { told++ }); err != nil || told != 2 {
		t.Errorf("%v, %d taken back", err, told)
	}
	if text, err := os.ReadFile(path); err != nil || string(text) != "0\n" {
		t.Errorf("%q, %v", text, err)
	}
	if err := os.WriteFile(filepath.Join(b.Root, "unit"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := b.Do(t.Context(), finding(&doctor.Change{Files: []doctor.Edit{{Path: "/unit", Link: "/dev/null"}}})); err == nil || !strings.Contains(err.Error(), "left alone") {
		t.Errorf("%v", err)
	}
}
