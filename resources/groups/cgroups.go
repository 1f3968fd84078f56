package groups

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Cgroups keeps groups as cgroups of the unified hierarchy (version 2), which
// nothing leaves without being moved:
//
//	<root>/<service>/<term>/op-<n>-<verb>-<member>   one operation
//	<root>/<service>/<term>/run/<member>             what a start left running
//
// No controller is enabled: the tree counts and kills, it limits nothing. It
// needs Linux 5.7 (clone into a cgroup) and uses cgroup.kill where the kernel
// has it (5.14).
type Cgroups struct{ root string }

// FindCgroup2 returns where the unified hierarchy is mounted: /sys/fs/cgroup,
// or /sys/fs/cgroup/unified beside the older one.
func FindCgroup2() (string, error) {
	table, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return "", err
	}
	for line := range strings.Lines(string(table)) {
		before, after, _ := strings.Cut(line, " - ")
		if fields := strings.Fields(before); strings.HasPrefix(after, "cgroup2 ") && len(fields) > 4 {
			return fields[4], nil
		}
	}
	return "", errors.New("no cgroup2 file system is mounted; mount one: mount -t cgroup2 none /sys/fs/cgroup/unified")
}

// NewCgroups uses the directory root, made if missing, inside a cgroup2 file
// system. Nothing else may put processes there.
func NewCgroups(root string) (*Cgroups, error) {
	if err := os.MkdirAll(root, 0o755); err != nil {
		return nil, fmt.Errorf("cgroup %s: %w", root, err)
	}
	var st unix.Statfs_t
	if err := unix.Statfs(root, &st); err != nil {
		return nil, fmt.Errorf("cgroup %s: statfs: %w", root, err)
	}
	if st.Type != unix.CGROUP2_SUPER_MAGIC {
		return nil, fmt.Errorf("cgroup %s: not in a cgroup2 file system; services need one to be stopped with certainty", root)
	}
	return &Cgroups{root: root}, nil
}

func (c *Cgroups) path(g Group) string {
	return filepath.Join(c.root, g.Service, strconv.FormatUint(uint64(g.Term), 10), g.Part)
}

// Launch implements Keeper with clone3(CLONE_INTO_CGROUP).
func (c *Cgroups) Launch(g Group, cmd *exec.Cmd) error {
	dir := c.path(g)
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return fmt.Errorf("%s: %w", g, err)
	}
	if err := os.Mkdir(dir, 0o755); errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("%s: %w", g, ErrGroupExists)
	} else if err != nil {
		return fmt.Errorf("%s: %w", g, err)
	}
	err := c.launch(dir, cmd)
	if err != nil {
		c.prune(g)
		return fmt.Errorf("%s: start %s: %w", g, cmd.Path, err)
	}
	return nil
}

func (c *Cgroups) launch(dir string, cmd *exec.Cmd) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.UseCgroupFD, cmd.SysProcAttr.CgroupFD = true, int(d.Fd())
	return cmd.Start()
}

// Move implements Keeper. A process may fork while it is moved, so it goes
// round until nothing is left.
func (c *Cgroups) Move(from, to Group) error {
	if err := os.MkdirAll(c.path(to), 0o755); err != nil {
		return fmt.Errorf("%s: %w", to, err)
	}
	procs := filepath.Join(c.path(to), "cgroup.procs")
	deadline := time.Now().Add(2 * time.Second)
	for {
		pids := c.processes(c.path(from))
		if len(pids) == 0 {
			if c.removed(c.path(from)) {
				return nil
			}
		}
		for _, pid := range pids {
			err := os.WriteFile(procs, []byte(strconv.Itoa(pid)), 0)
			if err != nil && !errors.Is(err, unix.ESRCH) {
				return fmt.Errorf("%s: move process %d to %s: %w", from, pid, to, err)
			}
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%s: processes %v were still being made after 2 s", from, pids)
		}
		if len(pids) == 0 {
			time.Sleep(time.Millisecond)
		}
	}
}

// Kill implements Keeper.
func (c *Cgroups) Kill(g Group, within time.Duration) error {
	dir := c.path(g)
	deadline := time.Now().Add(within)
	for pause := time.Millisecond; ; pause = min(2*pause, 20*time.Millisecond) {
		if !exists(dir) {
			c.prune(g)
			return nil
		}
		pids := c.processes(dir)
		if len(pids) == 0 && c.removed(dir) {
			c.prune(g)
			return nil
		}
		c.signal(dir, pids)
		if time.Now().After(deadline) {
			return &StuckError{Group: g, PIDs: pids}
		}
		time.Sleep(pause)
	}
}

// signal kills the whole tree at once where the kernel can, and else each
// process, to be repeated until none is left.
func (c *Cgroups) signal(dir string, pids []int) {
	if os.WriteFile(filepath.Join(dir, "cgroup.kill"), []byte("1"), 0) == nil {
		return
	}
	for _, pid := range pids {
		// Between the list and the signal the number may have passed to another
		// process; the descriptor cannot, and the second look says whose it is.
		fd, err := unix.PidfdOpen(pid, 0)
		if err != nil {
			continue
		}
		if slices.Contains(c.processes(dir), pid) {
			_ = unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0)
		}
		unix.Close(fd)
	}
}

// List implements Keeper.
func (c *Cgroups) List(of Group) ([]Held, error) {
	if of.Part != "" {
		dir := c.path(of)
		var st unix.Stat_t
		switch err := unix.Lstat(dir, &st); {
		case errors.Is(err, unix.ENOENT):
			return nil, nil
		case err == nil && st.Nlink == 2: // a cgroup without others below it
			return []Held{{Group: of, PIDs: membersOf(dir)}}, nil
		}
		return []Held{{Group: of, PIDs: c.processes(dir)}}, nil
	}
	services := []string{of.Service}
	if of.Service == "" {
		entries, err := os.ReadDir(c.root)
		if err != nil {
			return nil, fmt.Errorf("cgroup %s: %w", c.root, err)
		}
		services = directories(entries)
	}
	var all []Held
	for _, service := range services {
		terms, err := os.ReadDir(filepath.Join(c.root, service))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("cgroup %s: %w", c.root, err)
		}
		for _, name := range directories(terms) {
			term, err := strconv.ParseUint(name, 10, 32)
			if err != nil {
				return nil, fmt.Errorf("cgroup %s/%s/%s: not made by Holdfast; remove it", c.root, service, name)
			}
			all = append(all, c.parts(Group{Service: service, Term: uint32(term)})...)
		}
	}
	return all, nil
}

// parts lists the groups of one term. What vanishes meanwhile is left out.
func (c *Cgroups) parts(g Group) []Held {
	var all []Held
	dir := c.path(g)
	parts, _ := os.ReadDir(dir)
	for _, part := range directories(parts) {
		names := []string{part}
		if part == RunPart {
			members, _ := os.ReadDir(filepath.Join(dir, part))
			names = names[:0]
			for _, member := range directories(members) {
				names = append(names, part+"/"+member)
			}
		}
		for _, name := range names {
			all = append(all, Held{
				Group: Group{g.Service, g.Term, name},
				PIDs:  c.processes(filepath.Join(dir, name)),
			})
		}
	}
	return all
}

// processes are those in dir and below, in order. A list that cannot be read
// is that of a directory that went away, or of one that still holds threads of
// an ending process: the removal decides.
func (c *Cgroups) processes(dir string) []int {
	var pids []int
	_ = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.IsDir() {
			return nil
		}
		pids = append(pids, membersOf(path)...)
		return nil
	})
	slices.Sort(pids)
	return pids
}

// membersOf are the processes of one cgroup, in order.
func membersOf(dir string) []int {
	var pids []int
	for field := range bytes.FieldsSeq(readMembers(dir + "/cgroup.procs")) { // see processes
		if pid, err := strconv.Atoi(string(field)); err == nil {
			pids = append(pids, pid)
		}
	}
	slices.Sort(pids)
	return pids
}

// readMembers reads a file of the kernel's by the system calls alone: every check of every
// service does, and what package os does beside them costs twice as much as they do.
func readMembers(name string) []byte {
	fd, err := unix.Open(name, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil
	}
	defer unix.Close(fd)
	text := make([]byte, 0, 256)
	for {
		n, err := unix.Read(fd, text[len(text):cap(text)])
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case err != nil || n <= 0:
			return text
		}
		text = slices.Grow(text[:len(text)+n], 256)
	}
}

// removed takes dir and everything below away, deepest first, and says whether
// it is gone. The kernel refuses while any task is inside: this is the proof
// that the group is empty.
func (c *Cgroups) removed(dir string) bool {
	var dirs []string
	_ = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() {
			dirs = append(dirs, path)
		}
		return nil
	})
	for _, path := range slices.Backward(dirs) {
		if err := unix.Rmdir(path); err != nil && !errors.Is(err, unix.ENOENT) {
			return false
		}
	}
	return true
}

// prune removes the directories above a removed group as far as they are empty.
func (c *Cgroups) prune(g Group) {
	for dir := c.path(g); dir != c.root && len(dir) > len(c.root); dir = filepath.Dir(dir) {
		if err := unix.Rmdir(dir); err != nil && !errors.Is(err, unix.ENOENT) {
			return
		}
	}
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

func directories(entries []os.DirEntry) []string {
	var names []string
	for _, e := range entries {
		if e.IsDir() {
			names = append(names, e.Name())
		}
	}
	return names
}
