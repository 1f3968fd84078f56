package enlist

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"time"

	"github.com/holdfast-ha/holdfast/cluster"
	"github.com/holdfast-ha/holdfast/cluster/ident"
	"github.com/holdfast-ha/holdfast/internal/api"
)

// mostRequest bounds a message, bytes; commitWithin the wait for the commit.
const (
	mostRequest  = 1 << 16
	commitWithin = 20 * time.Second
)

// mostSwitch bounds the reference of a power switch, bytes: it stands in the state.
const mostSwitch = 300

// offer is what was promised to the node that has the token.
type offer struct {
	session string
	add     cluster.AddNode
	id      ident.NodeID
	disks   []ident.UUID
	before  [][32]byte // what stood in the offered slot's probe sectors
	nonces  [][32]byte // what this node has left in its own
	key     string     // text of the key file that was given with it
}

// reply decodes a request, has it answered and encodes the answer.
func reply[In, Out any](w http.ResponseWriter, r *http.Request, p *pass, f func(context.Context, *pass, *In) (*Out, error)) {
	var in In
	var out any
	err := json.NewDecoder(io.LimitReader(r.Body, mostRequest)).Decode(&in)
	if err != nil {
		err = api.Errorf(api.CodeInvalid, "request: %v", err)
	} else {
		out, err = f(r.Context(), p, &in)
	}
	w.Header().Set("Content-Type", "application/json")
	if err != nil {
		var e *api.Error
		if !errors.As(err, &e) {
			e = api.Errorf(api.CodeNotReady, "%v", err)
		}
		w.WriteHeader(e.Status)
		out = e
	}
	_ = json.NewEncoder(w).Encode(out) // a client that went away asks again
}

// knows compares the secret without telling by its time how much of it is right.
func (p *pass) knows(secret string) error {
	given, err := hex.DecodeString(secret)
	if err != nil || subtle.ConstantTimeCompare(given, p.token.Secret[:]) != 1 {
		return api.Errorf(api.CodeForbidden, "the token is not the one that is valid now: it was replaced, or copied wrongly")
	}
	return nil
}

// begin is the first step: the node says who it is and gets everything that it
// needs to find and to seal.
func (s *Service) begin(ctx context.Context, p *pass, in *api.JoinRequest) (*api.JoinOffer, error) {
	if err := p.knows(in.Secret); err != nil {
		return nil, err
	}
	state, err := s.cluster.State(ctx)
	if err != nil {
		return nil, err
	}
	o, err := s.consider(in, state)
	if err != nil {
		return nil, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.used {
		return nil, api.Errorf(api.CodeForbidden, "the token was used already: `holdfast token` makes another")
	}
	if err := s.leaveNonces(ctx, o); err != nil {
		return nil, err
	}
	release, err := s.set.Hold()
	if err != nil {
		return nil, err
	}
	defer release()
	p.offer = o
	return s.describe(o, state)
}

// consider refuses what cannot join.
func (s *Service) consider(in *api.JoinRequest, state *cluster.State) (*offer, error) {
	refuse := func(format string, args ...any) (*offer, error) {
		return nil, api.Errorf(api.CodeRefused, format, args...)
	}
	_, nmax, ok := s.set.Layout()
	host, badHost := ident.ParseUUID(in.Host)
	skew := s.set.Wall().Sub(in.Time)
	switch {
	case in.Version != api.JoinVersion:
		return refuse("the new node speaks version %d of the join exchange, this one %d: install the same release of holdfast on both", in.Version, api.JoinVersion)
	case skew.Abs() > clockSkew:
		return refuse("the clocks differ by %v (at most %v): set the new node's clock, best with chrony, and join again", skew.Abs().Round(time.Second), clockSkew)
	case !ok:
		return refuse("no quorum disk can be read on this node now")
	case badHost != nil || host.IsZero():
		return refuse("the new node's host identity %q is none", in.Host)
	case !nodeName(in.Name):
		return refuse("%q is no name for a node: 1 to 63 letters, digits, - and _", in.Name)
	case state.NodeNamed(in.Name) != nil:
		return refuse("there is a node %q already: choose another --name, or `holdfast node remove %s` first", in.Name, in.Name)
	case len(in.Links) == 0:
		return refuse("the new node names no link address")
	case len(in.Switch) > mostSwitch:
		return refuse("the reference of the new node's power switch has %d bytes, at most %d are kept", len(in.Switch), mostSwitch)
	}
	for _, l := range in.Links {
		if _, err := netip.ParseAddrPort(l); err != nil {
			return refuse("link %q is no address and port", l)
		}
	}
	for i, d := range state.Disks {
		if len(in.Disks) > 0 && !slices.Contains(in.Disks, d.String()) {
			return refuse("the new node does not see quorum disk %d (%s, here %s): map that LUN to it, and join again", i+1, d, s.path(i))
		}
	}
	id := freeSlot(state, nmax)
	if id == 0 {
		return refuse("the quorum disks have room for %d nodes, and all slots are taken", nmax)
	}
	return &offer{session: rand.Text(), id: id, disks: state.Disks, add: cluster.AddNode{Name: in.Name, Host: host, Links: in.Links, Switch: in.Switch}}, nil
}

// freeSlot is the lowest one, as the commit will choose it; zero if there is none.
func freeSlot(s *cluster.State, nmax int) ident.NodeID {
	for id := 1; id <= nmax; id++ {
		if s.Node(ident.NodeID(id)) == nil {
			return ident.NodeID(id)
		}
	}
	return 0
}

func nodeName(s string) bool {
	for i, c := range s {
		if !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || i > 0 && (c == '-' || c == '_')) {
			return false
		}
	}
	return len(s) > 0 && len(s) <= 63
}

func (s *Service) path(disk int) string {
	if disk < len(s.set.DiskPaths) {
		return s.set.DiskPaths[disk]
	}
	return "no path"
}

// leaveNonces writes a fresh nonce on every disk, and notes what the offered slot
// holds now: a nonce that stood there before proves nothing.
func (s *Service) leaveNonces(ctx context.Context, o *offer) error {
	for i := range o.disks {
		var nonce [32]byte
		_, _ = rand.Read(nonce[:]) // never fails: the runtime ends the program instead
		if err := s.cluster.Leave(ctx, i, nonce); err != nil {
			return fmt.Errorf("leave a mark on quorum disk %d: %w", i+1, err)
		}
		before, _, err := s.cluster.Find(ctx, i, o.id)
		if err != nil {
			before = [32]byte{} // damaged or of an older key: it is replaced
		}
		o.nonces, o.before = append(o.nonces, nonce), append(o.before, before)
	}
	return nil
}

func (s *Service) describe(o *offer, state *cluster.State) (*api.JoinOffer, error) {
	key, err := os.ReadFile(s.set.KeyFile)
	if err != nil {
		return nil, fmt.Errorf("read the cluster key: %w", err)
	}
	o.key = string(key)
	sector, nmax, _ := s.set.Layout()
	out := &api.JoinOffer{
		Version: api.JoinVersion, Session: o.session, Cluster: api.JoinRef{Name: s.set.Name, ID: s.set.ID.String(), Epoch: cluster.Epoch(state.DiskGen)},
		Key: o.key, ID: int(o.id), Server: int(s.set.Self), Sector: sector, Nmax: nmax,
		Disks: []api.JoinDisk{}, Peers: []api.JoinPeer{},
	}
	for i, d := range o.disks {
		out.Disks = append(out.Disks, api.JoinDisk{ID: d.String(), Path: s.path(i), Nonce: hex.EncodeToString(o.nonces[i][:])})
	}
	for i := range state.Nodes {
		n := &state.Nodes[i]
		out.Peers = append(out.Peers, api.JoinPeer{ID: int(n.ID), Name: n.Name, Links: n.Links})
	}
	return out, nil
}

// finish is the second step: the node's own nonces are looked for on the disks,
// and it is entered into the membership.
func (s *Service) finish(ctx context.Context, p *pass, in *api.JoinProof) (*api.JoinDone, error) {
	if err := p.knows(in.Secret); err != nil {
		return nil, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	o := p.offer
	switch {
	case p.used:
		return nil, api.Errorf(api.CodeForbidden, "the token was used already: `holdfast token` makes another")
	case o == nil || in.Session != o.session:
		return nil, api.Errorf(api.CodeInvalid, "the join was begun anew meanwhile, perhaps by another node: begin again")
	}
	for i, d := range o.disks {
		if err := s.verify(ctx, o, i, in.Nonces[d.String()]); err != nil {
			return nil, err
		}
	}
	release, err := s.set.Hold() // a node that is let in has the key that all have
	if err != nil {
		return nil, err
	}
	defer release()
	if key, err := os.ReadFile(s.set.KeyFile); err != nil || string(key) != o.key {
		return nil, api.Errorf(api.CodeRefused, "the cluster's key was exchanged since this join began (holdfast key status): join again with a new token")
	}
	ctx, cancel := context.WithTimeout(ctx, commitWithin)
	defer cancel()
	done, err := s.cluster.Ask(ctx, o.add)
	switch {
	case err != nil:
		return nil, api.Errorf(api.CodeUnknown, "the membership was not written in time; it may still be: look at `holdfast status` (%v)", err)
	case done.Err != "":
		return nil, api.Errorf(api.CodeRefused, "%s", done.Err)
	}
	p.used = true
	// Another node may have been added in between: the commit says which slot it is.
	id, err := strconv.Atoi(done.Text)
	if err != nil {
		id = int(o.id)
	}
	s.set.Log.Info().Str("name", o.add.Name).Int("id", id).Msg("a node was let in")
	return &api.JoinDone{ID: id, State: done.Ver}, nil
}

// verify looks for the nonce that the new node says it has left on a disk.
func (s *Service) verify(ctx context.Context, o *offer, disk int, said string) error {
	want, err := hex.DecodeString(said)
	if err != nil || len(want) != len(o.before[disk]) {
		return api.Errorf(api.CodeInvalid, "the new node does not say what it has left on quorum disk %d", disk+1)
	}
	found, ok, err := s.cluster.Find(ctx, disk, o.id)
	switch {
	case err != nil:
		return fmt.Errorf("look for the new node's mark on quorum disk %d: %w", disk+1, err)
	case !ok || subtle.ConstantTimeCompare(found[:], want) != 1 || found == o.before[disk]:
		return api.Errorf(api.CodeRefused, "quorum disk %d (%s): what the new node has written there does not arrive here: it sees another disk, or a copy of it", disk+1, s.path(disk))
	}
	return nil
}
