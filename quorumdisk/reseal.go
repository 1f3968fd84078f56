package quorumdisk

import (
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"hash/crc32"

	"github.com/holdfast-ha/holdfast/cluster/ident"
)

// Place is where a sealed record stands: what it is for, whose it is (zero: a
// superblock, which is nobody's), and which of several it is.
type Place struct {
	Purpose Purpose
	Node    ident.NodeID
	Slot    uint8
	Off     int64 // bytes from the start of the disk
}

// Sealing is with which key a record is sealed.
type Sealing uint8

// Unsealed is a place that was never written, or that is damaged, or sealed with a
// key that is not known here: nobody reads it as it is, and no exchange of keys
// changes that.
const (
	Unsealed Sealing = iota
	SealedByCurrent
	SealedByPrevious
)

// fingerprintSize is how many bytes people compare.
const fingerprintSize = 6

// Fingerprint tells keys apart for people and programs, and says nothing of the key
// itself: 6 bytes of HKDF-SHA-256 (RFC 5869), in hexadecimal. It is empty for none.
func (k Key) Fingerprint() string {
	if k.IsZero() {
		return ""
	}
	b, err := hkdf.Key(sha256.New, k[:], nil, "holdfast 1 fingerprint", fingerprintSize)
	if err != nil {
		return "" // only for a length that SHA-256 does not give
	}
	return hex.EncodeToString(b)
}

// ParseKey reads 64 hexadecimal digits. Errors wrap ErrKeyFile.
func ParseKey(text string) (Key, error) {
	k, err := parseKeys([]byte(text))
	if err == nil && !k.Previous.IsZero() {
		err = ErrKeyFile
	}
	return k.Current, err
}

// Secret is the key as 64 hexadecimal digits, as in a key file. It goes to nobody
// but another node of the cluster.
func (k Key) Secret() string { return hex.EncodeToString(k[:]) }

// SealedWith says with which of the keys a record is sealed. sector is at least the
// record's first 512 bytes.
func (c *Codec) SealedWith(sector []byte, at Place) Sealing {
	k, p, ok := c.frame(sector, at)
	if !ok {
		return Unsealed
	}
	for which, h := range c.macs[k.purpose] {
		if h != nil && hmac.Equal(c.seal(which, sector, k, p), sector[offSeal:recordSize]) {
			return [...]Sealing{SealedByCurrent, SealedByPrevious}[which]
		}
	}
	return Unsealed
}

// Reseal replaces the seal of a record that is sealed with the previous key, and says
// whether it did. Nothing else of the record changes: the 16 bytes of the seal lie in
// one block of 512 bytes, which no disk writes by halves, so that whoever reads it
// finds the old seal or the new one and the same record under either.
func (c *Codec) Reseal(sector []byte, at Place) bool {
	if c.SealedWith(sector, at) != SealedByPrevious {
		return false
	}
	k, p, _ := c.frame(sector, at)
	copy(sector[offSeal:recordSize], c.seal(0, sector, k, p))
	return true
}

// frame finds out what kind of record has to stand there, and whether a whole one does.
func (c *Codec) frame(sector []byte, at Place) (kind, place, bool) {
	k := [...]kind{ForSuperblock: kindSuper(), ForBeat: kindBeat(), ForHeader: kindHeader(), ForBlob: kindBlob(), ForProbe: kindProbe()}[at.Purpose]
	if len(sector) < recordSize || len(sector) > LargeSector {
		return k, place{}, false
	}
	p := place{uint8(at.Node), at.Slot}
	if at.Purpose == ForSuperblock {
		p.node = sector[offNode] // its index, which no place tells
	}
	front := Codec{cluster: c.cluster, layout: c.layout}
	front.layout.SectorSize = len(sector)
	if front.checkFront(sector, k, p) != nil {
		return k, p, false
	}
	return k, p, crc32.Checksum(sector[:offCRC], c.crc) == binary.LittleEndian.Uint32(sector[offCRC:])
}

// Places lists where sealed records may stand on a disk whose device had that size
// when it was formatted, in the order of their offsets.
func (l Layout) Places(size int64) []Place {
	list := []Place{{Purpose: ForSuperblock, Off: SuperOffset}}
	each := func(p Purpose, slots int, off func(ident.NodeID, uint8) int64) {
		for n := 1; n <= l.Nmax; n++ {
			for s := range uint8(slots) {
				list = append(list, Place{p, ident.NodeID(n), s, off(ident.NodeID(n), s)})
			}
		}
	}
	each(ForBeat, 1, func(n ident.NodeID, _ uint8) int64 { return l.BeatOffset(n) })
	each(ForProbe, 1, func(n ident.NodeID, _ uint8) int64 { return l.ProbeOffset(n) })
	each(ForHeader, Ring, l.HeaderOffset)
	each(ForBlob, BlobSlots, l.BlobOffset)
	return append(list, Place{Purpose: ForSuperblock, Slot: 1, Off: l.BackupOffset(size)})
}
