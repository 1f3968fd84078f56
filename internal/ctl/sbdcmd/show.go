package sbdcmd

import (
	"time"

	"github.com/holdfast-ha/holdfast/sbd"
	"github.com/holdfast-ha/holdfast/storage"
)

// dump shows the headers. What goes wrong with one device does not keep it from
// the others.
func (c *command) dump() error {
	var failed error
	for _, path := range c.devices {
		c.say("==Dumping header on disk %s", path)
		err := c.onArea(path, true, func(a *sbd.Area, _ storage.Disk) error {
			c.showHeader(a.Header())
			return nil
		})
		if err != nil {
			c.because(path, err)
			if isOpenError(err) {
				c.complain("== disk %s unreadable!", path)
			}
			c.complain("==Header on disk %s NOT dumped", path)
			failed = quiet()
			continue
		}
		c.say("==Header on disk %s is dumped", path)
	}
	return failed
}

func (c *command) showHeader(h sbd.Header) {
	c.say("Header version     : 2.%d", h.Minor)
	if h.Minor > 0 {
		c.say("UUID               : %v", h.UUID)
	}
	c.say("Number of slots    : %d", h.Slots)
	c.say("Sector size        : %d", h.SectorSize)
	c.say("Timeout (watchdog) : %d", h.Watchdog/time.Second)
	c.say("Timeout (allocate) : %d", h.Allocate/time.Second)
	c.say("Timeout (loop)     : %d", h.Loop/time.Second)
	c.say("Timeout (msgwait)  : %d", h.MsgWait/time.Second)
}

// list shows the slots in use and what is in their mailboxes.
func (c *command) list() error {
	var failed error
	for _, path := range c.devices {
		err := c.onArea(path, true, func(a *sbd.Area, _ storage.Disk) error {
			slots, err := a.List(c.io)
			for _, s := range slots {
				c.say("%d\t%s\t%s\t%s", s.Index, s.Name, word(s.Mail.Command), s.Mail.From)
			}
			return err
		})
		if err == nil {
			continue
		}
		c.because(path, err)
		if isOpenError(err) {
			c.complain("== disk %s unreadable!", path)
		} else {
			c.complain("== Slots on disk %s NOT dumped", path)
		}
		failed = quiet()
	}
	return failed
}

// word is sbd(8)'s word for a command.
func word(cmd sbd.Command) string {
	if cmd < sbd.Clear || cmd > sbd.CrashDump {
		return "undefined"
	}
	return cmd.String()
}
