package packaging_test

import (
	"context"
	"crypto/sha256"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// script runs a command of the packages in the root of the project and gives
// what it printed.
func script(t *testing.T, env []string, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 8*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Dir, cmd.Env = "..", append(os.Environ(), env...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%q: %v\n%s", args, err, out)
	}
	return string(out)
}

// needs skips a test where one of the programs is missing.
func needs(t *testing.T, programs ...string) {
	t.Helper()
	for _, p := range programs {
		if _, err := exec.LookPath(p); err != nil {
			t.Skipf("%s is missing: test/setup.sh installs it", p)
		}
	}
}

// TestPackages builds the packages twice, which gives the same bytes, has them
// looked at by lintian and rpmlint, and leads them through their life, from the
// first installation to the purge, on a copy of this machine.
func TestPackages(t *testing.T) {
	if testing.Short() {
		t.Skip("builds packages for minutes; runs without -short")
	}
	needs(t, "git", "lintian", "rpmlint", "rpm", "dpkg", "unshare")
	first, second, newer := t.TempDir(), t.TempDir(), t.TempDir()
	const epoch = "SOURCE_DATE_EPOCH=1763800000"
	script(t, []string{"OUT=" + first, epoch, "PACKAGE_VERSION=0.9.0"}, "packaging/build.sh", "amd64")
	script(t, []string{"OUT=" + second, epoch, "PACKAGE_VERSION=0.9.0"}, "packaging/build.sh", "amd64")
	script(t, []string{"OUT=" + newer, epoch, "PACKAGE_VERSION=0.9.1"}, "packaging/build.sh", "amd64")
	files := same(t, first, second)
	if len(files) != 6 {
		t.Errorf("built: %q, want two packages of two kinds, a bill of materials and sums", files)
	}
	t.Run("lint", func(t *testing.T) { lint(t, first) })
	t.Run("life", func(t *testing.T) { life(t, first, newer) })
}

// same fails unless both folders have the same files with the same bytes.
func same(t *testing.T, a, b string) (names []string) {
	t.Helper()
	entries, err := os.ReadDir(a)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		names = append(names, e.Name())
		one, err := os.ReadFile(filepath.Join(a, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		other, err := os.ReadFile(filepath.Join(b, e.Name()))
		if err != nil || sha256.Sum256(one) != sha256.Sum256(other) {
			t.Errorf("%s differs between two builds (%v)", e.Name(), err)
		}
	}
	return names
}

// lint: what the checkers of both families say is nothing, but for what
// packaging/lint gives a reason for.
func lint(t *testing.T, dir string) {
	debs, _ := filepath.Glob(filepath.Join(dir, "*.deb"))
	rpms, _ := filepath.Glob(filepath.Join(dir, "*.rpm"))
	said := script(t, nil, append([]string{"lintian", "--allow-root", "--fail-on", "error"}, debs...)...)
	if strings.TrimSpace(said) != "" {
		t.Errorf("lintian:\n%s", said)
	}
	said = script(t, nil, append([]string{"rpmlint", "-c", "packaging/lint/rpmlint.toml"}, rpms...)...)
	if !strings.Contains(said, "0 errors, 0 warnings") {
		t.Errorf("rpmlint:\n%s", said)
	}
}

// life runs testdata/lifecycle.sh where it may install things: on an overlay of
// this machine's root, in mount and network namespaces that end with it.
func life(t *testing.T, dir, newer string) {
	if os.Geteuid() != 0 {
		t.Skip("not root: packages are installed in an overlay of this machine's root file system, which root alone can make")
	}
	base := t.TempDir()
	out := script(t, nil, "unshare", "--mount", "--pid", "--fork", "--kill-child", "--net", "sh", "-euc", `
		mount -t tmpfs none "$1"
		mkdir "$1/upper" "$1/work" "$1/root"
		mount -t overlay -o "lowerdir=/,upperdir=$1/upper,workdir=$1/work" none "$1/root"
		mount -t proc none "$1/root/proc"
		mount -t tmpfs none "$1/root/run"
		mkdir "$1/root/packages" "$1/root/newer"
		cp "$2"/* "$1/root/packages"
		cp "$3"/* "$1/root/newer"
		cp packaging/testdata/lifecycle.sh "$1/root/lifecycle.sh"
		exec chroot "$1/root" sh /lifecycle.sh /packages /newer
	`, "sh", base, dir, newer)
	for _, want := range []string{"ok: installed", "ok: upgraded", "ok: no downgrade", "ok: removed and purged", "ok: rpm"} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in:\n%s", want, out)
		}
	}
}
