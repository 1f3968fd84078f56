package dogcmd

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"github.com/holdfast-ha/holdfast/cluster/ident"
	"github.com/holdfast-ha/holdfast/internal/config"
	"github.com/holdfast-ha/holdfast/internal/ctl/enrol"
	"github.com/holdfast-ha/holdfast/internal/ctl/vet"
	"github.com/holdfast-ha/holdfast/quorumdisk"
	"github.com/holdfast-ha/holdfast/quorumdisk/volume"
	"github.com/holdfast-ha/holdfast/sbd/watchdog/beacon"
	"github.com/holdfast-ha/holdfast/storage"
)

// fileSize is the size in bytes of a file that is made for beacons.
const fileSize = 4096

// place opens the sector of the node's beacons: of a file or device that was
// given, else of the first quorum disk of the node that works.
func (a *app) place(b *bench, id ident.NodeID, opts storage.Options) (beacon.Place, string, error) {
	if a.beacons != "" {
		p, err := openPlace(a.beacons, opts)
		return p, a.beacons, err
	}
	if !b.clustery {
		return beacon.Place{}, "", errors.New("this node belongs to no cluster yet: give --beacons and a file or an empty device that keeps what is written when the machine is reset")
	}
	return quorumPlace(b.node, id, opts)
}

func quorumPlace(n *config.Node, id ident.NodeID, opts storage.Options) (beacon.Place, string, error) {
	keys, err := quorumdisk.LoadKeys(n.Key)
	if err != nil {
		return beacon.Place{}, "", err
	}
	var failed error
	for _, d := range n.Disks {
		v, err := enrol.OpenVolume(d.Path, keys, volume.Expect{Cluster: n.Cluster.ID, Epoch: n.Cluster.Epoch, Disk: d.UUID}, opts)
		if err != nil {
			failed = errors.Join(failed, err)
			continue
		}
		l := v.Layout()
		if !l.Has(id) {
			return beacon.Place{}, "", fmt.Errorf("%s has no room for node %d", d.Path, id)
		}
		return beacon.Place{Disk: v.Disk(), Off: l.BeaconOffset(id), Sector: l.SectorSize}, d.Path, nil
	}
	return beacon.Place{}, "", fmt.Errorf("no quorum disk of this node can carry beacons, give another file or device with --beacons: %w", failed)
}

// openPlace opens a file, which is made where there is none, or a device that
// carries nothing. Whatever else stands there is not written over.
func openPlace(path string, opts storage.Options) (beacon.Place, error) {
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) && !opts.ReadOnly {
		if err := makeFile(path); err != nil {
			return beacon.Place{}, err
		}
	}
	if !opts.ReadOnly {
		used, err := storage.InUse(path)
		if err != nil {
			return beacon.Place{}, err
		}
		if len(used) > 0 {
			return beacon.Place{}, fmt.Errorf("%s is in use on this machine: %s", path, used[0])
		}
	}
	d, err := storage.Open(path, opts)
	if err != nil {
		return beacon.Place{}, err
	}
	p := beacon.Place{Disk: d, Sector: d.Info().SectorSize}
	if opts.ReadOnly {
		return p, nil
	}
	if _, err = p.Read(); errors.Is(err, beacon.ErrNone) {
		err = empty(d)
	}
	if err == nil || errors.Is(err, beacon.ErrDamaged) { // a torn one is ours
		return p, nil
	}
	return beacon.Place{}, errors.Join(fmt.Errorf("%s is not empty, and beacons would destroy what is there: name another file or device: %w", path, err), d.Close())
}

// empty refuses a disk that carries something behind its first sector.
func empty(d storage.Disk) error {
	found, err := vet.Carries(d, enrol.Patience)
	if err == nil && len(found) > 0 {
		err = errors.New(strings.Join(found, "; "))
	}
	return err
}

// makeFile makes a file whose blocks are allocated and durable.
func makeFile(path string) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(make([]byte, fileSize))
	return errors.Join(err, f.Sync(), f.Close())
}
