package ctl_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// prompt is what may stand before a command in the manual: a node's name.
var prompt = regexp.MustCompile(`^[a-z]*[#$] +`)

// TestManualCommands: every command line of holdfast in README and docs is one:
// the command exists and takes these options.
func TestManualCommands(t *testing.T) {
	t.Parallel()
	files := []string{"../../README.md"}
	err := filepath.WalkDir("../../docs", func(path string, _ fs.DirEntry, err error) error {
		if strings.HasSuffix(path, ".md") && !strings.Contains(path, "/decisions/") {
			files = append(files, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	checked := 0
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		text = []byte(strings.ReplaceAll(string(text), "\\\n", " "))
		for number, line := range strings.Split(string(text), "\n") {
			code, indented := strings.CutPrefix(line, "    ")
			if !indented {
				continue
			}
			for _, command := range strings.Split(prompt.ReplaceAllString(code, ""), "&&") {
				args, ok := arguments(command)
				if !ok {
					continue
				}
				checked++
				r := holdfast("", append(args, "--help")...)
				if r.code != 0 || !strings.Contains(r.out, "Usage:") || strings.Contains(r.out, "Available Commands") && group(r.out) < len(args) {
					t.Errorf("%s:%d: holdfast %s: %d: %s", f, number+1, strings.Join(args, " "), r.code, r.err)
				}
			}
		}
	}
	if checked < 60 {
		t.Errorf("only %d commands found", checked)
	}
}

// group is how many words below holdfast lead to the group of commands whose
// help this is.
func group(help string) int {
	_, usage, _ := strings.Cut(help, "Usage:")
	for line := range strings.Lines(usage) {
		if words, ok := strings.CutSuffix(strings.TrimSpace(line), " [command]"); ok {
			return len(strings.Fields(words)) - 1
		}
	}
	return 0
}

// arguments takes a line apart, without its comment and redirections, if it
// calls holdfast.
func arguments(line string) ([]string, bool) {
	line, _, _ = strings.Cut(line, "#")
	line, _, _ = strings.Cut(line, "|")
	line, _, _ = strings.Cut(line, ">")
	words := strings.Fields(line)
	if len(words) < 2 || words[0] != "holdfast" {
		return nil, false
	}
	var args []string
	for _, w := range words[1:] {
		args = append(args, strings.Trim(w, `"'`))
	}
	return args, true
}

// example finds a whole configuration in a page, fenced or indented.
var example = regexp.MustCompile(`(?m)^(?:    )?cluster:\n(?:(?:    )?[ \t].*\n|(?:    )?services:\n)+`)

// TestManualConfigurations: the configurations that a newcomer copies are taken.
func TestManualConfigurations(t *testing.T) {
	t.Parallel()
	for _, page := range []string{"../../README.md", "../../docs/manual/first-cluster.md", "manual/pages/holdfast.yaml.5.md"} {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		found := example.FindString(string(text))
		if !strings.Contains(found, "stack:") {
			t.Errorf("%s: no configuration found: %q", page, found)
		}
		file := filepath.Join(t.TempDir(), "cluster.yaml")
		if err := os.WriteFile(file, []byte(found), 0o600); err != nil {
			t.Fatal(err)
		}
		if r := holdfast("", "config", "check", file); r.code != 0 {
			t.Errorf("%s: %s%s", page, r.out, r.err)
		}
	}
}
