package lab

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Sweep removes what runs that were killed have left: machines, by the numbers that their labs have noted, and folders of
// labs whose process has ended. A folder that a failed test has kept goes too; it has been there for one run to look at.
func Sweep() error {
	dirs, err := filepath.Glob(filepath.Join(os.TempDir(), prefix+"*"))
	errs := []error{err}
	for _, dir := range dirs {
		owner, _, _ := strings.Cut(strings.TrimPrefix(filepath.Base(dir), prefix), "-")
		pid, err := strconv.Atoi(owner)
		if err != nil || unix.Kill(pid, 0) == nil {
			continue
		}
		errs = append(errs, sweepMachines(dir), os.RemoveAll(dir))
	}
	return errors.Join(errs...)
}

// sweepMachines ends the processes that the folder names, if they are still machines of that folder.
func sweepMachines(dir string) error {
	files, err := filepath.Glob(filepath.Join(dir, "*.pid"))
	errs := []error{err}
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			continue
		}
		pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
		if err != nil {
			continue
		}
		line, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
		if err != nil || !bytes.Contains(line, []byte(dir+"/")) {
			continue
		}
		if err := unix.Kill(pid, unix.SIGKILL); err != nil && !errors.Is(err, unix.ESRCH) {
			errs = append(errs, fmt.Errorf("a machine that a killed run has left, process %d: %w", pid, err))
		}
	}
	return errors.Join(errs...)
}
