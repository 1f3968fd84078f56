package mount

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Holder is a process that keeps a file system busy.
type Holder struct {
	PID     int
	Command string
	Began   string // start time in ticks since boot: with PID, the identity
	Uses    string // how: "open file /srv/x", "working directory", ...
	// Namespace says that the process uses nothing on the file system, but lives
	// in a foreign mount namespace in which it is mounted.
	Namespace bool
}

// String reads "postgres (4711): open file /srv/orders/base/1".
func (h Holder) String() string { return fmt.Sprintf("%s (%d): %s", h.Command, h.PID, h.Uses) }

// Protected says that the process must not be killed for this: the first one of
// the host, this one, and those that this one descends from.
func (h Holder) Protected() bool {
	if h.PID == 1 {
		return true
	}
	for pid := os.Getpid(); pid > 1; {
		if pid == h.PID {
			return true
		}
		fields := statFields(pid)
		if len(fields) < 2 {
			return false
		}
		pid, _ = strconv.Atoi(fields[1])
	}
	return false
}

// Signal sends the signal if the number still belongs to the process.
func (h Holder) Signal(sig unix.Signal) error {
	fd, err := unix.PidfdOpen(h.PID, 0)
	if err != nil {
		return nil // ended
	}
	defer unix.Close(fd)
	if !h.Exists() {
		return nil
	}
	return unix.PidfdSendSignal(fd, sig, nil, 0)
}

// Exists says whether this very process has not ended yet.
func (h Holder) Exists() bool {
	fields := statFields(h.PID)
	return len(fields) > 19 && fields[19] == h.Began && fields[0] != "Z" && fields[0] != "X"
}

// Holders returns the processes of this host that keep the device's file system
// busy, in every mount namespace and out of any: by an open file, the working or
// root directory, the program itself, or a mapping; and those that only live in
// a foreign namespace in which it is mounted. Users inside the kernel (NFS
// exports, loop devices, swap files) have no process and are not found.
//
// It asks only for what the kernel has in memory, so that it does not hang on
// another, dead file system that some process has open.
func (d Device) Holders() ([]Holder, error) {
	all, err := Namespaces()
	if err != nil {
		return nil, err
	}
	numbers := map[uint64]bool{unix.Mkdev(d.Major, d.Minor): true}
	foreign := make(map[string]bool)
	for _, ns := range all {
		for _, m := range d.Of(ns.Mounts) {
			numbers[unix.Mkdev(m.Major, m.Minor)] = true
			foreign[ns.ID] = !ns.Own
		}
	}
	var holders []Holder
	for _, pid := range processes() {
		uses, namespace := usesOf(pid, numbers), false
		if uses == "" {
			id, _ := os.Readlink(filepath.Join("/proc", strconv.Itoa(pid), "ns", "mnt"))
			if namespace = foreign[id]; !namespace {
				continue
			}
			uses = "lives in a mount namespace where it is mounted"
		}
		fields := statFields(pid)
		if len(fields) < 20 {
			continue // ended meanwhile
		}
		holders = append(holders, Holder{PID: pid, Command: commandOf(pid), Began: fields[19], Uses: uses, Namespace: namespace})
	}
	return holders, nil
}

// usesOf says how a process uses a file system with one of the device numbers;
// empty if it does not.
func usesOf(pid int, numbers map[uint64]bool) string {
	dir := filepath.Join("/proc", strconv.Itoa(pid))
	for _, link := range []struct{ name, use string }{
		{"cwd", "working directory"}, {"root", "root directory"}, {"exe", "program"},
	} {
		if on(filepath.Join(dir, link.name), numbers) {
			return link.use + " " + target(filepath.Join(dir, link.name))
		}
	}
	fds, _ := os.ReadDir(filepath.Join(dir, "fd"))
	for _, fd := range fds {
		if path := filepath.Join(dir, "fd", fd.Name()); on(path, numbers) {
			return "open file " + target(path)
		}
	}
	maps, _ := os.ReadFile(filepath.Join(dir, "maps"))
	for line := range bytes.Lines(maps) {
		if name, mapped := mappedOn(string(line), numbers); mapped {
			return "mapped file " + name
		}
	}
	return ""
}

// on asks for the device of a file behind a magic link without letting a network
// file system ask its server.
func on(path string, numbers map[uint64]bool) bool {
	var st unix.Statx_t
	err := unix.Statx(unix.AT_FDCWD, path, unix.AT_STATX_DONT_SYNC|unix.AT_NO_AUTOMOUNT, unix.STATX_TYPE, &st)
	return err == nil && numbers[unix.Mkdev(st.Dev_major, st.Dev_minor)]
}

// mappedOn reads a line of /proc/PID/maps: addresses, rights, offset, device in
// hexadecimal, inode, name (proc(5)).
func mappedOn(line string, numbers map[uint64]bool) (string, bool) {
	fields := strings.Fields(line)
	if len(fields) < 6 || fields[4] == "0" {
		return "", false
	}
	major, minor, _ := strings.Cut(fields[3], ":")
	ma, err1 := strconv.ParseUint(major, 16, 32)
	mi, err2 := strconv.ParseUint(minor, 16, 32)
	if err1 != nil || err2 != nil || !numbers[unix.Mkdev(uint32(ma), uint32(mi))] {
		return "", false
	}
	return strings.Join(fields[5:], " "), true
}

func target(link string) string {
	path, err := os.Readlink(link)
	if err != nil {
		return "(unknown)"
	}
	return path
}

// commandOf is the kernel's name for a process, of at most 15 characters.
func commandOf(pid int) string {
	text, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "comm"))
	if err != nil {
		return "ended"
	}
	return strings.TrimSpace(string(text))
}

// statFields are the fields of /proc/PID/stat from the third, the state, on;
// nil for a process that is gone.
func statFields(pid int) []string {
	stat, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
	end := bytes.LastIndexByte(stat, ')')
	if err != nil || end < 0 {
		return nil
	}
	return slices.Clip(strings.Fields(string(stat[end+1:])))
}
