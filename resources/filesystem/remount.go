package filesystem

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/holdfast-ha/holdfast/resources"
	"github.com/holdfast-ha/holdfast/storage/mount"
)

// Reload implements resources.Reloader: how it is checked and stopped may change, and
// so may its mount options, where the kernel changes them on a mounted file system.
func (Agent) Reload(_ context.Context, req resources.Request) resources.Report {
	report := resources.TakesOver(req, func(s *Spec) {
		s.Fsck, s.CreateMountpoint, s.KillHolders, s.Grace, s.WriteTest, s.Options = "", nil, nil, 0, false, ""
	})
	if report.Outcome != resources.OK {
		return report
	}
	was, err := parse(resources.Request{Spec: req.Was})
	if err != nil {
		return resources.Absent("with which settings it was started is not known: %v", err)
	}
	is, err := parse(req)
	if err != nil {
		return resources.Report{Outcome: resources.Failed, Severity: resources.Fatal, Text: err.Error()}
	}
	if was.Options == is.Options {
		return report
	}
	if why := is.remount(was.Options); why != "" {
		return resources.Absent("it has to be mounted anew for these options: %s", why)
	}
	return resources.Done("%s has its new mount options: %s", is.At, is.Options)
}

// remount gives the mounted file system its new options, and says why that is not
// enough; empty if it is. What a remount leaves as it was nobody is told of, so it counts
// only for what the kernel shows afterwards.
func (s Spec) remount(former string) string {
	m, mounted, err := s.mounted()
	switch {
	case err != nil:
		return err.Error()
	case !mounted || s.network() || !isExt(m.Type) && m.Type != "xfs":
		return "only ext and xfs are changed while they are mounted"
	}
	was, err := mount.ParseOptions(former)
	if err != nil {
		return err.Error()
	}
	is, err := mount.ParseOptions(s.Options)
	if err != nil {
		return err.Error()
	}
	for _, word := range words(was.Data) {
		if !slices.ContainsFunc(words(is.Data), func(w string) bool { return name(w) == name(word) }) {
			return word + " is no longer wanted, and only a mount goes back to what is usual"
		}
	}
	flags, data := is.Flags, is.Data
	if flags&(unix.MS_NOATIME|unix.MS_RELATIME|unix.MS_STRICTATIME) == 0 {
		flags |= unix.MS_RELATIME // without any the kernel would leave what is
	}
	if m.Type == "ext4" && !strings.Contains(data, "errors=") {
		data = strings.TrimPrefix(data+",errors=remount-ro", ",")
	}
	if err := unix.Mount("", s.At, "", unix.MS_REMOUNT|flags, data); err != nil {
		return "the kernel refuses to change them while it is mounted: " + err.Error()
	}
	if m, mounted, err = s.mounted(); err != nil || !mounted {
		return fmt.Sprintf("it cannot be found in the mount table: %v", err)
	}
	return differs(m, flags, was.Data, is.Data)
}

// mounted is what stands at the mount point in this namespace.
func (s Spec) mounted() (mount.Mount, bool, error) {
	own, err := mount.Own()
	if err != nil {
		return mount.Mount{}, false, fmt.Errorf("mount table: %w", err)
	}
	m, found := mount.At(own, s.At)
	return m, found, nil
}

// differs names an option of which the kernel does not show what was asked for: each of
// those that every file system has, and of its own those that are new.
func differs(m mount.Mount, flags uintptr, was, is string) string {
	for _, f := range []struct {
		flag  uintptr
		word  string
		super bool // of the file system, not of the mount
	}{
		{unix.MS_RDONLY, "ro", true},
		{unix.MS_SYNCHRONOUS, "sync", true},
		{unix.MS_DIRSYNC, "dirsync", true},
		{unix.MS_LAZYTIME, "lazytime", true},
		{unix.MS_NOSUID, "nosuid", false},
		{unix.MS_NODEV, "nodev", false},
		{unix.MS_NOEXEC, "noexec", false},
		{unix.MS_NOATIME, "noatime", false},
		{unix.MS_NODIRATIME, "nodiratime", false},
		{unix.MS_RELATIME, "relatime", false},
		{unix.MS_NOSYMFOLLOW, "nosymfollow", false},
	} {
		shown := m.Options
		if f.super {
			shown = m.SuperOptions
		}
		if want := flags&f.flag != 0; slices.Contains(words(shown), f.word) != want {
			return fmt.Sprintf("%s is not what it should be (%v) after a remount", f.word, want)
		}
	}
	for _, word := range words(is) {
		if !slices.Contains(words(was), word) && !slices.Contains(words(m.SuperOptions), word) {
			return fmt.Sprintf("the kernel does not show %s after a remount", word)
		}
	}
	return ""
}

func words(list string) []string {
	return strings.FieldsFunc(list, func(r rune) bool { return r == ',' })
}

func name(word string) string {
	n, _, _ := strings.Cut(word, "=")
	return n
}
