package enrol

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/holdfast-ha/holdfast/internal/ctl/vet"
	"github.com/holdfast-ha/holdfast/quorumdisk"
	"github.com/holdfast-ha/holdfast/quorumdisk/volume"
	"github.com/holdfast-ha/holdfast/storage"
)

// Patience is for one request to a disk: commands wait longer than daemons.
const Patience = 5 * time.Second

// candidate is a disk that init is about to write.
type candidate struct {
	path   string
	disk   storage.Disk
	forced bool // the admin named its identity: what it carries goes
	adopt  bool // it is an SBD device, and its area stays as it is
}

// Reach opens the quorum disk at path, wherever on the device it stands.
func Reach(path string, opts storage.Options) (storage.Disk, error) {
	return vet.Open(path, opts, Patience)
}

// checkDisks opens the disks and refuses those that must not be written. The
// caller closes what it gets.
func checkDisks(paths []string, emulated bool, want NewCluster) ([]candidate, error) {
	if n := len(paths); n != 1 && n != 3 {
		return nil, fmt.Errorf("%d quorum disks given: use one or three (--disk), for quorum is a majority of them", n)
	}
	var all []candidate
	unused := slices.Clone(want.Force)
	for _, path := range paths {
		c, err := checkDisk(path, emulated, want)
		if err != nil {
			closeAll(all)
			return nil, err
		}
		all = append(all, c)
		id := c.disk.Info().Identity
		unused = slices.DeleteFunc(unused, func(s string) bool { return s == id.String() })
		err = vet.Room(c.disk.Info(), quorumdisk.Layout{SectorSize: c.disk.Info().SectorSize, Nmax: want.Nmax}, want.GPT)
		for _, other := range all[:len(all)-1] {
			if other.disk.Info().Identity == id {
				err = fmt.Errorf("%s and %s are the same disk (%v): each quorum disk must be one of its own", other.path, path, id)
			}
		}
		if err != nil {
			closeAll(all)
			return nil, err
		}
	}
	if len(unused) > 0 {
		closeAll(all)
		return nil, fmt.Errorf("--force-wipe=%s: none of the disks is that one; the identity must be exactly the one that was printed", unused[0])
	}
	return all, nil
}

func closeAll(all []candidate) {
	for _, c := range all {
		_ = c.disk.Close() // nothing is in flight, or the process is about to end
	}
}

func checkDisk(path string, emulated bool, want NewCluster) (candidate, error) {
	c := candidate{path: path, adopt: want.AdoptSBD}
	if _, err := vet.Suitable(path, emulated); err != nil {
		return c, err
	}
	if err := vet.Free(path, Patience); err != nil {
		return c, err
	}
	id, err := storage.Identify(path)
	if err != nil {
		return c, err
	}
	c.forced = slices.Contains(want.Force, id.String())
	if c.disk, err = storage.Open(path, storage.Options{Sync: true, SectorSize: want.Sector}); err != nil {
		return c, err
	}
	carries, err := c.carries()
	if err == nil && carries != "" && !c.forced {
		err = fmt.Errorf("%s carries something: %s. If nobody needs that: --force-wipe=%s", path, carries, id)
	}
	if err != nil {
		return c, errors.Join(err, c.disk.Close())
	}
	return c, nil
}

// carries says what is on the disk, empty if nothing is.
func (c *candidate) carries() (string, error) {
	if ours, err := vet.QuorumDisk(c.disk, Patience); c.adopt && (err != nil || ours == "") {
		return "", errors.Join(err, c.adoptable())
	}
	found, err := vet.Carries(c.disk, Patience)
	return strings.Join(found, "; "), err
}

// StableName returns the name below /dev/disk/by-id of a block device, or the
// path itself if it is one, is none of a device, or has none.
func StableName(path string) string {
	if strings.HasPrefix(path, "/dev/disk/") || !strings.HasPrefix(path, "/dev/") {
		return path
	}
	want, err := filepath.EvalSymlinks(path)
	if err != nil {
		return path
	}
	links, _ := filepath.Glob("/dev/disk/by-id/*") // fails only for a bad pattern
	slices.SortStableFunc(links, func(a, b string) int { return nameRank(a) - nameRank(b) })
	for _, l := range links {
		if have, err := filepath.EvalSymlinks(l); err == nil && have == want {
			return l
		}
	}
	return path
}

// nameRank prefers the names that every path and every host shares.
func nameRank(link string) int {
	for i, prefix := range []string{"dm-uuid-mpath-", "wwn-", "nvme-eui.", "nvme-", "scsi-"} {
		if strings.HasPrefix(filepath.Base(link), prefix) {
			return i
		}
	}
	return 9
}

// OpenVolume opens the quorum disk at path with every check of identity. A disk
// that was laid out with smaller sectors than this host would choose is opened
// with those. Errors name the path and wrap those of package volume.
func OpenVolume(path string, keys quorumdisk.Keys, want volume.Expect, opts storage.Options) (*volume.Volume, error) {
	disk, err := Reach(path, opts)
	if err != nil {
		return nil, err
	}
	v, err := volume.Open(disk, keys, want, Patience)
	if errors.Is(err, quorumdisk.ErrSectorSize) && opts.SectorSize == 0 {
		_ = disk.Close() // it is opened again
		opts.SectorSize = quorumdisk.SmallSector
		return OpenVolume(path, keys, want, opts)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", path, err), disk.Close())
	}
	return v, nil
}
