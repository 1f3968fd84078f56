package sbdcmd

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/holdfast-ha/holdfast/sbd"
	"github.com/holdfast-ha/holdfast/storage"
)

// allocate makes sure that a node has a slot on every device.
func (c *command) allocate(ctx context.Context) error {
	name := c.operand(1)
	if name == "" {
		return refuse("slot_allocate(): No name specified.")
	}
	if err := checkName(name); err != nil {
		return err
	}
	for _, path := range c.devices {
		c.say("Trying to allocate slot for %s on device %s.", name, path)
		err := c.onArea(path, false, func(a *sbd.Area, disk storage.Disk) error { return c.claim(ctx, a, disk, name) })
		if err != nil {
			c.because(path, err)
			return quiet()
		}
		c.say("Slot for %s has been allocated on %s.", name, path)
	}
	return nil
}

// claim takes free slots until one stays this node's: of two nodes that take the
// same one, the last to write has it.
func (c *command) claim(ctx context.Context, a *sbd.Area, disk storage.Disk, name string) error {
	if _, has, err := a.Find(name, c.io); err != nil || has {
		return err
	}
	what, err := c.quorumDisk(disk)
	if err != nil {
		return err
	}
	if what != "" {
		return fmt.Errorf("it is %s: a node of that cluster has the slot of its number, and gets it when it joins", what)
	}
	for {
		slot, had, err := a.Claim(name, c.io)
		switch {
		case errors.Is(err, sbd.ErrFull):
			c.complain("No more free slots.")
			return err
		case err != nil || had:
			return err
		}
		c.say("slot %d is unused - trying to own", slot)
		c.Sleep(ctx, a.Header().Allocate)
		if err := ctx.Err(); err != nil {
			return err
		}
	}
}

// report is what the work on one device has to say: something on the way, or its
// end.
type report struct {
	path string
	note string
	done bool
	err  error
}

// majority works on all devices side by side and succeeds as soon as it has
// succeeded on more than half of them: a device that does not answer must not
// hold up a message that the others have.
func (c *command) majority(ctx context.Context, verb string, work func(ctx context.Context, path string, note func(string, ...any)) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	reports := make(chan report)
	tell := func(r report) {
		select {
		case reports <- r:
		case <-ctx.Done():
		}
	}
	for _, path := range c.devices {
		go func() { // ends with its work; nobody waits for it once there is a majority
			note := func(format string, args ...any) { tell(report{path: path, note: fmt.Sprintf(format, args...)}) }
			err := work(ctx, path, note)
			tell(report{path: path, done: true, err: err})
		}()
	}
	good, ended := 0, 0
	for 2*good <= len(c.devices) && ended < len(c.devices) {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case r := <-reports:
			switch {
			case !r.done:
				c.note("%s: %s", r.path, r.note)
				continue
			case r.err != nil:
				c.because(r.path, r.err)
			default:
				good++
			}
			ended++
		}
	}
	if 2*good > len(c.devices) {
		return nil
	}
	return fmt.Errorf("%s has succeeded on %d of %d devices: more than half are needed", verb, good, len(c.devices))
}

// recipient is the name behind the verb, where LOCAL means the own node.
func (c *command) recipient() (string, error) {
	name := c.operand(1)
	switch name {
	case "":
		return "", fmt.Errorf("%s to whom? No node was named", c.operand(0))
	case "LOCAL":
		name = c.node
	}
	return name, checkName(name)
}

// message writes a message and waits until it is to be taken as delivered:
// msgwait after the write the node has obeyed, or its watchdog has reset it.
func (c *command) message(ctx context.Context) error {
	name, err := c.recipient()
	if err != nil {
		return err
	}
	cmd, err := sbd.ParseCommand(c.operand(2))
	if err != nil {
		return err
	}
	return c.majority(ctx, "message", func(ctx context.Context, path string, note func(string, ...any)) error {
		return c.onArea(path, false, func(a *sbd.Area, _ storage.Disk) error {
			h := a.Header()
			if h.Minor > 0 {
				note("Device UUID: %v", h.UUID)
			}
			note("Writing %v to node slot %s", cmd, name)
			if _, err := c.send(a, name, cmd); err != nil {
				return err
			}
			if cmd != sbd.Exit {
				note("Messaging delay: %d", h.MsgWait/time.Second)
				c.Sleep(ctx, h.MsgWait)
			}
			note("%v successfully delivered to %s", cmd, name)
			return ctx.Err()
		})
	})
}

// send writes into the mailbox of a node. A reset, off or crashdump that waits
// there is never replaced by a test: the node would go on, and whoever sent it
// believes that the node has ended.
func (c *command) send(a *sbd.Area, name string, cmd sbd.Command) (slot int, err error) {
	slot, has, err := a.Find(name, c.io)
	if err != nil {
		return 0, err
	}
	if !has {
		return 0, fmt.Errorf("no slot found for %s", name)
	}
	if cmd == sbd.Test {
		mail, err := a.Mail(slot, c.io)
		if err != nil {
			return 0, err
		}
		if mail.Command == sbd.Reset || mail.Command == sbd.Off || mail.Command == sbd.CrashDump {
			return 0, fmt.Errorf("a %v from %q waits in the mailbox of %s, and a test would replace it: if %s has ended, send clear first", mail.Command, mail.From, name, name)
		}
	}
	return slot, a.Send(slot, sbd.Mail{Command: cmd, From: c.node}, c.io)
}

// ping sends a test and waits until the node has taken it, for msgwait at most.
func (c *command) ping(ctx context.Context) error {
	name, err := c.recipient()
	if err != nil {
		return err
	}
	return c.majority(ctx, "ping", func(ctx context.Context, path string, note func(string, ...any)) error {
		return c.onArea(path, false, func(a *sbd.Area, _ storage.Disk) error {
			note("Pinging node %s", name)
			slot, err := c.send(a, name, sbd.Test)
			if err != nil {
				return err
			}
			for waited := time.Duration(0); waited <= a.Header().MsgWait; waited += time.Second {
				mail, err := a.Mail(slot, c.io)
				if err != nil {
					return err
				}
				if mail.Command != sbd.Test {
					note("%s successfully pinged.", name)
					return nil
				}
				if c.Sleep(ctx, time.Second); ctx.Err() != nil {
					return ctx.Err()
				}
			}
			return fmt.Errorf("%s has not taken the test within %v; it stays in the mailbox", name, a.Header().MsgWait)
		})
	})
}
