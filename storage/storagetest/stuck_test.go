package storagetest_test

import (
	"bytes"
	"errors"
	"testing"
	"time"

	"github.com/holdfast-ha/holdfast/storage"
	"github.com/holdfast-ha/holdfast/storage/storagetest"
)

// TestStuck: the file is a disk until it is stopped, and then neither fails nor
// answers.
func TestStuck(t *testing.T) {
	path, stop := storagetest.Stuck(t, 1<<20)
	d, err := storage.Open(path, storage.Options{})
	if err != nil {
		t.Fatal(err)
	}
	want, got := bytes.Repeat([]byte{7}, 8192), make([]byte, 8192)
	if err := errors.Join(d.Write(want, 4096, time.Minute), d.Read(got, 4096, time.Minute)); err != nil || !bytes.Equal(want, got) {
		t.Fatalf("read back other bytes than written: %v", err)
	}
	stop()
	if err := d.Read(got, 4096, 50*time.Millisecond); !errors.Is(err, storage.ErrTimeout) {
		t.Errorf("a read of a stopped disk: %v", err)
	}
	if err := d.Read(got, 4096, 50*time.Millisecond); !errors.Is(err, storage.ErrBusy) {
		t.Errorf("another one: %v", err)
	}
	if err := d.Close(); !errors.Is(err, storage.ErrBusy) {
		t.Errorf("close: %v", err)
	}
}
