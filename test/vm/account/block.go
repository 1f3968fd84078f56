// Package account holds owners of a service to account: what they write says who wrote it, what they were told is written is
// told on to a recorder outside, and a judge who sees every write land compares the two.
//
// A service that is watched so has a writer on a disk and another one on a mounted file system. Every start of the first is a
// run with a number of its own, drawn at random. A run ends when another one's first block lands; what lands of it after that
// has been written by an owner beside the new one. The disk below the file system may be written only by the machine whose
// run is the latest.
package account

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
)

// Size of a block in bytes, and how many a disk has: block number n stands in slot n mod Slots.
const (
	Size  = 4096
	Slots = 256
)

const magic = "HFACOUNT"

// Block is what one write says.
type Block struct {
	Owner  uint32 // the number at the end of the host's name
	Run    uint64 // which run of the writer; never 0
	Number uint64 // from 1, going on where the run before ended
}

// Encode fills b, Size bytes: magic (8), owner (4), zero (4), run (8), number (8), the number again and again, and in the last
// four bytes the CRC-32C of all before. Little endian.
func (k Block) Encode(b []byte) {
	copy(b, magic)
	binary.LittleEndian.PutUint64(b[8:], uint64(k.Owner))
	binary.LittleEndian.PutUint64(b[16:], k.Run)
	for at := 24; at < Size-8; at += 8 {
		binary.LittleEndian.PutUint64(b[at:], k.Number)
	}
	binary.LittleEndian.PutUint64(b[Size-8:], uint64(sum(b[:Size-8])))
}

func sum(b []byte) uint32 { return crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli)) }

// ErrTorn is a block that no writer has written as it is.
var ErrTorn = errors.New("a block of no single write")

// Decode reads a block; one that was never written has the run 0.
func Decode(b []byte) (Block, error) {
	k := Block{uint32(binary.LittleEndian.Uint64(b[8:])), binary.LittleEndian.Uint64(b[16:]), binary.LittleEndian.Uint64(b[24:])}
	switch {
	case k == Block{} && b[0] == 0:
		return k, nil
	case string(b[:8]) != magic || binary.LittleEndian.Uint64(b[Size-8:]) != uint64(sum(b[:Size-8])):
		return Block{}, ErrTorn
	}
	return k, nil
}

// Length of a record of the file, in bytes.
const Length = 32

// record encodes what a file has of one write: owner (4), CRC-32C of the rest (4), run (8), number (8), zero (8).
func (k Block) record() []byte {
	b := make([]byte, Length)
	binary.LittleEndian.PutUint32(b, k.Owner)
	binary.LittleEndian.PutUint64(b[8:], k.Run)
	binary.LittleEndian.PutUint64(b[16:], k.Number)
	binary.LittleEndian.PutUint32(b[4:], sum(append(append([]byte{}, b[:4]...), b[8:]...)))
	return b
}

func readRecord(b []byte) (Block, error) {
	k := Block{binary.LittleEndian.Uint32(b), binary.LittleEndian.Uint64(b[8:]), binary.LittleEndian.Uint64(b[16:])}
	if string(k.record()) != string(b[:Length]) {
		return Block{}, ErrTorn
	}
	return k, nil
}

// Records reads a file: the records that follow each other from number 1 on, and whether that is all of it. What is behind
// them was being written.
func Records(file []byte) (list []Block, whole bool) {
	for len(file) >= Length {
		k, err := readRecord(file)
		if err != nil || k.Number != uint64(len(list)+1) {
			return list, false
		}
		list, file = append(list, k), file[Length:]
	}
	return list, len(file) == 0
}

// What a confirmation is about.
const (
	OnDisk = 1
	InFile = 2
)

// Confirmation says that the writer was told that a write is where it survives.
type Confirmation struct {
	Kind uint32 // OnDisk or InFile
	Block
}

// datagram is a record with the kind in its zero bytes.
func (c Confirmation) datagram() []byte {
	return binary.LittleEndian.AppendUint32(c.record(), c.Kind)
}

func readDatagram(b []byte) (Confirmation, error) {
	if len(b) != Length+4 {
		return Confirmation{}, ErrTorn
	}
	k, err := readRecord(b)
	return Confirmation{binary.LittleEndian.Uint32(b[Length:]), k}, err
}
