package stage

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// quorum is the name that every node has for its quorum disk.
const quorum = "quorum"

// Sizes of the shared files. They are sparse.
const (
	quorumSize = 80 << 20
	dataSize   = 48 << 20
)

// makeDisks makes the shared files, with a file system on each data disk.
func (s *Stage) makeDisks(ctx context.Context) error {
	dir := filepath.Join(s.base, "shared")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	if err := sparse(s.quorumFile(), quorumSize); err != nil || !s.Root {
		return err
	}
	for i := range s.Services {
		f := s.dataFile(i)
		if err := sparse(f, dataSize); err != nil {
			return err
		}
		out, err := exec.CommandContext(ctx, "mkfs.ext4", "-q", "-F", "-m", "0", f).CombinedOutput()
		if err != nil {
			return fmt.Errorf("mkfs.ext4 %s: %w: %s", f, err, strings.TrimSpace(string(out)))
		}
	}
	return nil
}

func sparse(path string, size int64) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	return errors.Join(f.Truncate(size), f.Close())
}

func (s *Stage) quorumFile() string { return filepath.Join(s.base, "shared", "quorum") }
func (s *Stage) dataFile(i int) string {
	return filepath.Join(s.base, "shared", fmt.Sprintf("data%d", i))
}

// shown is where every node finds its own disks, by the same names.
func (s *Stage) shown() string { return filepath.Join(s.base, "disks") }

// attachDisks gives the node loop devices on the shared files, as a boot finds
// them.
func (n *Node) attachDisks() error {
	if !n.stage.Root {
		return nil
	}
	files := map[string]string{quorum: n.stage.quorumFile()}
	for i := range n.stage.Services {
		files[fmt.Sprintf("data%d", i)] = n.stage.dataFile(i)
	}
	n.loops = map[string]string{}
	for name, file := range files {
		loop, err := attach(file)
		if err != nil {
			return fmt.Errorf("%s: disk %s: %w", n.Name, name, err)
		}
		n.loops[name] = loop
		link := filepath.Join(n.dir("disks"), name)
		if err := os.Remove(link); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
		if err := os.Symlink(loop, link); err != nil {
			return err
		}
	}
	return nil
}

// attach makes a loop device with direct I/O of a file and returns its path.
// Others may look for a free one at the same time.
func attach(file string) (string, error) {
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

// CutDisks makes every request of the node to its disks fail at once, but for
// their first sector: the cable is out, and the driver knows it.
func (n *Node) CutDisks() error {
	var errs []error
	for name := range n.loops {
		errs = append(errs, n.limitDisk(name, cutSize))
	}
	return errors.Join(errs...)
}

// CutQuorum does the same to the quorum disk alone.
func (n *Node) CutQuorum() error { return n.limitDisk(quorum, cutSize) }

// MendDisks undoes CutDisks and CutQuorum.
func (n *Node) MendDisks() error {
	var errs []error
	for name := range n.loops {
		errs = append(errs, n.limitDisk(name, 0))
	}
	return errors.Join(errs...)
}

// cutSize is what is left of a disk that was cut, bytes.
const cutSize = 512

func (n *Node) limitDisk(name string, limit uint64) error {
	if n.loops[name] == "" {
		return errors.New("the disks of a node can be cut only where it has loop devices: run as root")
	}
	return limitLoop(n.loops[name], limit)
}

func limitLoop(loop string, limit uint64) error {
	fd, err := unix.Open(loop, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("%s: %w", loop, err)
	}
	defer unix.Close(fd)
	info, err := unix.IoctlLoopGetStatus64(fd)
	if err == nil {
		info.Sizelimit = limit
		err = unix.IoctlLoopSetStatus64(fd, info)
	}
	if err != nil {
		return fmt.Errorf("%s: limit its size: %w", loop, err)
	}
	return nil
}

// loopsOn lists the loop devices whose files stand below a folder.
func loopsOn(dir string) []string {
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

// detachAll detaches the loop devices on files below a folder. A file system on
// one that is still mounted somewhere keeps it until that ends.
func detachAll(dir string, patience time.Duration) error {
	deadline := time.Now().Add(patience)
	for {
		loops := loopsOn(dir)
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

// detach asks for one device to go; whether it did shows in loopsOn.
func detach(loop string) {
	fd, err := unix.Open(loop, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return
	}
	defer unix.Close(fd)
	_ = unix.IoctlSetPointerInt(fd, unix.BLKROSET, 0)
	_ = unix.IoctlSetInt(fd, unix.LOOP_CLR_FD, 0)
}
