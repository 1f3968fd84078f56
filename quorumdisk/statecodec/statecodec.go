// Package statecodec writes what the nodes agree on into the body of a register
// block and reads it back: 3 bytes "HFS", 1 byte format and one zstd frame
// (RFC 8878) with the values one after the other (package wire). It is compressed
// because the admin's configuration, which is most of it, is text.
// docs/formats/quorumdisk.md has the order of the values.
//
// It is a package of its own because the guard, which carries the daemon's words
// to the disk unread, does not need it, and because the state grows with every
// ability of the cluster while the layout of the disk stands still.
package statecodec

import (
	"fmt"
	"math"
	"slices"
	"time"
	"unicode/utf8"

	"github.com/holdfast-ha/holdfast/cluster"
	"github.com/holdfast-ha/holdfast/cluster/ident"
	"github.com/holdfast-ha/holdfast/quorumdisk"
	"github.com/holdfast-ha/holdfast/quorumdisk/wire"
)

// Format is the version of a body. A program that finds a newer one does not take
// part in changing what stands in it.
type Format uint8

const (
	// Format1 is the first version.
	Format1 Format = 1 + iota

	formatEnd
)

// Newest is the newest version that this program reads and writes.
const Newest = formatEnd - 1

const magic = "HFS"

// MaxPlain bounds what a body may be once decompressed, in bytes.
const MaxPlain = 8 << 20

// Encode returns the body for a state. The same state always gives the same
// bytes. Conf is left out: it is Config, parsed.
//
// Texts that only people read (why a service runs where it does, what a start has
// failed with) are shortened, and then left out, before a state does not fit: it
// would be a cluster that cannot decide any more because it has too much to say.
//
// It fails with ErrValue if nodes or services are not sorted or an enumeration is
// out of range, and with ErrTooLarge if the body does not fit even so.
func Encode(s *cluster.State) ([]byte, error) {
	var p Packer
	defer p.close()
	return p.Encode(s)
}

// Encode is the function of that name.
func (p *Packer) Encode(s *cluster.State) ([]byte, error) {
	if err := checkState(s); err != nil {
		return nil, fmt.Errorf("state: %w", err)
	}
	var plain, b []byte
	for _, most := range [...]int{math.MaxInt, 60, 20, 0} {
		plain = plainState(withTexts(s, most))
		if len(plain) > MaxPlain {
			continue
		}
		var err error
		if b, err = p.pack(magic, Format1, plain); err != nil {
			return nil, fmt.Errorf("state: %w", err)
		}
		if len(b) <= quorumdisk.BodySize {
			return b, nil
		}
	}
	if len(plain) > MaxPlain {
		return nil, fmt.Errorf("state: %w: it takes %d KiB, at most %d KiB: fewer services, or shorter descriptions of them",
			quorumdisk.ErrTooLarge, len(plain)>>10, MaxPlain>>10)
	}
	return nil, fmt.Errorf("state: %w: compressed it takes %d KiB, at most %d KiB; of its %d KiB before that, the configuration is %d KiB: fewer services, or shorter descriptions of them",
		quorumdisk.ErrTooLarge, (len(b)+1023)>>10, quorumdisk.BodySize>>10, (len(plain)+1023)>>10, (len(s.Config)+1023)>>10)
}

// withTexts is the state with texts for people of at most most bytes.
func withTexts(s *cluster.State, most int) *cluster.State {
	if most == math.MaxInt {
		return s
	}
	c := *s
	c.Nodes, c.Services = slices.Clone(s.Nodes), slices.Clone(s.Services)
	for i := range c.Nodes {
		n := &c.Nodes[i]
		n.Why, n.Proof.Text = cut(n.Why, most), cut(n.Proof.Text, most)
	}
	for i := range c.Services {
		g := &c.Services[i]
		g.Why, g.Proof.Text, g.Fails = cut(g.Why, most), cut(g.Proof.Text, most), slices.Clone(g.Fails)
		for j := range g.Fails {
			g.Fails[j].Text = cut(g.Fails[j].Text, most)
		}
	}
	return &c
}

// cut shortens a text to most bytes without splitting a character.
func cut(s string, most int) string {
	if len(s) <= most {
		return s
	}
	for most > 0 && !utf8.RuneStart(s[most]) {
		most--
	}
	return s[:most]
}

func plainState(s *cluster.State) []byte {
	var w wire.Writer
	w.U64(s.Ver)
	w.UUID(s.Cluster)
	w.Bytes(s.Config)
	w.U64(s.ConfigRev)
	w.U64(s.View)
	w.Count(len(s.Nodes))
	for i := range s.Nodes {
		putNode(&w, &s.Nodes[i])
	}
	w.Count(len(s.Services))
	for i := range s.Services {
		putGrant(&w, &s.Services[i])
	}
	w.Count(len(s.Disks))
	for _, d := range s.Disks {
		w.UUID(d)
	}
	w.U32(s.DiskGen)
	putLife(&w, &s.Life)
	putChange(&w, &s.Change)
	putSwitches(&w, s)
	return w.B
}

// Decode is the inverse of Encode; Conf stays nil. It needs at most
// MaxPlain bytes whatever it is given. It fails with ErrMagic, ErrFormat,
// ErrTooLarge, ErrLength or ErrValue.
func Decode(body []byte) (*cluster.State, error) {
	plain, err := unpack(magic, body, quorumdisk.BodySize, MaxPlain)
	if err != nil {
		return nil, fmt.Errorf("state: %w", err)
	}
	return readState(plain)
}

func readState(plain []byte) (*cluster.State, error) {
	r := wire.NewReader(plain)
	s := &cluster.State{Ver: r.U64(), Cluster: r.UUID(), Config: r.Bytes(), ConfigRev: r.U64(), View: r.U64()}
	for range r.Count(minNode) {
		s.Nodes = append(s.Nodes, getNode(r))
	}
	for range r.Count(minGrant) {
		s.Services = append(s.Services, getGrant(r))
	}
	for range r.Count(16) {
		s.Disks = append(s.Disks, r.UUID())
	}
	s.DiskGen = r.U32()
	s.Life = getLife(r)
	s.Change = takeChange(r)
	takeSwitches(r, s)
	err := r.End()
	if err == nil {
		err = checkState(s)
	}
	if err != nil {
		return nil, fmt.Errorf("state: %w", err)
	}
	return s, nil
}

// checkState refuses what the decoder could not give back, and what lookups by
// order would get wrong.
func checkState(s *cluster.State) error {
	for i := range s.Nodes {
		n := &s.Nodes[i]
		switch {
		case n.ID == 0 || (i > 0 && n.ID <= s.Nodes[i-1].ID):
			return fmt.Errorf("%w: nodes are not sorted by number, or one has none (node %d)", wire.ErrValue, n.ID)
		case n.Phase > cluster.Leaving:
			return fmt.Errorf("%w: phase %d of node %d", wire.ErrValue, n.Phase, n.ID)
		case n.Proof.Kind > cluster.ProofOperator:
			return fmt.Errorf("%w: proof %d of node %d", wire.ErrValue, n.Proof.Kind, n.ID)
		}
	}
	for i := range s.Services {
		g := &s.Services[i]
		switch {
		case g.Service == "" || (i > 0 && g.Service <= s.Services[i-1].Service):
			return fmt.Errorf("%w: services are not sorted by name, or one has none (%q)", wire.ErrValue, g.Service)
		case g.Proof.Kind > cluster.ProofOperator:
			return fmt.Errorf("%w: proof %d of service %q", wire.ErrValue, g.Proof.Kind, g.Service)
		}
	}
	return nil
}

// The least that an element of a list takes.
const (
	minIncarnation = 4 + 16
	minProof       = 1 + 1 + minIncarnation + 1 + 4 + 8 + 8 + 4
	minNode        = 1 + 4 + 16 + 4 + 1 + 2*minIncarnation + 4 + 4 + minProof + 1 + minNodeLife
	minPending     = 1 + minIncarnation
	minFail        = 1 + 4 + 4
	minGrant       = 4 + 1 + minIncarnation + 8 + 4 + 1 + 4 + 4 + 1 + 1 + 4 + minProof + 4 + minMaintenance
)

func putNode(w *wire.Writer, n *cluster.NodeState) {
	w.U8(uint8(n.ID))
	w.Text(n.Name)
	w.UUID(n.Host)
	w.Count(len(n.Links))
	for _, l := range n.Links {
		w.Text(l)
	}
	w.U8(uint8(n.Phase))
	w.Inc(n.Inc)
	w.Inc(n.Fencing)
	w.Text(n.Why)
	w.U32(n.Dead)
	putProof(w, &n.Proof)
	w.Bool(n.Standby)
	putNodeLife(w, &n.Life)
}

func getNode(r *wire.Reader) cluster.NodeState {
	n := cluster.NodeState{ID: ident.NodeID(r.U8()), Name: r.Text(), Host: r.UUID()}
	for range r.Count(4) {
		n.Links = append(n.Links, r.Text())
	}
	n.Phase = cluster.Phase(r.OneOf("phase", uint8(cluster.Leaving)))
	n.Inc, n.Fencing = r.Inc(), r.Inc()
	n.Why, n.Dead, n.Proof, n.Standby = r.Text(), r.U32(), getProof(r), r.Bool()
	n.Life = getNodeLife(r)
	return n
}

func putProof(w *wire.Writer, p *cluster.Proof) {
	w.U8(uint8(p.Kind))
	w.U8(uint8(p.Node))
	w.Inc(p.Inc)
	w.U8(uint8(p.By))
	w.U32(p.DiskGen)
	w.I64(int64(p.Wait))
	w.I64(int64(p.Silent))
	w.Text(p.Text)
}

func getProof(r *wire.Reader) cluster.Proof {
	return cluster.Proof{
		Kind:    cluster.ProofKind(r.OneOf("proof", uint8(cluster.ProofOperator))),
		Node:    ident.NodeID(r.U8()),
		Inc:     r.Inc(),
		By:      ident.NodeID(r.U8()),
		DiskGen: r.U32(),
		Wait:    time.Duration(r.I64()),
		Silent:  time.Duration(r.I64()),
		Text:    r.Text(),
	}
}

func putGrant(w *wire.Writer, g *cluster.Grant) {
	w.Text(g.Service)
	w.U8(uint8(g.Owner))
	w.Inc(g.Inc)
	w.U64(g.Term)
	w.Count(len(g.Pending))
	for _, p := range g.Pending {
		w.U8(uint8(p.Node))
		w.Inc(p.Inc)
	}
	w.U8(uint8(g.Want))
	w.Text(g.Yield)
	w.Count(len(g.Uses))
	for _, x := range g.Uses {
		w.Text(x)
	}
	w.Bool(g.Stopped)
	w.Bool(g.Frozen)
	w.Text(g.Why)
	putProof(w, &g.Proof)
	w.Count(len(g.Fails))
	for _, f := range g.Fails {
		w.U8(uint8(f.Node))
		w.U32(f.Count)
		w.Text(f.Text)
	}
	putMaintenance(w, &g.Maintenance)
}

func getGrant(r *wire.Reader) cluster.Grant {
	g := cluster.Grant{Service: r.Text(), Owner: ident.NodeID(r.U8()), Inc: r.Inc(), Term: r.U64()}
	for range r.Count(minPending) {
		g.Pending = append(g.Pending, cluster.Pending{Node: ident.NodeID(r.U8()), Inc: r.Inc()})
	}
	g.Want, g.Yield = ident.NodeID(r.U8()), r.Text()
	for range r.Count(4) {
		g.Uses = append(g.Uses, r.Text())
	}
	g.Stopped, g.Frozen = r.Bool(), r.Bool()
	g.Why, g.Proof = r.Text(), getProof(r)
	for range r.Count(minFail) {
		g.Fails = append(g.Fails, cluster.Fail{Node: ident.NodeID(r.U8()), Count: r.U32(), Text: r.Text()})
	}
	g.Maintenance = getMaintenance(r)
	return g
}

func putChange(w *wire.Writer, c *cluster.DiskChange) {
	w.U8(uint8(c.Stage))
	w.Count(len(c.Disks))
	for _, d := range c.Disks {
		w.UUID(d)
	}
	for _, list := range [][]string{c.Paths, c.Was} {
		w.Count(len(list))
		for _, p := range list {
			w.Text(p)
		}
	}
	w.U8(uint8(c.By))
	w.Inc(c.Inc)
	w.Text(c.Text)
}

func takeChange(r *wire.Reader) cluster.DiskChange {
	c := cluster.DiskChange{Stage: cluster.DiskStage(r.OneOf("stage of a change of disks", uint8(cluster.DisksJoint)))}
	for range r.Count(16) {
		c.Disks = append(c.Disks, r.UUID())
	}
	for _, list := range []*[]string{&c.Paths, &c.Was} {
		for range r.Count(4) {
			*list = append(*list, r.Text())
		}
	}
	c.By, c.Inc, c.Text = ident.NodeID(r.U8()), r.Inc(), r.Text()
	return c
}
