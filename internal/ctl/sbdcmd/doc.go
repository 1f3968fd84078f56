// Package sbdcmd is the command holdfast sbd: the tool sbd(8) of ClusterLabs
// sbd 1.5 for the SBD area of a disk, with its options, its verbs, its output and
// its exit codes, so that scripts and fence agents made for sbd work with it on
// SBD devices and on quorum disks.
//
// It differs where sbd(8) is wrong, and only there: a message that was not
// written is an error, a name that would be cut is refused, so is a command
// without a device, msgwait follows from the watchdog timeout, and a reset that
// waits in a mailbox is not replaced by a mere test. The whole list is in the
// help text. It has no daemon: watching mailboxes is the guard's.
//
// A disk that does not answer must not hold the command, for a fence agent waits
// for it, and a process that has left a request in the kernel cannot end before
// the disk answers. So the work on disks is done by a child process (package
// contain), every wait in it is bounded, and disks are written side by side.
package sbdcmd

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/holdfast-ha/holdfast/internal/ctl/contain"
	"github.com/holdfast-ha/holdfast/internal/ctl/guardhere"
	"github.com/holdfast-ha/holdfast/quorumdisk/place"
	"github.com/holdfast-ha/holdfast/sbd/watchdog"
	"github.com/holdfast-ha/holdfast/storage"
)

// Exit codes. sbd(8) knows no others.
const (
	exitOK     = 0
	exitFailed = 1
)

// System is what the command touches outside itself. Host gives the real one;
// tests replace what they must.
type System struct {
	In       io.Reader
	Out, Err io.Writer
	Getenv   func(key string) string
	Hostname func() (string, error)
	// Open opens a disk as storage.Open does.
	Open func(path string, opts storage.Options) (storage.Disk, error)
	// InUse says who uses a block device as storage.InUse does.
	InUse func(path string) ([]string, error)
	// Sleep waits; it returns early when ctx ends.
	Sleep func(ctx context.Context, d time.Duration)
	Dogs  Dogs
}

// Dogs is how the command reaches watchdog devices.
type Dogs struct {
	// List describes the devices without opening any.
	List func() ([]watchdog.Listed, error)
	// Arm opens a device, which from then on resets this machine if it works.
	Arm func(path string, timeout time.Duration) (watchdog.Device, error)
	// Guards lists the guards that run on this machine, in words.
	Guards func() ([]string, error)
}

// Host is the machine that the program runs on.
func Host(in io.Reader, out, err io.Writer) System {
	return System{
		In: in, Out: out, Err: err, Getenv: os.Getenv, Hostname: nodeName,
		Open: openDisk, InUse: storage.InUse, Sleep: sleep,
		Dogs: Dogs{List: watchdog.List, Arm: watchdog.OpenLinux, Guards: func() ([]string, error) { return guardhere.Running("/proc") }},
	}
}

// openDisk opens a device, or the partition of a quorum disk on it: the SBD area
// begins where the quorum disk does.
func openDisk(path string, opts storage.Options) (storage.Disk, error) {
	whole, err := storage.Open(path, opts)
	if err != nil {
		return nil, err
	}
	d, _, _, err := place.On(whole, defaultIO)
	if err != nil {
		return whole, nil // what is wrong with reading shows again when the area is read
	}
	return d, nil
}

// nodeName is the default name of the own node: uname -n in lower case, as
// sbd(8) has it.
func nodeName() (string, error) {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return "", fmt.Errorf("uname: %w", err)
	}
	return strings.ToLower(unix.ByteSliceToString(u.Nodename[:])), nil
}

func sleep(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// Command is holdfast sbd. Its flags are not cobra's: they are read as
// getopt(3) reads them. exit makes of an exit code the error that ends the
// program with it and prints nothing.
func Command(exit func(code int) error) *cobra.Command {
	return &cobra.Command{
		Use: "sbd [OPTION...] COMMAND [ARGUMENT...]", DisableFlagParsing: true,
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) > 0 && args[0] == "--help" {
				return c.Help()
			}
			s := Host(c.InOrStdin(), c.OutOrStdout(), c.ErrOrStderr())
			// Whoever has put another writer in place of our output runs this
			// inside of a program of his own, which cannot be started again.
			if s.Out == os.Stdout && touchesDisks(args) {
				return exit(contain.Run(c.Context(), contain.Program{
					Name: "sbd", Args: append([]string{"sbd"}, args...), Out: s.Out, Err: s.Err,
					Work: func(ctx context.Context, out, errOut io.Writer) int {
						s.Out, s.Err = out, errOut
						return Run(ctx, args, s)
					},
				}))
			}
			return exit(Run(c.Context(), args, s))
		},
	}
}
