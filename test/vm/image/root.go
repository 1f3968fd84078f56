package image

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
)

// rootSize is what a root disk has room for; the file is sparse.
const rootSize = "1G"

// System makes the tree of a whole Debian, systemd with logind and udev, and of more
// packages. It must not be changed: put a layer over it.
func (c Cache) System(packages ...string) (string, error) {
	return c.Debian(append(packages, "systemd-sysv", "udev", "dbus", "kmod", "iproute2", "libpam-systemd")...)
}

// Root makes a disk with an ext4 file system and a whole Debian in it, systemd with
// logind and udev and more packages, that machines boot from. It must not be changed: give each
// machine a copy.
func (c Cache) Root(packages ...string) (string, error) {
	tree, err := c.System(packages...)
	if err != nil {
		return "", err
	}
	return c.get("root", hashText(tree, rootSize, "with a journal"), func(path string) error {
		out, err := exec.Command("mkfs.ext4", "-q", "-F", "-L", "root", "-d", tree, path, rootSize).CombinedOutput()
		if err != nil {
			return fmt.Errorf("mkfs.ext4 -d (package e2fsprogs; test/setup.sh installs it): %w: %s", err, strings.TrimSpace(string(out)))
		}
		return nil
	})
}

// Copy makes a copy of a sparse file that is as sparse.
func Copy(from, to string) error {
	out, err := exec.Command("cp", "--sparse=always", "--reflink=auto", from, to).CombinedOutput()
	if err != nil {
		return errors.Join(fmt.Errorf("cp %s: %w: %s", from, err, strings.TrimSpace(string(out))), os.RemoveAll(to))
	}
	return nil
}

// Files makes a disk with an ext4 file system and the content of a folder.
func Files(dir, path, size string) error {
	out, err := exec.Command("mkfs.ext4", "-q", "-F", "-O", "^has_journal", "-d", dir, path, size).CombinedOutput()
	if err != nil {
		return fmt.Errorf("mkfs.ext4 -d %s: %w: %s", dir, err, strings.TrimSpace(string(out)))
	}
	return nil
}
