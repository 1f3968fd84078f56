package guard

import (
	"bytes"
	"fmt"
	"time"

	"github.com/holdfast-ha/holdfast/cluster/ident"
	"github.com/holdfast-ha/holdfast/internal/guardwire"
	"github.com/holdfast-ha/holdfast/quorumdisk"
	"github.com/holdfast-ha/holdfast/sbd"
	"github.com/holdfast-ha/holdfast/storage"
)

// mailbox is this node's mailbox on one disk: anybody may write to it, and
// nothing rests on a message being delivered.
type mailbox struct {
	at     int64 // bytes from the start of the disk; 0: there is none
	sector []byte
	last   []byte        // the message seen last; nil before the first reading
	old    bool          // last was there before this guard: it is never obeyed
	since  ident.Instant // when last was first seen
}

// findMailbox looks where this node's mailbox is. A disk whose SBD area has no
// header, or sectors that cannot be written one by one here, has none for us.
func (w *worker) findMailbox(d storage.Disk, patience time.Duration) error {
	m := &w.mail
	if err := d.Read(m.sector, quorumdisk.SBDOffset, patience); err != nil {
		return err
	}
	m.at = 0
	if h, err := sbd.DecodeHeader(m.sector); err == nil && h.SectorSize == len(m.sector) {
		m.at = h.MailOffset(int(w.g.deps.Node) - 1)
	}
	return nil
}

// readMail reads the mailbox and obeys what is new. Mail that was there before
// the guard was meant for an earlier boot: it is logged, and cleared once late
// writes of that boot are over.
func (w *worker) readMail() error {
	m := &w.mail
	if m.at == 0 {
		return nil
	}
	_, patience := w.g.state.pace()
	if err := w.disk.Read(m.sector, m.at, patience); err != nil {
		return err
	}
	now, err := w.g.now()
	if err != nil {
		return err
	}
	if m.last == nil || !bytes.Equal(m.sector, m.last) {
		m.old, m.since = m.last == nil, now
		m.last = append(m.last[:0], m.sector...)
		if sbd.Command(m.sector[0]) != sbd.Clear {
			w.newMail()
		}
	}
	return w.clearMail(now)
}

// newMail obeys a message, or passes it on.
func (w *worker) newMail() {
	m := &w.mail
	bound := !w.g.state.bound().IsZero()
	mail, _ := sbd.DecodeMail(m.sector) // a whole sector always is mail
	text := fmt.Sprintf("mail: %v from %q", mail.Command, mail.From)
	switch cmd := mail.Command; {
	case m.old:
		w.g.note(guardwire.NoticeMail, 0, text+", found at the start and not obeyed")
	case bound && (cmd == sbd.Reset || cmd == sbd.Off || cmd == sbd.CrashDump):
		w.g.die(text)
	case bound && cmd == sbd.Exit:
		w.g.note(guardwire.NoticeLeave, 0, text)
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
	if sbd.Command(m.last[0]) == sbd.Clear || now.Sub(m.since) < wait || w.g.dead.Load() {
		return nil
	}
	clear(m.sector)
	_, patience := w.g.state.pace()
	if err := w.disk.Write(m.sector, m.at, patience); err != nil {
		return err
	}
	clear(m.last)
	return nil
}
