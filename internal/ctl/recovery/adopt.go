package recovery

import (
	"errors"
	"fmt"
	"slices"

	"github.com/holdfast-ha/holdfast/cluster"
	"github.com/holdfast-ha/holdfast/cluster/ident"
	"github.com/holdfast-ha/holdfast/internal/config"
	"github.com/holdfast-ha/holdfast/internal/ctl/enrol"
	"github.com/holdfast-ha/holdfast/internal/daemon/journal"
	"github.com/holdfast-ha/holdfast/quorumdisk"
	"github.com/holdfast-ha/holdfast/quorumdisk/volume"
	"github.com/holdfast-ha/holdfast/storage"
)

// follow lets this node use the disks that another one has recovered onto.
func (a *app) follow() error {
	n, err := a.Node()
	if err != nil {
		return err
	}
	keys, err := quorumdisk.LoadKeys(n.Key)
	if err != nil {
		return err
	}
	held, err := offline(n)
	if err != nil {
		return err
	}
	defer held.release()
	s, disks, err := a.recovered(n, keys)
	if err != nil {
		return err
	}
	a.Say("cluster %s was recovered onto these disks, epoch %d; they hold version %d", n.Cluster.Name, cluster.Epoch(s.DiskGen), s.Ver)
	if old, err := journal.Kept(n.Dirs.State); err == nil && old.Cluster == s.Cluster {
		a.Say("this node's own copy is of version %d; it stays beside the new one, as %s.before", old.Ver, journal.StateFile)
	}
	if a.dry {
		a.Say("nothing was written (--dry-run)")
		return nil
	}
	if err := a.Confirm("Give the old quorum disks up on this node", n.Cluster.Name); err != nil {
		return err
	}
	n.Disks = disks
	if err := journal.Put(n.Dirs.State, s); err != nil {
		return err
	}
	if err := keepFiles(a.Config, n, s); err != nil {
		return err
	}
	a.Say("node %s uses the new quorum disks; start it: systemctl restart holdfast-guard holdfastd holdfast", n.Name)
	return nil
}

// recovered reads the given disks, which must be the whole set of a newer epoch, or
// of this node's own, in which this node has its slot.
func (a *app) recovered(n *config.Node, keys quorumdisk.Keys) (*cluster.State, []config.QuorumDisk, error) {
	var newest *cluster.State
	found := map[ident.UUID]string{}
	for _, path := range a.disks {
		path = absolute(enrol.StableName(path))
		v, err := enrol.OpenVolume(path, keys, volume.Expect{}, storage.Options{ReadOnly: true})
		if err != nil {
			return nil, nil, err
		}
		super := v.Superblock()
		s, _, err := v.NewestState(enrol.Patience)
		err = errors.Join(err, v.Disk().Close())
		switch epoch := cluster.Epoch(super.DiskGen); {
		case err != nil:
			return nil, nil, fmt.Errorf("%s: %w", path, err)
		case super.Cluster != n.Cluster.ID:
			return nil, nil, fmt.Errorf("%s: %w: %v, this node is of %v", path, quorumdisk.ErrCluster, super.Cluster, n.Cluster.ID)
		case epoch == 0 || epoch < n.Cluster.Epoch:
			return nil, nil, fmt.Errorf("%s is of epoch %d, and this node of %d: nobody has recovered the cluster onto it", path, epoch, n.Cluster.Epoch)
		}
		found[super.Disk] = path
		if s != nil && (newest == nil || s.Ver > newest.Ver) {
			newest = s
		}
	}
	if newest == nil {
		return nil, nil, errors.New("the new disks hold no state: holdfast disk recover --from-cache was cut short; repeat it on the node where it ran")
	}
	var disks []config.QuorumDisk
	for _, id := range newest.Disks {
		if found[id] == "" {
			return nil, nil, fmt.Errorf("quorum disk %v of the recovered set is not among those given: give the whole set, %d disks", id, len(newest.Disks))
		}
		disks = append(disks, config.QuorumDisk{Path: found[id], UUID: id})
	}
	if len(found) != len(newest.Disks) {
		return nil, nil, fmt.Errorf("%d disks are given, the recovered set has %d: give exactly those", len(found), len(newest.Disks))
	}
	if !slices.ContainsFunc(newest.Nodes, func(o cluster.NodeState) bool { return o.ID == n.ID && o.Name == n.Name }) {
		return nil, nil, fmt.Errorf("the recovered cluster does not know %s as node %d: what let it in was lost; move %s away, then holdfast join TOKEN", n.Name, n.ID, a.Config)
	}
	return newest, disks, nil
}
