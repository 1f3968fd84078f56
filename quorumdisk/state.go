package quorumdisk

import (
	"errors"
	"fmt"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/holdfast-ha/holdfast/cluster"
	"github.com/holdfast-ha/holdfast/cluster/ident"
)

// StateFormat is the version of the body of a register block. A program that
// finds a newer one does not take part in changing it.
type StateFormat uint8

const (
	// State1 is the first version.
	State1 StateFormat = 1 + iota
)

// A body is 3 bytes "HFS", 1 byte state format and one zstd frame (RFC 8878).
// It is compressed because the admin's configuration is text.
const stateMagic = "HFS"

// MaxState bounds what a body may be once decompressed, in bytes.
const MaxState = 8 << 20

// EncodeState returns the body for a state. The same state always gives the
// same bytes. Conf is left out: it is Config, parsed. It fails with ErrValue if
// nodes or services are not sorted or an enumeration is out of range, and with
// ErrTooLarge if the body does not fit.
func EncodeState(s *cluster.State) ([]byte, error) {
	if err := checkState(s); err != nil {
		return nil, fmt.Errorf("state: %w", err)
	}
	return packState(plainState(s), len(s.Config))
}

func plainState(s *cluster.State) []byte {
	var w writer
	w.u64(s.Ver)
	w.uuid(s.Cluster)
	w.bytes(s.Config)
	w.u64(s.ConfigRev)
	w.u64(s.View)
	w.count(len(s.Nodes))
	for i := range s.Nodes {
		w.node(&s.Nodes[i])
	}
	w.count(len(s.Services))
	for i := range s.Services {
		w.grant(&s.Services[i])
	}
	w.count(len(s.Disks))
	for _, d := range s.Disks {
		w.uuid(d)
	}
	w.u32(s.DiskGen)
	return w.b
}

// packState compresses an encoded state.
func packState(plain []byte, config int) ([]byte, error) {
	if len(plain) > MaxState {
		return nil, fmt.Errorf("state: %w: it takes %d KiB, at most %d KiB", ErrTooLarge, len(plain)>>10, MaxState>>10)
	}
	z, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithWindowSize(1<<20), zstd.WithLowerEncoderMem(true))
	if err != nil {
		return nil, fmt.Errorf("state: %w", err)
	}
	defer z.Close() // gives its memory back; nothing is buffered
	b := z.EncodeAll(plain, append([]byte(stateMagic), byte(State1)))
	if len(b) > BodySize {
		return nil, fmt.Errorf("state: %w: compressed it takes %d KiB, at most %d KiB; the configuration is %d KiB of what is compressed: make it smaller",
			ErrTooLarge, (len(b)+1023)>>10, BodySize>>10, config>>10)
	}
	return b, nil
}

// DecodeState is the inverse of EncodeState; Conf stays nil. It needs at most
// MaxState bytes whatever it is given. It fails with ErrMagic, ErrFormat,
// ErrTooLarge, ErrLength or ErrValue.
func DecodeState(body []byte) (*cluster.State, error) {
	plain, err := unpackState(body)
	if err != nil {
		return nil, fmt.Errorf("state: %w", err)
	}
	return readState(plain)
}

func readState(plain []byte) (*cluster.State, error) {
	r := reader{b: plain}
	s := &cluster.State{Ver: r.u64(), Cluster: r.uuid(), Config: r.bytes(), ConfigRev: r.u64(), View: r.u64()}
	for range r.count(minNode) {
		s.Nodes = append(s.Nodes, r.node())
	}
	for range r.count(minGrant) {
		s.Services = append(s.Services, r.grant())
	}
	for range r.count(16) {
		s.Disks = append(s.Disks, r.uuid())
	}
	s.DiskGen = r.u32()
	err := r.end()
	if err == nil {
		err = checkState(s)
	}
	if err != nil {
		return nil, fmt.Errorf("state: %w", err)
	}
	return s, nil
}

func unpackState(body []byte) ([]byte, error) {
	if len(body) > BodySize {
		return nil, fmt.Errorf("%w: %d bytes", ErrTooLarge, len(body))
	}
	if len(body) < len(stateMagic)+1 || string(body[:len(stateMagic)]) != stateMagic {
		return nil, ErrMagic
	}
	if f := StateFormat(body[len(stateMagic)]); f != State1 {
		return nil, fmt.Errorf("%w (state format %d, known up to %d)", ErrFormat, f, State1)
	}
	z, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxMemory(MaxState))
	if err != nil {
		return nil, err
	}
	defer z.Close()
	plain, err := z.DecodeAll(body[len(stateMagic)+1:], nil)
	switch {
	case errors.Is(err, zstd.ErrDecoderSizeExceeded), errors.Is(err, zstd.ErrWindowSizeExceeded):
		return nil, fmt.Errorf("%w: more than %d KiB when decompressed", ErrTooLarge, MaxState>>10)
	case err != nil:
		return nil, fmt.Errorf("%w: decompressing: %w", ErrValue, err)
	}
	return plain, nil
}

// checkState refuses what the decoder could not give back, and what lookups by
// order would get wrong.
func checkState(s *cluster.State) error {
	for i := range s.Nodes {
		n := &s.Nodes[i]
		switch {
		case n.ID == 0 || (i > 0 && n.ID <= s.Nodes[i-1].ID):
			return fmt.Errorf("%w: nodes are not sorted by number, or one has none (node %d)", ErrValue, n.ID)
		case n.Phase > cluster.Leaving:
			return fmt.Errorf("%w: phase %d of node %d", ErrValue, n.Phase, n.ID)
		case n.Proof.Kind > cluster.ProofOperator:
			return fmt.Errorf("%w: proof %d of node %d", ErrValue, n.Proof.Kind, n.ID)
		}
	}
	for i := range s.Services {
		g := &s.Services[i]
		switch {
		case g.Service == "" || (i > 0 && g.Service <= s.Services[i-1].Service):
			return fmt.Errorf("%w: services are not sorted by name, or one has none (%q)", ErrValue, g.Service)
		case g.Proof.Kind > cluster.ProofOperator:
			return fmt.Errorf("%w: proof %d of service %q", ErrValue, g.Proof.Kind, g.Service)
		}
	}
	return nil
}

// The least that an element of a list takes.
const (
	minIncarnation = 4 + 16
	minProof       = 1 + 1 + minIncarnation + 1 + 4 + 8 + 8 + 4
	minNode        = 1 + 4 + 16 + 4 + 1 + 2*minIncarnation + 4 + 4 + minProof + 1
	minPending     = 1 + minIncarnation
	minFail        = 1 + 4 + 4
	minGrant       = 4 + 1 + minIncarnation + 8 + 4 + 1 + 1 + 1 + 4 + minProof + 4
)

func (w *writer) node(n *cluster.NodeState) {
	w.u8(uint8(n.ID))
	w.text(n.Name)
	w.uuid(n.Host)
	w.count(len(n.Links))
	for _, l := range n.Links {
		w.text(l)
	}
	w.u8(uint8(n.Phase))
	w.inc(n.Inc)
	w.inc(n.Fencing)
	w.text(n.Why)
	w.u32(n.Dead)
	w.proof(&n.Proof)
	w.bool(n.Standby)
}

func (r *reader) node() cluster.NodeState {
	n := cluster.NodeState{ID: ident.NodeID(r.u8()), Name: r.text(), Host: r.uuid()}
	for range r.count(4) {
		n.Links = append(n.Links, r.text())
	}
	n.Phase = cluster.Phase(r.oneOf("phase", uint8(cluster.Leaving)))
	n.Inc, n.Fencing = r.inc(), r.inc()
	n.Why, n.Dead, n.Proof, n.Standby = r.text(), r.u32(), r.proof(), r.bool()
	return n
}

func (w *writer) proof(p *cluster.Proof) {
	w.u8(uint8(p.Kind))
	w.u8(uint8(p.Node))
	w.inc(p.Inc)
	w.u8(uint8(p.By))
	w.u32(p.DiskGen)
	w.i64(int64(p.Wait))
	w.i64(int64(p.Silent))
	w.text(p.Text)
}

func (r *reader) proof() cluster.Proof {
	return cluster.Proof{
		Kind:    cluster.ProofKind(r.oneOf("proof", uint8(cluster.ProofOperator))),
		Node:    ident.NodeID(r.u8()),
		Inc:     r.inc(),
		By:      ident.NodeID(r.u8()),
		DiskGen: r.u32(),
		Wait:    time.Duration(r.i64()),
		Silent:  time.Duration(r.i64()),
		Text:    r.text(),
	}
}

func (w *writer) grant(g *cluster.Grant) {
	w.text(g.Service)
	w.u8(uint8(g.Owner))
	w.inc(g.Inc)
	w.u64(g.Term)
	w.count(len(g.Pending))
	for _, p := range g.Pending {
		w.u8(uint8(p.Node))
		w.inc(p.Inc)
	}
	w.u8(uint8(g.Want))
	w.bool(g.Stopped)
	w.bool(g.Frozen)
	w.text(g.Why)
	w.proof(&g.Proof)
	w.count(len(g.Fails))
	for _, f := range g.Fails {
		w.u8(uint8(f.Node))
		w.u32(f.Count)
		w.text(f.Text)
	}
}

func (r *reader) grant() cluster.Grant {
	g := cluster.Grant{Service: r.text(), Owner: ident.NodeID(r.u8()), Inc: r.inc(), Term: r.u64()}
	for range r.count(minPending) {
		g.Pending = append(g.Pending, cluster.Pending{Node: ident.NodeID(r.u8()), Inc: r.inc()})
	}
	g.Want, g.Stopped, g.Frozen = ident.NodeID(r.u8()), r.bool(), r.bool()
	g.Why, g.Proof = r.text(), r.proof()
	for range r.count(minFail) {
		g.Fails = append(g.Fails, cluster.Fail{Node: ident.NodeID(r.u8()), Count: r.u32(), Text: r.text()})
	}
	return g
}
