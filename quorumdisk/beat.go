package quorumdisk

import (
	"encoding/binary"
	"math"
	"time"

	"github.com/holdfast-ha/holdfast/cluster"
	"github.com/holdfast-ha/holdfast/cluster/ident"
)

// A beat, after the common front (offsets in the sector):
//
//	 10   1  node                     a sector written by another node
//	 11   1  slot: zero
//	 28  16  host UUID                a second machine that uses this node's slot
//	 44   4  inc                      } the incarnation: an older life's late write
//	 48  16  boot                     }
//	 64   8  seq                      never repeats in a boot: a change is a sign of life
//	 72   4  F, us                    } the lease as its owner keeps it: observers wait
//	 76   4  G, us; all ones: no end  } for the larger of this and the configuration
//	 80   4  TMax, us                 }
//	 84   4  pause bound, us          }
//	 88   1  m                        }
//	 89   1  watchdog class           }
//	 90   2  payload length
//	 92   4  disk-set generation      a proof from another set of disks
//	 96  12  latency of the last cycle on disk 0, 1, 2, us; all ones: none
//	108   1  guard state
//	109   3  zero
//	112 320  payload, then zero
//	432  60  zero
const (
	offBeatHost    = offFields
	offBeatInc     = 44
	offBeatBoot    = 48
	offBeatSeq     = 64
	offBeatF       = 72
	offBeatG       = 76
	offBeatTMax    = 80
	offBeatPause   = 84
	offBeatM       = 88
	offBeatClass   = 89
	offBeatLength  = 90
	offBeatDiskGen = 92
	offBeatLatency = 96
	offBeatState   = 108
	offBeatZero    = 109
	offBeatPayload = 112

	// MaxPayload is how many bytes the daemon may put into a beat.
	MaxPayload = 320
	// MaxDisks is how many disks a beat has room for a latency of.
	MaxDisks = 3
)

var (
	_ [offBeatInc - offBeatHost - 16]struct{}              = [0]struct{}{}
	_ [offBeatState - offBeatLatency - 4*MaxDisks]struct{} = [0]struct{}{}
	_ [offCRC - offBeatPayload - MaxPayload - 60]struct{}  = [0]struct{}{}
	_ [MaxPayload - payloadKills - cluster.MaxKills*killSize]struct{}
)

// Unlimited is the G of a node whose network grace has no end.
const Unlimited time.Duration = math.MaxInt64

// noTime stands for Unlimited, and for a latency that is not known.
const noTime = math.MaxUint32

// BeatHeader is what the guard vouches for in its node's beat. Durations are
// stored in microseconds, rounded up: a larger promise only makes others wait
// longer.
type BeatHeader struct {
	Node    ident.NodeID
	State   cluster.GuardState
	Host    ident.UUID
	Inc     ident.Incarnation
	Seq     uint64
	Lease   cluster.Lease
	DiskGen uint32
	Latency [MaxDisks]time.Duration // of the last cycle by disk; negative: none
}

// SealBeat writes a beat into sector, which is one sector long. It allocates
// nothing unless it fails: with ErrSectorSize, ErrPlace (no such node), ErrLength
// (payload over MaxPayload bytes) or ErrValue (a duration that is negative or
// does not fit; a state or class that is not known).
func (c *Codec) SealBeat(sector []byte, h *BeatHeader, payload []byte) error {
	k, p := kindBeat(), place{node: uint8(h.Node)}
	if err := c.begin(sector, k, p); err != nil {
		return err
	}
	if len(payload) > MaxPayload {
		return refuse(k, p, ErrLength, "payload of %d bytes, at most %d", len(payload), MaxPayload)
	}
	if h.State > cluster.GuardRetired || h.Lease.Class > cluster.WatchdogSoftAccepted {
		return refuse(k, p, ErrValue, "guard state %d, watchdog class %d", h.State, h.Lease.Class)
	}
	l := &h.Lease
	if min(l.F, l.G, l.TMax, l.PauseBound) < 0 || max(l.F, l.TMax, l.PauseBound) > maxTime {
		return refuse(k, p, ErrValue, "lease times of %v, %v, %v and %v, must be 0 to %v", l.F, l.G, l.TMax, l.PauseBound, maxTime)
	}
	putTime(sector[offBeatF:], l.F)
	putTime(sector[offBeatG:], l.G)
	putTime(sector[offBeatTMax:], l.TMax)
	putTime(sector[offBeatPause:], l.PauseBound)
	for i, d := range h.Latency {
		if d < 0 {
			d = Unlimited
		}
		putTime(sector[offBeatLatency+4*i:], d)
	}
	copy(sector[offBeatHost:], h.Host[:])
	binary.LittleEndian.PutUint32(sector[offBeatInc:], h.Inc.N)
	copy(sector[offBeatBoot:], h.Inc.Boot[:])
	binary.LittleEndian.PutUint64(sector[offBeatSeq:], h.Seq)
	sector[offBeatM], sector[offBeatClass] = l.M, byte(l.Class)
	binary.LittleEndian.PutUint16(sector[offBeatLength:], uint16(len(payload)))
	binary.LittleEndian.PutUint32(sector[offBeatDiskGen:], h.DiskGen)
	sector[offBeatState] = byte(h.State)
	copy(sector[offBeatPayload:], payload)
	c.finish(sector, k, p)
	return nil
}

// maxTime is the longest duration that fits.
const maxTime = (noTime - 1) * time.Microsecond

// putTime stores microseconds, rounded up; what does not fit becomes all ones.
func putTime(to []byte, d time.Duration) {
	v := uint32(noTime)
	if d <= maxTime {
		v = uint32((d + time.Microsecond - 1) / time.Microsecond)
	}
	binary.LittleEndian.PutUint32(to, v)
}

// getTime returns none for all ones.
func getTime(from []byte, none time.Duration) time.Duration {
	v := binary.LittleEndian.Uint32(from)
	if v == noTime {
		return none
	}
	return time.Duration(v) * time.Microsecond
}

// openBeat checks a sector and decodes what the guard said. ok is false and
// there is no error if nothing was ever written there.
func (c *Codec) openBeat(sector []byte, node ident.NodeID) (h BeatHeader, payload []byte, ok bool, err error) {
	k, p := kindBeat(), place{node: uint8(node)}
	if len(sector) == c.layout.SectorSize && isZero(sector) {
		return h, nil, false, nil
	}
	if err := c.checkFront(sector, k, p); err != nil {
		return h, nil, false, c.explain(sector, k, p, err)
	}
	n := int(binary.LittleEndian.Uint16(sector[offBeatLength:]))
	if n > MaxPayload {
		return h, nil, false, refuse(k, p, ErrLength, "payload of %d bytes, at most %d", n, MaxPayload)
	}
	if !isZero(sector[offBeatZero:offBeatPayload]) {
		return h, nil, false, refuse(k, p, ErrReserved, "")
	}
	if err := c.checkBack(sector, k, p, offBeatPayload+n); err != nil {
		return h, nil, false, c.explain(sector, k, p, err)
	}
	h = BeatHeader{
		Node:  node,
		State: cluster.GuardState(sector[offBeatState]),
		Host:  ident.UUID(sector[offBeatHost : offBeatHost+16]),
		Inc: ident.Incarnation{
			N:    binary.LittleEndian.Uint32(sector[offBeatInc:]),
			Boot: ident.BootID(sector[offBeatBoot : offBeatBoot+16]),
		},
		Seq: binary.LittleEndian.Uint64(sector[offBeatSeq:]),
		Lease: cluster.Lease{
			F:          getTime(sector[offBeatF:], Unlimited),
			G:          getTime(sector[offBeatG:], Unlimited),
			TMax:       getTime(sector[offBeatTMax:], Unlimited),
			M:          sector[offBeatM],
			Class:      cluster.WatchdogClass(sector[offBeatClass]),
			PauseBound: getTime(sector[offBeatPause:], Unlimited),
		},
		DiskGen: binary.LittleEndian.Uint32(sector[offBeatDiskGen:]),
	}
	for i := range h.Latency {
		h.Latency[i] = getTime(sector[offBeatLatency+4*i:], -1)
	}
	if h.State > cluster.GuardRetired || h.Lease.Class > cluster.WatchdogSoftAccepted {
		return h, nil, false, refuse(k, p, ErrValue, "guard state %d, watchdog class %d", h.State, h.Lease.Class)
	}
	if max(h.Lease.F, h.Lease.TMax, h.Lease.PauseBound) == Unlimited {
		return h, nil, false, refuse(k, p, ErrValue, "a lease time without end")
	}
	return h, sector[offBeatPayload : offBeatPayload+n], true, nil
}

// OpenBeat checks and decodes the sector of a node's slot. A sector that was
// never written (all zero) is no Beat and no error. A beat without payload has
// the zero Payload.
func (c *Codec) OpenBeat(sector []byte, slot ident.NodeID) (*cluster.Beat, error) {
	h, payload, ok, err := c.openBeat(sector, slot)
	if err != nil || !ok {
		return nil, err
	}
	b := &cluster.Beat{
		Node: h.Node, Host: h.Host, Inc: h.Inc, Seq: h.Seq, State: h.State, Lease: h.Lease, DiskGen: h.DiskGen,
	}
	if len(payload) == 0 {
		return b, nil
	}
	if b.Payload, err = DecodePayload(payload); err != nil {
		return nil, refuse(kindBeat(), place{node: uint8(slot)}, err, "")
	}
	return b, nil
}

// OpenTable decodes every slot of the bytes that one read of Layout.TableSize
// bytes at SuperOffset gave. It returns nil for another length.
func (c *Codec) OpenTable(table []byte) []cluster.SeenBeat {
	if len(table) != c.layout.TableSize() {
		return nil
	}
	seen := make([]cluster.SeenBeat, 0, c.layout.Nmax)
	for n := 1; n <= c.layout.Nmax; n++ {
		s := cluster.SeenBeat{Node: ident.NodeID(n), Sector: c.layout.Beat(table, ident.NodeID(n))}
		var err error
		if s.Beat, err = c.OpenBeat(s.Sector, s.Node); err != nil {
			s.Err = err.Error()
		}
		seen = append(seen, s)
	}
	return seen
}

// PeekOwn is what the guard reads of its node's last beat before its first own
// one: which incarnation of which boot it was, and in which state. The payload
// stays unread. A sector that was never written gives the zero header (Node 0)
// and no error.
func (c *Codec) PeekOwn(sector []byte, self ident.NodeID) (BeatHeader, error) {
	h, _, _, err := c.openBeat(sector, self)
	return h, err
}
