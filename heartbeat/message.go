package heartbeat

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"
	"unicode/utf8"

	"github.com/holdfast-ha/holdfast/cluster"
	"github.com/holdfast-ha/holdfast/cluster/ident"
)

// messageVersion is the first byte of an encoded message, and oldestReader the second:
// the lowest version whose readers understand it. What a version adds stands at the end, where
// such readers leave it alone; a version that changes anything else names itself as the
// oldest. So the two versions of an upgrade that goes node by node understand each other
// where that is possible, and say so where it is not.
const (
	messageVersion = 4
	oldestReader   = 4
)

// Limits of a message. A longer text is cut, a longer name refused.
const (
	mostName    = 63
	mostText    = 120
	mostEntries = 1024 // of each list
)

// ErrMessage is wrapped by the errors of Decode: the bytes are no message.
var ErrMessage = errors.New("not a heartbeat message")

// VersionError is the error of Decode for a message of a version that this one does
// not understand. It wraps ErrMessage.
type VersionError struct {
	Version, Oldest byte             // of the message: what it is, and the lowest that understands it
	Protocol        cluster.Protocol // that its sender speaks; 0: not known
}

// Error names both versions, and who is to be upgraded.
func (e *VersionError) Error() string {
	return fmt.Sprintf("its messages are of version %d, this node reads version %d: upgrade holdfast on the older of the two", e.Version, messageVersion)
}

// Unwrap makes it an ErrMessage.
func (e *VersionError) Unwrap() error { return ErrMessage }

// Encode writes a message. In order, little-endian: version (1 byte), the oldest
// version whose readers understand it (1), protocol that the sender speaks (1), sender (1),
// incarnation (4), boot (16), host UUID (16), phase (1), guard state (1),
// acknowledged view (8), committed version (8), its ballot (round 8, node 1,
// incarnation 4, life 8), its node (1) and generation (8), age of the lease in ns
// (8, signed), digest of the disks (8), generation of their set (4), reach (32), flags (1: bit 0 ack, bit 1
// leaving, bit 2 a page of more), request for network grace (number 8, view 8), promise (node 1,
// incarnation 4, boot 16, number 8, view 8), incarnation asked to release
// (4, boot 16), then the released terms and the services, each as a count (2) and
// entries: name (length 1, bytes), term (8); of a service also its state (1) and
// text (length 1, bytes).
//
// It fails on a service name of more than 63 bytes and on more than 1024 entries.
// A text of more than 120 bytes is cut.
func Encode(m *cluster.Message) ([]byte, error) {
	w := writer{b: make([]byte, 0, 256)}
	w.u8(messageVersion)
	w.u8(oldestReader)
	w.u8(byte(m.Protocol))
	w.u8(byte(m.From))
	w.inc(m.Inc)
	w.raw(m.Host[:])
	w.u8(byte(m.Phase))
	w.u8(byte(m.State))
	w.u64(m.ViewAcked)
	w.claim(m.Committed)
	w.u64(uint64(m.LeaseAge))
	w.raw(m.Disks[:])
	w.u32(m.DiskGen)
	w.raw(m.Reach[:])
	w.u8(flag(m.Ack, 1) | flag(m.Leaving, 2) | flag(m.Partial, 4))
	w.u64(m.Grace.Ask.ID)
	w.u64(m.Grace.Ask.View)
	w.u8(byte(m.Grace.Promise.To))
	w.inc(m.Grace.Promise.Inc)
	w.u64(m.Grace.Promise.ID)
	w.u64(m.Grace.Promise.View)
	w.inc(m.Grace.Release)
	w.count(len(m.Released))
	for _, r := range m.Released {
		w.name(r.Service)
		w.u64(r.Term)
	}
	w.count(len(m.Services))
	for _, s := range m.Services {
		w.name(s.Service)
		w.u64(s.Term)
		w.u8(byte(s.State))
		w.text(cut(s.Text))
	}
	return w.b, w.err
}

// Decode reads what Encode writes, and nothing else: every byte has one meaning,
// and none may follow the last but in a message of a later version that names this one as
// able to read it. The error wraps ErrMessage.
func Decode(b []byte) (*cluster.Message, error) {
	r := reader{b: b}
	version := r.u8()
	switch {
	case r.err != nil:
		return nil, r.err
	case version < messageVersion:
		return nil, &VersionError{Version: version, Oldest: version}
	}
	oldest := r.u8()
	m := &cluster.Message{Marks: cluster.Marks{Protocol: cluster.Protocol(r.u8())}}
	if r.err == nil && (oldest > messageVersion || oldest > version) {
		return nil, &VersionError{Version: version, Oldest: oldest, Protocol: m.Protocol}
	}
	if version == messageVersion && oldest != oldestReader {
		r.fail("version %d that version %d can read", version, oldest)
	}
	m.From = ident.NodeID(r.u8())
	m.Inc = r.inc()
	r.raw(m.Host[:])
	m.Phase = cluster.Phase(r.atMost(byte(cluster.Leaving), "phase"))
	m.State = cluster.GuardState(r.atMost(byte(cluster.GuardRetired), "guard state"))
	m.ViewAcked = r.u64()
	m.Committed = r.claim()
	m.LeaseAge = time.Duration(r.u64())
	r.raw(m.Disks[:])
	m.DiskGen = r.u32()
	r.raw(m.Reach[:])
	flags := r.atMost(7, "flags")
	m.Ack, m.Leaving, m.Partial = flags&1 != 0, flags&2 != 0, flags&4 != 0
	m.Grace.Ask = cluster.GraceAsk{ID: r.u64(), View: r.u64()}
	m.Grace.Promise = cluster.GracePromise{To: ident.NodeID(r.u8()), Inc: r.inc(), ID: r.u64(), View: r.u64()}
	m.Grace.Release = r.inc()
	for range r.count() {
		m.Released = append(m.Released, cluster.Released{Service: r.name(), Term: r.u64()})
	}
	for range r.count() {
		m.Services = append(m.Services, cluster.RunState{
			Service: r.name(), Term: r.u64(), State: cluster.ServiceState(r.atMost(byte(cluster.LastState), "service state")), Text: r.text(mostText),
		})
	}
	if r.err == nil && len(r.b) != 0 && version == messageVersion {
		r.fail("%d bytes after the end", len(r.b))
	}
	if r.err != nil {
		return nil, r.err
	}
	return m, nil
}

func flag(set bool, bit byte) byte {
	if set {
		return bit
	}
	return 0
}

// cut shortens a text to its limit without splitting a character, and replaces
// bytes that are no text at all.
func cut(s string) string {
	if !utf8.ValidString(s) {
		s = string([]rune(s))
	}
	for len(s) > mostText {
		_, n := utf8.DecodeLastRuneInString(s)
		s = s[:len(s)-n]
	}
	return s
}

type writer struct {
	b   []byte
	err error
}

func (w *writer) u8(v byte)    { w.b = append(w.b, v) }
func (w *writer) u32(v uint32) { w.b = binary.LittleEndian.AppendUint32(w.b, v) }
func (w *writer) u64(v uint64) { w.b = binary.LittleEndian.AppendUint64(w.b, v) }
func (w *writer) raw(v []byte) { w.b = append(w.b, v...) }

func (w *writer) inc(i ident.Incarnation) {
	w.u32(i.N)
	w.raw(i.Boot[:])
}

func (w *writer) claim(c cluster.Claim) {
	w.u64(c.Ver)
	w.u64(c.Ballot.Round)
	w.u8(byte(c.Ballot.Node))
	w.u32(c.Ballot.Inc)
	w.u64(c.Ballot.Life)
	w.u8(byte(c.Node))
	w.u64(c.Gen)
}

func (w *writer) count(n int) {
	if n > mostEntries && w.err == nil {
		w.err = fmt.Errorf("heartbeat message: %d entries in a list, at most %d fit", n, mostEntries)
	}
	w.b = binary.LittleEndian.AppendUint16(w.b, uint16(n))
}

func (w *writer) name(s string) {
	if (len(s) == 0 || len(s) > mostName || !utf8.ValidString(s)) && w.err == nil {
		w.err = fmt.Errorf("heartbeat message: %q is no service name of 1 to %d bytes", s, mostName)
	}
	w.text(s)
}

func (w *writer) text(s string) {
	w.u8(byte(len(s)))
	w.b = append(w.b, s...)
}

// reader takes bytes from the front; after the first error it returns zeros.
type reader struct {
	b   []byte
	err error
}

func (r *reader) fail(format string, args ...any) {
	if r.err == nil {
		r.err = fmt.Errorf("%w: "+format, append([]any{ErrMessage}, args...)...)
	}
}

func (r *reader) take(n int) []byte {
	if r.err != nil || len(r.b) < n {
		r.fail("ends after %d bytes of a field of %d", len(r.b), n)
		return make([]byte, n)
	}
	v := r.b[:n]
	r.b = r.b[n:]
	return v
}

func (r *reader) u8() byte     { return r.take(1)[0] }
func (r *reader) u32() uint32  { return binary.LittleEndian.Uint32(r.take(4)) }
func (r *reader) u64() uint64  { return binary.LittleEndian.Uint64(r.take(8)) }
func (r *reader) raw(v []byte) { copy(v, r.take(len(v))) }
func (r *reader) name() string { return r.nonEmpty(r.text(mostName)) }

func (r *reader) atMost(most byte, what string) byte {
	v := r.u8()
	if v > most {
		r.fail("%s %d is unknown", what, v)
	}
	return v
}

func (r *reader) inc() ident.Incarnation {
	i := ident.Incarnation{N: r.u32()}
	r.raw(i.Boot[:])
	return i
}

func (r *reader) claim() cluster.Claim {
	return cluster.Claim{
		Ver:    r.u64(),
		Ballot: ident.Ballot{Round: r.u64(), Node: ident.NodeID(r.u8()), Inc: r.u32(), Life: r.u64()},
		Node:   ident.NodeID(r.u8()),
		Gen:    r.u64(),
	}
}

// count returns 0 after an error, so that a loop over it ends.
func (r *reader) count() int {
	n := int(binary.LittleEndian.Uint16(r.take(2)))
	if n > mostEntries {
		r.fail("%d entries in a list, at most %d", n, mostEntries)
	}
	if r.err != nil {
		return 0
	}
	return n
}

func (r *reader) text(most int) string {
	n := int(r.u8())
	if n > most {
		r.fail("a text of %d bytes, at most %d", n, most)
		return ""
	}
	s := string(r.take(n))
	if !utf8.ValidString(s) {
		r.fail("a text that is not UTF-8")
	}
	return s
}

func (r *reader) nonEmpty(s string) string {
	if s == "" {
		r.fail("a service without a name")
	}
	return s
}
