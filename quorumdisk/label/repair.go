package label

import (
	"encoding/binary"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/holdfast-ha/holdfast/quorumdisk/place"
	"github.com/holdfast-ha/holdfast/quorumdisk/volume"
	"github.com/holdfast-ha/holdfast/storage"
)

// PlanRepair plans the writes that make both copies of the table whole again,
// from the one that holds; the second one belongs to the end of the device as it
// is now. The partition and what is in it are not touched. A whole table has an
// empty plan. It fails with the errors of place.ReadTable, and with place.ErrNone
// for a table without a quorum disk's partition, which is not ours to mend.
func PlanRepair(d storage.Disk, timeout time.Duration) ([]volume.Write, error) {
	t, err := place.ReadTable(d, timeout)
	if err == nil {
		_, err = t.Partition()
	}
	if err != nil {
		return nil, fmt.Errorf("partition table on %s: %w", d.Info().Path, err)
	}
	good, sector := t.Good(), int64(t.Sector)
	blocks := (int64(len(good.Entries)) + sector - 1) / sector
	lastUsable := t.Last - blocks - 1
	first := make([]byte, sector+blocks*sector)
	h := place.Header(good.Header, 1, t.Last, 2, lastUsable)
	copy(first, h[:])
	copy(first[sector:], good.Entries)
	second := make([]byte, sector+blocks*sector)
	h = place.Header(good.Header, t.Last, 1, t.Last-blocks, lastUsable)
	copy(second, good.Entries)
	copy(second[blocks*sector:], h[:])

	var plan []volume.Write
	want := []volume.Wanted{
		{Where: "copy of the partition table", Why: whyCopy(t.Second.Err), Off: (t.Last - blocks) * sector, Data: second},
		{Where: "partition table", Why: whyCopy(t.First.Err), Off: sector, Data: first},
	}
	if !t.Protected {
		want = append(want, volume.Wanted{Where: "protective MBR", Why: "without it tools that know no GPT take the device for empty", Data: protective(t)})
	}
	for _, x := range want {
		w, needed, err := volume.PlanWrite(d, x, timeout)
		if err != nil {
			return nil, err
		}
		if needed {
			plan = append(plan, w)
		}
	}
	return merge(plan), nil
}

func whyCopy(err error) string {
	if err == nil {
		return "it does not agree with the other copy or the size of the device"
	}
	return err.Error()
}

// merge lets writes that share a sector, as the MBR and the table do where the
// handle's sectors are larger than the table's blocks, be one.
func merge(plan []volume.Write) []volume.Write {
	var out []volume.Write
	for _, w := range plan {
		if i := len(out) - 1; i >= 0 && w.Off < out[i].Off+int64(len(out[i].Old)) && out[i].Off < w.Off+int64(len(w.Old)) {
			o := &out[i] // w is the MBR, in the first sector of what o is about
			for j := range w.New {
				if w.New[j] != w.Old[j] {
					o.New[j] = w.New[j]
				}
			}
			o.Where += " and " + w.Where
			continue
		}
		out = append(out, w)
	}
	return out
}

// protective is the MBR in front of a GPT, UEFI 5.2.3: one partition of type 0xEE
// over the whole device. The boot code in front of it is left as it is.
func protective(t *place.Table) []byte {
	b := t.Boot
	clear(b[446:])
	e := b[446:462]
	copy(e, []byte{0, 0, 2, 0, 0xee, 0xff, 0xff, 0xff})
	binary.LittleEndian.PutUint32(e[8:], 1)
	binary.LittleEndian.PutUint32(e[12:], uint32(min(t.Last, 0xffffffff)))
	b[510], b[511] = 0x55, 0xaa
	return b[:]
}

// Repair carries out what PlanRepair plans, at once.
func Repair(path string, timeout time.Duration) error {
	real, err := filepath.EvalSymlinks(path)
	if err != nil {
		return err
	}
	d, err := storage.Open(real, storage.Options{Sync: true})
	if err != nil {
		return err
	}
	plan, err := PlanRepair(d, timeout)
	if err == nil {
		err = volume.Apply(d, plan, timeout)
	}
	var p place.Partition
	if err == nil {
		p, err = place.Read(d, timeout)
	}
	if err == nil && len(p.Notes) > 0 {
		err = fmt.Errorf("%s: it was written again, but %s", path, strings.Join(p.Notes, "; "))
	}
	return errors.Join(err, d.Close())
}
