// Package roster keeps what a node's own files say of the quorum disks, and finds
// a disk that they do not name yet: when the set of disks changes, the daemon
// writes node.yaml and guard.conf anew, so that the next boot begins with the
// disks that count.
package roster

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/holdfast-ha/holdfast/cluster"
	"github.com/holdfast-ha/holdfast/cluster/ident"
	"github.com/holdfast-ha/holdfast/internal/config"
	"github.com/holdfast-ha/holdfast/internal/config/nodefile"
	"github.com/holdfast-ha/holdfast/internal/guardwire"
	"github.com/holdfast-ha/holdfast/quorumdisk/place"
	"github.com/holdfast-ha/holdfast/quorumdisk/volume"
	"github.com/holdfast-ha/holdfast/storage"
)

// patience is for one request to a disk that is looked at.
const patience = 2 * time.Second

// ErrNowhere says that no device that could be looked at is the disk.
var ErrNowhere = errors.New("this node does not see the disk: is the LUN mapped to it?")

// Roster is the disks of one node. It may be used by several goroutines.
type Roster struct {
	file string // node.yaml; empty: nothing is written

	mu    sync.Mutex
	node  config.Node           // under mu
	known map[ident.UUID]string // under mu
}

// New begins with what node.yaml says, which was read from file.
func New(n *config.Node, file string) *Roster {
	r := &Roster{file: file, node: *n, known: map[ident.UUID]string{}}
	for _, d := range n.Disks {
		r.known[d.UUID] = d.Path
	}
	return r
}

// Path is where a disk was found; empty: it was not.
func (r *Roster) Path(id ident.UUID) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.known[id]
}

// Find finds a disk: where it was, where somebody else has found it, and else
// below /dev/disk/by-id and beside the disks that are known. It reads
// superblocks and nothing else. It fails with ErrNowhere.
func (r *Roster) Find(id ident.UUID, hint string) (string, error) {
	if p := r.Path(id); p != "" {
		return p, nil
	}
	links, _ := filepath.Glob("/dev/disk/by-id/*") // fails only for a bad pattern
	for _, p := range append([]string{hint}, links...) {
		if p != "" && carries(p, id) {
			r.mu.Lock()
			r.known[id] = p
			r.mu.Unlock()
			return p, nil
		}
	}
	return "", fmt.Errorf("quorum disk %v (%s where it was made): %w", id, hint, ErrNowhere)
}

// carries says that the superblock on a device is that of a disk.
func carries(path string, id ident.UUID) bool {
	d, err := place.Handle(path, storage.Options{ReadOnly: true}, patience)
	if err != nil {
		return false
	}
	s, _, err := volume.ReadSuperblock(d, patience)
	_ = d.Close() // it was only read
	return err == nil && s.Disk == id
}

// Keep writes node.yaml and guard.conf with the disks that count; while two sets
// do, node.yaml lists the disks of both.
func (r *Roster) Keep(uses []cluster.DiskUse) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	var disks []config.QuorumDisk
	var guard []guardwire.DiskSetting
	joint := slices.ContainsFunc(uses, func(u cluster.DiskUse) bool { return u.Sets > 1 })
	for _, u := range uses {
		if u.Sets == 0 || r.known[u.UUID] == "" {
			continue
		}
		d := guardwire.DiskSetting{Path: r.known[u.UUID], UUID: u.UUID}
		switch {
		case !joint || u.Sets&3 == 3:
		case u.Sets&1 == 1: // the newer set is the first of the two
			d.Set = guardwire.NewSet
		default:
			d.Set = guardwire.OldSet
		}
		guard = append(guard, d)
		if !joint || u.Sets&1 == 1 {
			disks = append(disks, config.QuorumDisk{Path: d.Path, UUID: d.UUID})
		}
	}
	if r.file == "" || len(disks) == 0 || len(disks) != 1 && len(disks) != 3 {
		return nil
	}
	r.node.Disks = disks
	conf := filepath.Join(filepath.Dir(r.file), "guard.conf")
	text, err := os.ReadFile(conf)
	if err != nil {
		return err
	}
	s, err := guardwire.ParseSettings(conf, text)
	if err != nil {
		return err
	}
	s.Disks, s.Layout.Epoch = guard, int(r.node.Cluster.Epoch)
	if text, err = s.Marshal(); err != nil {
		return err
	}
	return errors.Join(replace(r.file, nodefile.Write(r.node)), replace(conf, text))
}

// replace writes a file beside its place and renames it, durably, unless it says the
// same already: a node that loses its power next has to know the new disks.
func replace(path string, text []byte) error {
	if old, err := os.ReadFile(path); err == nil && bytes.Equal(old, text) {
		return nil
	}
	next := path + ".new"
	f, err := os.OpenFile(next, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o644)
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return errors.Join(err, os.Remove(next))
	}
	if err := os.Rename(next, path); err != nil {
		return err
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}
