package journal

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/rs/zerolog"

	"github.com/holdfast-ha/holdfast/cluster"
	"github.com/holdfast-ha/holdfast/cluster/ident"
	"github.com/holdfast-ha/holdfast/internal/api"
	"github.com/holdfast-ha/holdfast/internal/config"
	"github.com/holdfast-ha/holdfast/internal/daemon/queue"
	"github.com/holdfast-ha/holdfast/quorumdisk/statecodec"
)

// StateFile is the file of the state directory with the last committed state,
// encoded as on the quorum disk.
const StateFile = "state.bin"

const (
	versionDir   = "versions" // NNNN-YYYYMMDDTHHMMSSZ.yaml: the configurations, and when this node learned each
	mostVersions = 500
)

// Cache keeps what was committed on this node's own disk: the last state, by
// which a restarted daemon knows how to probe what runs and a rescue can see that
// the quorum disks were rolled back; and every configuration. Nothing is granted
// or started from it.
type Cache struct {
	dir    string
	log    zerolog.Logger
	states *queue.Queue[*cluster.State]
}

// OpenCache makes the folders of the cache in the state directory.
func OpenCache(dir string, log zerolog.Logger) (*Cache, error) {
	if err := os.MkdirAll(filepath.Join(dir, versionDir), 0o750); err != nil {
		return nil, fmt.Errorf("cache: %w", err)
	}
	return &Cache{dir: dir, log: log, states: queue.New[*cluster.State]()}, nil
}

// Last is the configuration of the last committed state that was kept, nil if
// there is none or this version cannot read it.
func (c *Cache) Last() *cluster.Config {
	s, err := Kept(c.dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		c.log.Warn().Err(err).Msg("the kept state cannot be read: what runs here counts as half started")
		return nil
	}
	conf, err := config.ParseCluster(StateFile, s.Config)
	if err != nil {
		c.log.Warn().Err(err).Msg("the kept configuration cannot be read: what runs here counts as half started")
		return nil
	}
	return conf
}

// Floor is the version of the last committed state of a cluster that was kept; 0
// if there is none. Quorum disks that show less were rolled back.
func (c *Cache) Floor(of ident.UUID) uint64 {
	s, err := Kept(c.dir)
	if err != nil || s.Cluster != of {
		return 0 // Last has said what is wrong with it
	}
	return s.Ver
}

// Kept is the last committed state that a daemon has kept in its state directory.
// Without one the error is fs.ErrNotExist.
func Kept(dir string) (*cluster.State, error) {
	path := filepath.Join(dir, StateFile)
	body, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	s, err := statecodec.Decode(body)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return s, nil
}

// Put makes s the state that is kept in a state directory, while no daemon runs;
// the one before stays beside it as state.bin.before.
func Put(dir string, s *cluster.State) error {
	if err := os.MkdirAll(filepath.Join(dir, versionDir), 0o750); err != nil {
		return fmt.Errorf("cache: %w", err)
	}
	path := filepath.Join(dir, StateFile)
	if old, err := os.ReadFile(path); err == nil {
		if err := replace(path+".before", old); err != nil {
			return fmt.Errorf("cache: %w", err)
		}
	}
	body, err := statecodec.Encode(s)
	if err == nil {
		err = replace(path, body)
	}
	return err
}

// Keep has a committed state written; it never waits.
func (c *Cache) Keep(s *cluster.State) { c.states.Put(s) }

// Run is the task that writes, until ctx ends.
func (c *Cache) Run(ctx context.Context) error {
	for {
		s, ok := c.states.Take(ctx)
		if newer := c.states.Drain(); len(newer) > 0 {
			s = newer[len(newer)-1]
		}
		if s != nil {
			if err := c.write(s); err != nil {
				c.log.Error().Err(err).Msg("the committed state was not kept on this node")
			}
		}
		if !ok {
			return nil
		}
	}
}

func (c *Cache) write(s *cluster.State) error {
	body, err := statecodec.Encode(s)
	if err == nil {
		err = replace(filepath.Join(c.dir, StateFile), body)
	}
	path := c.path(s.ConfigRev)
	if _, missing := os.Stat(path); errors.Is(missing, os.ErrNotExist) {
		err = errors.Join(err, replace(path, s.Config), date(path), c.prune())
	}
	return err
}

// date gives a kept configuration its date in its name, where it outlives a copy of
// the file; without it the configuration is found all the same.
func date(path string) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	return os.Rename(path, strings.TrimSuffix(path, ".yaml")+info.ModTime().UTC().Format("-20060102T150405Z")+".yaml")
}

// path is the file of a version: the one that there is, with or without a date, or
// the one to begin with.
func (c *Cache) path(rev uint64) string {
	stem := filepath.Join(c.dir, versionDir, fmt.Sprintf("%04d", rev))
	if dated, err := filepath.Glob(stem + "-*.yaml"); err == nil && len(dated) > 0 {
		return dated[0]
	}
	return stem + ".yaml"
}

// prune removes the oldest copies.
func (c *Cache) prune() error {
	list, err := c.Versions()
	for i := 0; err == nil && i < len(list)-mostVersions; i++ {
		err = os.Remove(c.path(list[i].Config))
	}
	return err
}

// Versions implements api.Store.
func (c *Cache) Versions() ([]api.ConfigVersion, error) {
	entries, err := os.ReadDir(filepath.Join(c.dir, versionDir))
	if err != nil {
		return nil, fmt.Errorf("kept configurations: %w", err)
	}
	list := []api.ConfigVersion{}
	for _, e := range entries {
		name, yaml := strings.CutSuffix(e.Name(), ".yaml")
		name, _, _ = strings.Cut(name, "-")
		rev, err := strconv.ParseUint(name, 10, 64)
		if !yaml || err != nil {
			continue
		}
		if info, err := e.Info(); err == nil {
			list = append(list, api.ConfigVersion{Config: rev, Time: info.ModTime().UTC(), Bytes: int(info.Size())})
		}
	}
	slices.SortFunc(list, func(a, b api.ConfigVersion) int { return int(int64(a.Config) - int64(b.Config)) })
	return list, nil
}

// Version implements api.Store.
func (c *Cache) Version(rev uint64) ([]byte, error) { return os.ReadFile(c.path(rev)) }

// replace writes a file as a whole and durably, for its owner only: a
// configuration may hold the passwords of fencing agents.
func replace(path string, content []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".new-*")
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	if err = errors.Join(err, f.Sync(), f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	d, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
