package drills

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"github.com/holdfast-ha/holdfast/internal/api"
)

const (
	bookFile    = "drills.json" // in the state directory
	mostRecords = 500           // the oldest go first
)

// book is what is known of drills: the newest of each kind, node, service and way, of
// this node's and of what other nodes have told. It rests in a file, and goes on
// without it where that cannot be written.
type book struct {
	path string

	mu   sync.Mutex
	last []api.DrillRecord // under mu, the newest first
}

func openBook(dir string) (*book, error) {
	b := &book{path: filepath.Join(dir, bookFile)}
	text, err := os.ReadFile(b.path)
	if errors.Is(err, os.ErrNotExist) {
		return b, nil
	}
	if err == nil {
		err = json.Unmarshal(text, &b.last)
	}
	if err != nil {
		return b, fmt.Errorf("what was known of earlier drills is lost: %s: %w", b.path, err)
	}
	return b, nil
}

// add keeps records, and says whether anything was new.
func (b *book) add(records ...api.DrillRecord) (bool, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	news := false
	for _, r := range records {
		i := slices.IndexFunc(b.last, func(o api.DrillRecord) bool {
			return o.Kind == r.Kind && o.Node == r.Node && o.Service == r.Service && o.Way == r.Way
		})
		switch {
		case i < 0:
			b.last = append(b.last, r)
		case r.Time.After(b.last[i].Time):
			b.last[i] = r
		default:
			continue
		}
		news = true
	}
	if !news {
		return false, nil
	}
	slices.SortStableFunc(b.last, func(p, q api.DrillRecord) int { return q.Time.Compare(p.Time) })
	b.last = b.last[:min(len(b.last), mostRecords)]
	text, err := json.MarshalIndent(b.last, "", "  ")
	if err == nil {
		err = replace(b.path, text)
	}
	return true, err
}

// all gives a copy.
func (b *book) all() []api.DrillRecord {
	b.mu.Lock()
	defer b.mu.Unlock()
	return append([]api.DrillRecord{}, b.last...)
}

// replace writes a file so that a loss of power leaves the old or the new one.
func replace(path string, text []byte) error {
	f, err := os.OpenFile(path+".new", os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}
