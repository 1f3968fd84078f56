package archtest

import (
	"os"
	"path/filepath"
	"testing"
)

// TestRepository applies every rule to the source files of this repository.
func TestRepository(t *testing.T) {
	tree, err := Load(os.DirFS(moduleRoot(t)))
	if err != nil {
		t.Fatal(err)
	}
	if len(tree.Packages) == 0 {
		t.Fatal("no package found: the walk is broken")
	}
	for _, r := range Rules() {
		t.Run(r.Name, func(t *testing.T) {
			for _, v := range r.Check(tree) {
				t.Error(v)
			}
		})
	}
	t.Run("exceptions", func(t *testing.T) {
		for _, v := range StaleExceptions(tree) {
			t.Error(v)
		}
	})
}

// moduleRoot walks up from the folder of this test to the go.mod.
func moduleRoot(t *testing.T) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir
		}
		up := filepath.Dir(dir)
		if up == dir {
			t.Fatal("no go.mod above the test: run it inside the repository")
		}
		dir = up
	}
}
