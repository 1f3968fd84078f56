package power

import (
	"fmt"
	"time"
)

// chip is a watchdog device at work. The emulator's lock guards it.
type chip struct {
	spec    Chip
	node    *machine
	open    bool // somebody has the device open
	running bool
	// magic says that the last write before now was 'V'.
	magic   bool
	timeout time.Duration
	before  time.Duration // its deadline it interrupts; 0: it does not
	told    int64         // the pet that the last interrupt was for
	lastPet int64
	// timer fires at or before the deadline; a pet moves the deadline and
	// leaves the timer, which then looks again.
	timer *time.Timer
}

func (c *chip) deadline() int64 { return c.lastPet + int64(c.timeout) }

// start is the driver's open of a stopped device.
func (c *chip) start(e *Emulator) {
	c.timeout, c.before = c.spec.Default, 0
	c.running = true
	c.lastPet = now()
	c.wait(e)
}

// wait arms the timer for the present deadline.
func (c *chip) wait(e *Emulator) {
	if c.timer != nil {
		c.timer.Stop()
	}
	next := c.deadline()
	if c.before > 0 && c.told != c.lastPet {
		next -= int64(c.before)
	}
	c.timer = time.AfterFunc(time.Duration(next-now()), func() { e.expired(c) })
}

// pet restarts the count. A pet that comes after the deadline is too late even
// if the timer's goroutine was not scheduled yet: it bites.
func (c *chip) pet(e *Emulator) {
	if !c.running {
		return
	}
	at := now()
	if at >= c.deadline() {
		e.bite(c, at)
		return
	}
	c.lastPet = at
}

func (c *chip) stop() {
	c.running, c.magic = false, false
	if c.timer != nil {
		c.timer.Stop()
	}
}

// written is a write to the device: a pet, and 'V' anywhere in it allows the next
// close to stop the device, unless another write comes between.
func (c *chip) written(e *Emulator, b []byte) {
	c.magic = false
	for _, x := range b {
		c.magic = c.magic || x == 'V' && !c.spec.StopsOnClose
	}
	c.pet(e)
}

// setPretimeout has the chip interrupt before it bites. It is no pet.
func (c *chip) setPretimeout(e *Emulator, d time.Duration) error {
	if d < 0 || d >= c.timeout || !c.running {
		return fmt.Errorf("pretimeout %v: want less than the timeout of %v, of a running device", d, c.timeout)
	}
	c.before = d
	c.wait(e)
	return nil
}

// interrupt tells of a bite to come, once after each pet.
func (c *chip) interrupt(e *Emulator, at int64) {
	if c.before == 0 || c.told == c.lastPet || at < c.deadline()-int64(c.before) {
		return
	}
	c.told = c.lastPet
	e.journal.add(Event{What: Pretimeout, Node: c.node.spec.Name, Device: c.spec.Name, LastPet: c.lastPet})
}

func (c *chip) setTimeout(e *Emulator, d time.Duration) error {
	if d < c.spec.Min {
		return fmt.Errorf("timeout %v is below the chip's minimum of %v", d, c.spec.Min)
	}
	c.pet(e)
	if !c.running {
		return fmt.Errorf("the device is not running")
	}
	c.timeout = d
	c.wait(e)
	return nil
}

// released is the close of the last descriptor.
func (c *chip) released(e *Emulator) {
	c.open = false
	if !c.running {
		return
	}
	if (c.magic || c.spec.StopsOnClose) && !c.spec.NoWayOut {
		c.stop()
		e.journal.add(Event{What: Disarmed, Node: c.node.spec.Name, Device: c.spec.Name})
		return
	}
	c.magic = false
	e.journal.add(Event{What: ClosePet, Node: c.node.spec.Name, Device: c.spec.Name})
	c.pet(e)
}
