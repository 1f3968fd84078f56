package image

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// Kernel is a kernel of the distribution, unpacked.
type Kernel struct {
	Release string // as uname -r says it
	Path    string // the ELF file to boot
	tree    string // the folder of its modules
}

// Kernel unpacks the newest of the kernel packages that test/setup.sh has downloaded.
func (c Cache) Kernel() (Kernel, error) {
	debs, err := c.packages("linux-image-[0-9]")
	if err != nil {
		return Kernel{}, err
	}
	deb := slices.MaxFunc(debs, func(a, b string) int { return strings.Compare(filepath.Base(a), filepath.Base(b)) })
	key, err := hashFiles(deb)
	if err != nil {
		return Kernel{}, err
	}
	dir, err := c.get("kernel", key, func(path string) error { return unpackKernel(deb, path) })
	if err != nil {
		return Kernel{}, err
	}
	trees, err := filepath.Glob(filepath.Join(dir, "*/lib/modules/*"))
	more, _ := filepath.Glob(filepath.Join(dir, "*/usr/lib/modules/*"))
	if trees = append(trees, more...); err != nil || len(trees) != 1 {
		return Kernel{}, fmt.Errorf("%s has the modules of %d kernels: %w", deb, len(trees), errors.Join(err, os.ErrInvalid))
	}
	return Kernel{Release: filepath.Base(trees[0]), Path: filepath.Join(dir, "vmlinux"), tree: trees[0]}, nil
}

func unpackKernel(deb, dir string) error {
	if err := unpack(deb, filepath.Join(dir, "tree")); err != nil {
		return err
	}
	images, err := filepath.Glob(filepath.Join(dir, "tree/boot/vmlinuz-*"))
	if err != nil || len(images) != 1 {
		return fmt.Errorf("%s has %d kernels: %w", deb, len(images), errors.Join(err, os.ErrInvalid))
	}
	image, err := os.ReadFile(images[0])
	if err != nil {
		return err
	}
	elf, err := extract(image)
	if err != nil {
		return fmt.Errorf("%s: %w", images[0], err)
	}
	return os.WriteFile(filepath.Join(dir, "vmlinux"), elf, 0o644)
}

// unpack extracts the files of a Debian package into a new folder.
func unpack(deb, dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	out, err := exec.Command("dpkg-deb", "-x", deb, dir).CombinedOutput()
	if err != nil {
		return fmt.Errorf("unpack %s: %w: %s; the machines of test/vm need Debian's dpkg", deb, err, out)
	}
	return nil
}

// Offsets in a bzImage, from the kernel's Documentation/arch/x86/boot.rst.
const (
	setupSectors  = 0x1f1 // u8: sectors of the real-mode part, without the first
	payloadOffset = 0x248 // u32: from the protected-mode part to the compressed kernel
	payloadLength = 0x24c // u32
	sectorSize    = 512
)

// extract takes the ELF file out of a bzImage.
func extract(image []byte) ([]byte, error) {
	if len(image) < payloadLength+4 {
		return nil, errors.New("too short for a bzImage")
	}
	at := (int(image[setupSectors])+1)*sectorSize + int(binary.LittleEndian.Uint32(image[payloadOffset:]))
	n := int(binary.LittleEndian.Uint32(image[payloadLength:])) - 4 // the last four bytes are the size after decompression
	if n < 4 || at < 0 || at+n > len(image) {
		return nil, errors.New("no bzImage: the compressed kernel lies outside of the file")
	}
	elf, err := decompress(image[at : at+n])
	if err == nil && !bytes.HasPrefix(elf, []byte("\x7fELF")) {
		err = errors.New("what is compressed in it is no ELF file")
	}
	return elf, err
}

// decompress knows the formats in which distributions compress kernels and modules, by their first bytes.
func decompress(b []byte) ([]byte, error) {
	for magic, tool := range map[string]string{"\xfd7zXZ": "xz", "\x28\xb5\x2f\xfd": "zstd", "\x1f\x8b": "gzip"} {
		if !bytes.HasPrefix(b, []byte(magic)) {
			continue
		}
		cmd := exec.Command(tool, "-dc")
		cmd.Stdin = bytes.NewReader(b)
		out, err := cmd.Output()
		if err != nil {
			return nil, fmt.Errorf("%s -dc: %w; run test/setup.sh, which installs it", tool, err)
		}
		return out, nil
	}
	return b, nil
}
