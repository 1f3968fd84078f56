// Package offline answers from the files of a node whose daemon does not run, or
// that were copied from another node: its decision log is replayed to the end, and
// what the core knew then is explained as the daemon would have explained it.
package offline

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"
	"time"

	"github.com/rs/zerolog"

	"github.com/holdfast-ha/holdfast/cluster"
	"github.com/holdfast-ha/holdfast/cluster/core"
	"github.com/holdfast-ha/holdfast/cluster/ident"
	"github.com/holdfast-ha/holdfast/internal/api"
	"github.com/holdfast-ha/holdfast/internal/api/server"
	"github.com/holdfast-ha/holdfast/internal/build"
	"github.com/holdfast-ha/holdfast/internal/daemon/journal"
	"github.com/holdfast-ha/holdfast/internal/decisions"
)

// Node is what a node knew at the end of its decision log.
type Node struct {
	Facts   server.Facts
	Stories server.Stories
	Until   time.Time // wall clock: of the last record
}

// Fresh makes the cores of a replay.
func Fresh(s core.Settings) decisions.Core { return core.New(s) }

// Find lists the decision log in a state directory, or in a copy of the log's
// folder alone, or is one file of a log.
func Find(dir string) ([]decisions.File, error) {
	if strings.HasSuffix(dir, decisions.Ending) {
		return []decisions.File{{Path: dir}}, nil
	}
	files, err := decisions.Files(filepath.Join(dir, decisions.Folder))
	if errors.Is(err, fs.ErrNotExist) {
		files, err = decisions.Files(dir)
	}
	if err != nil {
		return nil, err
	}
	if len(files) == 0 {
		return nil, fmt.Errorf("%s holds no decision log: want the state directory of a node, or a copy of its folder %s (files NNNNNNNN%s)", dir, decisions.Folder, decisions.Ending)
	}
	return files, nil
}

// Open replays the newest file of the log in a state directory, and those before
// it as far as they are needed.
func Open(dir string) (*Node, error) {
	files, err := Find(dir)
	if err != nil {
		return nil, err
	}
	for first := len(files) - 1; first >= 0; first-- {
		p := decisions.Replay{Fresh: Fresh}
		if err := p.ReadFiles(files[first:]); err != nil {
			return nil, fmt.Errorf("replay what the daemon recorded: %w", err)
		}
		if p.Core == nil {
			continue // nothing to begin from in this one
		}
		if n, ok := nodeOf(&p, dir); ok {
			return n, nil
		}
	}
	return nil, fmt.Errorf("the decision log in %s ends before the node had read the cluster's state, or was written by another version of holdfast", dir)
}

func nodeOf(p *decisions.Replay, dir string) (*Node, bool) {
	v := p.Core.View(p.Now)
	if v.State == nil {
		return nil, false
	}
	n := &Node{Facts: server.Facts{View: v, Build: build.Version(), Guard: "not asked: the daemon does not run"}, Until: p.Wall(p.Now)}
	if self := v.State.Node(v.Self); self != nil {
		n.Facts.Name = self.Name
	}
	n.Facts.Cluster = v.State.Cluster.String()
	if strings.HasSuffix(dir, decisions.Ending) {
		dir = filepath.Dir(filepath.Dir(dir)) // the events stand beside the log's folder, if anywhere
	}
	stories, err := journal.OpenStory(dir, zerolog.Nop(), time.Now)
	if err != nil {
		return nil, false
	}
	n.Stories = stories
	return n, true
}

// ExplainService says why a service was where it was.
func (n *Node) ExplainService(ctx context.Context, name string) (*api.Explanation, error) {
	return server.ExplainService(ctx, &n.Facts, n.Stories, name)
}

// ExplainNode says why a node was what it was.
func (n *Node) ExplainNode(ctx context.Context, name string) (*api.Explanation, error) {
	return server.ExplainNode(ctx, &n.Facts, n.Stories, name)
}

// ExplainEvent says what led to an event.
func (n *Node) ExplainEvent(ctx context.Context, id uint64) (*api.Explanation, error) {
	return server.ExplainEvent(ctx, n.Stories, id)
}

// Replayed is what a replay has found, for people and programs.
type Replayed struct {
	Version int       `json:"version"`
	Files   int       `json:"files"`
	From    time.Time `json:"from"`
	To      time.Time `json:"to"`
	Lives   int       `json:"lives"`             // of the daemon, begun in these files
	Resumed int       `json:"resumed"`           // gone on with from the memory of a core
	Steps   int       `json:"steps"`             // with every action as it was
	Skipped int       `json:"skipped"`           // with nothing to begin from
	Digests int       `json:"digests"`           // of the core's whole memory, equal
	Same    bool      `json:"same"`              // every action and every digest
	Differs string    `json:"differs,omitempty"` // the first record that does not
	Notes   []string  `json:"notes,omitempty"`
	Decided []Decided `json:"decided"`
}

// Decided is one note of the core in what was replayed.
type Decided struct {
	Time time.Time `json:"time"`
	Kind string    `json:"kind"`
	Text string    `json:"text"`
}

// Replay plays files and compares.
func Replay(files []decisions.File) (*Replayed, error) {
	out := &Replayed{Version: 1, Files: len(files), Decided: []Decided{}}
	p := decisions.Replay{Fresh: Fresh}
	p.Noted = func(wall time.Time, now ident.Instant, n *cluster.Note) {
		var s *cluster.State
		if p.Core != nil {
			s = p.Core.View(now).State
		}
		out.Decided = append(out.Decided, Decided{Time: wall.UTC(), Kind: string(n.Kind), Text: words(n, s)})
	}
	if files[0].ReadHead() == nil {
		out.From = files[0].Head.Wall.UTC()
	}
	err := p.ReadFiles(files)
	out.To = p.Wall(p.Now).UTC()
	d := p.Done
	out.Lives, out.Resumed, out.Steps, out.Skipped, out.Digests, out.Notes = d.Lives, d.Resume, d.Steps, d.Skip, d.Marks, d.Notes
	out.Same = err == nil
	if errors.Is(err, decisions.ErrDiffers) {
		out.Differs, err = err.Error(), nil
	}
	return out, err
}

func words(n *cluster.Note, s *cluster.State) string {
	var about []string
	if n.Service != "" {
		about = append(about, n.Service)
	}
	if n.Node != 0 {
		about = append(about, s.NameOf(n.Node))
	}
	if n.Proof != cluster.NoProof {
		about = append(about, "proof "+n.Proof.String())
	}
	return strings.TrimPrefix(strings.TrimSuffix(strings.Join(about, ", ")+": "+n.Text, ": "), ": ")
}
