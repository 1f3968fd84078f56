package cases_test

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/holdfast-ha/holdfast/storage"
	"github.com/holdfast-ha/holdfast/storage/storagetest"
)

const (
	root     = "../.."
	patience = 30 * time.Second
	maxOpen  = 8 // cases that may wait for other work
)

// TestEveryCaseIsHeld reads docs/NASTY-CASES.md: 25 cases, each with a test that
// exists, or the work that it waits for.
func TestEveryCaseIsHeld(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(root, "docs", "NASTY-CASES.md"))
	if err != nil {
		t.Fatal(err)
	}
	rows := regexp.MustCompile(`(?m)^\| (\d+) \| (.+) \| (.+) \|$`).FindAllStringSubmatch(string(text), -1)
	if len(rows) != 25 {
		t.Fatalf("%d cases, want 25", len(rows))
	}
	named := regexp.MustCompile("`([a-z/]+)` `(Test[A-Za-z0-9]+)`")
	open := 0
	for i, r := range rows {
		if r[1] != strconv.Itoa(i+1) {
			t.Errorf("case %s stands where %d should", r[1], i+1)
		}
		tests := named.FindAllStringSubmatch(r[3], -1)
		for _, n := range tests {
			if !declares(t, n[1], n[2]) {
				t.Errorf("case %d: %s has no %s", i+1, n[1], n[2])
			}
		}
		switch waits := strings.Contains(r[3], "work on "); {
		case len(tests) == 0 && !waits:
			t.Errorf("case %d is held by nothing", i+1)
		case waits:
			open++
		}
	}
	if open > maxOpen {
		t.Errorf("%d cases wait for other work, at most %d may", open, maxOpen)
	}
}

// pages are those whose tables name stories and tests, and how many rows each table has,
// by the letter of its numbers.
func pages() map[string]map[string]int {
	return map[string]map[string]int{
		"PEERS-SCENARIOS.md": {"M": 13, "X": 14, "": 16, "s": 9, "B": 20},
		"SERVICES.md":        {"K": 14, "S": 13, "C": 7, "P": 11},
	}
}

// TestEveryScenarioIsHeld reads these pages: each row names stories and tests that
// exist, or says what is not there yet.
func TestEveryScenarioIsHeld(t *testing.T) {
	for name, wanted := range pages() {
		text, err := os.ReadFile(filepath.Join(root, "docs", name))
		if err != nil {
			t.Fatal(err)
		}
		rows := map[string]int{}
		for _, r := range regexp.MustCompile(`(?m)^\| ([A-Za-z]?\d*) \| (.+) \| (.+) \|$`).FindAllStringSubmatch(string(text), -1) {
			n := regexp.MustCompile(`^([A-Zs]?)(\d+|[a-z])$`).FindStringSubmatch(r[1])
			if n == nil {
				continue // a table's head
			}
			rows[n[1]]++
			if want := strconv.Itoa(rows[n[1]]); n[1] != "" && n[2] != want || n[1] == "" && n[2] != string(rune('a'+rows[""]-1)) {
				t.Errorf("%s: row %s stands at place %s of its table", name, r[1], want)
			}
			held(t, name+" "+r[1], r[3])
		}
		for letter, want := range wanted {
			if rows[letter] != want {
				t.Errorf("%s: %d rows numbered %q, want %d", name, rows[letter], letter+"1...", want)
			}
		}
	}
}

// held checks that the stories and tests of a row exist.
func held(t *testing.T, row, by string) {
	t.Helper()
	tests := regexp.MustCompile("`([a-z/]+)` `(Test[A-Za-z0-9]+)`").FindAllStringSubmatch(by, -1)
	stories := regexp.MustCompile("`([a-z0-9-]+\\.txt)`").FindAllStringSubmatch(by, -1)
	for _, n := range tests {
		if !declares(t, n[1], n[2]) {
			t.Errorf("%s: %s has no %s", row, n[1], n[2])
		}
	}
	for _, n := range stories {
		if _, err := os.Stat(filepath.Join(root, "cluster", "testdata", n[1])); err != nil {
			t.Errorf("%s: %v", row, err)
		}
	}
	if len(tests)+len(stories) == 0 {
		t.Errorf("%s is held by nothing", row)
	}
}

// declares says that a test of this name stands in a package.
func declares(t *testing.T, dir, name string) bool {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(root, dir, "*_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(text), "\nfunc "+name+"(t *testing.T)") {
			return true
		}
	}
	return false
}

// TestCase01ReadableNotWritable: a thinly provisioned disk is full. Reads give
// what is there, writes fail and say why, and nothing is taken for written.
func TestCase01ReadableNotWritable(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("mounting a small tmpfs needs root: run the tests with sudo")
	}
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=2m"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, 0); err != nil {
			t.Errorf("umount %s: %v", dir, err)
		}
	})
	thin := filepath.Join(dir, "thin.img")
	if err := os.WriteFile(thin, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(thin, 8<<20); err != nil {
		t.Fatal(err)
	}
	d, err := storage.Open(storagetest.Loop(t, thin, 4096), storage.Options{Sync: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	})
	sector := make([]byte, 4096)
	sector[0] = 1
	if err := d.Write(sector, 0, patience); err != nil {
		t.Fatalf("while there is room: %v", err)
	}
	if out, err := exec.Command("dd", "if=/dev/zero", "of="+filepath.Join(dir, "rest"), "bs=64k").CombinedOutput(); err == nil {
		t.Fatalf("the tmpfs does not fill up: %s", out)
	}
	err = d.Write(sector, 4<<20, patience)
	if !errors.Is(err, syscall.ENOSPC) && !errors.Is(err, syscall.EIO) {
		t.Errorf("a write without room: %v, want ENOSPC or EIO", err)
	}
	for off, want := range map[int64]byte{0: 1, 4 << 20: 0} {
		got := make([]byte, 4096)
		if err := d.Read(got, off, patience); err != nil || got[0] != want {
			t.Errorf("read at %d: %d, %v; want %d", off, got[0], err, want)
		}
	}
}
