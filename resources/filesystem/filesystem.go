// Package filesystem mounts a file system from a shared disk as a member of a
// service, and gives it back so that another node may mount it.
//
//	filesystem: {device: /dev/vg_orders/data, at: /srv/orders, type: xfs}
//
// Before a mount the device must be free: mounted nowhere on this host, in no
// mount namespace, and not claimed. ext2, ext3 and ext4 are checked with
// fsck -p, which on a clean file system reads the superblock only and on others
// replays the journal; it does a full check only when the file system carries an
// error mark or its counters say so (tune2fs -c 0 -i 0 keeps a failover short).
// xfs and others repair themselves when mounted. ext4 gets errors=remount-ro
// unless the options say otherwise, so that the check can see an error.
//
// A stop is verified: see package mount for when a device is released. Whoever
// keeps it busy, in whatever mount namespace, gets SIGTERM and after the grace
// SIGKILL; kill_holders: false refuses instead. It is never unmounted lazily.
//
// The file system of a server (server:/path, with its type, such as nfs) is mounted
// by mount(8). It cannot be claimed, and is released when no mount namespace has it.
package filesystem

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	um "github.com/u-root/u-root/pkg/mount"
	"golang.org/x/sys/unix"

	"github.com/holdfast-ha/holdfast/resources"
	"github.com/holdfast-ha/holdfast/storage/mount"
)

// Spec is what the configuration says of a filesystem member.
type Spec struct {
	Device  string `json:"device"` // a block device, best by a name that is the same on every node; or server:/path
	At      string `json:"at"`     // mount point, absolute
	Type    string `json:"type,omitempty"`
	Options string `json:"options,omitempty"` // as in fstab
	// Fsck is "auto" (default), "never", or "force": a full check before every mount,
	// however long it takes.
	Fsck string `json:"fsck,omitempty"`
	// CreateMountpoint makes the mount point if it is missing; default true, so
	// that a takeover does not fail for a directory.
	CreateMountpoint *bool `json:"create_mountpoint,omitempty"`
	// KillHolders ends the processes that keep it busy at a stop; default true.
	KillHolders *bool `json:"kill_holders,omitempty"`
	// Grace is from SIGTERM to SIGKILL for such processes, default 2 s.
	Grace resources.Duration `json:"grace,omitempty"`
	// WriteTest makes the check write, sync and remove a small file.
	WriteTest bool `json:"write_test,omitempty"`
}

// Agent is the kind "filesystem".
type Agent struct{}

var (
	_ resources.Agent    = Agent{}
	_ resources.Fitter   = Agent{}
	_ resources.Reloader = Agent{}
)

// Start implements resources.Agent.
func (Agent) Start(ctx context.Context, req resources.Request) resources.Report {
	spec, err := parse(req)
	if err != nil {
		return resources.Failure("%v", err)
	}
	if spec.network() {
		return spec.startNetwork(ctx, req)
	}
	dev, err := mount.FindDevice(spec.Device)
	if err != nil {
		return resources.Failure("%v", err)
	}
	ready, err := spec.ready(dev)
	if err != nil {
		return resources.Failure("%v", err)
	}
	if !ready {
		if err := spec.mount(ctx, dev, req); err != nil {
			return resources.Failure("%v", err)
		}
	}
	if err := spec.inspect(dev); err != nil {
		return resources.Failure("%v", err)
	}
	return resources.Done("mounted at %s", spec.At)
}

// Stop implements resources.Agent.
func (Agent) Stop(ctx context.Context, req resources.Request) resources.Report {
	spec, err := parse(req)
	if err != nil {
		return resources.Failure("%v", err)
	}
	dev, found, err := spec.locate()
	if err != nil {
		return resources.Failure("%v", err)
	}
	if !found {
		return resources.Done("device %s is not on this host, and nothing is mounted at %s", spec.Device, spec.At)
	}
	r := newRelease(spec, dev, req.Emergency)
	return r.run(ctx)
}

// Check implements resources.Agent.
func (Agent) Check(_ context.Context, req resources.Request) resources.Report {
	spec, err := parse(req)
	if err != nil {
		return resources.Failure("%v", err)
	}
	dev, found, err := spec.locate()
	if err != nil {
		return resources.Failure("%v", err)
	}
	if !found {
		return resources.Absent("device %s is not on this host", spec.Device)
	}
	mounts, err := mount.Own()
	if err != nil {
		return resources.Unsure("mount table: %v", err)
	}
	if len(dev.Of(mounts)) == 0 {
		return resources.Absent("%s is not mounted", dev)
	}
	if err := spec.inspect(dev); err != nil {
		return resources.Failure("%v", err)
	}
	if spec.WriteTest {
		if err := writeTest(spec.At); err != nil {
			return resources.Failure("write test: %v", err)
		}
	}
	return resources.Done("mounted at %s", spec.At)
}

// Probe implements resources.Agent.
func (Agent) Probe(_ context.Context, req resources.Request) resources.Report {
	spec, err := parse(req)
	if err != nil {
		return resources.Unsure("%v", err)
	}
	dev, found, err := spec.locate()
	if err != nil {
		return resources.Unsure("%v", err)
	}
	if !found {
		return resources.Absent("device %s is not on this host", spec.Device)
	}
	mounted, err := dev.Mounted()
	if err != nil {
		return resources.Unsure("mount tables: %v", err)
	}
	if len(mounted) > 0 {
		return resources.Done("%s is mounted", dev)
	}
	if err := dev.Claim(); err != nil {
		return resources.Unsure("mounted nowhere, but: %v", err)
	}
	return resources.Absent("%s is released", dev)
}

// Fit implements resources.Fitter. It opens nothing: the device may be claimed by
// its owner on another node.
func (Agent) Fit(_ context.Context, req resources.Request) resources.Report {
	spec, err := parse(req)
	if err != nil {
		return resources.Report{Outcome: resources.Failed, Severity: resources.Fatal, Text: err.Error()}
	}
	if spec.network() {
		return spec.fitNetwork()
	}
	if err := spec.tools(); err != nil {
		return resources.Missing("%v", err)
	}
	if !spec.here(req.Above) {
		return resources.Missing("device %s is not on this node; check its cabling, zoning or session, and that the name is the same on all nodes", spec.Device)
	}
	if spec.CreateMountpoint != nil && !*spec.CreateMountpoint {
		if _, err := os.Stat(spec.At); err != nil {
			return resources.Missing("mount point: %v; make it, or leave create_mountpoint out", err)
		}
	}
	return resources.Done("device %s is here", spec.Device)
}

// here says whether the device can be seen, or may appear with a member above.
func (s Spec) here(above []string) bool {
	_, err := os.Stat(s.Device)
	return err == nil || slices.Contains(above, "lvm") || slices.Contains(above, "iscsi")
}

// tools says what this node lacks to check and mount a file system of the type.
func (s Spec) tools() error {
	if isExt(s.Type) && s.Fsck != "never" {
		if _, err := exec.LookPath("fsck." + s.Type); err != nil {
			return fmt.Errorf("fsck.%s is not installed; apt-get install e2fsprogs, or say fsck: never", s.Type)
		}
	}
	if s.Type == "" {
		return nil
	}
	known, err := os.ReadFile("/proc/filesystems")
	if err != nil || strings.Contains(string(known), "\t"+s.Type+"\n") {
		return nil
	}
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return nil
	}
	for _, list := range []string{"modules.dep", "modules.builtin"} {
		path := filepath.Join("/lib/modules", unix.ByteSliceToString(u.Release[:]), list)
		if text, err := os.ReadFile(path); err == nil && strings.Contains(string(text), "/"+s.Type+".ko") {
			return nil // it is loaded with the first mount
		}
	}
	return fmt.Errorf("this node's kernel has no %s (neither in /proc/filesystems nor as a module); install its kernel module", s.Type)
}

func isExt(fsType string) bool { return fsType == "ext2" || fsType == "ext3" || fsType == "ext4" }

func parse(req resources.Request) (Spec, error) {
	s := Spec{Fsck: "auto"}
	if err := resources.DecodeSpec(req.Spec, &s); err != nil {
		return s, err
	}
	switch {
	case !filepath.IsAbs(s.Device) && !s.network() || !filepath.IsAbs(s.At) || filepath.Clean(s.At) == "/":
		return s, fmt.Errorf("filesystem needs device (an absolute path, or server:/path) and at, which is not the root (have %q, %q)", s.Device, s.At)
	case s.network() && s.Type == "":
		return s, fmt.Errorf("the file system of a server, %s, needs its type, such as nfs", s.Device)
	case s.Fsck != "auto" && s.Fsck != "never" && s.Fsck != "force":
		return s, fmt.Errorf("fsck: %q: want auto, never or force", s.Fsck)
	}
	s.At = filepath.Clean(s.At)
	// The kernel's tables know no symbolic links.
	if real, err := filepath.EvalSymlinks(s.At); err == nil {
		s.At = real
	}
	_, err := mount.ParseOptions(s.Options)
	return s, err
}

// locate finds the device: by its path, or, if that is gone with the disk, by
// what is still mounted at the mount point in any namespace.
func (s Spec) locate() (mount.Device, bool, error) {
	if s.network() {
		return s.locateNetwork()
	}
	dev, err := mount.FindDevice(s.Device)
	if err == nil {
		return dev, true, nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return dev, false, err
	}
	all, err := mount.Namespaces()
	if err != nil {
		return dev, false, err
	}
	for _, ns := range all {
		if m, found := mount.At(ns.Mounts, s.At); found && strings.HasPrefix(m.Source, "/dev/") {
			return mount.Device{Path: m.Source, Major: m.Major, Minor: m.Minor}, true, nil
		}
	}
	return dev, false, nil
}

// ready says whether the device is mounted as wanted already; an error, whether
// it is in use in any other way or its place is taken.
func (s Spec) ready(dev mount.Device) (bool, error) {
	mounted, err := dev.Mounted()
	if err != nil {
		return false, fmt.Errorf("mount tables: %w", err)
	}
	own, err := mount.Own()
	if err != nil {
		return false, fmt.Errorf("mount table: %w", err)
	}
	top, taken := mount.At(own, s.At)
	if taken && len(dev.Of([]mount.Mount{top})) == 1 {
		return true, nil
	}
	if len(mounted) > 0 {
		return false, fmt.Errorf("refused: %w; unmount it there first", dev.Released())
	}
	if taken {
		return false, fmt.Errorf("%s is taken by %s (%s); unmount that first", s.At, top.Source, top.Type)
	}
	if err := dev.Claim(); err != nil {
		return false, fmt.Errorf("refused: %w", err)
	}
	return false, nil
}

// mount forgets what this node knew of the device, waits for what may still land on it, checks and mounts; ext and xfs directly, everything else by mount(8),
// which knows their helpers.
func (s Spec) mount(ctx context.Context, dev mount.Device, req resources.Request) error {
	if err := dev.ForgetCache(); err != nil {
		return err
	}
	if err := dev.Settle(ctx); err != nil {
		return err
	}
	if s.Type == "" {
		found, _, err := um.FSFromBlock(dev.Path)
		if err != nil {
			return fmt.Errorf("%s: no file system recognised (%w); give its type", dev.Path, err)
		}
		s.Type = found
	}
	ext := isExt(s.Type)
	if ext && s.Fsck != "never" {
		if err := s.fsck(ctx, dev.Path, req); err != nil {
			return err
		}
	}
	if s.CreateMountpoint == nil || *s.CreateMountpoint {
		if err := os.MkdirAll(s.At, 0o755); err != nil {
			return fmt.Errorf("mount point: %w", err)
		}
	}
	if !ext && s.Type != "xfs" {
		cmd := exec.CommandContext(ctx, "mount", "-t", s.Type, "-o", "defaults,"+s.Options, dev.Path, s.At)
		cmd.Stderr = req.Stderr
		if err := cmd.Run(); err != nil {
			return fmt.Errorf("mount -t %s %s %s: %w", s.Type, dev.Path, s.At, err)
		}
		return nil
	}
	o, err := mount.ParseOptions(s.Options)
	if err != nil {
		return err
	}
	if s.Type == "ext4" && !strings.Contains(o.Data, "errors=") {
		o.Data = strings.TrimPrefix(o.Data+",errors=remount-ro", ",")
	}
	if _, err := um.Mount(dev.Path, s.At, s.Type, o.Data, o.Flags); err != nil {
		return explain(err, s)
	}
	return nil
}

// explain adds what the kernel's bare error number mostly means for a mount.
func explain(err error, s Spec) error {
	switch {
	case errors.Is(err, unix.ENOENT):
		return fmt.Errorf("%w; the mount point %s does not exist", err, s.At)
	case errors.Is(err, unix.ENODEV):
		return fmt.Errorf("%w; this kernel does not know %s (modprobe %s)", err, s.Type, s.Type)
	case errors.Is(err, unix.EINVAL):
		return fmt.Errorf("%w; no %s there, or an option it does not know: %q; the kernel log says which", err, s.Type, s.Options)
	}
	return err
}

// fsck runs the repair that is safe without questions. Exit codes are a sum: 1
// and 2 say that errors were corrected, 4 and above that they were not (fsck(8)).
func (s Spec) fsck(ctx context.Context, device string, req resources.Request) error {
	fsType, argv := s.Type, []string{"-p", device}
	if s.Fsck == "force" {
		argv = append([]string{"-f"}, argv...)
	}
	cmd := exec.CommandContext(ctx, "fsck."+fsType, argv...)
	cmd.Stdout, cmd.Stderr = req.Stderr, req.Stderr
	err := cmd.Run()
	var exit *exec.ExitError
	switch {
	case errors.Is(err, exec.ErrNotFound):
		return fmt.Errorf("fsck.%s is not installed (package e2fsprogs); install it, or say fsck: never", fsType)
	case errors.As(err, &exit) && exit.Exited() && exit.ExitCode() < 4:
		return nil
	case err != nil:
		return fmt.Errorf("fsck.%s %s: %w; repair it by hand before it can be mounted", fsType, strings.Join(argv, " "), err)
	}
	return nil
}

// inspect verifies that the right device is at the right place and usable.
func (s Spec) inspect(dev mount.Device) error {
	own, err := mount.Own()
	if err != nil {
		return fmt.Errorf("mount table: %w", err)
	}
	top, taken := mount.At(own, s.At)
	if !taken || len(dev.Of([]mount.Mount{top})) == 0 {
		return fmt.Errorf("%s is not what is mounted at %s", dev, s.At)
	}
	o, err := mount.ParseOptions(s.Options)
	if err != nil {
		return err
	}
	if top.SuperblockReadOnly() && !o.ReadOnly() {
		return fmt.Errorf("%s is read-only although that was not asked for: the kernel found an error in it, or the disk is write-protected; "+
			"the kernel log says which", s.At)
	}
	var st unix.Statfs_t
	if err := unix.Statfs(s.At, &st); err != nil {
		return fmt.Errorf("statfs %s: %w", s.At, err)
	}
	d, err := os.Open(s.At)
	if err != nil {
		return err
	}
	defer d.Close()
	if _, err := d.Readdirnames(1); err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("read %s: %w", s.At, err)
	}
	return nil
}

// writeTest proves that the file system still takes data to the disk.
func writeTest(at string) error {
	path := filepath.Join(at, ".holdfast-write-test")
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return err
	}
	defer os.Remove(path)
	_, err = f.WriteString(time.Now().UTC().Format(time.RFC3339Nano) + "\n")
	return errors.Join(err, f.Sync(), f.Close())
}
