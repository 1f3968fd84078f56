package enrol

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/holdfast-ha/holdfast/cluster"
	"github.com/holdfast-ha/holdfast/cluster/ident"
	"github.com/holdfast-ha/holdfast/cluster/timing"
	"github.com/holdfast-ha/holdfast/internal/api"
	"github.com/holdfast-ha/holdfast/internal/build"
	"github.com/holdfast-ha/holdfast/internal/config"
	"github.com/holdfast-ha/holdfast/internal/config/nodefile"
	"github.com/holdfast-ha/holdfast/internal/ctl/vet"
	"github.com/holdfast-ha/holdfast/internal/guardwire"
	"github.com/holdfast-ha/holdfast/quorumdisk"
	"github.com/holdfast-ha/holdfast/quorumdisk/volume"
	"github.com/holdfast-ha/holdfast/storage"
)

// joinPatience bounds the whole exchange with the cluster.
const joinPatience = 2 * time.Minute

// joining is a join under way.
type joining struct {
	Enrolled
	offer   *api.JoinOffer
	key     string // path of the key before it has its place
	volumes []*volume.Volume
}

// Join makes this node one of the cluster that gave the token: it asks for a slot, proves
// that it sees the same disks, is entered, and gets the key, node.yaml and
// guard.conf. Everything is checked first; an error leaves everything as it was.
func Join(ctx context.Context, o Options, token api.Token) (*Enrolled, error) {
	ctx, cancel := context.WithTimeout(ctx, joinPatience)
	defer cancel()
	j := &joining{}
	var err error
	if j.Node, err = o.settle(); err != nil {
		return nil, err
	}
	if j.Host, err = o.platform(); err != nil {
		return nil, err
	}
	if j.Hardware, err = HardwareOf(j.Node, j.Host.Host); err != nil {
		return nil, err
	}
	if err := keyIsNew(o.Key); err != nil {
		return nil, err
	}
	if j.Node.BMC, j.Switch, err = o.Power.Settle(ctx, filepath.Dir(o.Key), j.Host.Host, o.Emulation.On); err != nil {
		return nil, err
	}
	client, err := api.DialJoin(ctx, token)
	if err != nil {
		return nil, err
	}
	defer client.Close()
	defer j.close()
	if err := j.agree(ctx, client, o); err != nil {
		return nil, err
	}
	return &j.Enrolled, nil
}

func (j *joining) close() {
	for _, v := range j.volumes {
		_ = v.Disk().Close() // nothing is in flight, or the process is about to end
	}
	if j.key != "" {
		_ = os.Remove(j.key)
	}
}

// agree runs the exchange and writes the files.
func (j *joining) agree(ctx context.Context, client *api.JoinClient, o Options) error {
	found, err := quorumDisks(o.Disks)
	if err != nil {
		return err
	}
	request := api.JoinRequest{Build: build.Version(), Name: j.Node.Name, Host: j.Host.Host.String(), Time: time.Now(), Switch: j.Switch}
	for _, l := range j.Node.Links {
		request.Links = append(request.Links, l.String())
	}
	for id := range found {
		request.Disks = append(request.Disks, id.String())
	}
	if j.offer, err = client.Begin(ctx, request); err != nil {
		return err
	}
	if err := j.accept(filepath.Dir(o.Config)); err != nil {
		return err
	}
	if err := j.openDisks(found, o.Emulation.On); err != nil {
		return err
	}
	if err := j.derive(); err != nil {
		return err
	}
	files, err := j.files(o.Config)
	if err != nil {
		return err
	}
	nonces, err := j.answer()
	if err != nil {
		return err
	}
	if _, err := client.Finish(ctx, api.JoinProof{Session: j.offer.Session, Nonces: nonces}); err != nil {
		return err
	}
	for _, v := range j.volumes {
		if err := NameMailbox(v.Disk(), j.Node.ID, j.Node.Name); err != nil {
			return fmt.Errorf("the node is entered, but: %w; undo it with holdfast node remove %s on another node", err, j.Node.Name)
		}
	}
	return replaceFiles(files)
}

// quorumDisks reads whose the given disks are, by the identity in their
// superblocks.
func quorumDisks(paths []string) (map[ident.UUID]string, error) {
	found := map[ident.UUID]string{}
	for _, path := range paths {
		disk, err := Reach(path, storage.Options{ReadOnly: true})
		if err != nil {
			return nil, err
		}
		s, _, err := volume.ReadSuperblock(disk, Patience)
		if err = errors.Join(err, disk.Close()); err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		if other, twice := found[s.Disk]; twice {
			return nil, fmt.Errorf("%s and %s are the same quorum disk %v", other, path, s.Disk)
		}
		found[s.Disk] = absolute(StableName(path))
	}
	return found, nil
}

// accept takes the offer over into the node, and checks that it can.
func (j *joining) accept(etc string) error {
	o := j.offer
	id, err := ident.ParseUUID(o.Cluster.ID)
	if err != nil {
		return fmt.Errorf("the cluster's offer: %w", err)
	}
	if o.ID < 1 || o.ID > ident.MaxNodes || o.Server < 1 || o.Server > ident.MaxNodes {
		return fmt.Errorf("the cluster's offer names slots %d and %d, which do not exist: are both nodes of the same version?", o.ID, o.Server)
	}
	j.Node.ID, j.Node.Cluster = ident.NodeID(o.ID), config.ClusterRef{Name: o.Cluster.Name, ID: id, Epoch: o.Cluster.Epoch}
	for _, p := range o.Peers {
		if n, want := len(p.Links), len(j.Node.Links); n != want {
			return fmt.Errorf("node %s has %d links, this one %d: every node needs one --link on each network, in the same order", p.Name, n, want)
		}
	}
	if err := os.MkdirAll(etc, 0o755); err != nil {
		return err
	}
	j.key = filepath.Join(etc, ".cluster.key.new")
	if err := os.Remove(j.key); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return os.WriteFile(j.key, []byte(o.Key), 0o600)
}

// openDisks opens every disk of the cluster and looks for the number that the
// other node has just written on it.
func (j *joining) openDisks(found map[ident.UUID]string, emulated bool) error {
	keys, err := quorumdisk.LoadKeys(j.key)
	if err != nil {
		return err
	}
	given := len(found) > 0
	for _, d := range j.offer.Disks {
		id, err := ident.ParseUUID(d.ID)
		if err != nil {
			return fmt.Errorf("the cluster's offer: %w", err)
		}
		path, ok := found[id]
		switch {
		case !ok && given:
			return fmt.Errorf("none of the given disks is quorum disk %v, which is %s on the other node: the nodes must see the same disks; add --disk with its path here", id, d.Path)
		case !ok:
			path = d.Path
		}
		if _, err := vet.Suitable(path, emulated); err != nil {
			return fmt.Errorf("quorum disk %v: %w; if it has another path here, give every disk with --disk", id, err)
		}
		q := config.QuorumDisk{Path: path, UUID: id}
		v, err := OpenVolume(q.Path, keys, volume.Expect{Cluster: j.Node.Cluster.ID, Epoch: j.Node.Cluster.Epoch, Disk: id}, storage.Options{Sync: true, SectorSize: j.offer.Sector})
		if err != nil {
			return err
		}
		j.Node.Disks, j.volumes = append(j.Node.Disks, q), append(j.volumes, v)
		j.Disks = append(j.Disks, v.Disk().Info())
		want, err := hex.DecodeString(d.Nonce)
		if err != nil {
			return fmt.Errorf("the cluster's offer: %w", err)
		}
		have, ok, err := v.ReadProbe(ident.NodeID(j.offer.Server), Patience)
		if err != nil {
			return err
		}
		if !ok || !bytes.Equal(have[:], want) {
			return fmt.Errorf("%s is not the disk that the other node calls %s, or not yet: what that one has just written is not there; is it a copy, a mirror or a snapshot?", path, d.Path)
		}
	}
	if len(j.volumes) == 0 || given && len(found) != len(j.volumes) {
		return fmt.Errorf("the cluster has %d quorum disks, %d are given: give exactly those", len(j.volumes), len(found))
	}
	return nil
}

// derive computes this node's timeouts from the cluster's configuration.
func (j *joining) derive() error {
	var s *cluster.State
	for _, v := range j.volumes {
		one, _, err := v.NewestState(Patience)
		if err != nil {
			return err
		}
		if one != nil && (s == nil || one.Ver > s.Ver) {
			s = one
		}
	}
	if s == nil {
		return errors.New("the quorum disk holds no state of the cluster yet: is this the disk that init made?")
	}
	conf, err := config.ParseCluster("the cluster's configuration", s.Config)
	if err != nil {
		return err
	}
	j.Hardware.Input.FailoverWithin = conf.FailoverWithin
	if j.Table, err = timing.Derive(j.Hardware.Input); err != nil {
		return fmt.Errorf("this node cannot keep what the cluster promises: %w", err)
	}
	return nil
}

// files are what this node needs; they are refused now rather than later.
func (j *joining) files(yaml string) ([]file, error) {
	conf, err := settings(j.Node, j.Table, guardwire.Layout{NMax: j.offer.Nmax, Sector: j.offer.Sector, Epoch: int(j.Node.Cluster.Epoch)})
	if err != nil {
		return nil, err
	}
	text := nodefile.Write(*j.Node)
	if _, err := config.ParseNode(yaml, text); err != nil {
		return nil, err
	}
	return []file{
		{j.Node.Key, []byte(j.offer.Key), 0o600},
		{filepath.Join(filepath.Dir(yaml), "guard.conf"), conf, 0o644},
		{yaml, text, 0o644},
	}, nil
}

// answer leaves a number on every disk for the other node to find.
func (j *joining) answer() (map[string]string, error) {
	nonces := map[string]string{}
	for i, v := range j.volumes {
		var nonce [32]byte
		_, _ = rand.Read(nonce[:]) // never fails: the runtime ends the program instead
		if err := v.WriteProbe(j.Node.ID, nonce, Patience); err != nil {
			return nil, err
		}
		nonces[j.Node.Disks[i].UUID.String()] = hex.EncodeToString(nonce[:])
	}
	return nonces, nil
}
