// Package examiner has the doctor look at this machine for whoever asks the daemon,
// here or from another node. The doctor is a process of its own: it opens disks that
// may hang, and calls programs that may.
package examiner

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/holdfast-ha/holdfast/storage/program"
)

const (
	within = 90 * time.Second // for one examination
	fresh  = 15 * time.Second // for so long the latest one answers for those that ask again
)

// Examiner calls the doctor, one at a time.
type Examiner struct {
	run    program.Runner
	node   string                 // path of node.yaml
	beside func() (string, error) // the program beside which the command holdfast is looked for
	now    func() time.Time

	mu   sync.Mutex
	last []byte    // under mu
	at   time.Time // under mu
}

// New makes one for the node whose file this is. beside gives the path of this
// program, with which the command is installed: os.Executable.
func New(run program.Runner, node string, beside func() (string, error), now func() time.Time) *Examiner {
	return &Examiner{run: run, node: node, beside: beside, now: now}
}

// Report is the doctor's report of this machine as JSON, which is not judged here.
func (e *Examiner) Report(ctx context.Context) ([]byte, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if age := e.now().Sub(e.at); e.last != nil && age >= 0 && age < fresh {
		return e.last, nil
	}
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	res, err := e.run(ctx, program.Command{Argv: []string{e.command(), "--config", e.node, "doctor", "--local", "--json"}})
	if err != nil {
		return nil, err
	}
	if !json.Valid([]byte(res.Stdout)) {
		return nil, fmt.Errorf("holdfast doctor exits with %d: %s", res.Code, res.Said())
	}
	e.last, e.at = []byte(res.Stdout), e.now()
	return e.last, nil
}

// command is the path of holdfast: beside the daemon, or where its package puts it,
// or wherever the path leads.
func (e *Examiner) command() string {
	self, err := e.beside()
	if err != nil {
		return "holdfast"
	}
	dir := filepath.Dir(self)
	for _, path := range []string{filepath.Join(dir, "holdfast"), filepath.Join(dir, "../bin/holdfast")} {
		if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() {
			return path
		}
	}
	return "holdfast"
}
