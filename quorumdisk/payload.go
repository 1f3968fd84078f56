package quorumdisk

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/holdfast-ha/holdfast/cluster"
	"github.com/holdfast-ha/holdfast/cluster/ident"
)

// PayloadFormat is the version of the payload, which is the daemon's: guard and
// daemon of a node may differ in version. The kill records stay where they are
// in every version, because guards read them.
type PayloadFormat uint8

const (
	// Payload1 is the first version.
	Payload1 PayloadFormat = 1 + iota

	payloadEnd
)

// NewestPayload is the newest version that this program reads and writes.
const NewestPayload = payloadEnd - 1

// The payload (offsets in the payload):
//
//	  0   1  payload format
//	  1   1  phase
//	  2   2  score, signed
//	  4   1  flags: bit 0 a reservation key may be on its way
//	  5   1  number of kill records
//	  6   1  protocol that the daemon speaks; 0 stands for 1
//	  7   1  zero
//	  8   8  view acknowledged
//	 16   8  committed: version
//	 24  24  committed: ballot
//	 48   8  committed: generation
//	 56   1  committed: node
//	 57   7  zero
//	 64   8  generation of the status blob
//	 72  32  reachability, one bit per node
//	104   8  digest of what was released
//	112  24  kill record, up to 8 of them:
//	           0 1 node, 1 3 zero, 4 4 inc, 8 8 boot (first 8 bytes), 16 8 version that chose it
//
// A ballot is 24 bytes: 0 8 round, 8 8 life, 16 4 inc, 20 1 node, 21 3 zero.
const (
	payloadFlags   = 4
	payloadCount   = 5
	payloadSpoken  = 6
	payloadView    = 8
	payloadVer     = 16
	payloadBallot  = 24
	payloadGen     = 48
	payloadNode    = 56
	payloadBlobGen = 64
	payloadReach   = 72
	payloadDigest  = 104
	payloadKills   = 112

	killSize   = 24
	ballotSize = 24

	flagRegistering = 1
)

// EncodePayload appends the payload to dst. It fails with ErrTooLarge if there
// are more kill records than fit, and with ErrValue for an unknown phase or a
// kill record without a node.
func EncodePayload(dst []byte, p *cluster.Payload) ([]byte, error) {
	if len(p.Kills) > cluster.MaxKills {
		return dst, fmt.Errorf("payload: %w: %d kill records, at most %d", ErrTooLarge, len(p.Kills), cluster.MaxKills)
	}
	if p.Phase > cluster.Leaving {
		return dst, fmt.Errorf("payload: %w: phase %d", ErrValue, p.Phase)
	}
	var b [payloadKills + cluster.MaxKills*killSize]byte
	b[0], b[1] = byte(Payload1), byte(p.Phase)
	binary.LittleEndian.PutUint16(b[2:], uint16(p.Score))
	if p.Registering {
		b[payloadFlags] = flagRegistering
	}
	b[payloadCount], b[payloadSpoken] = byte(len(p.Kills)), byte(p.Protocol)
	binary.LittleEndian.PutUint64(b[payloadView:], p.ViewAcked)
	binary.LittleEndian.PutUint64(b[payloadVer:], p.Committed.Ver)
	putBallot(b[payloadBallot:], p.Committed.Ballot)
	binary.LittleEndian.PutUint64(b[payloadGen:], p.Committed.Gen)
	b[payloadNode] = byte(p.Committed.Node)
	binary.LittleEndian.PutUint64(b[payloadBlobGen:], p.BlobGen)
	copy(b[payloadReach:], p.Reach[:])
	copy(b[payloadDigest:], p.Released[:])
	for i := range p.Kills {
		k, to := &p.Kills[i], b[payloadKills+i*killSize:]
		if k.Node == 0 {
			return dst, fmt.Errorf("payload: %w: a kill record for no node", ErrValue)
		}
		to[0] = byte(k.Node)
		binary.LittleEndian.PutUint32(to[4:], k.Inc)
		copy(to[8:], k.Boot[:])
		binary.LittleEndian.PutUint64(to[16:], k.Ver)
	}
	return append(dst, b[:payloadKills+len(p.Kills)*killSize]...), nil
}

// DecodePayload is the inverse of EncodePayload. It fails with ErrFormat,
// ErrLength, ErrReserved or ErrValue.
func DecodePayload(b []byte) (cluster.Payload, error) {
	var p cluster.Payload
	if err := checkPayload(b); err != nil {
		if errors.Is(err, ErrFormat) {
			err = CheckFormat(Format(b[0]), Format(NewestPayload))
		}
		return p, fmt.Errorf("payload: %w", err)
	}
	p = cluster.Payload{
		Phase:     cluster.Phase(b[1]),
		ViewAcked: binary.LittleEndian.Uint64(b[payloadView:]),
		Committed: cluster.Claim{
			Ver:    binary.LittleEndian.Uint64(b[payloadVer:]),
			Ballot: getBallot(b[payloadBallot:]),
			Node:   ident.NodeID(b[payloadNode]),
			Gen:    binary.LittleEndian.Uint64(b[payloadGen:]),
		},
		Reach:       [32]byte(b[payloadReach:payloadDigest]),
		Score:       int16(binary.LittleEndian.Uint16(b[2:])),
		Protocol:    cluster.Protocol(b[payloadSpoken]),
		Registering: b[payloadFlags] == flagRegistering,
		Released:    cluster.Digest(b[payloadDigest:payloadKills]),
		BlobGen:     binary.LittleEndian.Uint64(b[payloadBlobGen:]),
	}
	for k := b[payloadKills:]; len(k) > 0; k = k[killSize:] {
		p.Kills = append(p.Kills, getKill(k))
	}
	return p, nil
}

// checkPayload returns the bare reason why a payload is refused.
func checkPayload(b []byte) error {
	switch {
	case len(b) == 0:
		return ErrLength
	case PayloadFormat(b[0]) < Payload1 || PayloadFormat(b[0]) > NewestPayload:
		return ErrFormat
	case !killsFit(b) || len(b) != payloadKills+int(b[payloadCount])*killSize:
		return ErrLength
	case b[payloadSpoken+1] != 0 || !isZero(b[payloadBallot+21:payloadGen]) || !isZero(b[payloadNode+1:payloadBlobGen]):
		return ErrReserved
	case b[payloadFlags] > flagRegistering:
		return ErrReserved
	case cluster.Phase(b[1]) > cluster.Leaving:
		return ErrValue
	}
	for k := b[payloadKills:]; len(k) > 0; k = k[killSize:] {
		if !isZero(k[1:4]) {
			return ErrReserved
		}
		if k[0] == 0 {
			return ErrValue
		}
	}
	return nil
}

// killsFit says whether the kill records that a payload announces are there.
func killsFit(b []byte) bool {
	return len(b) >= payloadKills && b[payloadCount] <= cluster.MaxKills &&
		len(b) >= payloadKills+int(b[payloadCount])*killSize
}

func getKill(b []byte) cluster.Kill {
	return cluster.Kill{
		Node: ident.NodeID(b[0]),
		Inc:  binary.LittleEndian.Uint32(b[4:]),
		Boot: [8]byte(b[8:16]),
		Ver:  binary.LittleEndian.Uint64(b[16:]),
	}
}

func putBallot(to []byte, b ident.Ballot) {
	binary.LittleEndian.PutUint64(to, b.Round)
	binary.LittleEndian.PutUint64(to[8:], b.Life)
	binary.LittleEndian.PutUint32(to[16:], b.Inc)
	to[20] = byte(b.Node)
}

func getBallot(b []byte) ident.Ballot {
	return ident.Ballot{
		Round: binary.LittleEndian.Uint64(b),
		Life:  binary.LittleEndian.Uint64(b[8:]),
		Inc:   binary.LittleEndian.Uint32(b[16:]),
		Node:  ident.NodeID(b[20]),
	}
}

// FindKill looks for a kill record of exactly this node, incarnation and boot
// in the beats of the other nodes. table is what one read of Layout.TableSize
// bytes at SuperOffset gave. It allocates nothing and never fails: a sector that
// does not check is no kill record. Checksum and seal are computed only for
// sectors that have a matching record, so the search costs next to nothing while
// nobody is being fenced. A payload of a newer format is searched as well.
func (c *Codec) FindKill(table []byte, self ident.NodeID, inc ident.Incarnation) (cluster.Kill, bool) {
	if len(table) != c.layout.TableSize() {
		return cluster.Kill{}, false
	}
	for n := 1; n <= c.layout.Nmax; n++ {
		node := ident.NodeID(n)
		sector := c.layout.Beat(table, node)
		k, p := kindBeat(), place{node: uint8(node)}
		if node == self || c.checkFront(sector, k, p) != nil {
			continue
		}
		length := int(binary.LittleEndian.Uint16(sector[offBeatLength:]))
		if length > MaxPayload {
			continue
		}
		kill, found := findKill(sector[offBeatPayload:offBeatPayload+length], self, inc)
		if found && c.checkBack(sector, k, p, offBeatPayload+length) == nil {
			return kill, true
		}
	}
	return cluster.Kill{}, false
}

func findKill(payload []byte, self ident.NodeID, inc ident.Incarnation) (cluster.Kill, bool) {
	if !killsFit(payload) {
		return cluster.Kill{}, false
	}
	for i := range int(payload[payloadCount]) {
		k := getKill(payload[payloadKills+i*killSize:])
		if k.Node == self && k.Inc == inc.N && k.Boot == [8]byte(inc.Boot[:8]) {
			return k, true
		}
	}
	return cluster.Kill{}, false
}
