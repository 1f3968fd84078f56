package machine

import (
	"context"
	"fmt"
	"time"
)

// Control carries out a command of QEMU's control socket, with arguments or nil.
func (m *Machine) Control(ctx context.Context, command string, args map[string]any) error {
	l, err := m.on()
	if err != nil {
		return err
	}
	if err := l.qmp.do(ctx, command, args); err != nil {
		return fmt.Errorf("%s: %w", m.Name, err)
	}
	return nil
}

// Freeze stops the machine between two instructions, as a hypervisor does. Its clocks and its watchdog card stop with it.
func (m *Machine) Freeze(ctx context.Context) error { return m.Control(ctx, "stop", nil) }

// Thaw lets a frozen machine go on.
func (m *Machine) Thaw(ctx context.Context) error { return m.Control(ctx, "cont", nil) }

// Reset resets the machine as its button does.
func (m *Machine) Reset(ctx context.Context) error { return m.Control(ctx, "system_reset", nil) }

// Link pulls the cable of a network card, or plugs it in. Cards are numbered from 0.
func (m *Machine) Link(ctx context.Context, card int, up bool) error {
	return m.Control(ctx, "set_link", map[string]any{"name": fmt.Sprintf("net%d", card), "up": up})
}

// Await waits for the first event of a name that QEMU tells of at or after an instant.
func (m *Machine) Await(ctx context.Context, event string, since time.Time) (Event, error) {
	l, err := m.on()
	if err != nil {
		return Event{}, err
	}
	e, err := l.qmp.await(ctx, event, since)
	if err != nil {
		err = fmt.Errorf("%s: %w", m.Name, err)
	}
	return e, err
}

// Events lists what QEMU has told of since the power came on.
func (m *Machine) Events() []Event {
	if l := m.now(); l != nil {
		return l.qmp.all()
	}
	return nil
}

// Telling gives what lists the events of the machine's present power-on, also when that is over.
func (m *Machine) Telling() func() []Event {
	if l := m.now(); l != nil {
		return l.qmp.all
	}
	return func() []Event { return nil }
}

// Boots is how often the machine has booted since its power came on.
func (m *Machine) Boots() int {
	if l := m.now(); l != nil {
		return l.agent.count()
	}
	return 0
}

// LastBoot is the machine's latest boot; its ID is empty where it has not booted since its power came on.
func (m *Machine) LastBoot() Boot {
	if l := m.now(); l != nil {
		return l.agent.latest()
	}
	return Boot{}
}

// AwaitBoot waits for boot number n since the power came on; the first is 1.
func (m *Machine) AwaitBoot(ctx context.Context, n int) (Boot, error) {
	l, err := m.on()
	if err != nil {
		return Boot{}, err
	}
	b, err := l.agent.booted(ctx, n)
	if err != nil {
		err = fmt.Errorf("%s: %w; %s", m.Name, err, m.lastWords())
	}
	return b, err
}

// Panic crashes the kernel inside. It stays where it is then until a watchdog resets it.
func (m *Machine) Panic(ctx context.Context) error {
	if err := m.Write(ctx, "/proc/sys/kernel/panic", "0"); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	if err := m.Write(ctx, "/proc/sysrq-trigger", "c"); err == nil {
		return fmt.Errorf("%s: goes on after a panic", m.Name)
	}
	return nil
}
