package vm

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/holdfast-ha/holdfast/resources"
)

// note is what a node keeps, until it boots, of the latest guest that it handed, or
// tried to hand, to another node. It is written before what it speaks of is done, so
// that whoever comes after a killed operation knows what may have been done.
type note struct {
	Term uint32 `json:"term"` // of this node, in which that was
	UUID string `json:"uuid"` // of the guest
	Goal string `json:"goal"` // the other node
	To   string `json:"to"`   // its libvirt
	// Marked says that the other node's copy may carry the mark, by which that node
	// resumes it: from then on this node's own guest is over, in this term.
	Marked bool `json:"marked"`
}

// usualRun is where a node keeps what a boot forgets, if its environment names no other.
const usualRun = "/run/holdfast"

func (a Agent) notePath(req resources.Request) string {
	dir := a.Dir
	if dir == "" {
		dir = os.Getenv("HOLDFAST_RUN")
	}
	if dir == "" {
		dir = usualRun
	}
	return filepath.Join(dir, "vm", req.Service+"+"+req.Member)
}

// noted reads the note; the zero one if there is none.
func (g guest) noted() (n note, err error) {
	text, err := os.ReadFile(g.path)
	if errors.Is(err, fs.ErrNotExist) {
		return note{}, nil
	}
	if err == nil {
		err = json.Unmarshal(text, &n)
	}
	if err != nil {
		return n, fmt.Errorf("what this node keeps of a hand-over of %s: %w", g.Domain, err)
	}
	return n, nil
}

// notes writes the note: whole, or not at all.
func (g guest) notes(n note) error {
	text, err := json.Marshal(n)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(g.path), 0o700); err != nil {
		return err
	}
	if err := os.WriteFile(g.path+".new", text, 0o600); err != nil {
		return err
	}
	return os.Rename(g.path+".new", g.path)
}

// forget removes the note.
func (g guest) forget() error {
	if err := os.Remove(g.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
