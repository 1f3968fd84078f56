package recovery

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/holdfast-ha/holdfast/cluster"
	"github.com/holdfast-ha/holdfast/cluster/ident"
	"github.com/holdfast-ha/holdfast/internal/config"
	"github.com/holdfast-ha/holdfast/internal/ctl/enrol"
	"github.com/holdfast-ha/holdfast/internal/daemon/journal"
	"github.com/holdfast-ha/holdfast/quorumdisk"
	"github.com/holdfast-ha/holdfast/quorumdisk/statecodec"
	"github.com/holdfast-ha/holdfast/quorumdisk/volume"
	"github.com/holdfast-ha/holdfast/storage"
)

// source is one place where a state was looked for.
type source struct {
	where    string
	disk     bool
	state    *cluster.State // nil: there is none
	kept     time.Time      // when a copy was written; zero for a disk
	accepted string         // the ballot of a state on a disk, which need not have been chosen
	claims   uint64         // the highest version that a beat on the disk says was chosen
	incs     map[ident.NodeID]uint32
	beating  []ident.NodeID // whose beats changed while the disk was watched
	err      error
}

// line is the source for people.
func (s *source) line() string {
	switch {
	case s.err != nil:
		return fmt.Sprintf("%s: %v", s.where, s.err)
	case s.state == nil:
		return s.where + ": no state"
	case s.disk && s.claims > s.state.Ver:
		return fmt.Sprintf("%s: version %d, and its beats speak of version %d", s.where, s.state.Ver, s.claims)
	case s.disk:
		return fmt.Sprintf("%s: version %d", s.where, s.state.Ver)
	}
	return fmt.Sprintf("%s: version %d, kept %s", s.where, s.state.Ver, s.kept.Format(time.DateTime))
}

// findings are all sources, and the one to go on from.
type findings struct {
	sources []*source
	best    *source
}

// search looks at every old disk, side by side, and at every copy.
func (a *app) search(n *config.Node, keys quorumdisk.Keys) (findings, error) {
	var f findings
	var wg sync.WaitGroup
	for _, d := range n.Disks {
		s := &source{where: "disk " + d.Path, disk: true}
		f.sources = append(f.sources, s)
		wg.Go(func() {
			s.err = s.read(d.Path, keys, volume.Expect{Cluster: n.Cluster.ID, Epoch: n.Cluster.Epoch, Disk: d.UUID}, a.watched)
		})
	}
	wg.Wait()
	for _, path := range append([]string{n.Dirs.State}, a.states...) {
		f.sources = append(f.sources, copyIn(path, n.Cluster.ID))
	}
	return f, f.choose(len(n.Disks))
}

// read takes what a disk shows. Nothing is written to it.
func (s *source) read(path string, keys quorumdisk.Keys, want volume.Expect, watched time.Duration) error {
	v, err := enrol.OpenVolume(path, keys, want, storage.Options{ReadOnly: true})
	if err != nil {
		return err
	}
	defer func() { _ = v.Disk().Close() }() // it was only read
	first, err := v.Snapshot(enrol.Patience)
	if err != nil {
		return err
	}
	time.Sleep(watched)
	last, err := v.Snapshot(enrol.Patience)
	if err != nil {
		return err
	}
	for i, beats := range volume.Beating(first, last) {
		if beats {
			s.beating = append(s.beating, last.Beats[i].Node)
		}
	}
	s.incs = map[ident.NodeID]uint32{}
	for i := range last.Beats {
		if b := last.Beats[i].Beat; b != nil {
			s.claims, s.incs[b.Node] = max(s.claims, b.Payload.Committed.Ver), b.Inc.N
		}
	}
	state, h, err := v.NewestState(enrol.Patience)
	s.state, s.accepted = state, h.Bal.String()
	return err
}

// copyIn reads the copy of a state that a daemon has kept.
func copyIn(path string, of ident.UUID) *source {
	if info, err := os.Stat(path); err == nil && info.IsDir() {
		path = filepath.Join(path, journal.StateFile)
	}
	s := &source{where: "copy " + path, kept: modified(path)}
	var body []byte
	if body, s.err = os.ReadFile(path); s.err == nil {
		s.state, s.err = statecodec.Decode(body)
	}
	if s.err == nil && s.state.Cluster != of {
		s.state, s.err = nil, fmt.Errorf("of another cluster (%v)", s.state.Cluster)
	}
	return s
}

// choose takes the newest state; of two of one version the copy, which was chosen
// for certain. It refuses where nothing has to be recovered.
func (f *findings) choose(disks int) error {
	readable := 0
	for _, s := range f.sources {
		if len(s.beating) > 0 {
			return fmt.Errorf("%s: node %d still beats there: the cluster runs; stop that node first, no option overrides this", s.where, s.beating[0])
		}
		if s.state == nil {
			continue
		}
		if s.disk {
			readable++
		}
		if f.best == nil || f.best.older(s) {
			f.best = s
		}
	}
	switch {
	case 2*readable > disks:
		return fmt.Errorf("%d of %d quorum disks can be read, which is a majority: nothing has to be recovered; start the cluster, and replace what is lost with holdfast disk replace", readable, disks)
	case f.best == nil:
		errs := []error{errors.New("no state was found, neither on the quorum disks nor in a copy: give the state.bin of another node with --state")}
		for _, s := range f.sources {
			errs = append(errs, fmt.Errorf("%s: %w", s.where, s.err))
		}
		return errors.Join(errs...)
	}
	return nil
}

func (s *source) older(o *source) bool {
	if a, b := cluster.Epoch(s.state.DiskGen), cluster.Epoch(o.state.DiskGen); a != b {
		return a < b
	}
	if s.state.Ver != o.state.Ver {
		return s.state.Ver < o.state.Ver
	}
	return s.disk && !o.disk
}

// top is the highest version that anything found speaks of.
func (f *findings) top() uint64 {
	var top uint64
	for _, s := range f.sources {
		top = max(top, s.claims)
		if s.state != nil {
			top = max(top, s.state.Ver)
		}
	}
	return top
}
