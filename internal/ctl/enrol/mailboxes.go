package enrol

import (
	"errors"
	"fmt"
	"time"

	"github.com/holdfast-ha/holdfast/cluster/ident"
	"github.com/holdfast-ha/holdfast/cluster/timing"
	"github.com/holdfast-ha/holdfast/sbd"
	"github.com/holdfast-ha/holdfast/storage"
)

// SBDArea is the SBD area of a new quorum disk, through which sbd(8) and its
// agents can send mail to the nodes. Its sectors are the disk's logical blocks,
// as sbd(8) has it; its timeouts tell the agents how long to wait.
func SBDArea(logical int, id ident.UUID, t timing.Table) ([]byte, error) {
	h := sbd.DefaultHeader(logical, id)
	whole := func(d time.Duration) time.Duration { return (d + time.Second - 1).Truncate(time.Second) }
	h.Watchdog, h.MsgWait = whole(t.Twd), whole(t.W)
	return sbd.Image(h)
}

// adoptable says why the SBD area of a disk cannot be taken over; nil if it can.
func (c *candidate) adoptable() error {
	h, err := sbd.ReadHeader(c.disk, Patience)
	switch info := c.disk.Info(); {
	case errors.Is(err, sbd.ErrMagic):
		return fmt.Errorf("%s is no SBD device, so there is nothing to adopt: leave --adopt-sbd out, or name the device that sbd uses (SBD_DEVICE in its configuration)", c.path)
	case err != nil:
		return fmt.Errorf("%s: the SBD area cannot be adopted: %w", c.path, err)
	case h.SectorSize != info.LogicalSize:
		return fmt.Errorf("%s: the SBD area was made with sectors of %d bytes, but the disk has blocks of %d, so sbd itself could not use it: %w", c.path, h.SectorSize, info.LogicalSize, sbd.ErrSectorSize)
	}
	return nil
}

// Adopted is what the SBD area of a disk that was taken over holds.
type Adopted struct {
	Header sbd.Header
	Slots  []sbd.Slot // in use, this node's among them
}

// adopted reads the areas that were kept.
func (p *founding) adopted() ([]Adopted, error) {
	var all []Adopted
	for _, c := range p.disks {
		if !c.adopt {
			continue
		}
		a, err := sbd.Open(c.disk, Patience)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", c.path, err)
		}
		slots, err := a.List(Patience)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", c.path, err)
		}
		all = append(all, Adopted{a.Header(), slots})
	}
	return all, nil
}

// NameMailbox gives a node an SBD slot: the one that carries its name already,
// else the one of its own number, else any free one. A disk without an SBD area
// has none.
func NameMailbox(disk storage.Disk, id ident.NodeID, name string) (err error) {
	h, err := sbd.ReadHeader(disk, Patience)
	if errors.Is(err, sbd.ErrMagic) {
		return nil
	}
	if err != nil {
		return err
	}
	if info := disk.Info(); h.SectorSize != info.SectorSize {
		own, err := Reach(info.Path, storage.Options{Sync: true, SectorSize: h.SectorSize})
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, own.Close()) }()
		disk = own
	}
	area, err := sbd.Open(disk, Patience)
	if err != nil {
		return err
	}
	return takeSlot(area, int(id)-1, name)
}

// claims bounds how often a slot is claimed that others claim at the same time.
const claims = 5

// takeSlot claims a slot. Nobody but this cluster's nodes, which prefer different
// slots, is expected to claim at the same time; where a slot of others was in the
// way, the claim waits as sbd(8) does, and looks whether it has stood.
func takeSlot(area *sbd.Area, prefer int, name string) error {
	for range claims {
		slot, had, err := area.ClaimAt(prefer, name, Patience)
		if err != nil || had || slot == prefer {
			return err
		}
		time.Sleep(area.Header().Allocate)
		if ok, err := area.Holds(slot, name, Patience); err != nil || ok {
			return err
		}
	}
	return fmt.Errorf("the SBD slot of %s was taken by somebody else %d times: who else allocates slots on this disk?", name, claims)
}
