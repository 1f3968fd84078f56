package volume

import (
	"bytes"
	"errors"
	"fmt"
	"time"

	"github.com/holdfast-ha/holdfast/cluster"
	"github.com/holdfast-ha/holdfast/cluster/ident"
	"github.com/holdfast-ha/holdfast/cluster/register"
	"github.com/holdfast-ha/holdfast/quorumdisk"
	"github.com/holdfast-ha/holdfast/quorumdisk/statecodec"
	"github.com/holdfast-ha/holdfast/storage"
)

// chunk is how much is written or compared in one request, bytes.
const chunk = 256 << 10

// Options says what Create makes.
type Options struct {
	Keys    quorumdisk.Keys
	Cluster ident.UUID
	Disk    ident.UUID // quorumdisk.NewUUID gives one
	Index   uint8      // place in the set of disks
	DiskGen uint32     // generation of the set that it is made for
	Nmax    int        // 0: quorumdisk.DefaultNodes
	Created time.Time  // for people
	SBD     []byte     // the SBD area (sbd.Image); nil leaves what is there
	Timeout time.Duration
}

// Create makes a quorum disk of whatever the handle is open on. Whether that
// carries something else, or is in use, is for the caller to find out first; a
// disk that already is a quorum disk is refused with ErrFormatted. The
// superblocks are written last, B and then A, when everything else is in place,
// and all of it is read back: a disk that was left half made is no quorum disk.
func Create(disk storage.Disk, o Options) (quorumdisk.Superblock, error) {
	info := disk.Info()
	if o.Nmax == 0 {
		o.Nmax = quorumdisk.DefaultNodes
	}
	s := quorumdisk.Superblock{
		Format: quorumdisk.Newest, Cluster: o.Cluster, Disk: o.Disk, Index: o.Index, DiskGen: o.DiskGen,
		Layout: quorumdisk.Layout{SectorSize: info.SectorSize, Nmax: o.Nmax},
		Size:   info.Size, Created: o.Created.UTC().Truncate(time.Second), Identity: quorumdisk.Recorded(info.Identity),
	}
	codec, err := quorumdisk.NewCodec(o.Keys, o.Cluster, s.Layout)
	if err != nil {
		return s, err
	}
	v := &Volume{disk: disk, super: s, codec: codec, layout: s.Layout}
	if err := v.mayCreate(&o); err != nil {
		return s, err
	}
	// What a former life of the disk left must not be found should this be cut short.
	if err := errors.Join(eraseSuper(disk, info.Size, o.Timeout), v.layOut(&o)); err != nil {
		return s, err
	}
	return s, v.writeSuper(o.Timeout)
}

func (v *Volume) mayCreate(o *Options) error {
	if need := v.layout.MinSize(); v.super.Size < need {
		return fmt.Errorf("%w: it has %d MiB, needed are %d MiB for %d nodes (recommended: 1024 MiB)",
			ErrTooSmall, v.super.Size>>20, need>>20, v.layout.Nmax)
	}
	if o.Cluster.IsZero() || o.Disk.IsZero() {
		return fmt.Errorf("%w: cluster %v, disk %v: both need an identity", quorumdisk.ErrValue, o.Cluster, o.Disk)
	}
	if len(o.SBD) > quorumdisk.SuperOffset {
		return fmt.Errorf("%w: an SBD area of %d bytes", quorumdisk.ErrTooLarge, len(o.SBD))
	}
	switch f, err := findSuper(v.disk, o.Timeout); {
	case err == nil:
		return fmt.Errorf("%w: cluster %v, disk %v", ErrFormatted, f.super.Cluster, f.super.Disk)
	case errors.Is(err, ErrUnformatted), errors.Is(err, ErrDamaged):
		return nil
	default:
		return err
	}
}

// layOut writes and reads back everything but the superblocks.
func (v *Volume) layOut(o *Options) error {
	if o.SBD != nil {
		s := v.layout.SectorSize
		area := make([]byte, (len(o.SBD)+s-1)/s*s)
		copy(area, o.SBD)
		if err := v.put(area, quorumdisk.SBDOffset, o.Timeout); err != nil {
			return fmt.Errorf("SBD area: %w", err)
		}
	}
	l := v.layout
	for _, r := range []struct {
		name string
		off  int64
		size int
	}{
		{"beats", l.BeatOffset(1), l.Nmax * l.SectorSize},
		{"probes", l.ProbeOffset(1), l.Nmax * l.SectorSize},
		{"beacons", l.BeaconOffset(1), l.Nmax * l.SectorSize},
		{"register headers", l.HeaderOffset(1, 0), l.HeadersSize()},
		{"status blobs", l.BlobsOffset(), l.Nmax * quorumdisk.BlobSlots * quorumdisk.BlobSize},
	} {
		if err := v.put(make([]byte, r.size), r.off, o.Timeout); err != nil {
			return fmt.Errorf("%s: %w", r.name, err)
		}
	}
	return nil
}

// put writes and reads back, piece by piece.
func (v *Volume) put(b []byte, off int64, timeout time.Duration) error {
	back := make([]byte, min(chunk, len(b)))
	for len(b) > 0 {
		n := min(chunk, len(b))
		if err := v.disk.Write(b[:n], off, timeout); err != nil {
			return err
		}
		if err := v.disk.Read(back[:n], off, timeout); err != nil {
			return err
		}
		if !bytes.Equal(back[:n], b[:n]) {
			return fmt.Errorf("%d bytes at %d read back differ from what was written: the device does not keep what it is given, or somebody else writes to it", n, off)
		}
		b, off = b[n:], off+int64(n)
	}
	return nil
}

// eraseSuper clears both places of superblocks, whatever their sector size was.
func eraseSuper(disk storage.Disk, end int64, timeout time.Duration) error {
	const large = quorumdisk.LargeSector
	v, sector := &Volume{disk: disk}, int64(disk.Info().SectorSize)
	last := end/large*large - large
	return errors.Join(
		v.put(make([]byte, large), quorumdisk.SuperOffset, timeout),
		v.put(make([]byte, (end-last)/sector*sector), last, timeout))
}

// writeSuper writes B and then A.
func (v *Volume) writeSuper(timeout time.Duration) error {
	b := make([]byte, v.layout.SectorSize)
	for _, c := range []struct {
		slot uint8
		off  int64
	}{{1, v.layout.BackupOffset(v.super.Size)}, {0, quorumdisk.SuperOffset}} {
		if err := v.codec.SealSuperblock(b, &v.super, c.slot); err != nil {
			return err
		}
		if err := v.put(b, c.off, timeout); err != nil {
			return fmt.Errorf("superblock %c: %w", 'A'+c.slot, err)
		}
	}
	v.notes = nil
	return nil
}

// Repair writes both superblocks again, from the one that holds, sealed with
// the current key, with B at the end of the device as it is now. It is right
// for a copy that is damaged, a device that grew, and after an exchange of keys;
// on a healthy disk it changes nothing.
func (v *Volume) Repair(timeout time.Duration) error {
	v.super.Size = v.disk.Info().Size
	return v.writeSuper(timeout)
}

// AdoptClone makes a clone or snapshot the quorum disk that it is a copy of: the
// device's own identity is recorded. The device that was copied must never be
// seen by the cluster again, for it has the same disk UUID.
func AdoptClone(disk storage.Disk, keys quorumdisk.Keys, want Expect, timeout time.Duration) (quorumdisk.Superblock, error) {
	want.AnyDevice = true
	v, err := Open(disk, keys, want, timeout)
	if err != nil {
		return quorumdisk.Superblock{}, err
	}
	v.super.Identity = quorumdisk.Recorded(disk.Info().Identity)
	if _, err := checkDevice(disk.Info(), &v.super); err != nil {
		return v.super, err
	}
	return v.super, v.Repair(timeout)
}

// Wipe makes a quorum disk unformatted. No key is needed. The bodies and the SBD
// area stay; what finds them is gone. A disk without a whole superblock is
// wiped where its superblocks would be.
func Wipe(disk storage.Disk, timeout time.Duration) error {
	info := disk.Info()
	f, err := findSuper(disk, timeout)
	if err != nil && !errors.Is(err, ErrUnformatted) && !errors.Is(err, ErrDamaged) && !errors.Is(err, quorumdisk.ErrFormat) {
		return err
	}
	l := f.super.Layout
	whole := err == nil && l.SectorSize%info.SectorSize == 0 && info.Size >= l.MinSize()
	if !whole {
		l = quorumdisk.Layout{SectorSize: info.SectorSize, Nmax: 1}
		if info.Size < l.MinSize() {
			return fmt.Errorf("%w to have been a quorum disk", ErrTooSmall)
		}
	}
	if err := eraseSuper(disk, info.Size, timeout); err != nil || !whole {
		return err
	}
	if f.super.Size < info.Size { // it grew: B is where the end was
		if err := eraseSuper(disk, f.super.Size, timeout); err != nil {
			return err
		}
	}
	v := &Volume{disk: disk, layout: l}
	return v.layOut(&Options{Timeout: timeout})
}

// Bootstrap writes the first value of the register, as node 1 in incarnation
// inc: generation 1, ballot 1.1.inc, version 1. It is called once for every disk
// of a new cluster, before any node runs, and for the disks onto which one is
// recovered. The state must be of version 1, or of a later epoch. It fails with
// ErrNotEmpty if there is any header already.
func (v *Volume) Bootstrap(s *cluster.State, inc uint32, timeout time.Duration) error {
	if s.Ver == 0 || s.Ver != 1 && cluster.Epoch(s.DiskGen) == 0 || s.Cluster != v.super.Cluster {
		return fmt.Errorf("%w: the first state is version 1 of cluster %v, not version %d of %v", quorumdisk.ErrValue, v.super.Cluster, s.Ver, s.Cluster)
	}
	h, err := v.headers(timeout)
	if err != nil {
		return err
	}
	if len(h.Valid)+len(h.Bad) > 0 {
		return ErrNotEmpty
	}
	body, err := statecodec.Encode(s)
	if err != nil {
		return err
	}
	first := ident.Ballot{Round: 1, Node: 1, Inc: inc}
	written, err := v.WriteBlock(register.Header{Node: 1, Slot: 1, Inc: inc, Gen: 1, Mbal: first, Bal: first, Ver: s.Ver}, body, timeout)
	if err != nil {
		return err
	}
	back, err := v.headers(timeout)
	if err != nil {
		return err
	}
	if len(back.Valid) != 1 || back.Valid[0] != written {
		return fmt.Errorf("the first header read back: %w", errors.Join(append(back.Bad, ErrStale)...))
	}
	_, err = v.ReadBody(written, timeout)
	return err
}
