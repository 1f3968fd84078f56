package volume

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"time"

	"github.com/holdfast-ha/holdfast/cluster"
	"github.com/holdfast-ha/holdfast/quorumdisk"
)

// Region is a part of the disk as Regions lists it.
type Region struct {
	Name   string
	Offset int64 // bytes from the start of the device
	Each   int64 // bytes of one part
	Count  int   // parts
}

// Regions lists what is where on a device of this size in bytes. The SBD area
// is listed with sectors of the disk's size; its own may be smaller.
func Regions(l quorumdisk.Layout, size int64) []Region {
	s := int64(l.SectorSize)
	return []Region{
		{"SBD area", quorumdisk.SBDOffset, s, 511},
		{"superblock A", quorumdisk.SuperOffset, s, 1},
		{"beats", l.BeatOffset(1), s, l.Nmax},
		{"probes", l.ProbeOffset(1), s, l.Nmax},
		{"beacons", l.BeaconOffset(1), s, l.Nmax},
		{"register headers", l.HeaderOffset(1, 0), s, l.Nmax * quorumdisk.Ring},
		{"register bodies", l.BodyOffset(1, 0), quorumdisk.BodySize, l.Nmax * quorumdisk.Ring},
		{"status blobs", l.BlobsOffset(), quorumdisk.BlobSize, l.Nmax * quorumdisk.BlobSlots},
		{"superblock B", l.BackupOffset(size), s, 1},
	}
}

// printer remembers the first error of its writer.
type printer struct {
	w   io.Writer
	err error
}

func (p *printer) f(format string, args ...any) {
	if p.err == nil {
		_, p.err = fmt.Fprintf(p.w, format, args...)
	}
}

// Dump writes all that is on the disk for people to read: the layout, the
// superblock, every beat, header and blob, the newest state, and in hexadecimal
// every beat that does not check. It shows no key, but the configuration as it
// stands in the state.
func (v *Volume) Dump(w io.Writer, timeout time.Duration) error { return v.dump(w, false, timeout) }

// DumpRedacted is Dump with the length and the SHA-256 of the configuration in
// its place: what an administrator wrote into it may be secret.
func (v *Volume) DumpRedacted(w io.Writer, timeout time.Duration) error {
	return v.dump(w, true, timeout)
}

func (v *Volume) dump(w io.Writer, redacted bool, timeout time.Duration) error {
	s, err := v.Snapshot(timeout)
	if err != nil {
		return err
	}
	p := &printer{w: w}
	DumpSuperblock(w, v.super, v.disk.Info().Size)
	for _, n := range s.Notes {
		p.f("note: %s\n", n)
	}
	for i := range s.Beats {
		p.beat(&s.Beats[i])
	}
	for i := range s.Headers.Valid {
		h := &s.Headers.Valid[i]
		p.f("header node %d slot %d: inc %d, generation %d, entered %v, accepted %v, version %d, body %d bytes, sha256 %x\n",
			h.Node, h.Slot, h.Inc, h.Gen, h.Mbal, h.Bal, h.Ver, h.Len, h.Sum)
	}
	for _, e := range s.Headers.Bad {
		p.f("header: %v\n", e)
	}
	for i, b := range s.Blobs {
		p.blob(b, s.BlobErrs[i])
	}
	state, h, err := v.NewestState(timeout)
	switch {
	case err != nil:
		p.f("state: %v\n", err)
	case state != nil:
		p.f("state accepted under ballot %v by node %d, generation %d\n", h.Bal, h.Node, h.Gen)
		p.state(state, redacted)
	}
	return p.err
}

// DumpSuperblock writes what a superblock says and where the regions are on a
// device of size bytes.
func DumpSuperblock(w io.Writer, s quorumdisk.Superblock, size int64) {
	p := &printer{w: w}
	p.f("format %d, cluster %v, disk %v, index %d, generation of the set %d\n", s.Format, s.Cluster, s.Disk, s.Index, s.DiskGen)
	p.f("sectors of %d bytes, room for %d nodes, created %s\n", s.Layout.SectorSize, s.Layout.Nmax, s.Created.Format(time.RFC3339))
	p.f("device %v, %d bytes when it was formatted\n", s.Identity, s.Size)
	for _, r := range Regions(s.Layout, size) {
		p.f("%-17s at %11d: %5d x %6d bytes\n", r.Name, r.Offset, r.Count, r.Each)
	}
}

func (p *printer) beat(s *cluster.SeenBeat) {
	b := s.Beat
	switch {
	case s.Err != "":
		p.f("%s\n%s", s.Err, hex.Dump(s.Sector))
		return
	case b == nil:
		return
	}
	p.f("beat node %d: %v, inc %v, boot %v, host %v, seq %d, set %d\n", b.Node, b.State, b.Inc, b.Inc.Boot, b.Host, b.Seq, b.DiskGen)
	l := &b.Lease
	p.f("  lease F %v, G %v, TMax %v, m %d, watchdog class %d, pause bound %v\n", l.F, grace(l.G), l.TMax, l.M, l.Class, l.PauseBound)
	y := &b.Payload
	p.f("  %v, view %d, committed version %d (%v, node %d, generation %d), score %d, registering %v, blob %d, released %x, reach %x\n",
		y.Phase, y.ViewAcked, y.Committed.Ver, y.Committed.Ballot, y.Committed.Node, y.Committed.Gen, y.Score, y.Registering, y.BlobGen, y.Released, y.Reach)
	for _, k := range y.Kills {
		p.f("  kill record: node %d, inc %d, boot %x, version %d\n", k.Node, k.Inc, k.Boot, k.Ver)
	}
}

func grace(g time.Duration) string {
	if g == quorumdisk.Unlimited {
		return "unlimited"
	}
	return g.String()
}

func (p *printer) blob(b *cluster.Blob, err error) {
	if err != nil {
		p.f("%v\n", err)
	}
	if b == nil {
		return
	}
	p.f("status blob node %d: inc %v, generation %d\n", b.Node, b.Inc, b.Gen)
	for _, r := range b.Released {
		p.f("  released %q term %d\n", r.Service, r.Term)
	}
	for _, s := range b.Services {
		p.f("  %q term %d: %v %s\n", s.Service, s.Term, s.State, s.Text)
	}
}

func (p *printer) state(s *cluster.State, redacted bool) {
	p.f("version %d, view %d, configuration %d, set %d of disks %v\n", s.Ver, s.View, s.ConfigRev, s.DiskGen, s.Disks)
	for i := range s.Nodes {
		n := &s.Nodes[i]
		p.f("  node %d %q: %v, inc %v, fencing %v, dead up to %d, host %v, links %v, standby %v, proof %v %s, %s\n",
			n.ID, n.Name, n.Phase, n.Inc, n.Fencing, n.Dead, n.Host, n.Links, n.Standby, n.Proof.Kind, n.Proof.Text, n.Why)
	}
	for i := range s.Services {
		g := &s.Services[i]
		p.f("  service %q: owner %d inc %v, term %d, wanted %d, pending %v, stopped %v, frozen %v, proof %v, %s\n",
			g.Service, g.Owner, g.Inc, g.Term, g.Want, g.Pending, g.Stopped, g.Frozen, g.Proof.Kind, g.Why)
	}
	if redacted {
		p.f("configuration: %d bytes, sha256 %x (left out)\n", len(s.Config), sha256.Sum256(s.Config))
		return
	}
	p.f("configuration:\n%s\n", s.Config)
}
