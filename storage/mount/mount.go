// Package mount knows where a block device is mounted on this host, in every
// mount namespace; who keeps it busy; and when it can be called released.
//
// A device is released if and only if no namespace shows it mounted and an open
// with O_EXCL succeeds after the last unmount. Neither half is enough alone. A
// mount that lives on in a container's or a service's own namespace is invisible
// in this process's mount table while it goes on writing; a lazily unmounted
// file system is in no table at all while an open file keeps it going. The
// kernel's exclusive claim on the device covers both, and swap, md, dm and loop
// users besides; the tables say where to look when the claim is taken.
//
// Nothing here unmounts lazily.
package mount

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"
)

// ErrClaimed says that something on this host has the device in exclusive use.
var ErrClaimed = errors.New("the device is in exclusive use on this host")

// Device is a block device as the kernel knows it.
type Device struct {
	Path         string // after following symbolic links
	Major, Minor uint32
}

// String is the path and the numbers.
func (d Device) String() string { return fmt.Sprintf("%s (%d:%d)", d.Path, d.Major, d.Minor) }

// FindDevice resolves a path to a block device. A path that does not exist is an
// error that wraps fs.ErrNotExist; anything but a block device is refused.
func FindDevice(path string) (Device, error) {
	real, err := filepath.EvalSymlinks(path)
	if err != nil {
		return Device{}, fmt.Errorf("device %s: %w", path, err)
	}
	var st unix.Stat_t
	if err := unix.Stat(real, &st); err != nil {
		return Device{}, fmt.Errorf("device %s: %w", path, err)
	}
	if st.Mode&unix.S_IFMT != unix.S_IFBLK {
		return Device{}, fmt.Errorf("device %s: not a block device; a file needs a loop device, and has no place on shared storage", path)
	}
	return Device{Path: real, Major: unix.Major(st.Rdev), Minor: unix.Minor(st.Rdev)}, nil
}

// Claim takes the device exclusively and gives it back at once: nil means that
// nothing on this host had it mounted, mapped or otherwise claimed just now, also
// for a disk that went away. An error that wraps ErrClaimed means that something
// has.
func (d Device) Claim() error {
	fd, err := unix.Open(d.Path, unix.O_RDONLY|unix.O_EXCL|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if errors.Is(err, unix.EBUSY) {
		return fmt.Errorf("device %s: %w%s", d.Path, ErrClaimed, d.kernelUsers())
	}
	// The kernel settles the claim before it asks the driver: these say that the
	// disk went away, not that somebody has it.
	for _, absent := range []error{unix.ENXIO, unix.ENODEV, unix.ENOMEDIUM, unix.ENOENT} {
		if errors.Is(err, absent) {
			return nil
		}
	}
	if err != nil {
		return fmt.Errorf("device %s: open exclusively: %w", d.Path, err)
	}
	return unix.Close(fd)
}

// ForgetCache drops what this host's page cache holds of the device (BLKFLSBUF).
// The cache lives as long as anybody has the device open, be it a monitor; what it
// read while another host owned the disk is older than the disk, and a file system
// that is checked or mounted by it is destroyed. Call it after Claim and before the
// first read of a new owner.
func (d Device) ForgetCache() error {
	fd, err := unix.Open(d.Path, unix.O_RDONLY|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return fmt.Errorf("device %s: %w", d.Path, err)
	}
	defer unix.Close(fd)
	if err := unix.IoctlSetInt(fd, unix.BLKFLSBUF, 0); err != nil {
		return fmt.Errorf("device %s: forget what was cached of it (BLKFLSBUF): %w", d.Path, err)
	}
	return nil
}

// kernelUsers names the devices that are built on this one.
func (d Device) kernelUsers() string {
	entries, _ := os.ReadDir(fmt.Sprintf("/sys/dev/block/%d:%d/holders", d.Major, d.Minor))
	if len(entries) == 0 {
		return ""
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return " by " + strings.Join(names, ", ")
}

// Mount is one line of a mount table.
type Mount struct {
	ID, Parent   int
	Major, Minor uint32 // of the files on it; not the device's for btrfs
	Point        string
	Type         string // ext4, xfs, ...
	Source       string
	Options      string // of this mount
	SuperOptions string // of the file system; "ro" here after errors=remount-ro
}

// SuperblockReadOnly says whether the file system itself is read-only, whatever
// this mount of it was asked to be.
func (m Mount) SuperblockReadOnly() bool {
	return slices.Contains(strings.Split(m.SuperOptions, ","), "ro")
}

// Namespace is one mount namespace of this host with its table.
type Namespace struct {
	ID     string // as the kernel prints it: mnt:[4026531841]
	PID    int    // a process in it, by which it can be entered
	Own    bool   // it is this process's
	Mounts []Mount
}

// Own returns the mount table of this process.
func Own() ([]Mount, error) { return table("thread-self") }

func table(pid string) ([]Mount, error) {
	f, err := os.Open("/proc/" + pid + "/mountinfo")
	if err != nil {
		return nil, err
	}
	defer f.Close()
	infos, err := mountinfo.GetMountsFromReader(f, nil)
	if err != nil {
		return nil, fmt.Errorf("mount table of process %s: %w", pid, err)
	}
	mounts := make([]Mount, 0, len(infos))
	for _, i := range infos {
		mounts = append(mounts, Mount{
			ID: i.ID, Parent: i.Parent, Major: uint32(i.Major), Minor: uint32(i.Minor),
			Point: i.Mountpoint, Type: i.FSType, Source: i.Source,
			Options: i.Options, SuperOptions: i.VFSOptions,
		})
	}
	return mounts, nil
}

// Namespaces returns every mount namespace that a task of this host is in, this
// process's first. A namespace that only an open descriptor or a bind mount
// keeps is not found; Claim sees what is mounted in it nevertheless.
func Namespaces() ([]Namespace, error) {
	own, err := os.Readlink("/proc/thread-self/ns/mnt")
	if err != nil {
		return nil, fmt.Errorf("mount namespace: %w", err)
	}
	mounts, err := Own()
	if err != nil {
		return nil, err
	}
	all := []Namespace{{ID: own, PID: os.Getpid(), Own: true, Mounts: mounts}}
	seen := map[string]bool{own: true}
	for _, pid := range processes() {
		// Threads can have a namespace of their own.
		tasks, _ := os.ReadDir(filepath.Join("/proc", strconv.Itoa(pid), "task"))
		for _, task := range tasks {
			id, err := os.Readlink(filepath.Join("/proc", task.Name(), "ns", "mnt"))
			if err != nil || seen[id] {
				continue // ended meanwhile, or known
			}
			mounts, err := table(task.Name())
			if err != nil {
				continue // ended meanwhile; another task may stand for the namespace
			}
			tid, _ := strconv.Atoi(task.Name())
			seen[id] = true
			all = append(all, Namespace{ID: id, PID: tid, Mounts: mounts})
		}
	}
	return all, nil
}

// processes are all process numbers of this host, in order.
func processes() []int {
	var pids []int
	entries, _ := os.ReadDir("/proc")
	for _, e := range entries {
		if pid, err := strconv.Atoi(e.Name()); err == nil {
			pids = append(pids, pid)
		}
	}
	slices.Sort(pids)
	return pids
}

// Of returns the mounts of the device among mounts: by its numbers, or by the
// source's, for file systems that give their files other numbers.
func (d Device) Of(mounts []Mount) []Mount {
	var found []Mount
	for _, m := range mounts {
		if m.Major == d.Major && m.Minor == d.Minor || d.isSource(m) {
			found = append(found, m)
		}
	}
	return found
}

func (d Device) isSource(m Mount) bool {
	if m.Major != 0 || !strings.HasPrefix(m.Source, "/dev/") {
		return false
	}
	other, err := FindDevice(m.Source)
	return err == nil && other.Major == d.Major && other.Minor == d.Minor
}

// Mounted returns the namespaces in which the device is mounted, each with only
// the device's mounts. An empty answer alone does not mean released.
func (d Device) Mounted() ([]Namespace, error) {
	all, err := Namespaces()
	if err != nil {
		return nil, err
	}
	var found []Namespace
	for _, ns := range all {
		if ns.Mounts = d.Of(ns.Mounts); len(ns.Mounts) > 0 {
			found = append(found, ns)
		}
	}
	return found, nil
}

// Released returns nil if the device is mounted in no namespace and can be
// claimed; else an error that says where it is, and wraps ErrClaimed.
func (d Device) Released() error {
	mounted, err := d.Mounted()
	if err != nil {
		return err
	}
	if len(mounted) == 0 {
		return d.Claim()
	}
	var where []string
	for _, ns := range mounted {
		where = append(where, ns.describe())
	}
	return fmt.Errorf("device %s: %w: mounted %s", d.Path, ErrClaimed, strings.Join(where, "; "))
}

// describe reads "at /srv" or "at /srv in the namespace of process 12 (sshd)".
func (n Namespace) describe() string {
	var points []string
	for _, m := range n.Mounts {
		points = append(points, m.Point)
	}
	text := "at " + strings.Join(points, ", ")
	if !n.Own {
		text += fmt.Sprintf(" in the mount namespace of process %d (%s)", n.PID, commandOf(n.PID))
	}
	return text
}

// At returns the topmost mount at exactly this point, and whether there is one.
func At(mounts []Mount, point string) (Mount, bool) {
	point = filepath.Clean(point)
	for _, m := range slices.Backward(mounts) {
		if m.Point == point {
			return m, true
		}
	}
	return Mount{}, false
}

// Below returns the mounts on top of m, directly or not, deepest first: those
// that keep it from being unmounted.
func Below(mounts []Mount, m Mount) []Mount {
	var found []Mount
	parents := map[int]bool{m.ID: true}
	for grown := true; grown; {
		grown = false
		for _, child := range mounts {
			if parents[child.Parent] && !parents[child.ID] {
				parents[child.ID], grown = true, true
				found = append(found, child)
			}
		}
	}
	slices.Reverse(found)
	return found
}
