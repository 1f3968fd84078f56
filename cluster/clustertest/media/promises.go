package media

import (
	"github.com/holdfast-ha/holdfast/cluster/clustertest/oracle"
	"github.com/holdfast-ha/holdfast/cluster/ident"
	"github.com/holdfast-ha/holdfast/cluster/register"
)

// Land lands a block's header, or tears it, and has the oracle see what the ring on
// disk shows before and after.
func (k *Disk) Land(b Block, torn bool, disk int, j *oracle.Judge) {
	before := k.ring(b.Node)
	k.PutHeader(b, torn)
	j.Replaces(disk, b.Node, before, k.ring(b.Node))
}

// life is one life of a node's daemon, as its blocks name it.
type life struct {
	node ident.NodeID
	inc  uint32
}

// LandLate lands a block that was reported as failed, unless that is one of the
// things that the register takes for granted of disks (docs/decisions/0003): its
// life has written newer blocks, and a later life's ring has come round to its place.
func (k *Disk) LandLate(b Block, h register.Header, disk int, j *oracle.Judge) {
	there := &k.headers[h.Node][b.Slot]
	if there.ok && there.h.Inc > h.Inc && k.newest[life{h.Node, h.Inc}] > h.Gen {
		return
	}
	k.PutBody(b, false)
	k.Land(b, false, disk, j)
}

// landed takes note of a header that stands.
func (k *Disk) landed(h *register.Header) {
	l := life{h.Node, h.Inc}
	k.newest[l] = max(k.newest[l], h.Gen)
}

func (k *Disk) ring(id ident.NodeID) (all []oracle.Block) {
	for slot := range k.headers[id] {
		if e := &k.headers[id][slot]; e.ok {
			all = append(all, said(&e.h))
		}
	}
	return all
}

func said(h *register.Header) oracle.Block {
	return oracle.Block{Mbal: h.Mbal, Bal: h.Bal, Ver: h.Ver}
}

// Written is the header that a daemon wrote last, per disk.
type Written [16]register.Header

// In is what that block says, if it is among the headers that disk shows: its
// writer goes by it then. A ticket says nothing.
func (w *Written) In(all []register.Header, disk int) (oracle.Block, bool) {
	for i := range all {
		if h, own := &all[i], &w[disk]; h.Node == own.Node && h.Gen == own.Gen && h.Mbal == own.Mbal && !h.IsTicket() {
			return said(h), true
		}
	}
	return oracle.Block{}, false
}
