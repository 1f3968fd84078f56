// Package media is a simulated quorum disk: the bytes of its regions, written and
// read by the codecs that the guard and the daemon use. It decides nothing about
// time or faults; whoever writes says when, and how much of it lands.
package media

import (
	"crypto/sha256"
	"fmt"

	"github.com/holdfast-ha/holdfast/cluster"
	"github.com/holdfast-ha/holdfast/cluster/ident"
	"github.com/holdfast-ha/holdfast/cluster/register"
	"github.com/holdfast-ha/holdfast/quorumdisk"
	"github.com/holdfast-ha/holdfast/quorumdisk/statecodec"
	"github.com/holdfast-ha/holdfast/storage"
)

// Format makes and reads the records of one cluster's disks. It is used by one
// goroutine.
type Format struct {
	codec   *quorumdisk.Codec
	layout  quorumdisk.Layout
	packer  statecodec.Packer
	last    *cluster.State // encoded last, for all disks at once
	body    []byte
	payload []byte
}

// New returns the format of disks with room for nodes.
func New(nodes int) (*Format, error) {
	l := quorumdisk.Layout{SectorSize: quorumdisk.SmallSector, Nmax: nodes}
	c, err := quorumdisk.NewCodec(quorumdisk.Keys{Current: quorumdisk.Key{1}}, ident.UUID{1}, l)
	if err != nil {
		return nil, fmt.Errorf("simulated disks: %w", err)
	}
	return &Format{codec: c, layout: l}, nil
}

// Beat returns the sector of a beat.
func (f *Format) Beat(h *quorumdisk.BeatHeader, p *cluster.Payload) ([]byte, error) {
	var err error
	if f.payload, err = quorumdisk.EncodePayload(f.payload[:0], p); err != nil {
		return nil, err
	}
	raw := make([]byte, f.layout.SectorSize)
	return raw, f.codec.SealBeat(raw, h, f.payload)
}

// Block is one generation of a node's register block as it is written: the body
// first, and then the header.
type Block struct {
	Node   ident.NodeID
	Slot   uint8
	Body   []byte
	Header []byte
}

// Block encodes a generation; s is left out where the header carries no version.
func (f *Format) Block(h register.Header, s *cluster.State) (Block, error) {
	h.Slot, h.Len, h.Sum = uint8(h.Gen%quorumdisk.Ring), 0, [32]byte{}
	b := Block{Node: h.Node, Slot: h.Slot, Header: make([]byte, f.layout.SectorSize)}
	if h.Ver != 0 {
		if f.last != s {
			body, err := f.packer.Encode(s)
			if err != nil {
				return b, err
			}
			f.last, f.body = s, body
		}
		b.Body = f.body
		h.Len, h.Sum = uint32(len(b.Body)), sha256.Sum256(b.Body)
	}
	return b, f.codec.SealHeader(b.Header, &h)
}

// Blob returns the bytes of a status blob.
func (f *Format) Blob(b *cluster.Blob) ([]byte, error) {
	body, err := f.packer.EncodeBlob(b)
	if err != nil {
		return nil, err
	}
	return f.codec.SealBlob(nil, &quorumdisk.BlobHeader{Node: b.Node, Inc: b.Inc, Gen: b.Gen}, body)
}

// Disk is the content of one quorum disk.
type Disk struct {
	f       *Format
	super   quorumdisk.Superblock
	table   []byte // superblock and beats, as one read fetches them
	beats   []beat // by node; decoded once
	headers [][]header
	bodies  [][][]byte
	blobs   [][][]byte
	newest  map[life]uint64 // generation of the newest block that has landed
}

type beat struct {
	raw  []byte
	beat *cluster.Beat
	err  string
}

type header struct {
	raw []byte
	h   register.Header
	ok  bool
}

// NewDisk returns a disk that was formatted, and holds nothing else.
func (f *Format) NewDisk(id ident.UUID) (*Disk, error) {
	super := quorumdisk.Superblock{Disk: id, Layout: f.layout, Size: f.layout.MinSize(), Identity: device(id)}
	k := f.blank(super)
	return k, f.codec.SealSuperblock(k.table[:f.layout.SectorSize], &super, 0)
}

// device is the identity that the device of a disk says of itself.
func device(id ident.UUID) storage.Identity { return storage.Identity{Kind: "naa", Value: id.String()} }

func (f *Format) blank(super quorumdisk.Superblock) *Disk {
	n := f.layout.Nmax + 1
	k := &Disk{
		f: f, super: super, table: make([]byte, f.layout.TableSize()), beats: make([]beat, n), headers: make([][]header, n),
		bodies: make([][][]byte, n), blobs: make([][][]byte, n), newest: map[life]uint64{},
	}
	for i := range n {
		k.headers[i] = make([]header, quorumdisk.Ring)
		k.bodies[i] = make([][]byte, quorumdisk.Ring)
		k.blobs[i] = make([][]byte, quorumdisk.BlobSlots)
	}
	return k
}

// Wiped returns the disk as it is when somebody has overwritten it: with zeros,
// or formatted anew under its own name.
func (k *Disk) Wiped(formatted bool) *Disk {
	c := k.f.blank(k.super)
	if formatted {
		copy(c.table[:k.f.layout.SectorSize], k.table)
	}
	return c
}

// StillThere says whether a process that opened the disk may count what it reads:
// its superblock is where it was.
func (k *Disk) StillThere() error {
	return k.f.codec.StillThere(k.table[:k.f.layout.SectorSize], &k.super)
}

// Opens says whether a process opens this content, if it finds it on a device
// that says of itself that it is the one of another disk: a clone is refused.
func (k *Disk) Opens(on ident.UUID) error {
	s, err := quorumdisk.DecodeSuperblock(k.table[:k.f.layout.SectorSize], 0)
	if err == nil && s.Identity != device(on) {
		err = fmt.Errorf("formatted on %v, found on %v: a clone or a snapshot", s.Identity, device(on))
	}
	return err
}

// Copy returns a disk with the same content: a clone, or a snapshot to go back to.
func (k *Disk) Copy() *Disk {
	c := k.f.blank(k.super)
	copy(c.table, k.table)
	copy(c.beats, k.beats)
	for i := range k.headers {
		copy(c.headers[i], k.headers[i])
		copy(c.bodies[i], k.bodies[i])
		copy(c.blobs[i], k.blobs[i])
	}
	return c
}

// PutBeat lands a beat's sector, which nobody changes any more; of one that is
// torn only the front half.
func (k *Disk) PutBeat(id ident.NodeID, raw []byte, torn bool) {
	if torn {
		half := append([]byte(nil), k.f.layout.Beat(k.table, id)...)
		copy(half[:len(half)/2], raw)
		raw = half
	}
	copy(k.f.layout.Beat(k.table, id), raw)
	b := beat{raw: raw}
	decoded, err := k.f.codec.OpenBeat(raw, id)
	if b.beat = decoded; err != nil {
		b.beat, b.err = nil, err.Error()
	}
	k.beats[id] = b
}

// Beats is what a read of the beat table shows.
func (k *Disk) Beats() []cluster.SeenBeat {
	seen := make([]cluster.SeenBeat, 0, len(k.beats)-1)
	for id := 1; id < len(k.beats); id++ {
		if b := &k.beats[id]; b.raw != nil {
			seen = append(seen, cluster.SeenBeat{Node: ident.NodeID(id), Sector: b.raw, Beat: b.beat, Err: b.err})
		}
	}
	return seen
}

// FindKill is what the guard of a node finds in the table.
func (k *Disk) FindKill(self ident.NodeID, inc ident.Incarnation) (cluster.Kill, bool) {
	return k.f.codec.FindKill(k.table, self, inc)
}

// PutBody lands a block's body, or only the front part of it over what was there.
func (k *Disk) PutBody(b Block, torn bool) {
	if b.Body == nil {
		return
	}
	body := b.Body
	if torn {
		old := k.bodies[b.Node][b.Slot]
		body = make([]byte, max(len(old), len(b.Body)))
		copy(body, old)
		copy(body, b.Body[:len(b.Body)/2])
	}
	k.bodies[b.Node][b.Slot] = body
}

// PutHeader lands a block's header, or only the front half of it.
func (k *Disk) PutHeader(b Block, torn bool) {
	raw := b.Header
	if torn {
		raw = make([]byte, len(b.Header))
		copy(raw, k.headers[b.Node][b.Slot].raw)
		copy(raw[:len(raw)/2], b.Header)
	}
	e := header{raw: raw}
	if h, ok, err := k.f.codec.OpenHeader(raw, b.Node, b.Slot); err == nil {
		e.h, e.ok = h, ok
		k.landed(&h)
	}
	k.headers[b.Node][b.Slot] = e
}

// Headers are all register headers that check.
func (k *Disk) Headers() []register.Header {
	var all []register.Header
	for id := range k.headers {
		for slot := range k.headers[id] {
			if e := &k.headers[id][slot]; e.ok {
				all = append(all, e.h)
			}
		}
	}
	return all
}

// State reads the body that a header describes; false if another one, or a
// damaged one, is in its place. A header without a body has no state.
func (k *Disk) State(h register.Header) (*cluster.State, bool) {
	if h.Len == 0 {
		return nil, true
	}
	body := k.bodies[h.Node][h.Slot]
	if len(body) < int(h.Len) || sha256.Sum256(body[:h.Len]) != h.Sum {
		return nil, false
	}
	s, err := statecodec.Decode(body[:h.Len])
	return s, err == nil
}

// Find is a header of a node's ring with this accepted version, if one is still
// there.
func (k *Disk) Find(id ident.NodeID, ver uint64, bal ident.Ballot) (register.Header, bool) {
	if int(id) >= len(k.headers) {
		return register.Header{}, false
	}
	for i := range k.headers[id] {
		if e := &k.headers[id][i]; e.ok && e.h.Ver == ver && e.h.Bal == bal {
			return e.h, true
		}
	}
	return register.Header{}, false
}

// PutBlob lands a status blob of this generation.
func (k *Disk) PutBlob(id ident.NodeID, gen uint64, raw []byte) {
	k.blobs[id][quorumdisk.BlobSlot(gen)] = raw
}

// Blob reads a status blob; nil if another generation is in its place.
func (k *Disk) Blob(id ident.NodeID, gen uint64) *cluster.Blob {
	slot := quorumdisk.BlobSlot(gen)
	raw := k.blobs[id][slot]
	if raw == nil {
		return nil
	}
	h, body, err := k.f.codec.OpenBlob(raw, id, slot)
	if err != nil || h == nil || h.Gen != gen {
		return nil
	}
	b, err := statecodec.DecodeBlob(body)
	if err != nil {
		return nil
	}
	b.Node, b.Inc, b.Gen = h.Node, h.Inc, h.Gen
	return b
}
