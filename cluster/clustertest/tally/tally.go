// Package tally counts what happens in a simulated cluster, and sums it up, so that
// two runs can be compared.
package tally

import (
	"encoding/binary"
	"fmt"
	"hash/fnv"

	"github.com/holdfast-ha/holdfast/cluster"
	"github.com/holdfast-ha/holdfast/cluster/clustertest/oracle"
	"github.com/holdfast-ha/holdfast/cluster/ident"
)

// Effects that a world counts.
const (
	Graced       = "grace"         // a guard was told that everybody consents
	HeldUp       = "held"          // a daemon came up held
	Replayed     = "replayed"      // a network beat was refused: seen before, or of a former life
	CloneRefused = "clone refused" // a node did not open a clone of a quorum disk
)

// Tally counts what happened in a world.
type Tally struct {
	Events    uint64
	Resets    int
	Versions  int
	Takeovers [16]int // terms that began, by the proof of how the one before ended
	Broke     oracle.Kind
	Effects   map[string]int // how often something had an effect, by what it was
	terms     map[string]uint64
	digest    uint64
}

// Digest sums up everything that every core was told and did. Two runs of one
// story have the same.
func (t *Tally) Digest() uint64 { return t.digest }

// Effect notes that something, a kind of fault for example, had an effect.
func (t *Tally) Effect(what string) {
	if t.Effects == nil {
		t.Effects = map[string]int{}
	}
	t.Effects[what]++
}

// Grants counts the terms of a decided version that are new, and says what the
// oracle has to know of all.
func (t *Tally) Grants(s *cluster.State) []oracle.Grant {
	var grants []oracle.Grant
	for i := range s.Services {
		g := &s.Services[i]
		t.grant(g)
		grants = append(grants, oracle.Grant{
			Service: g.Service, Owner: g.Owner, Inc: g.Inc, Term: g.Term, Why: g.Why,
			Proven: g.Proof.Kind != cluster.NoProof && g.Proof.Text != "", Storage: len(g.Pending) > 0,
		})
	}
	return grants
}

func (t *Tally) grant(g *cluster.Grant) {
	if t.terms == nil {
		t.terms = map[string]uint64{}
	}
	if g.Owner == 0 || g.Term <= t.terms[g.Service] {
		return
	}
	if t.terms[g.Service] > 0 {
		t.Takeovers[g.Proof.Kind&15]++
	}
	t.terms[g.Service] = g.Term
}

// Step adds one step of a core to the digest: when and where it was, what kind of
// event it took and what it answered, with the numbers that tell two apart.
func (t *Tally) Step(id ident.NodeID, now ident.Instant, ev cluster.Event, actions []cluster.Action) {
	h := fnv.New64a()
	var b [8]byte
	put := func(n uint64) {
		binary.LittleEndian.PutUint64(b[:], n)
		_, _ = h.Write(b[:]) // a hash never fails
	}
	put(t.digest)
	put(uint64(id))
	put(uint64(now))
	_, _ = fmt.Fprintf(h, "%T", ev)
	for _, a := range actions {
		switch a := a.(type) {
		case cluster.Reserve:
			put(uint64(a.Kind)<<56 | a.Op)
		case cluster.Order:
			put(uint64(a.Kind)<<56 | a.Seq)
			put(uint64(a.Until))
		case cluster.RegisterOp:
			put(uint64(a.Op.Kind)<<56 | a.Op.Seq)
			put(a.Op.Header.Gen)
		case cluster.Send:
			put(uint64(a.To))
		case cluster.Note:
			_, _ = fmt.Fprint(h, a.Kind, a.Node, a.Service, a.Term, a.Text)
		default:
			_, _ = fmt.Fprintf(h, "%T", a)
		}
	}
	t.digest = h.Sum64()
}
