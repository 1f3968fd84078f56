package machine

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"
)

// words is a flag that may be given several times.
type words []string

func (w *words) String() string     { return strings.Join(*w, " ") }
func (w *words) Set(s string) error { *w = append(*w, s); return nil }

// options are those of BootMain.
type options struct {
	name, tree, scratch string
	devices, binds      words
}

// BootMain replaces itself by the first process of a machine: systemd, on a
// writable layer over a tree. It runs inside a room, as the first process of a
// namespace of processes.
//
//	-name NAME         the host's name
//	-tree DIR          what it boots from, which stays as it is
//	-scratch DIR       with the folders upper, work and root
//	-device PATH       a block device that it has, by the same path
//	-bind PATH=PATH    what it sees of this machine, and where
func BootMain(args []string) error {
	var m options
	flags := flag.NewFlagSet("boot", flag.ContinueOnError)
	flags.StringVar(&m.name, "name", "", "the host's name")
	flags.StringVar(&m.tree, "tree", "", "what it boots from")
	flags.StringVar(&m.scratch, "scratch", "", "folder with upper, work and root")
	flags.Var(&m.devices, "device", "a block device")
	flags.Var(&m.binds, "bind", "FROM=TO")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if os.Getpid() != 1 || m.tree == "" || m.scratch == "" {
		return errors.New("boot: want -tree, -scratch and a namespace of processes of its own")
	}
	// Namespaces are those of a thread; the one that calls execve keeps its own.
	runtime.LockOSThread()
	if err := unix.Unshare(unix.CLONE_FS | unix.CLONE_NEWNS | unix.CLONE_NEWUTS | unix.CLONE_NEWIPC | unix.CLONE_NEWCGROUP); err != nil {
		return fmt.Errorf("unshare: %w", err)
	}
	if err := errors.Join(unix.Sethostname([]byte(m.name)), m.furnish()); err != nil {
		return err
	}
	// The clock and the modules are this machine's.
	for _, c := range []uintptr{unix.CAP_SYS_TIME, unix.CAP_SYS_MODULE, unix.CAP_SYS_BOOT} {
		if err := unix.Prctl(unix.PR_CAPBSET_DROP, c, 0, 0, 0); err != nil {
			return fmt.Errorf("drop a capability: %w", err)
		}
	}
	env := []string{"container=hfdemo", "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "TERM=dumb"}
	for _, e := range os.Environ() {
		if strings.HasPrefix(e, "HFDEMO_") {
			env = append(env, e)
		}
	}
	return fmt.Errorf("/sbin/init: %w", unix.Exec("/sbin/init", []string{"/sbin/init"}, env))
}

// mounting is one mount below the machine's root.
type mounting struct {
	source, at, kind string
	flags            uintptr
	data             string
}

// furnish makes the machine's root, and moves into it.
func (m options) furnish() error {
	root := filepath.Join(m.scratch, "root")
	over := fmt.Sprintf("lowerdir=%s,upperdir=%s,workdir=%s", m.tree, filepath.Join(m.scratch, "upper"), filepath.Join(m.scratch, "work"))
	if err := errors.Join(unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""), unix.Mount("machine", root, "overlay", 0, over)); err != nil {
		return fmt.Errorf("mount %s: %w", over, err)
	}
	for _, k := range []mounting{
		{"dev", "dev", "tmpfs", 0, "mode=755"},
		{"pts", "dev/pts", "devpts", 0, "newinstance,ptmxmode=666,mode=620,gid=5"},
		{"shm", "dev/shm", "tmpfs", 0, "mode=1777"},
		{"proc", "proc", "proc", 0, ""},
		{"sysfs", "sys", "sysfs", unix.MS_RDONLY, ""},
		{"cgroup2", "sys/fs/cgroup", "cgroup2", 0, ""},
		{"run", "run", "tmpfs", 0, "mode=755"},
		{"tmp", "tmp", "tmpfs", 0, "mode=1777"},
	} {
		at := filepath.Join(root, k.at)
		if err := os.MkdirAll(at, 0o755); err != nil && k.kind != "cgroup2" {
			return err
		}
		if err := unix.Mount(k.source, at, k.kind, k.flags, k.data); err != nil {
			return fmt.Errorf("mount %s: %w", k.at, err)
		}
	}
	if err := errors.Join(m.makeDevices(root), m.bindAll(root), m.shield(root)); err != nil {
		return err
	}
	return moveInto(root)
}

// makeDevices makes the nodes that every program expects, and those of the disks.
func (m options) makeDevices(root string) error {
	dev := filepath.Join(root, "dev")
	var errs []error
	for name, minor := range map[string]uint32{"null": 3, "zero": 5, "full": 7, "random": 8, "urandom": 9} {
		path := filepath.Join(dev, name)
		errs = append(errs, unix.Mknod(path, unix.S_IFCHR|0o666, int(unix.Mkdev(1, minor))), os.Chmod(path, 0o666))
	}
	for link, to := range map[string]string{"fd": "/proc/self/fd", "stdin": "fd/0", "stdout": "fd/1", "stderr": "fd/2", "ptmx": "pts/ptmx"} {
		errs = append(errs, os.Symlink(to, filepath.Join(dev, link)))
	}
	errs = append(errs, os.WriteFile(filepath.Join(dev, "console"), nil, 0o600))
	for _, d := range m.devices {
		var st unix.Stat_t
		err := unix.Stat(d, &st)
		if err == nil {
			err = unix.Mknod(filepath.Join(root, d), st.Mode&unix.S_IFMT|0o660, int(st.Rdev))
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("device %s: %w", d, err))
		}
	}
	return errors.Join(errs...)
}

// bindAll shows the machine what it is to see of this one.
func (m options) bindAll(root string) error {
	for _, b := range m.binds {
		from, to, _ := strings.Cut(b, "=")
		to = filepath.Join(root, to)
		st, err := os.Stat(from)
		if err == nil && st.IsDir() {
			err = os.MkdirAll(to, 0o755)
		} else if err == nil {
			err = os.WriteFile(to, nil, 0o600)
		}
		if err == nil {
			err = unix.Mount(from, to, "", unix.MS_BIND, "")
		}
		if err != nil {
			return fmt.Errorf("show %s: %w", b, err)
		}
	}
	return nil
}

// shield keeps the machine's hands off what it shares with this one: the kernel's
// settings and its system request key.
func (m options) shield(root string) error {
	settings, sysrq := filepath.Join(root, "proc/sys"), filepath.Join(root, "proc/sysrq-trigger")
	masked := filepath.Join(m.scratch, "no-sysrq")
	err := errors.Join(
		unix.Mount(settings, settings, "", unix.MS_BIND|unix.MS_REC, ""),
		unix.Mount("", settings, "", unix.MS_BIND|unix.MS_REMOUNT|unix.MS_RDONLY, ""),
		os.WriteFile(masked, nil, 0o600),
	)
	if _, missing := os.Stat(sysrq); missing == nil {
		err = errors.Join(err, unix.Mount(masked, sysrq, "", unix.MS_BIND, ""))
	}
	if err != nil {
		return fmt.Errorf("shield this machine's kernel: %w", err)
	}
	return nil
}

// moveInto makes root the root of this thread's mount namespace.
func moveInto(root string) error {
	err := unix.Chdir(root)
	if err == nil {
		err = unix.PivotRoot(".", "mnt")
	}
	if err == nil {
		err = unix.Chdir("/")
	}
	if err == nil {
		err = unix.Unmount("/mnt", unix.MNT_DETACH)
	}
	if err != nil {
		return fmt.Errorf("move into %s: %w", root, err)
	}
	return os.WriteFile("/run/host-container", nil, 0o644)
}
