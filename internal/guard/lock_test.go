package guard

import (
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// TestLockMakesItsFolder: after a boot the guard starts before anybody has made its
// folder, and its unit's umask keeps nobody out who may ask the daemon.
func TestLockMakesItsFolder(t *testing.T) {
	defer unix.Umask(unix.Umask(0o077))
	dir := filepath.Join(t.TempDir(), "alpha")
	fd, err := lock(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	if st, err := os.Stat(dir); err != nil || st.Mode().Perm() != 0o755 {
		t.Errorf("%v, %v: want a folder for everybody to enter", st, err)
	}
	if _, err := lock(dir); err == nil {
		t.Error("two guards have the lock")
	}
}
