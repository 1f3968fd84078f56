// Package loop makes, cuts and removes loop devices: the disks of a demo.
package loop

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Attach makes a loop device with direct I/O of a file and returns its path.
// Others may look for a free one at the same time.
func Attach(file string) (string, error) {
	control, err := unix.Open("/dev/loop-control", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return "", fmt.Errorf("/dev/loop-control: %w", err)
	}
	defer unix.Close(control)
	back, err := unix.Open(file, unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return "", fmt.Errorf("%s: %w", file, err)
	}
	defer unix.Close(back)
	deadline := time.Now().Add(5 * time.Second)
	for {
		index, err := unix.IoctlRetInt(control, unix.LOOP_CTL_GET_FREE)
		if err != nil {
			return "", fmt.Errorf("find a free loop device: %w", err)
		}
		path := fmt.Sprintf("/dev/loop%d", index)
		err = configure(path, file, back)
		if err == nil {
			return path, nil
		}
		if !errors.Is(err, unix.EBUSY) && !errors.Is(err, unix.ENOENT) && !errors.Is(err, unix.ENXIO) || time.Now().After(deadline) {
			return "", fmt.Errorf("%s: %w", path, err)
		}
	}
}

func configure(path, file string, back int) error {
	fd, err := unix.Open(path, unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	c := unix.LoopConfig{Fd: uint32(back), Size: 512}
	c.Info.Flags = unix.LO_FLAGS_DIRECT_IO
	copy(c.Info.File_name[:len(c.Info.File_name)-1], file)
	if err := unix.IoctlLoopConfigure(fd, &c); err != nil {
		return err
	}
	// A device that the power emulator had protected from a spared process keeps
	// the protection when it is used anew.
	return unix.IoctlSetPointerInt(fd, unix.BLKROSET, 0)
}

// Limit makes everything of a device beyond its first bytes unreachable: a
// request there fails at once. Zero takes the limit away again.
func Limit(loop string, bytes uint64) error {
	fd, err := unix.Open(loop, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("%s: %w", loop, err)
	}
	defer unix.Close(fd)
	info, err := unix.IoctlLoopGetStatus64(fd)
	if err == nil {
		info.Sizelimit = bytes
		err = unix.IoctlLoopSetStatus64(fd, info)
	}
	if err != nil {
		return fmt.Errorf("%s: limit its size: %w", loop, err)
	}
	return nil
}

// On lists the loop devices whose files stand below a folder.
func On(dir string) []string {
	var found []string
	files, _ := filepath.Glob("/sys/block/loop*/loop/backing_file") // fails only for a bad pattern
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err == nil && strings.HasPrefix(string(text), dir+"/") {
			found = append(found, "/dev/"+filepath.Base(filepath.Dir(filepath.Dir(f))))
		}
	}
	return found
}

// DetachAll detaches the loop devices on files below a folder. A file system on
// one that is still mounted somewhere keeps it until that ends.
func DetachAll(dir string, patience time.Duration) error {
	deadline := time.Now().Add(patience)
	for {
		loops := On(dir)
		if len(loops) == 0 {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("loop devices %v do not go away: something on them is still mounted or open", loops)
		}
		for _, l := range loops {
			detach(l)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// detach asks for one device to go; whether it did shows in On.
func detach(loop string) {
	fd, err := unix.Open(loop, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return
	}
	defer unix.Close(fd)
	_ = unix.IoctlSetPointerInt(fd, unix.BLKROSET, 0)
	_ = unix.IoctlSetInt(fd, unix.LOOP_CLR_FD, 0)
}
