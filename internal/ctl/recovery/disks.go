package recovery

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/holdfast-ha/holdfast/cluster"
	"github.com/holdfast-ha/holdfast/cluster/ident"
	"github.com/holdfast-ha/holdfast/cluster/timing"
	"github.com/holdfast-ha/holdfast/internal/config"
	"github.com/holdfast-ha/holdfast/internal/ctl/enrol"
	"github.com/holdfast-ha/holdfast/internal/ctl/vet"
	"github.com/holdfast-ha/holdfast/internal/daemon/roster"
	"github.com/holdfast-ha/holdfast/internal/guardwire"
	"github.com/holdfast-ha/holdfast/quorumdisk"
	"github.com/holdfast-ha/holdfast/quorumdisk/volume"
	"github.com/holdfast-ha/holdfast/sbd"
	"github.com/holdfast-ha/holdfast/storage"
)

// candidate is a new disk that was checked and may be written.
type candidate struct {
	path    string
	disk    storage.Disk
	uuid    ident.UUID
	carries []string // what is erased
}

func closeAll(all []candidate) {
	for _, c := range all {
		_ = c.disk.Close() // nothing is in flight, or the process is about to end
	}
}

// layout is that of the old disks, which guard.conf knows.
func layout(file string) (guardwire.Layout, error) {
	path := filepath.Join(filepath.Dir(file), "guard.conf")
	text, err := os.ReadFile(path)
	if err != nil {
		return guardwire.Layout{}, err
	}
	s, err := guardwire.ParseSettings(path, text)
	if err != nil {
		return guardwire.Layout{}, err
	}
	return s.Layout, nil
}

// check opens the new disks and refuses what must not be written.
func (a *app) check(r *recovery) ([]candidate, error) {
	l, err := layout(a.Config)
	if err != nil {
		return nil, err
	}
	var all []candidate
	for _, path := range a.disks {
		c, err := a.checkDisk(absolute(enrol.StableName(path)), r.node, l)
		for _, o := range all {
			if err == nil && o.disk.Info().Identity == c.disk.Info().Identity {
				err = errors.Join(fmt.Errorf("%s and %s are the same disk (%v): each quorum disk must be one of its own", o.path, path, c.disk.Info().Identity), c.disk.Close())
			}
		}
		if err != nil {
			closeAll(all)
			return nil, err
		}
		all = append(all, c)
	}
	return all, nil
}

func absolute(path string) string {
	if abs, err := filepath.Abs(path); err == nil {
		return abs
	}
	return path
}

func (a *app) checkDisk(path string, n *config.Node, l guardwire.Layout) (candidate, error) {
	c := candidate{path: path, uuid: quorumdisk.NewUUID()}
	if _, err := vet.Suitable(path, n.Platform.Emulated); err != nil {
		return c, err
	}
	if err := vet.Free(path, enrol.Patience); err != nil {
		return c, err
	}
	var err error
	if c.disk, err = storage.Open(path, storage.Options{Sync: true, SectorSize: l.Sector}); err != nil {
		return c, err
	}
	id := c.disk.Info().Identity.String()
	err = vet.Room(c.disk.Info(), quorumdisk.Layout{SectorSize: l.Sector, Nmax: l.NMax}, false)
	if err == nil {
		c.carries, err = vet.Carries(c.disk, enrol.Patience)
	}
	if err == nil && len(c.carries) > 0 && !slices.Contains(a.force, id) {
		err = fmt.Errorf("%s carries something: %s. If nobody needs that: --force-wipe=%s", path, strings.Join(c.carries, "; "), id)
	}
	if err != nil {
		return c, errors.Join(err, c.disk.Close())
	}
	return c, nil
}

// make writes every new disk. Until all are written no file names them, so that a
// failure leaves the node as it was.
func (r *recovery) make() error {
	t, err := r.timing()
	if err != nil {
		return err
	}
	for i := range r.fresh {
		if err := r.makeDisk(i, t); err != nil {
			return fmt.Errorf("%s: %w; nothing was changed but the new disks", r.fresh[i].path, err)
		}
	}
	return nil
}

// timing is for what the SBD area tells the agents of sbd(8).
func (r *recovery) timing() (timing.Table, error) {
	conf, err := config.ParseCluster("the configuration that was found", r.next.Config)
	if err != nil {
		return timing.Table{}, err
	}
	hw, err := enrol.HardwareOf(r.node, r.next.Node(r.node.ID).Host)
	if err != nil {
		return timing.Table{}, err
	}
	in := hw.Input
	in.FailoverWithin, in.Grace = conf.FailoverWithin, conf.NetworkGrace()
	return timing.Derive(in)
}

func (r *recovery) makeDisk(i int, t timing.Table) error {
	c := &r.fresh[i]
	if len(c.carries) > 0 {
		if err := vet.Blank(c.disk, enrol.Patience); err != nil {
			return err
		}
	}
	area, err := enrol.SBDArea(c.disk.Info().LogicalSize, c.uuid, t)
	if err != nil {
		return err
	}
	l, err := layout(r.file)
	if err != nil {
		return err
	}
	if _, err := volume.Create(c.disk, volume.Options{
		Keys: r.keys, Cluster: r.node.Cluster.ID, Disk: c.uuid, Index: uint8(i), DiskGen: r.next.DiskGen,
		Nmax: l.NMax, Created: time.Now(), SBD: area, Timeout: enrol.Patience,
	}); err != nil {
		return err
	}
	v, err := volume.Open(c.disk, r.keys, volume.Expect{
		Cluster: r.node.Cluster.ID, Epoch: cluster.Epoch(r.next.DiskGen), Disk: c.uuid,
	}, enrol.Patience)
	if err != nil {
		return err
	}
	for k := range r.next.Nodes {
		n := &r.next.Nodes[k]
		if err := enrol.NameMailbox(c.disk, n.ID, n.Name); err != nil && !errors.Is(err, sbd.ErrMagic) {
			return err
		}
	}
	return v.Bootstrap(r.next, 0, enrol.Patience)
}

// keepFiles writes node.yaml and guard.conf with the new disks and their epoch.
func keepFiles(file string, n *config.Node, s *cluster.State) error {
	n.Cluster.Epoch = cluster.Epoch(s.DiskGen)
	var uses []cluster.DiskUse
	for i, d := range n.Disks {
		uses = append(uses, cluster.DiskUse{Place: i, UUID: d.UUID, Path: d.Path, Sets: 1})
	}
	return roster.New(n, file).Keep(uses)
}
