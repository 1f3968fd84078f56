package enrol

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/holdfast-ha/holdfast/cluster"
	"github.com/holdfast-ha/holdfast/cluster/ident"
	"github.com/holdfast-ha/holdfast/cluster/timing"
	"github.com/holdfast-ha/holdfast/internal/clock"
	"github.com/holdfast-ha/holdfast/internal/config"
	"github.com/holdfast-ha/holdfast/internal/config/nodefile"
	"github.com/holdfast-ha/holdfast/internal/ctl/vet"
	"github.com/holdfast-ha/holdfast/internal/guardwire"
	"github.com/holdfast-ha/holdfast/quorumdisk"
	"github.com/holdfast-ha/holdfast/quorumdisk/volume"
	"github.com/holdfast-ha/holdfast/storage"
)

// UsualWithin is the failover_within that Found chooses where the hardware
// allows it: much tolerance of slow disks, and still a short takeover.
const UsualWithin = 10 * time.Second

// NewCluster says what Found makes beside its first node.
type NewCluster struct {
	Name   string
	Nmax   int           // room for so many nodes
	Sector int           // bytes of a sector; 0: what the disks need
	Within time.Duration // failover_within; 0: UsualWithin, or the smallest that is safe
	Force  []string      // identities (kind:value) of disks whose content may go
	// AdoptSBD takes over disks that are SBD devices; their slots, timeouts and
	// messages stay.
	AdoptSBD bool
	GPT      bool // a partition table with one partition on each disk, and the quorum disk in that
}

// Enrolled is a node that was made, and what that rests on.
type Enrolled struct {
	Node     *config.Node
	Host     clock.Identity
	Hardware Hardware
	Table    timing.Table
	Disks    []storage.Info // in the order of the node's
	Adopted  []Adopted      // the SBD areas that were taken over, in the same order; none if none was
	Switch   string         // what the other nodes are told of this node's power switch; empty: none was named
}

// founding is a cluster that was checked and may be made.
type founding struct {
	Enrolled
	disks  []candidate
	sector int
	conf   []byte // the first configuration
}

// Found makes a cluster of one node, which is this one: it formats the quorum
// disks and writes the key, node.yaml and guard.conf. Everything is checked
// first; an error leaves everything as it was, but for what Force allowed to
// erase. A time that is not safe is a *timing.Unsafe.
func Found(o Options, c NewCluster) (*Enrolled, error) {
	p, err := check(o, c)
	if err != nil {
		return nil, err
	}
	defer closeAll(p.disks)
	if err := p.found(o, c); err != nil {
		return nil, err
	}
	for _, d := range p.disks {
		p.Disks = append(p.Disks, d.disk.Info())
	}
	p.Adopted, err = p.adopted()
	return &p.Enrolled, err
}

// check refuses everything that can be refused before anything is changed.
func check(o Options, c NewCluster) (*founding, error) {
	n, err := o.settle()
	if err != nil {
		return nil, err
	}
	p := &founding{Enrolled: Enrolled{Node: n}}
	n.ID, n.Cluster = 1, config.ClusterRef{Name: c.Name, ID: quorumdisk.NewUUID()}
	if p.Host, err = o.platform(); err != nil {
		return nil, err
	}
	if p.Hardware, err = HardwareOf(n, p.Host.Host); err != nil {
		return nil, err
	}
	if n.BMC, p.Switch, err = o.Power.Settle(context.Background(), filepath.Dir(o.Key), p.Host.Host, o.Emulation.On); err != nil {
		return nil, err
	}
	if err := p.derive(c.Within); err != nil {
		return nil, err
	}
	p.conf = fmt.Appendf(nil, "cluster:\n  name: %s\n  failover_within: %s\nservices: {}\n", c.Name, p.Table.B)
	if _, err := config.ParseCluster("the new configuration", p.conf); err != nil {
		return nil, err
	}
	if err := keyIsNew(o.Key); err != nil {
		return nil, err
	}
	if c.GPT && c.AdoptSBD {
		return nil, errors.New("--gpt and --adopt-sbd: an SBD area stands at the start of the device, where the partition table would be; choose one")
	}
	if p.disks, err = checkDisks(o.Disks, o.Emulation.On, c); err != nil {
		return nil, err
	}
	for _, d := range p.disks {
		n.Disks = append(n.Disks, config.QuorumDisk{Path: absolute(StableName(d.path)), UUID: quorumdisk.NewUUID()})
		if s := d.disk.Info().SectorSize; p.sector != 0 && s != p.sector {
			err = fmt.Errorf("%s has sectors of %d bytes, the disk before it %d: quorum disks must be alike, or give --sector-size=4096", d.path, s, p.sector)
		} else {
			p.sector = s
		}
	}
	if _, bad := config.ParseNode(o.Config, nodefile.Write(*n)); err == nil {
		err = bad
	}
	if err != nil {
		closeAll(p.disks)
		return nil, err
	}
	return p, nil
}

// derive computes the table for the time that was asked for, or chooses one.
func (p *founding) derive(asked time.Duration) (err error) {
	in := p.Hardware.Input
	in.FailoverWithin = asked
	if asked == 0 {
		least, err := timing.SmallestB(in)
		if err != nil {
			return err
		}
		in.FailoverWithin = max(least, UsualWithin)
	}
	p.Table, err = timing.Derive(in)
	return err
}

func keyIsNew(path string) error {
	switch _, err := os.Stat(path); {
	case err == nil:
		return fmt.Errorf("%s is there already: a new cluster gets a new key; move that file away, or name another one with --key", path)
	case !errors.Is(err, os.ErrNotExist):
		return err
	}
	return nil
}

func absolute(path string) string {
	if abs, err := filepath.Abs(path); err == nil {
		return abs
	}
	return path
}

// found makes the cluster. When a step fails, what was made before it is taken
// back; what --force-wipe allowed to erase is gone then.
func (p *founding) found(o Options, c NewCluster) error {
	n := p.Node
	conf, err := settings(n, p.Table, guardwire.Layout{NMax: c.Nmax, Sector: p.sector})
	if err != nil {
		return err
	}
	keys := quorumdisk.Keys{Current: quorumdisk.NewKey()}
	for i := range p.disks {
		if err := p.makeDisk(i, c, keys); err != nil {
			return errors.Join(fmt.Errorf("%s: %w", p.disks[i].path, err), p.takeBack(i))
		}
	}
	err = os.MkdirAll(filepath.Dir(n.Key), 0o755)
	if err == nil {
		err = keys.Save(n.Key)
	}
	if err == nil {
		err = replaceFiles([]file{
			{filepath.Join(filepath.Dir(o.Config), "guard.conf"), conf, 0o644},
			{o.Config, nodefile.Write(*n), 0o644},
		})
	}
	if err != nil {
		_ = os.Remove(n.Key)
		return errors.Join(err, p.takeBack(len(p.disks)-1))
	}
	return nil
}

// makeDisk formats one disk and writes the first state of the cluster on it.
func (p *founding) makeDisk(i int, made NewCluster, keys quorumdisk.Keys) error {
	c, n := &p.disks[i], p.Node
	if c.forced {
		if err := vet.Blank(c.disk, Patience); err != nil {
			return err
		}
	}
	if made.GPT {
		d, _, err := vet.Label(c.disk, made.Name, storage.Options{Sync: true, SectorSize: p.sector}, Patience)
		if err != nil {
			return err
		}
		c.disk = d
	}
	var area []byte // none: what is there stays
	if !c.adopt {
		var err error
		if area, err = SBDArea(c.disk.Info().LogicalSize, n.Disks[i].UUID, p.Table); err != nil {
			return err
		}
	}
	_, err := volume.Create(c.disk, volume.Options{
		Keys: keys, Cluster: n.Cluster.ID, Disk: n.Disks[i].UUID, Index: uint8(i), DiskGen: 1,
		Nmax: made.Nmax, Created: time.Now(), SBD: area, Timeout: Patience,
	})
	if err != nil {
		return err
	}
	v, err := volume.Open(c.disk, keys, volume.Expect{Cluster: n.Cluster.ID, Disk: n.Disks[i].UUID}, Patience)
	if err != nil {
		return err
	}
	if err := NameMailbox(c.disk, n.ID, n.Name); err != nil {
		return err
	}
	return v.Bootstrap(p.firstState(), 0, Patience)
}

// firstState is version 1: one node, which is out, and no service.
func (p *founding) firstState() *cluster.State {
	n := p.Node
	s := &cluster.State{Ver: 1, Cluster: n.Cluster.ID, Config: p.conf, ConfigRev: 1, View: 1, DiskGen: 1}
	self := cluster.NodeState{ID: n.ID, Name: n.Name, Host: p.Host.Host, Phase: cluster.Out, Switch: p.Switch}
	for _, l := range n.Links {
		self.Links = append(self.Links, l.String())
	}
	s.Nodes = []cluster.NodeState{self}
	s.Disks = make([]ident.UUID, len(n.Disks))
	for i, d := range n.Disks {
		s.Disks[i] = d.UUID
	}
	return s
}

// takeBack erases the disks up to last, and the partition tables that were made.
func (p *founding) takeBack(last int) error {
	var errs []error
	for i := range p.disks[:last+1] {
		c := &p.disks[i]
		if err := c.blank(); err != nil {
			errs = append(errs, fmt.Errorf("%s may be half made: holdfast disk wipe %s (%w)", c.path, c.path, err))
		}
	}
	return errors.Join(errs...)
}

// blank erases a candidate, whose handle may be on a partition by now.
func (c *candidate) blank() error {
	if c.adopt { // it was an SBD device, and is one again
		return volume.Wipe(c.disk, Patience)
	}
	whole, err := storage.Open(c.path, storage.Options{Sync: true})
	if err != nil {
		return err
	}
	return errors.Join(vet.Blank(whole, Patience), whole.Close())
}
