package sbdcmd

import (
	"fmt"
	"strings"
	"time"

	"github.com/holdfast-ha/holdfast/quorumdisk"
	"github.com/holdfast-ha/holdfast/sbd"
	"github.com/holdfast-ha/holdfast/storage"
)

// create writes areas. All devices are checked before the first is written.
func (c *command) create() error {
	need, short := c.times.settle(c.io)
	for _, path := range c.devices {
		if err := c.mayCreate(path); err != nil {
			c.say("Initializing device %s", path)
			c.because(path, err)
			return quiet()
		}
	}
	if short {
		c.complain("sbd: a msgwait of %d s is too short for a watchdog timeout of %d s: a node may go on for %d s after a message is on the disk; use -4 %d",
			c.times.msgwait, c.times.watchdog, need, need)
	}
	for _, path := range c.devices {
		c.say("Initializing device %s", path)
		if err := c.onDevice(path, false, c.createOn); err != nil {
			c.because(path, err)
			c.complain("Failed to init device %s", path)
			return quiet()
		}
		c.say("Device %s is initialized.", path)
	}
	c.say("Did you check sbd service down on all nodes before? If not do so now and restart afterwards.")
	return nil
}

// mayCreate refuses a device that must not be overwritten. What else a device
// carries is not asked, as sbd(8) does not: an area is made anew that way.
func (c *command) mayCreate(path string) error {
	return c.onDevice(path, true, func(disk storage.Disk) error {
		info := disk.Info()
		if need := int64(sbd.Sectors * info.SectorSize); info.Size < need {
			return fmt.Errorf("%s is too small: it has %d bytes, an SBD area with sectors of %d bytes needs %d", path, info.Size, info.SectorSize, need)
		}
		what, err := c.quorumDisk(disk)
		if err != nil {
			return err
		}
		if what != "" {
			return fmt.Errorf("%s is %s: create would take the mailboxes from its nodes; nothing was written. If the disk is no longer needed there: holdfast disk wipe %s", path, what, path)
		}
		if !info.Block {
			return nil
		}
		users, err := c.InUse(path)
		if err == nil && len(users) > 0 {
			err = fmt.Errorf("%s is in use: %s; nothing was written", path, strings.Join(users, "; "))
		}
		return err
	})
}

func (c *command) createOn(disk storage.Disk) error {
	id := quorumdisk.NewUUID()
	h := sbd.DefaultHeader(disk.Info().SectorSize, id)
	h.Watchdog, h.Allocate = time.Duration(c.times.watchdog)*time.Second, time.Duration(c.times.allocate)*time.Second
	h.Loop, h.MsgWait = time.Duration(c.times.loop)*time.Second, time.Duration(c.times.msgwait)*time.Second
	// sbd(8) names its file descriptor, which is 3 for every device.
	c.say("Creating version 2.1 header on device 3 (uuid: %v)", id)
	c.say("Initializing %d slots on device 3", sbd.Slots)
	return sbd.Create(disk, h, c.io)
}
