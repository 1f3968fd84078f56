package image

import (
	"bytes"
	"encoding/binary"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestExtract: the kernel is taken out of a bzImage by its header, not by its looks.
func TestExtract(t *testing.T) {
	elf := append([]byte("\x7fELF"), bytes.Repeat([]byte{7}, 100)...)
	image := make([]byte, 3*sectorSize+16)
	image[setupSectors] = 2
	binary.LittleEndian.PutUint32(image[payloadOffset:], 16)
	binary.LittleEndian.PutUint32(image[payloadLength:], uint32(len(elf)+4))
	image = append(append(image, elf...), 1, 2, 3, 4)
	if got, err := extract(image); err != nil || !bytes.Equal(got, elf) {
		t.Errorf("%x, %v", got, err)
	}
	if _, err := extract(image[:len(image)-20]); err == nil {
		t.Error("a file that was cut off")
	}
	image[3*sectorSize+16] = 'x'
	if _, err := extract(image); err == nil {
		t.Error("something else than a kernel")
	}
}

func TestUnsigned(t *testing.T) {
	module := []byte("the module")
	signed := append(append([]byte{}, module...), []byte("signature")...)
	signed = append(signed, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9)
	signed = append(signed, "~Module signature appended~\n"...)
	if got := unsigned(signed); !bytes.Equal(got, module) {
		t.Errorf("%q", got)
	}
	if got := unsigned(module); !bytes.Equal(got, module) {
		t.Errorf("without a signature: %q", got)
	}
}

// TestCache: what is there is not made again, what failed leaves nothing, and no more is kept than so much.
func TestCache(t *testing.T) {
	c := Cache{t.TempDir()}
	made := 0
	build := func(path string) error {
		made++
		return os.WriteFile(path, []byte("x"), 0o644)
	}
	for range 2 {
		if _, err := c.get("thing", "1", build); err != nil || made != 1 {
			t.Fatalf("made %d times, %v", made, err)
		}
	}
	for i := range kept + 3 {
		if _, err := c.get("thing", strings.Repeat("x", i+1), build); err != nil {
			t.Fatal(err)
		}
	}
	left, _ := filepath.Glob(filepath.Join(c.Dir, "thing-*"))
	if len(left) != kept {
		t.Errorf("%d are kept: %v", len(left), left)
	}
	if _, err := c.get("other", "1", func(path string) error { return os.WriteFile(path, nil, 0) }); err != nil {
		t.Error(err)
	}
	if _, err := c.packages("linux-image-[0-9]"); err == nil || !strings.Contains(err.Error(), "test/setup.sh") {
		t.Errorf("a package that is missing: %v", err)
	}
}
