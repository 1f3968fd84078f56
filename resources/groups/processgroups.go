package groups

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// ProcessGroups is what can be had without cgroups and without root. A process
// belongs to a group if its environment holds the mark HOLDFAST_OP=<token> that
// one of the group's operations was given, or if it descends from such a
// process. It is weaker than Cgroups: a process that clears or overwrites its
// environment and loses its parent escapes. It is meant for emulated platforms,
// where nothing is at stake, and for nothing else.
//
// Which tokens belong to which group is kept below a directory, in the same
// shape as the cgroup tree, so that a later daemon life can find the processes.
type ProcessGroups struct{ dir string }

// tokensFile holds the marks of a group, one a line.
const tokensFile = "tokens"

// NewProcessGroups keeps its records below dir, made if missing. Two daemons on
// one machine need two directories.
func NewProcessGroups(dir string) (*ProcessGroups, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("process groups: %w", err)
	}
	return &ProcessGroups{dir: dir}, nil
}

func (p *ProcessGroups) path(g Group) string {
	return filepath.Join(p.dir, g.Service, strconv.FormatUint(uint64(g.Term), 10), g.Part)
}

// Launch implements Keeper by a mark in the environment.
func (p *ProcessGroups) Launch(g Group, cmd *exec.Cmd) error {
	dir := p.path(g)
	if err := os.MkdirAll(filepath.Dir(dir), 0o700); err != nil {
		return fmt.Errorf("%s: %w", g, err)
	}
	if err := os.Mkdir(dir, 0o700); errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("%s: %w", g, ErrGroupExists)
	} else if err != nil {
		return fmt.Errorf("%s: %w", g, err)
	}
	token := rand.Text()
	err := os.WriteFile(filepath.Join(dir, tokensFile), []byte(token+"\n"), 0o600)
	if err == nil {
		cmd.Env = append(slices.Clone(cmd.Environ()), "HOLDFAST_OP="+token)
		err = cmd.Start()
	}
	if err != nil {
		p.remove(g)
		return fmt.Errorf("%s: start %s: %w", g, cmd.Path, err)
	}
	return nil
}

// Move implements Keeper: the tokens change hands, the processes do not notice.
func (p *ProcessGroups) Move(from, to Group) error {
	if err := os.MkdirAll(p.path(to), 0o700); err != nil {
		return fmt.Errorf("%s: %w", to, err)
	}
	var keep []byte
	tokens, processes := p.tokens(from), processTable()
	for _, token := range append(p.tokens(to), tokens...) {
		if len(processes.marked([]string{token})) > 0 {
			keep = append(keep, token+"\n"...)
		}
	}
	if err := os.WriteFile(filepath.Join(p.path(to), tokensFile), keep, 0o600); err != nil {
		return fmt.Errorf("%s: %w", to, err)
	}
	p.remove(from)
	return nil
}

// Kill implements Keeper. A process may fork while it is killed, so the group
// is empty only when two looks in a row find nobody.
func (p *ProcessGroups) Kill(g Group, within time.Duration) error {
	tokens := p.tokens(g)
	deadline := time.Now().Add(within)
	for empty := 0; empty < 2 && len(tokens) > 0; {
		found := processTable().marked(tokens)
		if empty++; len(found) > 0 {
			empty = 0
		}
		for _, proc := range found {
			proc.kill()
		}
		if empty == 0 && time.Now().After(deadline) {
			return &StuckError{Group: g, PIDs: pidsOf(found)}
		}
		time.Sleep(2 * time.Millisecond)
	}
	p.remove(g)
	return nil
}

// List implements Keeper.
func (p *ProcessGroups) List(of Group) ([]Held, error) {
	var all []Held
	processes := processTable()
	root := filepath.Join(p.dir, of.Service)
	if of.Part != "" {
		root = p.path(of)
	}
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) || err == nil && d.Name() != tokensFile {
			return nil
		}
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(p.dir, filepath.Dir(path))
		parts := strings.SplitN(rel, "/", 3)
		if len(parts) != 3 {
			return fmt.Errorf("process groups: %s: not made by Holdfast; remove it", path)
		}
		term, err := strconv.ParseUint(parts[1], 10, 32)
		if err != nil {
			return fmt.Errorf("process groups: %s: not made by Holdfast; remove it", path)
		}
		g := Group{parts[0], uint32(term), parts[2]}
		all = append(all, Held{Group: g, PIDs: pidsOf(processes.marked(p.tokens(g)))})
		return nil
	})
	return all, err
}

// tokens are the marks of a group and of all groups below it.
func (p *ProcessGroups) tokens(g Group) []string {
	var tokens []string
	_ = filepath.WalkDir(p.path(g), func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Name() == tokensFile {
			text, _ := os.ReadFile(path)
			tokens = append(tokens, strings.Fields(string(text))...)
		}
		return nil
	})
	return tokens
}

// remove deletes the records of a group, and the directories above it as far as
// they are empty.
func (p *ProcessGroups) remove(g Group) {
	_ = os.RemoveAll(p.path(g))
	for dir := filepath.Dir(p.path(g)); len(dir) > len(p.dir); dir = filepath.Dir(dir) {
		if os.Remove(dir) != nil {
			return
		}
	}
}

// process is one line of the process table: enough to know it again.
type process struct {
	pid, parent int
	began       string // start time in clock ticks since boot, field 22 of stat
	environ     []byte
}

type table map[int]process

// processTable reads all processes that this user may look into; the dead that
// wait for their parents have no environment and are left out.
func processTable() table {
	t := make(table)
	entries, _ := os.ReadDir("/proc")
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		if proc, ok := readProcess(pid); ok {
			t[pid] = proc
		}
	}
	return t
}

func readProcess(pid int) (process, bool) {
	dir := filepath.Join("/proc", strconv.Itoa(pid))
	stat, err := os.ReadFile(filepath.Join(dir, "stat"))
	// The name stands in parentheses and may hold anything; fields follow the last.
	end := bytes.LastIndexByte(stat, ')')
	if err != nil || end < 0 {
		return process{}, false
	}
	fields := strings.Fields(string(stat[end+1:])) // fields[0] is field 3, the state
	if len(fields) < 20 || fields[0] == "Z" || fields[0] == "X" {
		return process{}, false
	}
	environ, err := os.ReadFile(filepath.Join(dir, "environ"))
	if err != nil {
		return process{}, false
	}
	parent, _ := strconv.Atoi(fields[1])
	return process{pid: pid, parent: parent, began: fields[19], environ: environ}, true
}

// marked are the processes with one of the tokens, and their descendants.
func (t table) marked(tokens []string) []process {
	in := make(map[int]bool)
	for pid, proc := range t {
		for _, token := range tokens {
			if pid != os.Getpid() && bytes.Contains(proc.environ, []byte("HOLDFAST_OP="+token+"\x00")) {
				in[pid] = true
			}
		}
	}
	for grown := true; grown; {
		grown = false
		for pid, proc := range t {
			if !in[pid] && in[proc.parent] {
				in[pid], grown = true, true
			}
		}
	}
	var found []process
	for pid := range in {
		found = append(found, t[pid])
	}
	slices.SortFunc(found, func(a, b process) int { return a.pid - b.pid })
	return found
}

// kill ends the process if the number still belongs to it.
func (p process) kill() {
	fd, err := unix.PidfdOpen(p.pid, 0)
	if err != nil {
		return
	}
	defer unix.Close(fd)
	if now, ok := readProcess(p.pid); ok && now.began == p.began {
		_ = unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0)
	}
}

func pidsOf(processes []process) []int {
	var pids []int
	for _, p := range processes {
		pids = append(pids, p.pid)
	}
	return pids
}
