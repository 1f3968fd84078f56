package filesystem_test

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/holdfast-ha/holdfast/resources"
	"github.com/holdfast-ha/holdfast/resources/filesystem"
)

// A mount that somebody takes away, lazily or not, and one that becomes read-only,
// are told without a check.
func TestWatch(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("not root: nothing can be mounted; run this test as root")
	}
	at, other := t.TempDir(), t.TempDir()
	mount := func(where string) {
		t.Helper()
		if err := unix.Mount("holdfast-test", where, "tmpfs", 0, "size=64k"); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = unix.Unmount(where, unix.MNT_DETACH) })
	}
	mount(at)
	spec, _ := json.Marshal(map[string]string{"device": filepath.Join(at, "none"), "at": at, "type": "tmpfs"})
	ctx, cancel := context.WithCancel(context.Background())
	told, asked, ended := make(chan string, 16), make(chan struct{}, 1024), make(chan struct{})
	go func() {
		defer close(ended)
		filesystem.Agent{}.Watch(ctx, func() []resources.Watched {
			asked <- struct{}{}
			return []resources.Watched{{Service: "orders", Member: "filesystem", Spec: spec}}
		}, func(m resources.Watched, what string) { told <- m.Service + " " + m.Member + ": " + what })
	}()
	defer func() {
		cancel()
		select {
		case <-ended:
		case <-time.After(20 * time.Second):
			t.Error("the watch does not end")
		}
	}()
	// Until it has begun nothing is heard: something is mounted until it looks.
	begin := time.Now()
	for len(asked) == 0 {
		if time.Since(begin) > 20*time.Second {
			t.Fatal("it never looked at the mount table")
		}
		mount(other)
		if err := unix.Unmount(other, 0); err != nil {
			t.Fatal(err)
		}
	}
	expect := func(words string) {
		t.Helper()
		select {
		case got := <-told:
			if !strings.Contains(got, words) {
				t.Errorf("told %q, want %q", got, words)
			}
		case <-time.After(20 * time.Second):
			t.Fatalf("%q was not told", words)
		}
	}
	if err := unix.Mount("", at, "", unix.MS_REMOUNT|unix.MS_RDONLY, ""); err != nil {
		t.Fatal(err)
	}
	expect("orders filesystem: " + at + " has become read-only")
	for len(asked) > 0 {
		<-asked
	}
	if err := unix.Mount("", at, "", unix.MS_REMOUNT, ""); err != nil {
		t.Fatal(err)
	}
	<-asked // it has looked: all is well again
	if err := unix.Unmount(at, unix.MNT_DETACH); err != nil {
		t.Fatal(err)
	}
	expect("nothing is mounted at " + at + " any more")
}
