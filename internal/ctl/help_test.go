package ctl_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// commands lists every command with a man page, as a command line.
func commands(t *testing.T) (names []string, dir string) {
	t.Helper()
	dir = t.TempDir()
	holdfast("", "man", dir).says(t, 0)
	dir = filepath.Join(dir, "man8")
	pages, err := filepath.Glob(filepath.Join(dir, "holdfast*.8"))
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range pages {
		if base := filepath.Base(p); base == "holdfastd.8" || base == "holdfast-guard.8" {
			continue // programs of their own
		}
		names = append(names, strings.TrimSuffix(filepath.Base(p), ".8"))
	}
	if len(names) < 30 {
		t.Fatalf("only %d man pages", len(names))
	}
	return names, dir
}

// TestHelp: every command has texts of its own, every page says what its
// command is for, and no section of the texts is without a command.
func TestHelp(t *testing.T) {
	t.Parallel()
	names, dir := commands(t)
	text, err := os.ReadFile("help.txt")
	if err != nil {
		t.Fatal(err)
	}
	sections := map[string]bool{}
	for line := range strings.Lines(string(text)) {
		if name, ok := strings.CutPrefix(line, "== "); ok {
			sections[strings.ReplaceAll(strings.TrimSpace(name), " ", "-")] = true
		}
		if strings.HasPrefix(line, "  ") || len(line) <= 101 {
			continue
		}
		t.Errorf("help.txt: too long: %s", line)
	}
	for _, name := range names {
		if !sections[name] {
			t.Errorf("%s has no section in help.txt", name)
		}
		delete(sections, name)
		page, err := os.ReadFile(filepath.Join(dir, name+".8"))
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(page), ".SH SYNOPSIS") || !strings.Contains(string(page), name+" - ") {
			t.Errorf("%s: not a whole man page:\n%s", name, page)
		}
	}
	for name := range sections {
		t.Errorf("help.txt describes %s, which is no command", name)
	}
}

func TestHelpOfCommands(t *testing.T) {
	t.Parallel()
	holdfast("").says(t, 0, "holdfast join on", "Available Commands")
	holdfast("", "--help").says(t, 0, "EXIT STATUS")
	holdfast("", "node", "confirm-off", "--help").says(t, 0, "Whoever says this is", "--operator")
	holdfast("", "stauts").says(t, 2, "Did you mean this?", "status")
	holdfast("", "init", "--dsik", "x").says(t, 2, "unknown flag: --dsik", "holdfast init --help")
	holdfast("", "disk", "sohw").says(t, 2, "did you mean show?")
}

func TestWatchdogList(t *testing.T) {
	t.Parallel()
	var dogs []struct {
		Path string `json:"path"`
	}
	r := holdfast("", "watchdog", "list", "--json")
	r.says(t, 0)
	if err := json.Unmarshal([]byte(r.out), &dogs); err != nil {
		t.Fatal(err)
	}
	text := holdfast("", "watchdog", "list")
	text.says(t, 0)
	if len(dogs) == 0 {
		text.says(t, 0, "modprobe softdog")
	}
	for _, d := range dogs {
		text.says(t, 0, d.Path)
	}
}

func TestVersionAndCompletion(t *testing.T) {
	t.Parallel()
	holdfast("", "version").says(t, 0, "holdfast ", "quorum disk format 1")
	holdfast("", "version", "--json").says(t, 0, `"disk_format": 1`)
	for _, shell := range []string{"bash", "zsh", "fish"} {
		holdfast("", "completion", shell).says(t, 0, "holdfast")
	}
	holdfast("", "completion", "tcsh").says(t, 2, "tcsh")
}
