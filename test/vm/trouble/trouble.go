// Package trouble makes, inside a machine, what only a program on that machine can: it takes all memory, fills a file system,
// sets the clock, and keeps a file system in use where no mount table shows it.
package trouble

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// Run is "init trouble KIND ARGUMENT":
//
//	memory MIB      takes that much memory, touches all of it, and keeps it
//	fill FOLDER     writes a file "ballast" there until the file system is full
//	empty FOLDER    removes that file
//	step DURATION   sets the clock of the day on by that, or back
//	slew PERCENT    lets the clocks that are slewed go faster by that, at most 10, or slower
//	squat FOLDER    keeps the file system in use without a mount that any table shows, and writes to it
func Run(args []string, out io.Writer) error {
	if len(args) != 2 {
		return errors.New("trouble: KIND ARGUMENT")
	}
	kind, argument := args[0], args[1]
	switch kind {
	case "memory":
		return memory(argument)
	case "fill":
		return fill(filepath.Join(argument, "ballast"), out)
	case "empty":
		// Where it is not mounted yet the next try finds it.
		return os.Remove(filepath.Join(argument, "ballast"))
	case "step":
		return step(argument)
	case "slew":
		return slew(argument)
	case "squat":
		return squat(argument, out)
	}
	return fmt.Errorf("no trouble is called %q", kind)
}

func memory(argument string) error {
	var mib int
	if _, err := fmt.Sscan(argument, &mib); err != nil {
		return err
	}
	// The kernel is to take this process before any other.
	if err := os.WriteFile("/proc/self/oom_score_adj", []byte("500"), 0); err != nil {
		return err
	}
	var kept [][]byte
	for range mib {
		b := make([]byte, 1<<20)
		for i := 0; i < len(b); i += os.Getpagesize() {
			b[i] = 1
		}
		kept = append(kept, b)
	}
	time.Sleep(time.Hour)
	return fmt.Errorf("%d MiB were kept for an hour", len(kept))
}

func fill(name string, out io.Writer) error {
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	b := make([]byte, 64<<10)
	n := 0
	for err == nil {
		_, err = f.Write(b)
		n++
		if len(b) > 1 && errors.Is(err, unix.ENOSPC) {
			b, err = b[:len(b)/2], nil
		}
	}
	fmt.Fprintf(out, "%d writes, then: %v\n", n, err)
	if !errors.Is(err, unix.ENOSPC) {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

func step(argument string) error {
	d, err := time.ParseDuration(argument)
	if err != nil {
		return err
	}
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_REALTIME, &now); err != nil {
		return err
	}
	then := unix.NsecToTimespec(now.Nano() + int64(d))
	return unix.ClockSettime(unix.CLOCK_REALTIME, &then)
}

// The kernel adds so many microseconds to the clock with every tick of its own unit, USER_HZ; 10 % off is the most that it takes.
const (
	usualTick = 10000
	adjTick   = 0x4000
)

func slew(argument string) error {
	var percent float64
	if _, err := fmt.Sscan(argument, &percent); err != nil {
		return err
	}
	t := unix.Timex{Modes: adjTick, Tick: int64(usualTick * (1 + percent/100))}
	_, err := unix.Adjtimex(&t)
	return err
}

// squat holds a copy of a mount that stands in no mount namespace: an open descriptor is all that leads to it.
func squat(folder string, out io.Writer) error {
	tree, err := unix.OpenTree(unix.AT_FDCWD, folder, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC)
	if err != nil {
		return fmt.Errorf("a copy of the mount at %s: %w", folder, err)
	}
	fd, err := unix.Openat(tree, "squatter", unix.O_CREAT|unix.O_WRONLY|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return err
	}
	fmt.Fprintln(out, "squats")
	b := make([]byte, 4096)
	for n := 0; ; n++ {
		b[0] = byte(n)
		if _, err := unix.Pwrite(fd, b, int64(n%16)*int64(len(b))); err != nil {
			return err
		}
		if err := unix.Fsync(fd); err != nil {
			return err
		}
		time.Sleep(100 * time.Millisecond)
	}
}
