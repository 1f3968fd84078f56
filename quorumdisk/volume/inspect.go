package volume

import (
	"bytes"
	"errors"
	"time"

	"github.com/holdfast-ha/holdfast/cluster"
	"github.com/holdfast-ha/holdfast/cluster/ident"
	"github.com/holdfast-ha/holdfast/cluster/register"
	"github.com/holdfast-ha/holdfast/quorumdisk"
	"github.com/holdfast-ha/holdfast/quorumdisk/statecodec"
)

// Snapshot is what one look at a disk showed. Beats carry no time that another
// host could judge: whether a node beats is seen by looking twice.
type Snapshot struct {
	Super    quorumdisk.Superblock
	Notes    []string
	Table    []byte // superblock A and the beats, as read
	Beats    []cluster.SeenBeat
	Headers  Headers
	Blobs    []*cluster.Blob // by node, from node 1; nil: none
	BlobErrs []error         // by node; nil: fine or none
}

// Snapshot reads everything but the bodies.
func (v *Volume) Snapshot(timeout time.Duration) (*Snapshot, error) {
	s := &Snapshot{Super: v.super, Notes: v.notes, Table: make([]byte, v.layout.TableSize())}
	if err := v.ReadTable(s.Table, timeout); err != nil {
		return nil, err
	}
	s.Beats = v.codec.OpenTable(s.Table)
	var err error
	if s.Headers, err = v.headers(timeout); err != nil {
		return nil, err
	}
	for n := 1; n <= v.layout.Nmax; n++ {
		b, err := v.NewestBlob(ident.NodeID(n), timeout)
		s.Blobs, s.BlobErrs = append(s.Blobs, b), append(s.BlobErrs, err)
	}
	return s, nil
}

// Block returns the block of a node: its valid header with the highest
// incarnation and generation. ok is false if it has none.
func (h *Headers) Block(node ident.NodeID) (block register.Header, ok bool) {
	for i := range h.Valid {
		if e := &h.Valid[i]; e.Node == node && !e.IsTicket() && (!ok || e.Newer(&block)) {
			block, ok = *e, true
		}
	}
	return block, ok
}

// Beating says of each node, from node 1, whether its beat changed between two
// looks at the same disk: any changed byte is a sign of life.
func Beating(first, second *Snapshot) []bool {
	changed := make([]bool, len(second.Beats))
	for i := range second.Beats {
		changed[i] = i < len(first.Beats) && !bytes.Equal(first.Beats[i].Sector, second.Beats[i].Sector)
	}
	return changed
}

// Finding is something that Verify found.
type Finding struct {
	Serious bool // needs somebody; else it is what an interrupted write leaves
	Where   string
	Off     int64 // bytes from the start of the disk to the place, or to its region
	Err     error
	Remedy  string
}

// Verify reads and checks everything on the disk: superblocks, beats, headers,
// every body that a header describes, the newest state, blobs and probes. The
// error is one of reading; what was read and does not check is a finding. Nodes
// that run while it looks may make it see an interrupted write.
func (v *Volume) Verify(timeout time.Duration) ([]Finding, error) {
	var found []Finding
	for _, note := range v.notes {
		found = append(found, Finding{Serious: true, Where: "superblock", Off: quorumdisk.SuperOffset, Err: errors.New(note), Remedy: "holdfast disk repair " + v.disk.Info().Path})
	}
	s, err := v.Snapshot(timeout)
	if err != nil {
		return nil, err
	}
	if err := v.codec.StillThere(s.Table[:v.layout.SectorSize], &v.super); err != nil {
		found = append(found, Finding{Serious: true, Where: "superblock A", Off: quorumdisk.SuperOffset, Err: err, Remedy: "holdfast disk repair " + v.disk.Info().Path})
	}
	for _, b := range s.Beats {
		if b.Err != "" {
			found = append(found, Finding{Serious: true, Where: "beats", Off: v.layout.BeatOffset(b.Node), Err: errors.New(b.Err), Remedy: "the node's guard writes it anew when the node runs"})
		}
	}
	for i, e := range s.Headers.Bad {
		found = append(found, Finding{Serious: !errors.Is(e, quorumdisk.ErrChecksum), Where: "register headers", Off: s.Headers.BadAt[i], Err: e, Remedy: "the generation before it stands; the node writes this place anew in time"})
	}
	for i, e := range s.BlobErrs {
		if e != nil {
			found = append(found, Finding{Where: "status blobs", Off: v.layout.BlobOffset(ident.NodeID(i+1), 0), Err: e, Remedy: "the node writes it anew when its services change"})
		}
		if _, _, e := v.ReadProbe(ident.NodeID(i+1), timeout); e != nil {
			found = append(found, Finding{Where: "probes", Off: v.layout.ProbeOffset(ident.NodeID(i + 1)), Err: e, Remedy: "none needed: nothing depends on it"})
		}
	}
	more, err := v.verifyBodies(&s.Headers, timeout)
	return append(found, more...), err
}

// verifyBodies checks every body against its header, and decodes the newest
// ones of every node.
func (v *Volume) verifyBodies(all *Headers, timeout time.Duration) ([]Finding, error) {
	var found []Finding
	for i := range all.Valid {
		h := &all.Valid[i]
		block, _ := all.Block(h.Node)
		newest := block == *h
		f := Finding{Serious: newest, Where: "register bodies", Off: v.layout.BodyOffset(h.Node, h.Slot), Remedy: "an older generation: the node writes this place anew in time"}
		if newest {
			f.Remedy = "the other quorum disks have it; if this is the only one, keep a copy (dd) before anything is written to it"
		}
		body, err := v.ReadBody(*h, timeout)
		switch {
		case errors.Is(err, ErrStale):
			f.Err = err
		case err != nil:
			return found, err
		case newest && h.Ver > 0:
			_, f.Err = statecodec.Decode(body)
		}
		if f.Err != nil {
			found = append(found, f)
		}
	}
	return found, nil
}
