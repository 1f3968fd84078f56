// Package ident holds the identifiers that every part of Holdfast shares: who a
// node is, which boot of it is meant, and when something happened. It imports
// nothing of this module, so that the pure packages below cluster, the codecs
// and the guard can speak of the same things.
package ident

import (
	"encoding/hex"
	"fmt"
	"time"
)

// MaxNodes is the number of slots that the on-disk format has room for.
const MaxNodes = 255

// NodeID names a node's slot on the quorum disks: 1 to MaxNodes. Zero is "no node".
type NodeID uint8

// BootID is the kernel's random identity of one boot (16 bytes, RFC 4122).
type BootID [16]byte

// String returns the identity in the form of /proc/sys/kernel/random/boot_id.
func (b BootID) String() string { return UUID(b).String() }

// UUID is an RFC 4122 identity: of a cluster, a quorum disk or a host.
type UUID [16]byte

// String returns the canonical 8-4-4-4-12 form.
func (u UUID) String() string {
	h := hex.EncodeToString(u[:])
	return h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:]
}

// IsZero says that no identity was set.
func (u UUID) IsZero() bool { return u == UUID{} }

// ParseUUID reads the canonical form, with or without hyphens.
func ParseUUID(s string) (UUID, error) {
	var u UUID
	clean := make([]byte, 0, 32)
	for i := 0; i < len(s); i++ {
		if s[i] != '-' && s[i] != '\n' {
			clean = append(clean, s[i])
		}
	}
	if len(clean) != 32 {
		return u, fmt.Errorf("identity %q: want 32 hexadecimal digits, have %d", s, len(clean))
	}
	if _, err := hex.Decode(u[:], clean); err != nil {
		return u, fmt.Errorf("identity %q: %w", s, err)
	}
	return u, nil
}

// Incarnation is one life of a node in the cluster. The pair is compared as a
// pair everywhere: N alone repeats when a node's disk is moved to a spare host.
type Incarnation struct {
	N    uint32
	Boot BootID
}

// IsZero says that there is no incarnation.
func (i Incarnation) IsZero() bool { return i == Incarnation{} }

// String is N and the first four bytes of the boot identity, as in "7/1f2e3d4c".
func (i Incarnation) String() string {
	return fmt.Sprintf("%d/%s", i.N, hex.EncodeToString(i.Boot[:4]))
}

// Ballot orders the proposals of the register: by round, then by node,
// incarnation and life. Life is now() at the start of the proposing daemon, in
// ns. Without it a daemon that restarts within one incarnation could use a
// round again that its former life wrote to a minority of the disks only, and
// two values would stand under one ballot.
type Ballot struct {
	Round uint64
	Node  NodeID
	Inc   uint32
	Life  uint64
}

// Compare returns -1, 0 or 1.
func (b Ballot) Compare(o Ballot) int {
	switch {
	case b.Round != o.Round:
		return sign(b.Round < o.Round)
	case b.Node != o.Node:
		return sign(b.Node < o.Node)
	case b.Inc != o.Inc:
		return sign(b.Inc < o.Inc)
	case b.Life != o.Life:
		return sign(b.Life < o.Life)
	}
	return 0
}

func sign(less bool) int {
	if less {
		return -1
	}
	return 1
}

// IsZero says that no ballot was ever used.
func (b Ballot) IsZero() bool { return b == Ballot{} }

// String is round.node.incarnation.
func (b Ballot) String() string { return fmt.Sprintf("%d.%d.%d", b.Round, b.Node, b.Inc) }

// Instant is a reading of now() of one node, in nanoseconds: un-slewed time
// plus time suspended since that node's boot. Instants of different nodes, or of
// different boots, are never compared.
type Instant int64

// Never is later than every instant that a node can reach.
const Never Instant = 1<<63 - 1

// LongAgo is earlier than every instant; subtracting it never overflows for a
// node that has been up for less than a century.
const LongAgo Instant = -(1 << 62)

// Add returns the instant d later; Never stays Never.
func (t Instant) Add(d time.Duration) Instant {
	if t == Never {
		return Never
	}
	return t + Instant(d)
}

// Sub returns t-o.
func (t Instant) Sub(o Instant) time.Duration { return time.Duration(t - o) }

// Before says t < o.
func (t Instant) Before(o Instant) bool { return t < o }
