// Package throttle makes a block device slow for one process: the kernel lets requests of
// its cgroup wait, and nobody else's. That is how an array answers which is overloaded:
// late, and without an error.
package throttle

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"
)

// controller is where the kernel's controller of block requests is, in its first version;
// the second needs no folder of its own but one in which nobody else is.
const controller = "/sys/fs/cgroup/blkio"

// Slow is a device that is slow for a process until End.
type Slow struct {
	dir  string
	home string // where the process was
	pid  int
}

// Writes lets a process write so many bytes a second to a device at most. name is that of
// the cgroup, which must not be there yet. It fails where the kernel cannot do that, or
// leaves its block controller to somebody else: the first version of cgroups is needed.
func Writes(name string, pid int, device string, bytes int) (*Slow, error) {
	var st unix.Stat_t
	if err := unix.Stat(device, &st); err != nil {
		return nil, fmt.Errorf("%s: %w", device, err)
	}
	s := &Slow{dir: filepath.Join(controller, name), home: controller, pid: pid}
	if err := os.Mkdir(s.dir, 0o755); err != nil {
		return nil, fmt.Errorf("no cgroup for block requests: %w", err)
	}
	limit := fmt.Sprintf("%d:%d %d", unix.Major(st.Rdev), unix.Minor(st.Rdev), bytes)
	err := os.WriteFile(filepath.Join(s.dir, "blkio.throttle.write_bps_device"), []byte(limit), 0o600)
	if err == nil {
		err = put(s.dir, pid)
	}
	if err != nil {
		return nil, errors.Join(err, s.End())
	}
	return s, nil
}

// End lets the process go on as before. That it has ended is no error.
func (s *Slow) End() error {
	err := put(s.home, s.pid)
	if errors.Is(err, unix.ESRCH) {
		err = nil
	}
	return errors.Join(err, os.Remove(s.dir))
}

func put(dir string, pid int) error {
	return os.WriteFile(filepath.Join(dir, "cgroup.procs"), []byte(strconv.Itoa(pid)), 0o600)
}
