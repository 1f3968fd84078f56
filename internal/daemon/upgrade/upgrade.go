// Package upgrade carries a node over to newer programs while its services run:
// it finds them where a package has put them, asks each whether it could go on
// from here, and executes them in place of the ones that run, as the same
// processes. The guard goes first, for it is the one that must not fail: it is
// asked to (see internal/guard/handover), and the watchdogs stay as they are.
package upgrade

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/holdfast-ha/holdfast/internal/daemon/journal"
	"github.com/holdfast-ha/holdfast/internal/guardwire"
)

// ErrUpgraded ends the daemon's life so that its process executes the newer
// program.
var ErrUpgraded = errors.New("the newer program goes on")

// vetWithin bounds each question to a program that has never run here.
const vetWithin = 10 * time.Second

// Programs are the files of the programs, and the settings that they read.
type Programs struct {
	Daemon, Guard            string
	NodeFile, GuardFile      string
	DaemonSays, GuardVersion string // after Vet: what they call themselves
}

// Find finds the programs beside the one that runs. A package that was upgraded
// has replaced the file, and the kernel calls the old one deleted.
func Find(nodeFile string) (*Programs, error) {
	self, err := os.Readlink("/proc/self/exe")
	if err != nil {
		return nil, fmt.Errorf("upgrade: %w", err)
	}
	self = strings.TrimSuffix(self, " (deleted)")
	return &Programs{
		Daemon: self, Guard: filepath.Join(filepath.Dir(self), "holdfast-guard"),
		NodeFile: nodeFile, GuardFile: filepath.Join(filepath.Dir(nodeFile), "guard.conf"),
	}, nil
}

// Vet asks both programs whether they read the settings of this node and could
// take over from a program of this version. Nothing has changed when it fails.
func (p *Programs) Vet(ctx context.Context) error {
	takes := "-takes=" + strconv.Itoa(guardwire.Version)
	guard, err := ask(ctx, p.Guard, "-config", p.GuardFile, "-check", takes)
	if err != nil {
		return err
	}
	daemon, err := ask(ctx, p.Daemon, "-config", p.NodeFile, "-check", takes)
	if err != nil {
		return err
	}
	p.GuardVersion, p.DaemonSays = guard, daemon
	return nil
}

// Takes says, in the newer daemon, whether it could take over from one that speaks
// that version of the guard's protocol: it has to read the state that was kept, or it
// would take the services that run for half started ones, and stop them. Version 0
// is no question.
func Takes(version int, state string) error {
	if err := guardwire.Takes(version); err != nil || version == 0 {
		return err
	}
	if _, err := journal.Kept(state); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("the state that was kept cannot be read, so that the services that run would be stopped: %w; the daemon that runs writes it anew with the next change that is committed, and its journal says why where it cannot", err)
	}
	return nil
}

// ask runs a program that answers and ends, and gives the last line it printed.
func ask(ctx context.Context, program string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, vetWithin)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.WaitDelay = time.Second
	out, err := cmd.CombinedOutput()
	text := strings.TrimSpace(string(out))
	if err != nil {
		return "", fmt.Errorf("%s cannot take over, and nothing was changed: %w: %s", program, err, text)
	}
	if i := strings.LastIndexByte(text, '\n'); i >= 0 {
		text = text[i+1:]
	}
	return text, nil
}

// Exec executes the newer daemon in place of this process, with its arguments
// and environment; it returns only when that failed.
func Exec(args []string) error {
	p, err := Find("")
	if err != nil {
		return err
	}
	path := p.Daemon
	return fmt.Errorf("upgrade: execute %s: %w", path, syscall.Exec(path, append([]string{path}, args...), os.Environ()))
}
