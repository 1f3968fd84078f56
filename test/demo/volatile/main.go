package volatile

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// Main is the process of one disk. It runs until it is killed, or the file system
// is unmounted:
//
//	-file FILE   the medium
//	-at DIR      where the file system with the one file "disk" is mounted
//
// It prints "ready" once the disk can be used.
func Main(args []string) error {
	flags := flag.NewFlagSet("volatile", flag.ContinueOnError)
	file := flags.String("file", "", "the medium")
	at := flags.String("at", "", "folder for the file system")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if *file == "" || *at == "" || flags.NArg() > 0 {
		return errors.New("volatile: want -file FILE -at DIR and no arguments")
	}
	medium, err := os.OpenFile(*file, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer medium.Close()
	c, err := newCache(medium)
	if err != nil {
		return err
	}
	signal.Ignore(unix.SIGINT) // a terminal sends it to the driver, which tidies up
	s, err := mount(*at, c)
	if err != nil {
		return err
	}
	fmt.Println("ready")
	return s.serve()
}

// Disk is the file that the disk is, in the folder where it is mounted.
func Disk(at string) string { return filepath.Join(at, diskName) }

// Able says what this machine lacks for such disks; nil: nothing.
func Able() error {
	if err := unix.Access("/dev/fuse", unix.W_OK); err != nil {
		return fmt.Errorf("/dev/fuse: %w (modprobe fuse)", err)
	}
	return nil
}
