package api

import (
	"errors"
	"net"
	"path/filepath"
	"testing"
)

func TestNoDaemon(t *testing.T) {
	if _, err := Dial(filepath.Join(t.TempDir(), "api.sock")); !errors.Is(err, ErrNoDaemon) {
		t.Errorf("no socket: %v", err)
	}
	path := filepath.Join(t.TempDir(), "api.sock")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := Dial(path); !errors.Is(err, ErrNoDaemon) {
		t.Errorf("a dead socket: %v", err)
	}
}
