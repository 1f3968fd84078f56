// Package room is the programs of which a node's room consists: one that keeps a
// mount namespace and a network namespace and furnishes them, and one that enters
// both and becomes another program.
package room

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"strconv"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Main keeps the namespaces that it was started in until its standard input
// ends, so that nothing of them outlives the driver, however that ended:
//
//	-disks DIR -shown DIR   bind the first folder over the second
//	FOLDER...               put an empty one over each
func Main(args []string) error {
	flags := flag.NewFlagSet("room", flag.ContinueOnError)
	disks := flags.String("disks", "", "the node's own folder of disks")
	shown := flags.String("shown", "", "where the node sees it")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make mounts private: %w", err)
	}
	if *disks != "" {
		if err := unix.Mount(*disks, *shown, "", unix.MS_BIND, ""); err != nil {
			return fmt.Errorf("bind %s: %w", *shown, err)
		}
	}
	for _, dir := range flags.Args() {
		if err := empty(dir); err != nil {
			return fmt.Errorf("an empty %s: %w", dir, err)
		}
	}
	// Without IPv6 there are no link-local addresses that come and go with the
	// links. A kernel without it has no such file.
	_ = os.WriteFile("/proc/sys/net/ipv6/conf/all/disable_ipv6", []byte("1"), 0)
	_ = os.WriteFile("/proc/sys/net/ipv6/conf/default/disable_ipv6", []byte("1"), 0)
	lo, err := netlink.LinkByName("lo")
	if err == nil {
		err = netlink.LinkSetUp(lo)
	}
	if err != nil {
		return fmt.Errorf("loopback: %w", err)
	}
	signal.Ignore(unix.SIGINT) // a terminal sends it to the driver, which tidies up
	fmt.Println("ready")
	_, err = io.Copy(io.Discard, os.Stdin)
	return err
}

// empty puts an empty folder of the same owner and mode over a folder.
func empty(dir string) error {
	var st unix.Stat_t
	if err := unix.Stat(dir, &st); err != nil {
		return err
	}
	if err := unix.Mount("hfdemo", dir, "tmpfs", 0, "size=64m"); err != nil {
		return err
	}
	return errors.Join(unix.Chown(dir, int(st.Uid), int(st.Gid)), unix.Chmod(dir, st.Mode&0o7777))
}

// EnterMain replaces itself by a program inside a room:
//
//	-room PID   the process that keeps it
//	PROGRAM ARGUMENT...
func EnterMain(args []string) error {
	flags := flag.NewFlagSet("enter", flag.ContinueOnError)
	pid := flags.Int("room", 0, "process that keeps the namespaces")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if *pid <= 0 || flags.NArg() == 0 || !filepath.IsAbs(flags.Arg(0)) {
		return errors.New("enter: want -room PID and the absolute path of a program")
	}
	// Namespaces are those of a thread; the one that calls execve keeps its own.
	// Entering a mount namespace wants a thread that shares no working directory.
	runtime.LockOSThread()
	if err := unix.Unshare(unix.CLONE_FS); err != nil {
		return fmt.Errorf("unshare: %w", err)
	}
	for _, ns := range []struct {
		name string
		kind int
	}{{"net", unix.CLONE_NEWNET}, {"mnt", unix.CLONE_NEWNS}} {
		fd, err := unix.Open("/proc/"+strconv.Itoa(*pid)+"/ns/"+ns.name, unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err == nil {
			err = unix.Setns(fd, ns.kind)
			unix.Close(fd)
		}
		if err != nil {
			return fmt.Errorf("enter the %s namespace of process %d: %w", ns.name, *pid, err)
		}
	}
	return fmt.Errorf("%s: %w", flags.Arg(0), unix.Exec(flags.Arg(0), flags.Args(), os.Environ()))
}
