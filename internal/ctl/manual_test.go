package ctl_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestManualPages: the manual's first page leads to every other one, and no link of any
// page in docs leads nowhere.
func TestManualPages(t *testing.T) {
	t.Parallel()
	first, err := os.ReadFile("../../docs/manual/README.md")
	if err != nil {
		t.Fatal(err)
	}
	var pages []string
	for _, pattern := range []string{"../../*.md", "../../docs/*.md", "../../docs/*/*.md"} {
		found, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		pages = append(pages, found...)
	}
	link := regexp.MustCompile(`\]\(([^)#:]+)(#[^)]*)?\)`)
	links := 0
	for _, p := range pages {
		text, err := os.ReadFile(p)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range link.FindAllStringSubmatch(string(text), -1) {
			links++
			if _, err := os.Stat(filepath.Join(filepath.Dir(p), m[1])); err != nil {
				t.Errorf("%s: the link to %s leads nowhere", p, m[1])
			}
		}
		if name := filepath.Base(p); filepath.Base(filepath.Dir(p)) == "manual" && name != "README.md" && !strings.Contains(string(first), "("+name+")") {
			t.Errorf("docs/manual/README.md does not lead to %s", name)
		}
	}
	if links < 50 {
		t.Errorf("only %d links were found", links)
	}
}
