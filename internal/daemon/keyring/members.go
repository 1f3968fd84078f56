package keyring

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"slices"
	"time"

	"github.com/holdfast-ha/holdfast/cluster"
	"github.com/holdfast-ha/holdfast/cluster/ident"
	"github.com/holdfast-ha/holdfast/internal/api"
	"github.com/holdfast-ha/holdfast/quorumdisk"
	"github.com/holdfast-ha/holdfast/quorumdisk/volume"
)

const (
	mostAnswer = 1 << 20          // bytes of another daemon's answer
	leadWithin = 10 * time.Minute // for a step of the whole exchange, on the node that leads it
	mostShown  = 4                // places that are named
)

// Disk is a quorum disk as the daemon works with it.
type Disk struct {
	ID     ident.UUID
	Number int // from 1
	Path   string
	// Do has the disk's own task do something.
	Do func(ctx context.Context, job func(v *volume.Volume, patience time.Duration) error) error
	// Landing is what may land there yet.
	Landing *Landing
}

// Daemon is what a Cluster of daemons is made of.
type Daemon struct {
	Self  ident.NodeID
	State func(context.Context) (*cluster.State, error)
	Post  func(ctx context.Context, addresses []netip.AddrPort, path string, question []byte) (*http.Response, error)
	// Disks are all that are open.
	Disks func() []Disk
}

var _ Cluster = (*Daemon)(nil)

// Members implements Cluster.
func (d *Daemon) Members(ctx context.Context) ([]Member, error) {
	s, err := d.State(ctx)
	if err != nil {
		return nil, err
	}
	var list []Member
	for i := range s.Nodes {
		n := &s.Nodes[i]
		m := Member{Name: n.Name, ID: n.ID, Self: n.ID == d.Self}
		for _, l := range n.Links {
			if a, err := netip.ParseAddrPort(l); err == nil {
				m.Addresses = append(m.Addresses, a)
			}
		}
		list = append(list, m)
	}
	slices.SortFunc(list, func(a, b Member) int { return int(a.ID) - int(b.ID) })
	if len(list) == 0 {
		return nil, errors.New("the cluster has no nodes")
	}
	return list, nil
}

// Leader is the node that leads, for a Ring.
func (d *Daemon) Leader(ctx context.Context) (string, error) {
	list, err := d.Members(ctx)
	if err != nil {
		return "", err
	}
	return list[0].Name, nil
}

// Ask implements Cluster.
func (d *Daemon) Ask(ctx context.Context, m Member, s api.KeyStep) (n api.KeyNode, err error) {
	err = d.post(ctx, m, api.KeyStepPath, s, &n)
	return n, err
}

// Forward has the daemon of the node that leads take a request.
func (d *Daemon) Forward(ctx context.Context, m Member, r api.KeyRequest) (*api.KeyProgress, error) {
	ctx, cancel := context.WithTimeout(ctx, leadWithin)
	defer cancel()
	p := &api.KeyProgress{}
	if err := d.post(ctx, m, api.KeyLeadPath, r, p); err != nil {
		return nil, fmt.Errorf("%s leads an exchange of keys: %w", m.Name, err)
	}
	return p, nil
}

func (d *Daemon) post(ctx context.Context, m Member, path string, question, into any) error {
	text, err := json.Marshal(question)
	if err != nil {
		return err
	}
	resp, err := d.Post(ctx, m.Addresses, path, text)
	if err != nil {
		return fmt.Errorf("its daemon does not answer by any of its links: %w", err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, mostAnswer))
	if err != nil {
		return fmt.Errorf("its daemon's answer: %w", err)
	}
	if resp.StatusCode != http.StatusOK {
		var e api.Error
		if resp.StatusCode == http.StatusForbidden {
			return fmt.Errorf("its daemon refuses the question: is it of an older version (holdfast doctor), or is its key another one? %s", bytes.TrimSpace(body))
		}
		if json.Unmarshal(body, &e) != nil || e.Message == "" {
			e.Message = fmt.Sprintf("%s: %s", resp.Status, bytes.TrimSpace(body))
		}
		return errors.New(e.Message)
	}
	return json.Unmarshal(body, into)
}

// counting are the disks that count by the state, now or soon. It fails if one is not open.
func (d *Daemon) counting(s *cluster.State) ([]Disk, error) {
	var list []Disk
	open := d.Disks()
	for _, id := range slices.Concat(s.Disks, s.Change.Disks) {
		i := slices.IndexFunc(open, func(k Disk) bool { return k.ID == id })
		if i < 0 {
			return nil, fmt.Errorf("quorum disk %v counts and is not open here", id)
		}
		if !slices.ContainsFunc(list, func(k Disk) bool { return k.ID == id }) {
			list = append(list, open[i])
		}
	}
	return list, nil
}

// Survey implements Cluster.
func (d *Daemon) Survey(ctx context.Context) []api.KeyDisk {
	list := []api.KeyDisk{}
	s, err := d.State(ctx)
	var disks []Disk
	if err == nil {
		disks, err = d.counting(s)
	}
	if err != nil {
		return append(list, api.KeyDisk{Error: err.Error()})
	}
	for _, k := range disks {
		one := api.KeyDisk{Disk: k.Number, Path: k.Path}
		var old []quorumdisk.Place
		err := k.Do(ctx, func(v *volume.Volume, patience time.Duration) (err error) {
			old, err = v.SealedBefore(patience)
			return err
		})
		if err != nil {
			one.Error = err.Error()
		}
		one.Old = len(old)
		for _, at := range old[:min(len(old), mostShown)] {
			one.Where = append(one.Where, where(s, at))
		}
		list = append(list, one)
	}
	return list
}

// where names a place for people.
func where(s *cluster.State, at quorumdisk.Place) string {
	switch {
	case at.Purpose == quorumdisk.ForSuperblock:
		return fmt.Sprintf("superblock %c", 'A'+at.Slot)
	case s.Node(at.Node) == nil:
		return fmt.Sprintf("%v of slot %d, which is nobody's", at.Purpose, at.Node)
	}
	return fmt.Sprintf("%v of %s", at.Purpose, s.NameOf(at.Node))
}

// ResealRest implements Cluster. No node joins meanwhile (Ring.Hold), so a slot that
// is nobody's stays so; and it is looked at again once everything has been done.
func (d *Daemon) ResealRest(ctx context.Context, members []Member) error {
	return d.reseal(ctx, func(at quorumdisk.Place) bool {
		return !slices.ContainsFunc(members, func(m Member) bool { return m.ID == at.Node })
	})
}

// ResealOwn seals this node's own records anew, but for its beat, which is the guard's.
func (d *Daemon) ResealOwn(ctx context.Context) error {
	return d.reseal(ctx, func(at quorumdisk.Place) bool {
		return at.Node == d.Self && at.Purpose != quorumdisk.ForBeat
	})
}

func (d *Daemon) reseal(ctx context.Context, mine func(quorumdisk.Place) bool) error {
	s, err := d.State(ctx)
	if err != nil {
		return err
	}
	disks, err := d.counting(s)
	if err != nil {
		return err
	}
	for _, k := range disks {
		err := k.Do(ctx, func(v *volume.Volume, patience time.Duration) error {
			_, err := v.Reseal(mine, patience)
			if u := (*volume.UnsettledError)(nil); errors.As(err, &u) {
				k.Landing.Failed(time.Now())
				if u.At.Node == d.Self && u.At.Purpose == quorumdisk.ForHeader {
					k.Landing.Resealed(u.At.Slot, time.Now())
				}
			}
			return err
		})
		if err != nil {
			return fmt.Errorf("quorum disk %d (%s) may hold what only the old key opens, and cannot be worked on: bring it back, or holdfast disk replace it (%w)", k.Number, k.Path, err)
		}
	}
	return nil
}

// Unsettled is for how long yet something may land on a disk, for a Ring.
func (d *Daemon) Unsettled() time.Duration {
	var left time.Duration
	for _, k := range d.Disks() {
		left = max(left, k.Landing.Left(time.Now()))
	}
	return left
}
