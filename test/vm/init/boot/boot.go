// Package boot is what the first process of a machine does. What fails is said on the console and left, so that the agent
// comes up and can be asked what is missing.
package boot

import (
	"crypto/md5"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/u-root/u-root/pkg/cmdline"
	"github.com/u-root/u-root/pkg/kmodule"
	"github.com/u-root/u-root/pkg/libinit"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/holdfast-ha/holdfast/test/vm/init/system"
	"github.com/holdfast-ha/holdfast/test/vm/wire"
)

// AgentArgument makes the program the agent.
const AgentArgument = "agent"

// Run never returns: a kernel panics without its first process.
func Run() error {
	libinit.SetEnv()
	libinit.CreateRootfs()
	libinit.NetInit()
	for _, step := range []func() error{mounts, modules, network, disks} {
		if err := step(); err != nil {
			fmt.Println("init:", err)
		}
	}
	if serial, is := cmdline.Flag(wire.RootFlag); is {
		fmt.Println("init:", handOver(serial))
	}
	for {
		agent, err := startAgent()
		if err != nil {
			return err
		}
		reap(agent)
		fmt.Println("init: the agent has ended, starting another")
	}
}

func startAgent() (int, error) {
	cmd := exec.Command("/init", AgentArgument)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	return cmd.Process.Pid, nil
}

// reap waits for every process that ends without a parent, and returns when the agent does.
func reap(agent int) {
	for {
		pid, err := unix.Wait4(-1, nil, 0, nil)
		if pid == agent || errors.Is(err, unix.ECHILD) {
			return
		}
	}
}

// handOver makes the system on a disk the machine's, and returns only if that fails: then the agent can be asked why.
func handOver(serial string) error {
	name, _ := cmdline.Flag(wire.NameFlag)
	const groups = "/sys/fs/cgroup"
	for _, d := range []string{groups + "/holdfast/services", groups + "/holdfast"} {
		if err := os.Remove(d); err != nil {
			return err
		}
	}
	if err := unix.Unmount(groups, 0); err != nil {
		return fmt.Errorf("leave the cgroups to systemd: %w", err)
	}
	return system.Start(serial, name)
}

// mounts makes what u-root does not: cgroups of version 2 with a home for services, and folders in memory.
func mounts() error {
	var errs []error
	for _, d := range []string{"/run", "/var/lib", "/sys/fs/cgroup"} {
		errs = append(errs, os.MkdirAll(d, 0o755))
	}
	errs = append(errs,
		unix.Mount("tmpfs", "/run", "tmpfs", 0, "mode=755"),
		unix.Mount("cgroup2", "/sys/fs/cgroup", "cgroup2", 0, ""),
		os.MkdirAll("/sys/fs/cgroup/holdfast/services", 0o755))
	return errors.Join(errs...)
}

func modules() error {
	list, _ := cmdline.Flag(wire.ModulesFlag)
	prober, err := kmodule.NewProber(kmodule.ProbeOpts{})
	if err != nil {
		return err
	}
	var errs []error
	for _, m := range strings.FieldsFunc(list, func(r rune) bool { return r == ',' }) {
		if err := prober.Probe(m, ""); err != nil {
			errs = append(errs, fmt.Errorf("module %s: %w", m, err))
		}
	}
	return errors.Join(errs...)
}

// network gives the cards their addresses, in the order in which the kernel found them.
func network() error {
	name, _ := cmdline.Flag(wire.NameFlag)
	// What systemd-machine-id-setup would make; the same at every boot, as on a machine's own disk.
	id := md5.Sum([]byte(name))
	errs := []error{unix.Sethostname([]byte(name)), os.WriteFile("/etc/machine-id", fmt.Appendf(nil, "%x\n", id), 0o444)}
	list, _ := cmdline.Flag(wire.NetFlag)
	for i, address := range strings.FieldsFunc(list, func(r rune) bool { return r == ',' }) {
		link, err := netlink.LinkByName(fmt.Sprintf("eth%d", i))
		if err != nil {
			errs = append(errs, fmt.Errorf("card eth%d: %w", i, err))
			continue
		}
		a, err := netlink.ParseAddr(address)
		if err == nil {
			err = errors.Join(netlink.AddrAdd(link, a), netlink.LinkSetUp(link))
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// disks gives the disks with a serial number the names that udev gives them.
func disks() error {
	if err := os.MkdirAll("/dev/disk/by-id", 0o755); err != nil {
		return err
	}
	files, err := filepath.Glob("/sys/block/vd*/serial")
	errs := []error{err}
	for _, f := range files {
		serial, err := os.ReadFile(f)
		if err == nil && len(strings.TrimSpace(string(serial))) > 0 {
			err = os.Symlink("../../"+filepath.Base(filepath.Dir(f)), "/dev/disk/by-id/virtio-"+strings.TrimSpace(string(serial)))
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}
