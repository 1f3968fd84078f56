package heartbeat

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/binary"
	"errors"

	"github.com/holdfast-ha/holdfast/cluster/ident"
)

// Key is the cluster key: 32 random bytes that all nodes share.
type Key [32]byte

// Offsets in a packet; see the package's documentation for the picture.
const (
	offMagic   = 0
	offVersion = 4
	offFrom    = 5
	offTo      = 6
	offLink    = 7
	offCluster = 8
	offBoot    = 24
	offLife    = 40
	offCounter = 48
	headerLen  = 56

	offInc    = 0 // in the plaintext
	offNumber = 4
	offSent   = 12
	offPart   = 20
	offParts  = 21
	preamble  = 22

	nonceLen = 12
	tagLen   = 16

	magic         = "HFBT"
	packetVersion = 1

	// MostPacket is the largest packet: it fits in one frame of every IPv6 path
	// (1280 bytes) with room for a tunnel.
	MostPacket = 1200
	mostPart   = MostPacket - headerLen - nonceLen - preamble - tagLen
	mostParts  = 64
)

var (
	_ [offBoot - offCluster]struct{} = [len(ident.UUID{})]struct{}{}
	_ [offLife - offBoot]struct{}    = [len(ident.BootID{})]struct{}{}
	_ [offLink + 1]struct{}          = [offCluster]struct{}{}
	_ [offCounter + 8]struct{}       = [headerLen]struct{}{}
	_ [offParts + 1]struct{}         = [preamble]struct{}{}
)

// Why a packet was refused, in the order in which it is judged.
var (
	errShort    = errors.New("too short or too long")
	errForeign  = errors.New("not a beat, or of another version")
	errCluster  = errors.New("of another cluster")
	errAddress  = errors.New("for another node or link")
	errUnknown  = errors.New("from a node that is not a peer")
	errForged   = errors.New("not sealed with the cluster key")
	errReplayed = errors.New("seen before, or of a former life or boot")
	errContent  = errors.New("sealed, but not a message")
)

// header is the readable part of a packet.
type header struct {
	from, to ident.NodeID
	link     uint8
	cluster  ident.UUID
	boot     ident.BootID
	life     uint64
	counter  uint64
}

func (h header) append(b []byte) []byte {
	b = append(b, magic...)
	b = append(b, packetVersion, byte(h.from), byte(h.to), h.link)
	b = append(b, h.cluster[:]...)
	b = append(b, h.boot[:]...)
	b = binary.LittleEndian.AppendUint64(b, h.life)
	return binary.LittleEndian.AppendUint64(b, h.counter)
}

// parseHeader judges length, magic and version only.
func parseHeader(b []byte) (header, error) {
	if len(b) < headerLen+nonceLen+preamble+tagLen || len(b) > MostPacket {
		return header{}, errShort
	}
	if string(b[offMagic:offVersion]) != magic || b[offVersion] != packetVersion {
		return header{}, errForeign
	}
	return header{
		from: ident.NodeID(b[offFrom]), to: ident.NodeID(b[offTo]), link: b[offLink],
		cluster: ident.UUID(b[offCluster:offBoot]), boot: ident.BootID(b[offBoot:offLife]),
		life: binary.LittleEndian.Uint64(b[offLife:]), counter: binary.LittleEndian.Uint64(b[offCounter:]),
	}, nil
}

// part is the encrypted content of a packet.
type part struct {
	inc    uint32
	number uint64
	sent   ident.Instant
	part   uint8
	parts  uint8
	bytes  []byte
}

func (p part) append(b []byte) []byte {
	b = binary.LittleEndian.AppendUint32(b, p.inc)
	b = binary.LittleEndian.AppendUint64(b, p.number)
	b = binary.LittleEndian.AppendUint64(b, uint64(p.sent))
	b = append(b, p.part, p.parts)
	return append(b, p.bytes...)
}

// parsePart judges a part for itself. All parts of a message but the last are
// full, so that a part's place follows from its number.
func parsePart(b []byte) (part, error) {
	p := part{
		inc: binary.LittleEndian.Uint32(b[offInc:]), number: binary.LittleEndian.Uint64(b[offNumber:]),
		sent: ident.Instant(binary.LittleEndian.Uint64(b[offSent:])), part: b[offPart], parts: b[offParts], bytes: b[preamble:],
	}
	full := p.part+1 < p.parts
	if p.number == 0 || p.parts == 0 || p.parts > mostParts || p.part >= p.parts || len(p.bytes) == 0 || full && len(p.bytes) != mostPart {
		return part{}, errContent
	}
	return p, nil
}

// sealer derives the key of one sender, receiver and life from a cluster key.
// Its purpose stands in the info field, so that other uses of the cluster key
// (joining, the disks' checksums) share nothing with it.
func sealer(key Key, h header) cipher.AEAD {
	info := append([]byte("holdfast heartbeat 1\x00"), byte(h.from), byte(h.to))
	info = append(info, h.boot[:]...)
	info = binary.LittleEndian.AppendUint64(info, h.life)
	secret, err := hkdf.Key(sha256.New, key[:], h.cluster[:], string(info), 32)
	if err != nil {
		panic("heartbeat: HKDF-SHA256 cannot give 32 bytes: " + err.Error())
	}
	block, err := aes.NewCipher(secret)
	if err != nil {
		panic("heartbeat: AES refuses a key of 32 bytes: " + err.Error())
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil || aead.Overhead() != nonceLen+tagLen {
		panic("heartbeat: AES-GCM with random nonces is not what the packet layout says")
	}
	return aead
}
