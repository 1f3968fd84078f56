package guard

import (
	"bytes"
	"fmt"
	"time"

	"github.com/holdfast-ha/holdfast/cluster/ident"
	"github.com/holdfast-ha/holdfast/internal/guard/mailbox"
	"github.com/holdfast-ha/holdfast/internal/guardwire"
	"github.com/holdfast-ha/holdfast/sbd"
)

// mail is what came through this node's mailbox on one disk: anybody may write
// to it, and nothing rests on a message being delivered.
type mail struct {
	box   *mailbox.Box
	last  []byte          // the message seen last; nil before the first reading
	old   bool            // last was there before this guard: it is never obeyed
	since ident.Instant   // when last was first seen
	said  mailbox.Problem // as it was last told
}

// readMail reads the mailbox and obeys what is new. Mail that was there before
// the guard was meant for an earlier boot: it is logged, and cleared once late
// writes of that boot are over.
func (w *worker) readMail() error {
	m := &w.mail
	now, err := w.g.now()
	if err != nil {
		return err
	}
	_, patience := w.g.state.pace()
	sector, err := m.box.Read(w.disk, now, patience)
	if p := m.box.Problem(); p != m.said {
		m.said = p
		if p != mailbox.None {
			w.g.note(guardwire.NoticeMail, 0, p.Sentence(w.port.Path, w.g.deps.Mail.Name))
		}
	}
	if err != nil || sector == nil {
		return err
	}
	late := w.off.Load() && !w.g.state.bound().IsZero() // it came at the same moment as a claim
	if m.last == nil || late || !bytes.Equal(sector, m.last) {
		m.old, m.since = m.last == nil, now
		m.last = append(m.last[:0], sector...)
		w.newMail()
	}
	return w.clearMail(now)
}

// newMail obeys a message, or passes it on.
func (w *worker) newMail() {
	m := &w.mail
	bound := !w.g.state.bound().IsZero()
	letter, _ := sbd.DecodeMail(m.last) // a whole sector always is mail
	text := fmt.Sprintf("mail: %v from %q", letter.Command, letter.From)
	w.off.Store(letter.Command == sbd.Off && !bound)
	switch cmd := letter.Command; {
	case cmd == sbd.Clear:
	case cmd == sbd.Off && !bound:
		w.stayOff(text)
	case m.old:
		w.g.note(guardwire.NoticeMail, 0, text+", found at the start and not obeyed")
	case bound && (cmd == sbd.Reset || cmd == sbd.Off || cmd == sbd.CrashDump):
		w.g.dieSaying(text, w)
	case bound && cmd == sbd.Exit:
		w.g.note(guardwire.NoticeLeave, 0, text)
	default:
		w.g.note(guardwire.NoticeMail, 0, text)
	}
}

// stayOff obeys "off" on a node that holds nothing: either it came while nothing
// was bound, or the node was reset for it and this is the boot after. The
// message stays in the mailbox, where everybody sees it, until somebody clears it.
func (w *worker) stayOff(text string) {
	w.g.note(guardwire.NoticeMail, 0, text+"; "+w.wayBack())
	if !w.g.deps.Mail.PowerOff {
		return
	}
	// Going off writes back what is cached: never while bound. No claim comes
	// between the look and the order.
	w.g.orders.Lock()
	defer w.g.orders.Unlock()
	if !w.g.state.bound().IsZero() {
		return // a claim came first; the next reading resets the node
	}
	if err := w.g.deps.Platform.PowerOff(text); err != nil {
		w.g.note(guardwire.NoticeMail, 0, err.Error())
	}
}

// wayBack is what an admin does to let the node come back.
func (w *worker) wayBack() string {
	return fmt.Sprintf("this node stays out of the cluster until: holdfast sbd -d %s message %s clear", w.port.Path, w.g.deps.Mail.Name)
}

// clearMail empties a mailbox that holds a message which was dealt with. "Off"
// goes on until somebody takes it back.
func (w *worker) clearMail(now ident.Instant) error {
	m, wait := &w.mail, time.Duration(0)
	if m.old {
		wait = w.g.deps.Drain
	}
	if sbd.Command(m.last[0]) == sbd.Clear || w.off.Load() || now.Sub(m.since) < wait || w.g.dead.Load() {
		return nil
	}
	_, patience := w.g.state.pace()
	if err := m.box.Clear(patience); err != nil {
		return err
	}
	clear(m.last)
	return nil
}

// toldOff says why this node must not be bound: a mailbox tells it to stay off.
func (g *Guard) toldOff() string {
	for _, w := range g.workers {
		if w.off.Load() {
			return `its mailbox says "off"; ` + w.wayBack()
		}
	}
	return ""
}
