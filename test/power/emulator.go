package power

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/holdfast-ha/holdfast/cluster/ident"
	"github.com/holdfast-ha/holdfast/test/power/outage"
)

// Emulator is a running power emulator. It may live in a test's own process;
// the demo runs it as a process of its own, see EmulatorMain.
type Emulator struct {
	socket   string
	listener *net.UnixListener
	journal  *journal
	tasks    sync.WaitGroup // accept loop, connections, power losses

	mu       sync.Mutex // guards all below, with all machines and chips
	closed   bool
	machines map[string]*machine
	conns    map[*connection]struct{}
	measured map[time.Duration]*measurement
	guarded  []string // disks left read-only because they would not detach
}

// machine is a registered node.
type machine struct {
	spec      Node
	chips     map[string]*chip
	state     State
	boot      ident.BootID
	clockZero int64
	// life counts power-ons. A connection of an earlier life is dead wood.
	life int
	// ns is the node's mount namespace, held open: it must be found also
	// when the process that it was registered by has ended.
	ns *os.File
	// dark is closed once the last power loss is done; nil before the first.
	dark chan struct{}
}

// Start makes an emulator that listens on the Unix socket path. Events are also
// written to log, one JSON object per line; log may be nil.
func Start(path string, log io.Writer) (*Emulator, error) {
	l, err := net.ListenUnix("unixpacket", &net.UnixAddr{Name: path, Net: "unixpacket"})
	if err != nil {
		return nil, fmt.Errorf("power emulator: %w", err)
	}
	e := &Emulator{
		socket: path, listener: l, journal: newJournal(log),
		machines: map[string]*machine{}, conns: map[*connection]struct{}{},
		measured: map[time.Duration]*measurement{},
	}
	e.tasks.Go(e.accept)
	return e, nil
}

// Close ends the emulator: all connections end, all chips stop, power losses that
// have begun are finished, no disk stays write-protected. Nodes that are on stay
// as they are.
func (e *Emulator) Close() error {
	e.mu.Lock()
	if e.closed {
		e.mu.Unlock()
		return nil
	}
	e.closed = true
	err := e.listener.Close()
	for _, m := range e.machines {
		m.stopChips()
	}
	for c := range e.conns {
		c.Close()
	}
	e.mu.Unlock()
	e.tasks.Wait()
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, m := range e.machines {
		m.unpin()
	}
	for _, d := range e.guarded {
		err = errors.Join(err, outage.Writable(d))
	}
	e.guarded = nil
	return err
}

// Events returns all events so far.
func (e *Emulator) Events() []Event {
	events, _ := e.journal.from(0)
	return events
}

func (e *Emulator) accept() {
	for {
		c, err := e.listener.AcceptUnix()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil { // out of descriptors, perhaps: somebody will close some
			time.Sleep(10 * time.Millisecond)
			continue
		}
		e.tasks.Go(func() { e.serve(c) })
	}
}

// register adds or changes a node.
func (e *Emulator) register(n Node) error {
	if err := n.normalize(); err != nil {
		return err
	}
	if n.Supply.Marker != "" && outage.Marked(os.Getpid(), n.Supply.Marker) {
		return fmt.Errorf("node %s: the emulator itself carries the marker %s: start it without", n.Name, n.Supply.Marker)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	m := e.machines[n.Name]
	if m == nil {
		m = &machine{state: Off}
		e.machines[n.Name] = m
	}
	if n.HostUUID == "" {
		n.HostUUID = m.spec.HostUUID
	}
	if n.HostUUID == "" {
		n.HostUUID = randomUUID().String()
	}
	if _, err := ident.ParseUUID(n.HostUUID); err != nil {
		return fmt.Errorf("node %s: host %w", n.Name, err)
	}
	if err := m.pin(&n.Supply); err != nil {
		return fmt.Errorf("node %s: %w", n.Name, err)
	}
	if m.state == On {
		m.spec.Supply = n.Supply
		return nil
	}
	m.spec = n
	m.chips = map[string]*chip{}
	for _, spec := range n.Chips {
		m.chips[spec.Name] = &chip{spec: spec, node: m}
	}
	e.journal.add(Event{What: Registered, Node: n.Name})
	return nil
}

// pin opens the mount namespace of a supply and puts what is open in its place.
func (m *machine) pin(s *Supply) error {
	if s.MountNS == "" {
		m.unpin()
		return nil
	}
	f, err := os.Open(s.MountNS)
	if err != nil {
		return fmt.Errorf("mount namespace: %w", err)
	}
	m.unpin()
	m.ns = f
	s.MountNS = fmt.Sprintf("/proc/self/fd/%d", f.Fd())
	return nil
}

func (m *machine) unpin() {
	if m.ns != nil {
		m.ns.Close()
		m.ns = nil
	}
}

// powerOn boots the machine's firmware: a new boot identity, a clock that starts
// near zero, chips at rest, links up. The caller starts the processes.
func (e *Emulator) powerOn(name string) (ident.BootID, error) {
	m, supply, err := e.awaitDark(name)
	if err != nil {
		return ident.BootID{}, err
	}
	if err := supply.LinksUp(); err != nil {
		e.journal.add(Event{What: Trouble, Node: name, Text: err.Error()})
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if m.state == On {
		return m.boot, fmt.Errorf("node %s is on", name)
	}
	zero, err := rawClock()
	if err != nil {
		return ident.BootID{}, err
	}
	e.unguardDisks()
	m.state = On
	m.life++
	m.boot = ident.BootID(randomUUID())
	// Firmware takes its time, a different one on each machine: nobody may
	// get away with comparing the clocks of two nodes.
	m.clockZero = zero - int64(time.Second) - int64(randomUUID()[0])*int64(20*time.Millisecond)
	e.journal.add(Event{What: PowerOn, Node: name, Text: m.boot.String()})
	return m.boot, nil
}

// awaitDark waits for a power loss under way, so that a boot does not race with it.
func (e *Emulator) awaitDark(name string) (*machine, Supply, error) {
	e.mu.Lock()
	m := e.machines[name]
	if m == nil {
		e.mu.Unlock()
		return nil, Supply{}, fmt.Errorf("node %s is not registered", name)
	}
	supply, dark := m.spec.Supply, m.dark
	e.mu.Unlock()
	if dark != nil {
		<-dark
	}
	return m, supply, nil
}

// cutPower is the reset line and the power button. It returns when the node is dark.
func (e *Emulator) cutPower(name string, why Event, after State) error {
	e.mu.Lock()
	m := e.machines[name]
	if m == nil {
		e.mu.Unlock()
		return fmt.Errorf("node %s is not registered", name)
	}
	if m.state == On {
		e.lose(m, why, after)
	} else if after == Off {
		m.state = Off // powered off in the middle of a reset
	}
	dark := m.dark
	e.mu.Unlock()
	if dark != nil {
		<-dark
	}
	return nil
}

// expired is a chip's timer.
func (e *Emulator) expired(c *chip) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if !c.running || e.closed {
		return
	}
	at := now()
	if at >= c.deadline() {
		e.bite(c, at)
		return
	}
	c.interrupt(e, at)
	c.wait(e)
}

// bite resets the chip's node. The lock is held.
func (e *Emulator) bite(c *chip, at int64) {
	e.lose(c.node, Event{
		At: at, What: Bite, Device: c.spec.Name, LastPet: c.lastPet,
		Text: fmt.Sprintf("not petted for %v", time.Duration(at-c.lastPet)),
	}, Resetting)
}

// lose begins a power loss. The lock is held, and the machine is on.
func (e *Emulator) lose(m *machine, why Event, after State) {
	if m.state != On || e.closed {
		return
	}
	why.Node = m.spec.Name
	e.journal.add(why)
	m.state = after
	m.stopChips()
	m.dark = make(chan struct{})
	supply, life, dark := m.spec.Supply, m.life, m.dark
	e.tasks.Go(func() {
		defer close(dark)
		e.goDark(m, supply, life)
	})
}

// goDark takes everything from the node, then hangs up on its connections.
func (e *Emulator) goDark(m *machine, supply Supply, life int) {
	log := func(what What, text string) {
		e.journal.add(Event{What: what, Node: m.spec.Name, Text: text})
	}
	stuck := outage.Run(supply, func() { log(Cut, "") }, func(err error) { log(Trouble, err.Error()) })
	log(Dark, "")
	e.mu.Lock()
	defer e.mu.Unlock()
	e.guarded = append(e.guarded, stuck...)
	for c := range e.conns {
		if c.machine == m && c.life == life {
			c.Close()
		}
	}
}

// unguardDisks lifts the write protection of disks that have detached since.
func (e *Emulator) unguardDisks() {
	still := e.guarded[:0]
	for _, d := range e.guarded {
		if !outage.Unguard(d) {
			still = append(still, d)
		}
	}
	e.guarded = still
}

func (m *machine) stopChips() {
	for _, c := range m.chips {
		c.stop()
		c.open = false
	}
}

func randomUUID() ident.UUID {
	var u ident.UUID
	if _, err := rand.Read(u[:]); err != nil {
		panic("no random numbers: " + err.Error())
	}
	u[6] = u[6]&0x0f | 0x40
	u[8] = u[8]&0x3f | 0x80
	return u
}

// rawClock is the machine's clock from which a node's clock is derived: raw time
// plus time suspended, as in internal/clock.
func rawClock() (int64, error) {
	var raw, boot, mono unix.Timespec
	if err := errors.Join(
		unix.ClockGettime(unix.CLOCK_BOOTTIME, &boot),
		unix.ClockGettime(unix.CLOCK_MONOTONIC, &mono),
		unix.ClockGettime(unix.CLOCK_MONOTONIC_RAW, &raw),
	); err != nil {
		return 0, fmt.Errorf("read the clock: %w", err)
	}
	return raw.Nano() + boot.Nano() - mono.Nano(), nil
}
