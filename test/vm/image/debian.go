package image

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// Debian makes a root of Debian 12 with these packages and what they depend on, by
// debootstrap, in a few minutes; it is root's to make. Of it nothing starts by
// itself but systemd's own: a test starts what it wants. It must not be changed:
// put a layer over it.
func (c Cache) Debian(packages ...string) (string, error) {
	if os.Geteuid() != 0 {
		return "", errors.New("a Debian root has files of many users: run as root")
	}
	debootstrap, err := exec.LookPath("debootstrap")
	if err != nil {
		return "", fmt.Errorf("debootstrap is not installed: apt-get install debootstrap: %w", err)
	}
	debs := filepath.Join(c.Dir, "debs")
	if err := os.MkdirAll(debs, 0o755); err != nil {
		return "", err
	}
	packages = slices.Sorted(slices.Values(packages))
	key := hashText(append([]string{debianRecipe}, packages...)...)
	return c.get("debian", key, func(dir string) error {
		out, err := exec.Command(debootstrap, "--variant=minbase", "--cache-dir="+debs, "--include="+strings.Join(packages, ","), "bookworm", dir).CombinedOutput()
		if err != nil {
			lines := strings.Split(strings.TrimSpace(string(out)), "\n")
			return fmt.Errorf("debootstrap: %w: %s", err, strings.Join(lines[max(0, len(lines)-5):], " | "))
		}
		return quiet(dir)
	})
}

// debianRecipe changes with what quiet does, so that no older root is taken for a new one.
const debianRecipe = "bookworm 1"

// quiet leaves nothing enabled that the packages have enabled, and nothing that
// wants a terminal or another machine's kernel.
func quiet(root string) error {
	units := filepath.Join(root, "etc/systemd/system")
	var errs []error
	for _, pattern := range []string{"*.wants", "*.requires"} {
		dirs, _ := filepath.Glob(filepath.Join(units, pattern)) // fails only for a bad pattern
		for _, d := range dirs {
			errs = append(errs, os.RemoveAll(d))
		}
	}
	for _, u := range []string{
		"console-getty.service", "getty.target", "systemd-logind.service", "sys-kernel-tracing.mount", "sys-kernel-debug.mount",
		"sys-kernel-config.mount", "sys-fs-fuse-connections.mount", "dev-hugepages.mount", "systemd-update-utmp.service",
	} {
		path := filepath.Join(units, u)
		if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
			errs = append(errs, err)
		}
		errs = append(errs, os.Symlink("/dev/null", path))
	}
	return errors.Join(errs...)
}
