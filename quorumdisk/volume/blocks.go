package volume

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"time"

	"github.com/holdfast-ha/holdfast/cluster"
	"github.com/holdfast-ha/holdfast/cluster/ident"
	"github.com/holdfast-ha/holdfast/cluster/register"
	"github.com/holdfast-ha/holdfast/quorumdisk"
	"github.com/holdfast-ha/holdfast/quorumdisk/statecodec"
)

// Headers is what one read of all rings showed.
type Headers struct {
	Valid []register.Header // by node and slot
	Bad   []error           // places that were written and do not check
	BadAt []int64           // their offsets, bytes from the start of the disk
}

// ReadHeaders reads every node's ring in one request, and the superblock after
// it: a disk that was wiped or exchanged while it is open has no headers, and a
// register that took this for "nobody has accepted anything" would lose what was
// committed. It then fails with an error of package quorumdisk. A header that
// does not check counts as not there: the generation before it stands.
func (v *Volume) ReadHeaders(timeout time.Duration) (Headers, error) {
	all, err := v.headers(timeout)
	if err != nil {
		return Headers{}, err
	}
	if err := v.stillThere(timeout); err != nil {
		return Headers{}, err
	}
	return all, nil
}

// headers reads every ring, whatever has become of the superblock.
func (v *Volume) headers(timeout time.Duration) (Headers, error) {
	if v.table == nil {
		v.table = make([]byte, v.layout.HeadersSize())
	}
	if err := v.disk.Read(v.table, quorumdisk.HeadersOffset, timeout); err != nil {
		return Headers{}, err
	}
	var all Headers
	for n := 1; n <= v.layout.Nmax; n++ {
		for slot := range uint8(quorumdisk.Ring) {
			at := v.layout.HeaderOffset(ident.NodeID(n), slot) - quorumdisk.HeadersOffset
			h, ok, err := v.codec.OpenHeader(v.table[at:at+int64(v.layout.SectorSize)], ident.NodeID(n), slot)
			switch {
			case err != nil:
				all.Bad, all.BadAt = append(all.Bad, err), append(all.BadAt, at+quorumdisk.HeadersOffset)
			case ok:
				all.Valid = append(all.Valid, h)
			}
		}
	}
	return all, nil
}

// stillThere checks that the superblock that Open went by is still this disk's.
func (v *Volume) stillThere(timeout time.Duration) error {
	at := int64(quorumdisk.SuperOffset)
	if v.copy != 0 {
		at = v.layout.BackupOffset(v.super.Size)
	}
	sector := make([]byte, v.layout.SectorSize)
	if err := v.disk.Read(sector, at, timeout); err != nil {
		return err
	}
	s, err := quorumdisk.DecodeSuperblock(sector, v.copy)
	switch {
	case err != nil:
		return fmt.Errorf("the superblock is not what it was: %w", err)
	case s.Cluster != v.super.Cluster:
		return fmt.Errorf("the superblock is not what it was: %w", quorumdisk.ErrCluster)
	case s.Disk != v.super.Disk:
		return fmt.Errorf("the superblock is not what it was: %w", quorumdisk.ErrWrongDisk)
	}
	return nil
}

// WriteBlock writes a generation of a node's block: the body, and when that is
// complete the header, with Slot, Len and Sum filled in. It returns the header as
// written. A body of no bytes is not written. Each of the two writes may take
// timeout. A header that was not written leaves the generation before it as the
// node's block.
func (v *Volume) WriteBlock(h register.Header, body []byte, timeout time.Duration) (register.Header, error) {
	if len(body) > quorumdisk.BodySize {
		return h, fmt.Errorf("body of %d bytes: %w", len(body), quorumdisk.ErrTooLarge)
	}
	h.Slot, h.Len, h.Sum = uint8(h.Gen%quorumdisk.Ring), uint32(len(body)), [32]byte{}
	if len(body) > 0 {
		h.Sum = sha256.Sum256(body)
	}
	sector := make([]byte, v.layout.SectorSize)
	if err := v.codec.SealHeader(sector, &h); err != nil {
		return h, err
	}
	if len(body) > 0 {
		padded := make([]byte, v.padded(len(body)))
		copy(padded, body)
		if err := v.disk.Write(padded, v.layout.BodyOffset(h.Node, h.Slot), timeout); err != nil {
			return h, err
		}
	}
	return h, v.disk.Write(sector, v.layout.HeaderOffset(h.Node, h.Slot), timeout)
}

// ReadBody reads the body that a header describes. It fails with ErrStale if
// what is there has another SHA-256: it was replaced since the header was read,
// or is damaged. A header without a body gives no bytes.
func (v *Volume) ReadBody(h register.Header, timeout time.Duration) ([]byte, error) {
	if h.Len == 0 {
		return nil, nil
	}
	if !v.layout.Has(h.Node) || h.Slot >= quorumdisk.Ring || h.Len > quorumdisk.BodySize {
		return nil, fmt.Errorf("register body of node %d, slot %d: %w (%d bytes)", h.Node, h.Slot, quorumdisk.ErrValue, h.Len)
	}
	b := make([]byte, v.padded(int(h.Len)))
	if err := v.disk.Read(b, v.layout.BodyOffset(h.Node, h.Slot), timeout); err != nil {
		return nil, err
	}
	if b = b[:h.Len]; sha256.Sum256(b) != h.Sum {
		return nil, fmt.Errorf("register body of node %d, slot %d, generation %d: %w", h.Node, h.Slot, h.Gen, ErrStale)
	}
	return b, nil
}

func (v *Volume) padded(n int) int {
	s := v.layout.SectorSize
	return (n + s - 1) / s * s
}

// ReadTable reads superblock A and all beats in one request into table, which
// has Layout.TableSize bytes.
func (v *Volume) ReadTable(table []byte, timeout time.Duration) error {
	if len(table) != v.layout.TableSize() {
		return fmt.Errorf("%w: a table of %d bytes, want %d", quorumdisk.ErrSectorSize, len(table), v.layout.TableSize())
	}
	return v.disk.Read(table, quorumdisk.SuperOffset, timeout)
}

// WriteBeat writes a sealed beat. Only the guard of that node calls it.
func (v *Volume) WriteBeat(node ident.NodeID, sector []byte, timeout time.Duration) error {
	if !v.layout.Has(node) || len(sector) != v.layout.SectorSize {
		return fmt.Errorf("beat of node %d: %w", node, quorumdisk.ErrPlace)
	}
	return v.disk.Write(sector, v.layout.BeatOffset(node), timeout)
}

// WriteBlob writes a status blob into the place of its generation.
func (v *Volume) WriteBlob(b *cluster.Blob, timeout time.Duration) error {
	body, err := statecodec.EncodeBlob(b)
	if err != nil {
		return fmt.Errorf("node %d: %w", b.Node, err)
	}
	raw, err := v.codec.SealBlob(nil, &quorumdisk.BlobHeader{Node: b.Node, Inc: b.Inc, Gen: b.Gen}, body)
	if err != nil {
		return err
	}
	return v.disk.Write(raw, v.layout.BlobOffset(b.Node, quorumdisk.BlobSlot(b.Gen)), timeout)
}

// ReadBlob reads this generation of a node's status blob. It fails with ErrStale
// if another one stands in its place, or none.
func (v *Volume) ReadBlob(node ident.NodeID, gen uint64, timeout time.Duration) (*cluster.Blob, error) {
	b, err := v.blobIn(node, quorumdisk.BlobSlot(gen), timeout)
	if err != nil {
		return nil, err
	}
	if b == nil || b.Gen != gen {
		return nil, fmt.Errorf("status blob of node %d, generation %d: %w", node, gen, ErrStale)
	}
	return b, nil
}

// NewestBlob reads both places of a node's status blob and returns the newer:
// highest incarnation number, then generation. It is nil if the node never wrote
// one. A place that does not check is passed over if the other does.
func (v *Volume) NewestBlob(node ident.NodeID, timeout time.Duration) (*cluster.Blob, error) {
	var newest *cluster.Blob
	var bad error
	for slot := range uint8(quorumdisk.BlobSlots) {
		b, err := v.blobIn(node, slot, timeout)
		bad = errors.Join(bad, err)
		if b != nil && (newest == nil || b.Inc.N > newest.Inc.N || (b.Inc.N == newest.Inc.N && b.Gen > newest.Gen)) {
			newest = b
		}
	}
	if newest != nil {
		bad = nil
	}
	return newest, bad
}

func (v *Volume) blobIn(node ident.NodeID, slot uint8, timeout time.Duration) (*cluster.Blob, error) {
	if !v.layout.Has(node) {
		return nil, fmt.Errorf("status blob of node %d: %w", node, quorumdisk.ErrPlace)
	}
	raw := make([]byte, quorumdisk.BlobSize)
	if err := v.disk.Read(raw, v.layout.BlobOffset(node, slot), timeout); err != nil {
		return nil, err
	}
	h, body, err := v.codec.OpenBlob(raw, node, slot)
	if err != nil || h == nil {
		return nil, err
	}
	b, err := statecodec.DecodeBlob(body)
	if err != nil {
		return nil, fmt.Errorf("node %d, slot %d: %w", node, slot, err)
	}
	b.Node, b.Inc, b.Gen = h.Node, h.Inc, h.Gen
	return b, nil
}

// WriteProbe leaves a nonce for another node to find.
func (v *Volume) WriteProbe(node ident.NodeID, nonce [32]byte, timeout time.Duration) error {
	sector := make([]byte, v.layout.SectorSize)
	if err := v.codec.SealProbe(sector, node, nonce); err != nil {
		return err
	}
	return v.disk.Write(sector, v.layout.ProbeOffset(node), timeout)
}

// ReadProbe reads the nonce that a node left; ok is false if there is none.
func (v *Volume) ReadProbe(node ident.NodeID, timeout time.Duration) (nonce [32]byte, ok bool, err error) {
	if !v.layout.Has(node) {
		return nonce, false, fmt.Errorf("probe of node %d: %w", node, quorumdisk.ErrPlace)
	}
	sector := make([]byte, v.layout.SectorSize)
	if err := v.disk.Read(sector, v.layout.ProbeOffset(node), timeout); err != nil {
		return nonce, false, err
	}
	return v.codec.OpenProbe(sector, node)
}

// NewestState returns the accepted value with the highest ballot and version
// whose body is whole, and its header. It was accepted, not necessarily
// committed: it is for recovery and for looking at a disk, never for a running
// node. Without any value it returns nil and no error.
func (v *Volume) NewestState(timeout time.Duration) (*cluster.State, register.Header, error) {
	all, err := v.headers(timeout)
	if err != nil {
		return nil, register.Header{}, err
	}
	var bad error
	for len(all.Valid) > 0 {
		best := 0
		for i := range all.Valid {
			if later(&all.Valid[i], &all.Valid[best]) {
				best = i
			}
		}
		h := all.Valid[best]
		all.Valid = append(all.Valid[:best], all.Valid[best+1:]...)
		if h.Ver == 0 {
			continue
		}
		s, err := v.readState(h, timeout)
		if err == nil {
			return s, h, nil
		}
		bad = errors.Join(bad, err)
	}
	return nil, register.Header{}, bad
}

// later orders accepted values.
func later(a, b *register.Header) bool {
	if c := a.Bal.Compare(b.Bal); c != 0 {
		return c > 0
	}
	return a.Ver > b.Ver
}

func (v *Volume) readState(h register.Header, timeout time.Duration) (*cluster.State, error) {
	body, err := v.ReadBody(h, timeout)
	if err != nil {
		return nil, err
	}
	return statecodec.Decode(body)
}
