package stage

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/holdfast-ha/holdfast/test/demo/loop"
)

// quorumName is the name that every node has for a quorum disk, by its number
// from 1 in the order in which they were made.
func quorumName(i int) string {
	if i == 1 {
		return "quorum"
	}
	return fmt.Sprintf("quorum%d", i)
}

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
	for range max(1, s.Disks) {
		if _, err := s.makeQuorum(); err != nil {
			return err
		}
	}
	if err := s.makeScenery(); err != nil {
		return err
	}
	if !s.Root || s.foreign() {
		return nil
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

// makeQuorum makes one more file for a quorum disk and returns its name.
func (s *Stage) makeQuorum() (string, error) {
	name := quorumName(len(s.quorums) + 1)
	if err := sparse(s.shared(name), quorumSize); err != nil {
		return "", err
	}
	s.quorums = append(s.quorums, name)
	return name, nil
}

// AddQuorum puts a new, empty disk before every node and returns the path by
// which each of them finds it; it becomes a quorum disk by a command.
func (s *Stage) AddQuorum() (string, error) {
	name, err := s.makeQuorum()
	if err != nil {
		return "", err
	}
	for _, n := range s.Nodes {
		if err := n.attachDisk(name); err != nil {
			return "", err
		}
		if err := n.register(); err != nil {
			return "", err
		}
	}
	return s.QuorumPath(len(s.quorums)), nil
}

// QuorumPath is a quorum disk, by its number from 1, by the name that every node
// has for it.
func (s *Stage) QuorumPath(i int) string {
	if s.Root {
		return filepath.Join(s.shown(), quorumName(i))
	}
	return s.shared(quorumName(i))
}

// shared is the file behind a disk.
func (s *Stage) shared(name string) string { return filepath.Join(s.base, "shared", name) }

func (s *Stage) dataFile(i int) string { return s.shared(dataName(i)) }

func dataName(i int) string { return fmt.Sprintf("data%d", i) }

// shown is where every node finds its own disks, by the same names.
func (s *Stage) shown() string { return filepath.Join(s.base, "disks") }

// attachDisks gives the node loop devices on the shared files, as a boot finds
// them.
func (n *Node) attachDisks() error {
	if !n.stage.Root {
		return nil
	}
	n.loops = map[string]string{}
	for _, name := range n.stage.quorums {
		if err := n.attachDisk(name); err != nil {
			return err
		}
	}
	if n.stage.foreign() {
		return n.attachScenery()
	}
	for i := range n.stage.Services {
		if err := n.attachDisk(dataName(i)); err != nil {
			return err
		}
	}
	return nil
}

// attachDisk gives the node one disk.
func (n *Node) attachDisk(name string) error {
	if !n.stage.Root {
		return nil
	}
	return n.attach(name, n.stage.shared(name))
}

// attach gives the node a loop device on a file as one of its disks.
func (n *Node) attach(name, file string) error {
	dev, err := loop.Attach(file)
	if err != nil {
		return fmt.Errorf("%s: disk %s: %w", n.Name, name, err)
	}
	n.loops[name] = dev
	link := filepath.Join(n.dir("disks"), name)
	if err := os.Remove(link); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return os.Symlink(dev, link)
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

// CutQuorum does the same to the quorum disks alone.
func (n *Node) CutQuorum() error {
	var errs []error
	for _, name := range n.stage.quorums {
		errs = append(errs, n.limitDisk(name, cutSize))
	}
	return errors.Join(errs...)
}

// LoseQuorum takes one quorum disk, by its number from 1, away from every node:
// each request to it fails, as where the array has dropped it. A node that boots
// finds it again.
func (s *Stage) LoseQuorum(i int) error {
	var errs []error
	for _, n := range s.Nodes {
		errs = append(errs, n.limitDisk(quorumName(i), cutSize))
	}
	return errors.Join(errs...)
}

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
	return loop.Limit(n.loops[name], limit)
}
