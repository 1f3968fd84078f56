// Package guardwire is what the guard and the rest of Holdfast say to each
// other: the settings file that the guard reads at its start, and the protocol
// on the guard's socket.
//
// The guard owns time and the daemon owns meaning. The daemon sends orders:
// what the node's beat shall carry, until when the guard is permitted to go on,
// which incarnation to bind and to retire. The guard answers a Hello with a
// Snapshot, every other order with an Echo, and tells unasked what the beat
// tables showed (Table) and what happened (Notice).
//
// The socket is a Unix SOCK_SEQPACKET one: a packet is a message, and neither
// is ever split or merged. All numbers are big-endian; an instant is the guard's
// now() in nanoseconds (ident.Instant), a duration is in nanoseconds.
//
//	offset  size
//	     0     4  magic "HFGW"
//	     4     1  version, 1: anything else is refused, for guard and daemon
//	              are upgraded together or the newer speaks the older version
//	     5     1  kind
//	     6     2  zero
//	     8     8  connection: the guard's number for this connection. Zero in
//	              a first Hello; the Snapshot tells it. An order that carries
//	              another one was meant for another life of the guard or the
//	              daemon and is refused
//	    16     8  sequence number: of the order, one more each; an Echo and a
//	              Snapshot repeat the order's
//	    24     4  length of the body
//	    28        body
//
// The bodies are documented at their types, field by field in wire order. Text
// is a length (2 bytes) and that many bytes of UTF-8; bytes likewise with a
// length of 4. A truth value is one byte, 0 or 1. Decoding is strict: a short
// body, a long one, and a value that no encoder writes are errors.
package guardwire

import "fmt"

// The limits of the protocol, in bytes.
const (
	MaxPayload = 320      // of the daemon's part of a beat
	MaxChunk   = 32 << 10 // of the part of a beat table in one packet
	MaxTable   = 2 << 20  // of a beat table: room for 255 sectors of 4096
	MaxText    = 512      // of any text; longer ones are cut
	MaxList    = 16       // entries of a list
	MaxPacket  = 64 << 10
)

// Version is the version of the protocol, and of what a guard leaves to the
// program that replaces it.
const Version = 1

const (
	version    = Version
	headerSize = 28
)

// Takes answers for a program that is asked whether it could take over from one
// that speaks version v; 0 is nobody's question.
func Takes(v int) error {
	if v == 0 || v == Version {
		return nil
	}
	return fmt.Errorf("this program speaks version %d of the guard's protocol, the one that runs speaks %d: take the node out (systemctl stop holdfast) and start it again", Version, v)
}

// Header is what every packet begins with.
type Header struct {
	Kind Kind
	Conn uint64
	Seq  uint64
}

// Kind says what a packet carries.
type Kind uint8

// Orders go from the daemon to the guard, the kinds from KindSnapshot on from
// the guard to the daemon.
const (
	KindHello Kind = iota + 1
	KindPayload
	KindPermission
	KindGrace
	KindClaim
	KindStopping
	KindRetire
	KindKick
	KindReset
	KindRekey
	KindUpgrade
	KindDisks
	KindPromise
	KindCut
)

// What the guard says.
const (
	KindSnapshot Kind = iota + 64
	KindEcho
	KindTable
	KindNotice
)

// String names the kind for people.
func (k Kind) String() string {
	orders := [...]string{"", "hello", "payload", "permission", "grace", "claim", "stopping", "retire", "kick", "reset", "rekey", "upgrade", "disks", "promise", "cut"}
	answers := [...]string{"snapshot", "echo", "table", "notice"}
	switch {
	case k > 0 && int(k) < len(orders):
		return orders[k]
	case k >= KindSnapshot && int(k-KindSnapshot) < len(answers):
		return answers[k-KindSnapshot]
	}
	return "unknown"
}
