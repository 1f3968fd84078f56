// Package tables decodes the beat tables that a guard reads, for the core.
package tables

import (
	"fmt"

	"github.com/holdfast-ha/holdfast/cluster"
	"github.com/holdfast-ha/holdfast/cluster/diskset"
	"github.com/holdfast-ha/holdfast/cluster/ident"
	"github.com/holdfast-ha/holdfast/internal/guardwire"
	"github.com/holdfast-ha/holdfast/quorumdisk"
)

// Reader decodes beat tables. It belongs to the task that listens to the
// guard.
type Reader struct {
	Keys    func() quorumdisk.Keys // those that are valid now
	Cluster ident.UUID
	Number  func(ident.UUID) (int, bool) // of a disk
	codec   *quorumdisk.Codec
	by      quorumdisk.Keys // what the codec was made of
}

// Open decodes a table. Slots that were never written are left out.
func (r *Reader) Open(m guardwire.Table) cluster.Table {
	number, known := r.Number(m.UUID)
	if !known {
		return cluster.Table{Disk: diskset.MostPlaces, Err: fmt.Sprintf("the guard works on disk %v, which does not count here", m.UUID)}
	}
	out := cluster.Table{
		Disk: number, Wrote: m.Wrote, Inc: m.Inc, Issued: m.Issued, ReadIssued: m.ReadIssued, Completed: m.Completed, Err: m.Err,
	}
	if out.Err == "" && !m.SuperblockOK {
		out.Err = "its superblock is not the one that was there when the guard opened it: the disk was wiped or exchanged"
	}
	if out.Err == "" {
		if err := r.decode(m.Bytes, &out); err != nil {
			out.Err = err.Error()
		}
	}
	return out
}

// decode takes the layout from the superblock in front of the first table, which
// the guard has checked against the settings.
func (r *Reader) decode(table []byte, out *cluster.Table) error {
	if keys := r.Keys(); r.codec == nil || r.by != keys {
		super, err := quorumdisk.DecodeSuperblock(table, 0)
		if err != nil {
			return err
		}
		if r.codec, err = quorumdisk.NewCodec(keys, r.Cluster, super.Layout); err != nil {
			return err
		}
		r.by = keys
	}
	l := r.codec.Layout()
	if len(table) != l.TableSize() {
		return fmt.Errorf("a beat table of %d bytes, want %d", len(table), l.TableSize())
	}
	for n := 1; n <= l.Nmax; n++ {
		id := ident.NodeID(n)
		seen := cluster.SeenBeat{Node: id, Sector: l.Beat(table, id)}
		beat, err := r.codec.OpenBeat(seen.Sector, id)
		switch {
		case err != nil:
			seen.Err = err.Error()
		case beat == nil:
			continue
		}
		seen.Beat = beat
		out.Beats = append(out.Beats, seen)
	}
	return nil
}
