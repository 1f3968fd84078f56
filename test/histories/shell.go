package histories

import (
	"encoding/binary"
	"errors"
	"slices"
	"time"

	"github.com/holdfast-ha/holdfast/cluster/ident"
	"github.com/holdfast-ha/holdfast/cluster/register"
	"github.com/holdfast-ha/holdfast/quorumdisk"
	"github.com/holdfast-ha/holdfast/quorumdisk/statecodec"
	"github.com/holdfast-ha/holdfast/quorumdisk/volume"
	"github.com/holdfast-ha/holdfast/storage"
)

// patience is the timeout of every request. Nothing here waits for it.
const patience = time.Second

// volume gives a life's volume on a disk, opened on first use, or nil.
func (w *world) volume(n *node, d int) *volume.Volume {
	p := n.onDisk(d)
	if n.vols[d] == nil && !p.gone {
		h := p.mem.Open(name(n.id))
		v, err := volume.Open(h, keys(), volume.Expect{Serve: w.Broken != NoIdentity}, patience)
		if err != nil {
			return nil // wiped: there is no such disk any more
		}
		n.vols[d], n.hands[d] = v, h
	}
	return n.vols[d]
}

// carryOut does what the operation asks of its disk, unless that was done
// before, and says if it is done. While it is at it other nodes may act.
func (w *world) carryOut(n *node, f *flight) bool {
	p := n.onDisk(f.op.Disk)
	if f.done || p.out {
		return f.done
	}
	f.done, n.busy = true, true
	defer func() { n.busy = false }()
	v := w.volume(n, f.op.Disk)
	if v == nil || p.gone {
		f.failed = errors.New("no such disk")
		return true
	}
	switch f.op.Kind {
	case register.Write:
		f.failed = w.write(n, f, v)
	case register.ReadHeaders:
		f.all, f.failed = w.headers(n, f.op.Disk, v)
	case register.ReadBody:
		f.failed = w.body(n, f, v)
	}
	f.ok = f.failed == nil
	w.log("node %d disk %d: op %d gen %d ver %d: %v", n.id, p.index, f.op.Kind, f.op.Header.Gen, f.op.Header.Ver, f.failed)
	return true
}

func (w *world) write(n *node, f *flight, v *volume.Volume) error {
	d, h := f.op.Disk, f.op.Header
	p := n.onDisk(d)
	var body []byte
	if h.Ver != 0 {
		var err error
		if body, err = w.stage.body(f.op.Value); err != nil {
			w.violated("a state does not encode: %v", err)
		}
	}
	if w.Broken == OnePlace {
		h.Gen *= quorumdisk.Ring
	}
	p.spoilWrite(w, n.hands[d], h)
	_, err := v.WriteBlock(h, body, patience)
	n.hands[d].Heal()
	if errors.Is(err, storage.ErrBusy) {
		return err // nothing was submitted
	}
	if err == nil {
		n.last[d] = h
	}
	landed := p.shows(h)
	p.adopt(w, n, h, err != nil, errors.Is(err, storage.ErrTimeout))
	if !w.calm {
		w.result.Writes++
	}
	if err != nil {
		w.result.Unknown++
		if landed {
			w.result.Landed++
		}
	}
	n.wrote[d] = n.wrote[d] || err == nil && landed
	return err
}

func (w *world) headers(n *node, d int, v *volume.Volume) ([]register.Header, error) {
	p := n.onDisk(d)
	p.spoilRead(w, n.hands[d])
	got, err := v.ReadHeaders(patience)
	n.hands[d].Heal()
	if w.Broken == NoIdentity && errors.Is(err, quorumdisk.ErrMagic) {
		return p.headersUnchecked(false), nil
	}
	if err != nil {
		return nil, err
	}
	all := got.Valid
	own := func(h register.Header) bool { return h.Node == n.id }
	switch w.Broken {
	case NoChecksum:
		all = p.headersUnchecked(true)
	case EarlyRead:
		if early, ok := n.early[d]; ok {
			others := slices.DeleteFunc(slices.Clone(early), own)
			all = append(slices.DeleteFunc(all, func(h register.Header) bool { return !own(h) }), others...)
		}
	case NoReadBack:
		if h, ok := n.last[d]; ok {
			all = append(all, h)
		}
	}
	for i := range all {
		w.distort(n, d, &all[i])
	}
	return all, nil
}

// distort shows a header as a broken proposer would see it.
func (w *world) distort(n *node, d int, h *register.Header) {
	switch {
	case w.Broken == Blind && h.Node != n.id:
		h.Bal, h.Ver = ident.Ballot{}, 0
	case w.Broken == OnePlace:
		h.Gen /= quorumdisk.Ring
		h.Slot = uint8(h.Gen % quorumdisk.Ring)
	case w.Broken == ReusedBallot && h.Node == n.id && h.Gen <= n.former[d]:
		h.Inc, h.Mbal = 0, ident.Ballot{}
	}
}

func (w *world) body(n *node, f *flight, v *volume.Volume) error {
	d, h := f.op.Disk, f.op.Header
	if w.Broken == OnePlace {
		h.Gen *= quorumdisk.Ring
		h.Slot = 0
	}
	n.onDisk(d).spoilRead(w, n.hands[d])
	raw, err := v.ReadBody(h, patience)
	n.hands[d].Heal()
	if w.Broken == AnyBody && errors.Is(err, volume.ErrStale) {
		raw, err = n.onDisk(d).mem.Peek(v.Layout().BodyOffset(h.Node, h.Slot), int(h.Len)), nil
	}
	if err != nil {
		return err
	}
	f.state, err = statecodec.Decode(raw)
	return err
}

// headersUnchecked decodes headers without asking whose disk it is; with damaged,
// also those whose checksum and seal do not fit. The offsets are those of docs/formats/quorumdisk.md.
func (p *disk) headersUnchecked(damaged bool) []register.Header {
	var all []register.Header
	l := p.layout
	ballot := func(b []byte) ident.Ballot {
		return ident.Ballot{
			Round: binary.LittleEndian.Uint64(b), Life: binary.LittleEndian.Uint64(b[8:]),
			Inc: binary.LittleEndian.Uint32(b[16:]), Node: ident.NodeID(b[20]),
		}
	}
	for n := ident.NodeID(1); int(n) <= l.Nmax; n++ {
		for slot := range uint8(quorumdisk.Ring) {
			b := p.mem.Peek(l.HeaderOffset(n, slot), l.SectorSize)
			if _, ok, err := p.codec.OpenHeader(b, n, slot); !damaged && (err != nil || !ok) {
				continue
			}
			gen := binary.LittleEndian.Uint64(b[32:])
			if gen == 0 {
				continue
			}
			all = append(all, register.Header{
				Node: n, Slot: slot, Inc: binary.LittleEndian.Uint32(b[28:]), Gen: gen, Ver: binary.LittleEndian.Uint64(b[40:]),
				Mbal: ballot(b[48:]), Bal: ballot(b[72:]), Len: binary.LittleEndian.Uint32(b[96:]), Sum: [32]byte(b[104:136]),
			})
		}
	}
	return all
}
