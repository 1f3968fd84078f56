package storage

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"
)

// InUse says who uses the block device or regular file at path on this host:
// one sentence for each mount, swap area, device built on it, loop device, or
// exclusive opener, of the device itself, of its partitions and of the disk it
// is a partition of. No finding means that nothing on this host uses it; other
// hosts cannot be seen from here.
//
// It opens the device without reading it. On a dead path that can take as long
// as the kernel's own retries; it is for commands, not for a daemon's loop.
func InUse(path string) ([]string, error) {
	found, err := inUse(sysfs("/sys"), path)
	if err != nil {
		return nil, &OpError{Op: "check", Path: path, Err: err}
	}
	return found, nil
}

func inUse(sys sysfs, path string) ([]string, error) {
	var stat unix.Stat_t
	if err := retry(func() error { return unix.Stat(path, &stat) }); err != nil {
		return nil, err
	}
	block, err := kindOf(&stat)
	if err != nil {
		return nil, err
	}
	swaps, err := swapFiles("/proc/swaps")
	if err != nil {
		return nil, err
	}
	if !block {
		return fileUse(sys, &stat, swaps)
	}
	nodes, err := sys.family(uint64(stat.Rdev))
	if err != nil {
		return nil, err
	}
	mounts, err := mountinfo.GetMounts(nil)
	if err != nil {
		return nil, fmt.Errorf("list of mounts: %w", err)
	}
	var found []string
	for _, n := range nodes {
		found = append(found, n.mounted(mounts)...)
		found = append(found, n.swapped(swaps)...)
		found = append(found, n.holders(sys)...)
	}
	if len(found) > 0 {
		return found, nil
	}
	return heldExclusively(path)
}

// node is a block device to look at: the one asked for, a partition of it, or
// the disk it is a partition of.
type node struct {
	dev  uint64
	dir  string // in sysfs
	name string // for messages: "it" or "its partition sda1"
}

// family returns the device, then its partitions or the disk it is part of.
func (s sysfs) family(dev uint64) ([]node, error) {
	dir, err := s.device(dev)
	if err != nil {
		return nil, err
	}
	nodes := []node{{dev: dev, dir: dir, name: "it"}}
	if attribute(dir, "partition") != "" {
		disk := filepath.Dir(dir)
		if d, err := parseNumber(attribute(disk, "dev")); err == nil {
			nodes = append(nodes, node{dev: d, dir: disk, name: "its whole disk " + filepath.Base(disk)})
		}
		return nodes, nil
	}
	parts, err := filepath.Glob(filepath.Join(dir, "*", "partition"))
	if err != nil {
		return nil, err
	}
	for _, p := range parts {
		part := filepath.Dir(p)
		if d, err := parseNumber(attribute(part, "dev")); err == nil {
			nodes = append(nodes, node{dev: d, dir: part, name: "its partition " + filepath.Base(part)})
		}
	}
	return nodes, nil
}

// parseNumber reads what number writes.
func parseNumber(s string) (uint64, error) {
	var major, minor uint32
	if _, err := fmt.Sscanf(s, "%d:%d", &major, &minor); err != nil {
		return 0, fmt.Errorf("device number %q: %w", s, err)
	}
	return unix.Mkdev(major, minor), nil
}

// deviceOf returns the number of the block device at a path below /dev, and 0
// for anything else. File systems with several devices (btrfs) name one of them
// as their source without having its number.
func deviceOf(path string) uint64 {
	var stat unix.Stat_t
	if !strings.HasPrefix(path, "/dev/") || unix.Stat(path, &stat) != nil || stat.Mode&unix.S_IFMT != unix.S_IFBLK {
		return 0
	}
	return uint64(stat.Rdev)
}

func (n node) mounted(mounts []*mountinfo.Info) []string {
	var found []string
	for _, m := range mounts {
		if unix.Mkdev(uint32(m.Major), uint32(m.Minor)) == n.dev || deviceOf(m.Source) == n.dev {
			found = append(found, fmt.Sprintf("%s is mounted at %s (%s)", n.name, m.Mountpoint, m.FSType))
		}
	}
	return found
}

func (n node) swapped(swaps []string) []string {
	for _, path := range swaps {
		if deviceOf(path) == n.dev {
			return []string{n.name + " is swap space of this host"}
		}
	}
	return nil
}

// holders lists the devices that are built on this one.
func (n node) holders(sys sysfs) []string {
	entries, err := os.ReadDir(filepath.Join(n.dir, "holders"))
	if err != nil {
		return nil
	}
	var found []string
	for _, e := range entries {
		found = append(found, n.name+" "+heldBy(filepath.Join(string(sys), "class/block", e.Name())))
	}
	return found
}

// heldBy says in words what the device in a directory of sysfs is.
func heldBy(dir string) string {
	name, uuid := attribute(dir, "dm/name"), attribute(dir, "dm/uuid")
	switch {
	case strings.HasPrefix(uuid, "mpath-"):
		return "is a path of the multipath device /dev/mapper/" + name + ": name that one instead"
	case strings.HasPrefix(uuid, "LVM-"):
		return "holds the LVM volume " + name
	case strings.HasPrefix(uuid, "CRYPT-"):
		return "is under the encrypted device " + name
	case uuid != "" || name != "":
		return "is under the device-mapper device " + name
	case attribute(dir, "md/level") != "":
		return "is a member of the RAID array " + filepath.Base(dir)
	}
	return "is under the device " + filepath.Base(dir)
}

// heldExclusively opens the device with O_EXCL, which the kernel refuses while
// a file system, another device or a careful program has claimed it: also those
// in other mount namespaces, which no list shows.
func heldExclusively(path string) ([]string, error) {
	var fd int
	err := retry(func() (err error) {
		fd, err = unix.Open(path, unix.O_RDONLY|unix.O_EXCL|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
		return err
	})
	switch {
	case errors.Is(err, unix.EBUSY):
		return []string{"it is claimed by a program or by a mount in another mount namespace (a container?); look with lsof and lsns -t mnt"}, nil
	case err != nil:
		return nil, err
	}
	return nil, unix.Close(fd)
}

// fileUse looks for loop devices on a regular file, and for the file among the
// swap files.
func fileUse(sys sysfs, stat *unix.Stat_t, swaps []string) ([]string, error) {
	var found []string
	for _, path := range swaps {
		var swap unix.Stat_t
		if unix.Stat(path, &swap) == nil && swap.Dev == stat.Dev && swap.Ino == stat.Ino {
			found = append(found, "it is swap space of this host")
		}
	}
	loops, err := filepath.Glob(filepath.Join(string(sys), "block/loop*/loop/backing_file"))
	if err != nil {
		return nil, err
	}
	want := sys.fileIdentity(uint64(stat.Dev), stat.Ino, 0, maxNesting)
	for _, l := range loops {
		name := filepath.Base(filepath.Dir(filepath.Dir(l)))
		id := sys.loopIdentity(name, maxNesting)
		value, _, _ := strings.Cut(id.Value, "+")
		if id.Kind == want.Kind && value == want.Value {
			found = append(found, "the loop device /dev/"+name+" is on it")
		}
	}
	return found, nil
}

// swapFiles lists the devices and files of /proc/swaps: a line of headings,
// then one line each that starts with the path, white space in octal.
func swapFiles(path string) ([]string, error) {
	f, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil // a kernel without swap
	}
	if err != nil {
		return nil, fmt.Errorf("list of swap areas: %w", err)
	}
	defer func() { _ = f.Close() }()
	var found []string
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		if fields := strings.Fields(lines.Text()); len(fields) > 1 {
			found = append(found, strings.NewReplacer(`\040`, " ", `\011`, "\t", `\134`, `\`).Replace(fields[0]))
		}
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("list of swap areas: %w", err)
	}
	return slices.Delete(found, 0, min(1, len(found))), nil
}
