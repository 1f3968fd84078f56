package outage

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// processes lists the node's processes but for the spared ones.
func (s Supply) processes() []int {
	var pids []int
	for _, dir := range s.Cgroups {
		pids = append(pids, cgroupProcesses(dir)...)
	}
	if s.Marker != "" {
		pids = append(pids, markedProcesses(s.Marker)...)
	}
	slices.Sort(pids)
	return slices.DeleteFunc(slices.Compact(pids), func(pid int) bool { return slices.Contains(s.Spare, pid) })
}

// cgroupProcesses lists the processes of a cgroup and all below it.
func cgroupProcesses(dir string) []int {
	var pids []int
	// An error is a cgroup that was removed while we looked: nothing is in it.
	_ = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.IsDir() {
			return nil
		}
		b, _ := os.ReadFile(filepath.Join(path, "cgroup.procs"))
		for _, field := range strings.Fields(string(b)) {
			if pid, err := strconv.Atoi(field); err == nil && pid > 0 {
				pids = append(pids, pid)
			}
		}
		return nil
	})
	return pids
}

// markedProcesses lists the processes with the marker in their environment as it
// was at exec. A zombie has none, and so does not count.
func markedProcesses(marker string) []int {
	var pids []int
	dirs, _ := filepath.Glob("/proc/[0-9]*")
	for _, dir := range dirs {
		if pid, err := strconv.Atoi(filepath.Base(dir)); err == nil && Marked(pid, marker) {
			pids = append(pids, pid)
		}
	}
	return pids
}

// Marked says that the process has the marker, an entry NAME=VALUE, in the
// environment that it was started with.
func Marked(pid int, marker string) bool {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid))
	if err != nil {
		return false
	}
	for entry := range bytes.SplitSeq(b, []byte{0}) {
		if string(entry) == marker {
			return true
		}
	}
	return false
}

// stop halts every process of the node where it is: it may finish a system call,
// but not act on what that returns. Linux's ext4 lets an fsync that is under way
// while its file system is shut down return success for what is lost (seen with
// 6.18); a machine without power tells nobody about it. It looks again until there
// is nobody new: a process may fork between the look and the blow.
func (s Supply) stop() {
	stopped := map[int]bool{}
	for range stopRounds {
		news := false
		for _, pid := range s.processes() {
			if stopped[pid] {
				continue
			}
			_ = unix.Kill(pid, unix.SIGSTOP) // gone is as good as stopped
			stopped[pid], news = true, true
		}
		if !news {
			return
		}
	}
}

// stopRounds bounds the chase after forks.
const stopRounds = 10

// kill ends every process of the node and waits until none is left, so that what
// they had open is closed. It strikes again until then: a process may fork
// between the look and the blow.
func (s Supply) kill() error {
	var errs []error
	for _, dir := range s.Cgroups {
		errs = append(errs, s.emptyOfSpared(dir))
		// At once for the whole tree where the kernel can (5.14); those
		// that it cannot reach are struck one by one below.
		if err := os.WriteFile(filepath.Join(dir, "cgroup.kill"), []byte("1"), 0); err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	deadline := time.Now().Add(killPatience)
	struck := map[int]bool{}
	for {
		pids := s.processes()
		for _, pid := range pids {
			_ = unix.Kill(pid, unix.SIGKILL) // gone is as good as killed
			struck[pid] = true
		}
		for pid := range struck {
			if ended(pid) {
				delete(struck, pid)
			}
		}
		if len(pids) == 0 && len(struck) == 0 && s.unpopulated() {
			return errors.Join(errs...)
		}
		if time.Now().After(deadline) {
			still := slices.Sorted(maps.Keys(struck))
			return errors.Join(append(errs, fmt.Errorf("processes %v are still there after %v: blocked in the kernel?", still, killPatience))...)
		}
		time.Sleep(2 * time.Millisecond)
	}
}

// ended says that a killed process has closed what it had open: it is gone or a
// zombie, and so are its threads. Its environment goes earlier than its files.
func ended(pid int) bool {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return true
	}
	// The state follows the name, which is in parentheses and may hold some.
	_, after, _ := strings.Cut(string(b[bytes.LastIndexByte(b, ')')+1:]), " ")
	if !strings.HasPrefix(after, "Z") && !strings.HasPrefix(after, "X") {
		return false
	}
	threads, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
	return err != nil || len(threads) <= 1
}

// emptyOfSpared moves the spared processes to the cgroup above, out of reach of
// cgroup.kill.
func (s Supply) emptyOfSpared(dir string) error {
	var errs []error
	for _, pid := range cgroupProcesses(dir) {
		if !slices.Contains(s.Spare, pid) {
			continue
		}
		above := filepath.Join(filepath.Dir(filepath.Clean(dir)), "cgroup.procs")
		if err := os.WriteFile(above, []byte(strconv.Itoa(pid)), 0); err != nil {
			errs = append(errs, fmt.Errorf("spare process %d: %w", pid, err))
		}
	}
	return errors.Join(errs...)
}

// unpopulated says that the kernel counts no process in any of the cgroups: they
// have ended, and closed what they had open.
func (s Supply) unpopulated() bool {
	for _, dir := range s.Cgroups {
		b, err := os.ReadFile(filepath.Join(dir, "cgroup.events"))
		if err == nil && strings.Contains(string(b), "populated 1") {
			return false
		}
	}
	return true
}
