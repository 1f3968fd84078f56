// Package chassis gives machines of the rig management controllers: Redfish over TLS and IPMI 2.0 over UDP, honest and other
// ones, which really switch the machine through QEMU's control socket.
//
// A machine reaches the controllers of all machines, its own too, by a management network of its own (package machine,
// Spec.Management), behind which this machine's loopback interface is.
package chassis

import (
	"context"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/holdfast-ha/holdfast/bmc"
	"github.com/holdfast-ha/holdfast/bmc/bmctest"
	"github.com/holdfast-ha/holdfast/test/vm/machine"
)

// Kind is the language of a controller.
type Kind int

// The kinds.
const (
	Redfish Kind = iota
	IPMI
)

// Password is that of every controller.
const Password = bmctest.Password

// Controller is the management controller of one machine.
type Controller struct {
	URL string // as node.yaml and init have it

	board   *bmctest.Machine
	machine *machine.Machine
	work    sync.WaitGroup
	ctx     context.Context
	end     context.CancelFunc

	mu  sync.Mutex // guards bad
	bad error
}

// boot is how long a machine may take until its agent answers after it was switched on.
const boot = 2 * time.Minute

// Open gives a machine, which is off and has the UUID of its Spec, a controller until the test ends.
func Open(t testing.TB, kind Kind, m *machine.Machine) *Controller {
	t.Helper()
	guid, err := bmc.ParseGUID(m.Spec.UUID)
	if err != nil {
		t.Fatal(err)
	}
	c := &Controller{machine: m}
	c.ctx, c.end = context.WithCancel(context.Background())
	c.board = bmctest.Make(guid, bmctest.Honest)
	c.board.Set(false)
	c.board.Turned = c.turned
	t.Cleanup(func() {
		c.end()
		c.board.SetFault(bmctest.Honest)
		c.board.End()
		c.work.Wait()
		if err := c.Err(); err != nil {
			t.Error(err)
		}
	})
	switch kind {
	case Redfish:
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		c.URL = bmctest.NewRedfishOn(t, l, c.board).URL("1")
	case IPMI:
		socket, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
		if err != nil {
			t.Fatal(err)
		}
		c.URL = fmt.Sprintf("ipmi://%s@127.0.0.1:%d?driver=go", bmctest.User, bmctest.NewIPMIOn(t, socket, c.board).Port)
	}
	c.URL = strings.Replace(c.URL, "127.0.0.1", machine.Host, 1)
	return c
}

// turned switches the machine as its controller was asked to. Off is done when it returns; on goes on behind it.
func (c *Controller) turned(on bool) {
	if !on {
		c.note(c.machine.SwitchOff())
		return
	}
	if c.ctx.Err() != nil || c.machine.On() {
		return
	}
	c.work.Add(1)
	go func() { // ends with the boot, or with the controller
		defer c.work.Done()
		ctx, cancel := context.WithTimeout(c.ctx, boot)
		defer cancel()
		err := c.machine.PowerOff() // what is left of it, if QEMU has ended by itself
		if err == nil {
			err = c.machine.PowerOn(ctx)
		}
		if err != nil && c.ctx.Err() == nil && c.board.IsOn() {
			c.note(err)
		}
	}()
}

func (c *Controller) note(err error) {
	if err == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.bad == nil {
		c.bad = fmt.Errorf("the controller of %s: %w", c.machine.Name, err)
	}
}

// Err says what the controller could not do though it said so.
func (c *Controller) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.bad
}

// Power gives the machine power or takes it, as the cord does, without a word to the controller.
func (c *Controller) Power(on bool) { c.board.Set(on) }

// GivesPower says whether the machine has power as far as the controller knows.
func (c *Controller) GivesPower() bool { return c.board.IsOn() }

// Requests counts the requests to switch off that the controller took.
func (c *Controller) Requests() int { return c.board.Requests() }

// Break makes the controller one that is honest no more; bmctest.Honest mends it.
func (c *Controller) Break(f bmctest.Fault) { c.board.SetFault(f) }
