package guard

import (
	"bytes"
	"time"

	"github.com/holdfast-ha/holdfast/cluster/ident"
	"github.com/holdfast-ha/holdfast/internal/guardwire"
)

// Messages of a mailbox: the first byte of its sector, as sbd(8) writes them;
// then 64 bytes that name the sender.
const (
	mailEmpty = iota
	mailTest
	mailReset
	mailOff
	mailExit
	mailCrash

	mailSender = 64
)

// mailbox is this node's mailbox on one disk: anybody may write to it, and
// nothing rests on a message being delivered.
type mailbox struct {
	sector []byte
	last   []byte        // the message seen last; nil before the first reading
	old    bool          // last was there before this guard: it is never obeyed
	since  ident.Instant // when last was first seen
}

// mailOffset is the place of the mailbox in the SBD area: a header, then slot
// and mailbox of every node in turn.
func (w *worker) mailOffset() int64 {
	return (2 + 2*int64(w.g.deps.Node-1)) * int64(len(w.mail.sector))
}

// readMail reads the mailbox and obeys what is new. Mail that was there before
// the guard was meant for an earlier boot: it is logged, and cleared once late
// writes of that boot are over.
func (w *worker) readMail() error {
	_, patience := w.g.state.pace()
	if err := w.disk.Read(w.mail.sector, w.mailOffset(), patience); err != nil {
		return err
	}
	now, err := w.g.now()
	if err != nil {
		return err
	}
	m := &w.mail
	if m.last == nil || !bytes.Equal(m.sector, m.last) {
		m.old, m.since = m.last == nil, now
		m.last = append(m.last[:0], m.sector...)
		if m.sector[0] != mailEmpty {
			w.newMail()
		}
	}
	return w.clearMail(now)
}

// newMail obeys a message, or passes it on.
func (w *worker) newMail() {
	m := &w.mail
	bound := !w.g.state.bound().IsZero()
	text := mailText(m.sector)
	switch cmd := m.sector[0]; {
	case m.old:
		w.g.note(guardwire.NoticeMail, 0, "found at the start, not obeyed: "+text)
	case bound && (cmd == mailReset || cmd == mailOff || cmd == mailCrash):
		w.g.die("mail: " + text)
	case bound && cmd == mailExit:
		w.g.note(guardwire.NoticeLeave, 0, "mail: "+text)
	default:
		w.g.note(guardwire.NoticeMail, 0, text)
	}
}

// clearMail empties a mailbox that holds a message which was dealt with.
func (w *worker) clearMail(now ident.Instant) error {
	m, wait := &w.mail, time.Duration(0)
	if m.old {
		wait = w.g.deps.Drain
	}
	if m.last[0] == mailEmpty || now.Sub(m.since) < wait || w.g.dead.Load() {
		return nil
	}
	clear(m.sector)
	_, patience := w.g.state.pace()
	if err := w.disk.Write(m.sector, w.mailOffset(), patience); err != nil {
		return err
	}
	clear(m.last)
	return nil
}

func mailText(sector []byte) string {
	names := [...]string{"empty", "test", "reset", "off", "exit", "crashdump"}
	name := "unknown message"
	if int(sector[0]) < len(names) {
		name = names[sector[0]]
	}
	from, _, _ := bytes.Cut(sector[1:1+mailSender], []byte{0})
	return name + " from " + string(bytes.ToValidUTF8(from, []byte("?")))
}
