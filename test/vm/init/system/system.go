// Package system hands a machine over from its initial file system to one that it has on a disk: a whole distribution, whose
// systemd becomes the first process. The agent comes along as a unit.
package system

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// home is where the rig's program is in the new system; systemd keeps /run as it finds it.
const home = "/run/rig"

// agentUnit starts as early as it can and stays until the last processes of the machine are ended.
const agentUnit = `[Unit]
Description=the line to the rig
DefaultDependencies=no
IgnoreOnIsolate=yes
[Service]
ExecStart=` + home + `/init agent
Restart=always
RestartSec=0
StartLimitBurst=100
KillMode=process
OOMScoreAdjust=-1000
Delegate=yes
`

// Start makes systemd of the file system on the disk with a serial number the first process. It returns only if that fails.
// The host name, addresses and modules are those that this process has set; network cards and modules are the kernel's.
func Start(serial, name string) error {
	const root = "/sysroot"
	if err := os.MkdirAll(root, 0o755); err != nil {
		return err
	}
	disk := "/dev/disk/by-id/virtio-" + serial
	if err := awaited(disk); err != nil {
		return err
	}
	if err := unix.Mount(disk, root, "ext4", unix.MS_NOATIME, ""); err != nil {
		return fmt.Errorf("mount %s: %w", disk, err)
	}
	if err := errors.Join(furnish(root, name), bring()); err != nil {
		return err
	}
	// The links of this program to its disks are replaced by udev's.
	errs := []error{os.RemoveAll("/dev/disk")}
	for _, d := range []string{"dev", "proc", "sys", "run"} {
		errs = append(errs, unix.Mount("/"+d, filepath.Join(root, d), "", unix.MS_MOVE, ""))
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("move mounts: %w", err)
	}
	free("/")
	err := unix.Chdir(root)
	if err == nil {
		err = unix.Mount(".", "/", "", unix.MS_MOVE, "")
	}
	if err == nil {
		err = unix.Chroot(".")
	}
	if err != nil {
		return fmt.Errorf("move into %s: %w", root, err)
	}
	env := []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "TERM=linux"}
	return fmt.Errorf("/sbin/init: %w", unix.Exec("/sbin/init", []string{"/sbin/init"}, env))
}

// awaited waits for a disk.
func awaited(path string) error {
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		_, err := os.Stat(path)
		if err == nil || time.Now().After(deadline) {
			return err
		}
	}
}

// furnish gives the system what is its own.
func furnish(root, name string) error {
	id, err := os.ReadFile("/etc/machine-id")
	if err != nil {
		return err
	}
	units := filepath.Join(root, "etc/systemd/system")
	errs := []error{
		os.WriteFile(filepath.Join(root, "etc/machine-id"), id, 0o444),
		os.WriteFile(filepath.Join(root, "etc/hostname"), []byte(name+"\n"), 0o644),
		os.WriteFile(filepath.Join(root, "etc/hosts"), []byte("127.0.0.1 localhost "+name+"\n"), 0o644),
		os.MkdirAll(filepath.Join(root, "var/log/journal"), 0o755),
	}
	// The tree is made for machines without logind, which a whole one has.
	for _, u := range []string{"systemd-logind.service", "systemd-update-utmp.service"} {
		if err := os.Remove(filepath.Join(units, u)); err != nil && !errors.Is(err, os.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	// Nobody of the test needs them, and each costs a second of an emulated processor.
	for _, u := range []string{
		"apt-daily.timer", "apt-daily-upgrade.timer", "dpkg-db-backup.timer", "e2scrub_all.timer", "e2scrub_reap.service", "fstrim.timer",
		"systemd-tmpfiles-clean.timer", "systemd-timesyncd.service", "systemd-pstore.service", "systemd-binfmt.service",
		"systemd-hwdb-update.service", "modprobe@.service", "systemd-machine-id-commit.service", "systemd-firstboot.service",
	} {
		path := filepath.Join(units, u)
		if _, err := os.Lstat(path); err == nil {
			continue
		}
		errs = append(errs, os.Symlink("/dev/null", path))
	}
	return errors.Join(errs...)
}

// bring puts the rig's program and its unit where the new system finds them.
func bring() error {
	program, err := os.ReadFile("/init")
	if err != nil {
		return err
	}
	const units = "/run/systemd/system"
	return errors.Join(
		os.MkdirAll(home, 0o755), os.MkdirAll(units+"/sysinit.target.wants", 0o755),
		os.WriteFile(home+"/init", program, 0o755),
		os.WriteFile(units+"/rig-agent.service", []byte(agentUnit), 0o644),
		os.Symlink("../rig-agent.service", units+"/sysinit.target.wants/rig-agent.service"),
	)
}

// free gives back the memory of the initial file system, which is behind the new root for ever.
func free(dir string) {
	for _, d := range []string{"init", "lib/modules", "usr", "bin"} {
		_ = os.RemoveAll(filepath.Join(dir, d)) // what stays costs memory, nothing else
	}
}
