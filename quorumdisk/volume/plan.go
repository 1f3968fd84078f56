package volume

import (
	"bytes"
	"errors"
	"fmt"
	"time"

	"github.com/holdfast-ha/holdfast/quorumdisk"
	"github.com/holdfast-ha/holdfast/storage"
)

// ErrChanged says that a disk is no longer as it was when a plan was made.
var ErrChanged = errors.New("the disk has changed since the plan was made: nothing was written; make a new plan")

// Write is one write of a plan: what stands there now, what shall, and why. Off
// and the lengths are whole sectors of the handle that it was planned on.
type Write struct {
	Where    string // the region, for people
	Off      int64  // bytes from the start of that handle's disk
	Old, New []byte // of the same length
	Why      string
}

// Wanted is what shall stand on a disk.
type Wanted struct {
	Where, Why string // as in Write
	Off        int64  // bytes from the start of the disk
	Data       []byte
}

// PlanWrite plans what is wanted, in whatever whole sectors that takes. ok is
// false if it stands there already.
func PlanWrite(disk storage.Disk, want Wanted, timeout time.Duration) (w Write, ok bool, err error) {
	sector := int64(disk.Info().SectorSize)
	from := want.Off / sector * sector
	to := (want.Off + int64(len(want.Data)) + sector - 1) / sector * sector
	w = Write{Where: want.Where, Off: from, Why: want.Why, Old: make([]byte, to-from)}
	if err := disk.Read(w.Old, from, timeout); err != nil {
		return w, false, err
	}
	w.New = bytes.Clone(w.Old)
	copy(w.New[want.Off-from:], want.Data)
	return w, !bytes.Equal(w.Old, w.New), nil
}

// CheckPlan reads every place of a plan and fails with ErrChanged if one is not
// as it was.
func CheckPlan(disk storage.Disk, plan []Write, timeout time.Duration) error {
	for _, w := range plan {
		now := make([]byte, len(w.Old))
		if err := disk.Read(now, w.Off, timeout); err != nil {
			return err
		}
		if !bytes.Equal(now, w.Old) {
			return fmt.Errorf("%w (%s, %d bytes at %d)", ErrChanged, w.Where, len(w.Old), w.Off)
		}
	}
	return nil
}

// Apply carries out a plan and nothing else: it checks the whole of it first,
// and reads back each write. The error names the write that failed; those in
// front of it were done.
func Apply(disk storage.Disk, plan []Write, timeout time.Duration) error {
	if err := CheckPlan(disk, plan, timeout); err != nil {
		return err
	}
	v := &Volume{disk: disk}
	for _, w := range plan {
		if err := v.put(w.New, w.Off, timeout); err != nil {
			return fmt.Errorf("%s: %w", w.Where, err)
		}
	}
	return nil
}

// PlanRepair plans what Repair would write. A disk that is as it should be has
// an empty plan.
func (v *Volume) PlanRepair(timeout time.Duration) ([]Write, error) {
	s := v.super
	s.Size = v.disk.Info().Size
	return v.planSuper(&s, "it is written from the copy that holds", timeout)
}

// PlanAdopt plans what AdoptClone writes: this device's own identity, in both
// superblocks.
func (v *Volume) PlanAdopt(timeout time.Duration) ([]Write, error) {
	s, info := v.super, v.disk.Info()
	s.Size, s.Identity = info.Size, quorumdisk.Recorded(info.Identity)
	if _, err := checkDevice(info, &s); err != nil {
		return nil, err
	}
	return v.planSuper(&s, fmt.Sprintf("the device is %v, and %v was recorded", s.Identity, v.super.Identity), timeout)
}

// planSuper plans both superblocks, B and then A. A superblock B that stands
// where the device once ended is cleared: two of them would contradict.
func (v *Volume) planSuper(s *quorumdisk.Superblock, why string, timeout time.Duration) ([]Write, error) {
	var plan []Write
	add := func(want Wanted) error {
		w, needed, err := PlanWrite(v.disk, want, timeout)
		if err == nil && needed {
			plan = append(plan, w)
		}
		return err
	}
	for _, c := range []struct {
		slot uint8
		off  int64
	}{{1, v.layout.BackupOffset(s.Size)}, {0, quorumdisk.SuperOffset}} {
		b := make([]byte, v.layout.SectorSize)
		if err := v.codec.SealSuperblock(b, s, c.slot); err != nil {
			return nil, err
		}
		if err := add(Wanted{fmt.Sprintf("superblock %c", 'A'+c.slot), why, c.off, b}); err != nil {
			return nil, err
		}
	}
	if old := v.layout.BackupOffset(v.super.Size); old > v.layout.End() && old < v.layout.BackupOffset(s.Size) {
		zero := make([]byte, v.layout.SectorSize)
		if err := add(Wanted{"former superblock B", "the device has grown, and B is at its new end", old, zero}); err != nil {
			return nil, err
		}
	}
	return plan, nil
}
