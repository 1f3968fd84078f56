package bmctest

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"

	gobmc "github.com/bougou/go-ipmi/pkg/bmc"
	"github.com/bougou/go-ipmi/pkg/hal"
	"github.com/bougou/go-ipmi/pkg/hal/mock"
	"github.com/bougou/go-ipmi/pkg/handlers"
	"github.com/bougou/go-ipmi/pkg/server"
	"github.com/bougou/go-ipmi/pkg/types"
	"github.com/holdfast-ha/holdfast/bmc"
)

// IPMI is a controller that speaks IPMI 2.0 over UDP: go-ipmi's server, on top
// of a Machine.
type IPMI struct {
	Port int // on 127.0.0.1, or on ::1 as well

	machine *Machine
	bmc     *gobmc.BMC
}

// NewIPMI serves the controller of the machine until the test ends.
func NewIPMI(t testing.TB, m *Machine) *IPMI {
	t.Helper()
	socket, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv6loopback})
	if err != nil { // no IPv6 here
		socket, err = net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	}
	if err != nil {
		t.Fatal(err)
	}
	return NewIPMIOn(t, socket, m)
}

// NewIPMIOn is NewIPMI on a socket, which it closes: for machines that live in
// networks of their own.
func NewIPMIOn(t testing.TB, socket *net.UDPConn, m *Machine) *IPMI {
	t.Helper()
	p := &IPMI{machine: m, Port: socket.LocalAddr().(*net.UDPAddr).Port}
	parts := hardware{HAL: mock.New(), chassis: &power{Chassis: &mock.Chassis{}, machine: m}}
	p.bmc = gobmc.New(gobmc.DeviceInfo{DeviceID: 0x20, IPMIVersion: 0x20}, [16]byte{1}, parts)
	user, err := p.bmc.Users.Add(2, User)
	if err != nil {
		t.Fatal(err)
	}
	user.SetPassword([]byte(Password))
	user.Enabled = true
	user.ChannelAccess[1] = gobmc.UserChannelAccess{MaxPrivilege: gobmc.PrivilegeLevelAdministrator, Enabled: true}

	registry := handlers.NewRegistry()
	handlers.RegisterAllHandlers(registry)
	registry.RegisterFunc(types.CommandGetSystemGUID, p.guid)
	registry.RegisterFunc(types.CommandGetLanConfigParam, p.card)
	registry.RegisterFunc(types.CommandGetChassisStatus, p.status)
	s := server.NewServer(p.bmc, &line{UDPConn: socket, machine: m}, server.WithHandlerRegistry(registry))
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = s.Serve(ctx)
	}()
	t.Cleanup(func() {
		cancel()
		_ = s.Close()
		<-done
	})
	return p
}

// Reference gives the reference of the controller with the given options.
func (p *IPMI) Reference(t testing.TB, options ...string) bmc.Reference {
	t.Helper()
	return parse(t, fmt.Sprintf("ipmi://%s@[::1]:%d?%s", User, p.Port, strings.Join(options, "&")))
}

// Sessions counts the sessions that are open now.
func (p *IPMI) Sessions() int { return p.bmc.Sessions.Count() }

// Offer sets the cipher suites that the controller offers, 3 and 17 at first.
func (p *IPMI) Offer(suites ...uint8) {
	var ids []types.CipherSuiteID
	for _, s := range suites {
		ids = append(ids, types.CipherSuiteID(s))
	}
	p.bmc.SetCipherSuites(ids)
}

// guid answers Get System GUID, which go-ipmi's server leaves out. The bytes
// come least significant first, as the specification wants it (22.14).
func (p *IPMI) guid(context.Context, *handlers.HandlerContext, []byte) ([]byte, types.CompletionCode, error) {
	g, named := p.machine.shown()
	if !named {
		return nil, types.CodeInvalidCommand, nil
	}
	slices.Reverse(g[:])
	return g[:], types.CodeOK, nil
}

// card answers Get LAN Configuration Parameters (23.2) about the channel that it
// came by, parameter 5.
func (p *IPMI) card(_ context.Context, _ *handlers.HandlerContext, request []byte) ([]byte, types.CompletionCode, error) {
	card, told := p.machine.card()
	if !told || len(request) != 4 || request[0] != 0x0e || request[1] != 5 {
		return nil, types.CodeInvalidCommand, nil
	}
	return card, types.CodeOK, nil
}

// status answers Get Chassis Status (28.2).
func (p *IPMI) status(_ context.Context, c *handlers.HandlerContext, _ []byte) ([]byte, types.CompletionCode, error) {
	switch p.machine.status(int(c.Session.BMCID)) {
	case wordGarbage:
		return []byte{0x20}, types.CodeOK, nil
	case wordOff:
		return []byte{0x60, 0, 0, 0}, types.CodeOK, nil
	}
	return []byte{0x61, 0, 0, 0}, types.CodeOK, nil
}

// hardware is what go-ipmi's server switches.
type hardware struct {
	*mock.HAL
	chassis hal.ChassisHAL
}

// Chassis gives the machine.
func (h hardware) Chassis() hal.ChassisHAL { return h.chassis }

type power struct {
	*mock.Chassis
	machine *Machine
}

// SetPower is Chassis Control.
func (p *power) SetPower(_ context.Context, on bool) error {
	if !p.machine.command(on) {
		return hal.ErrNotSupported
	}
	return nil
}

// line is the controller's network socket.
type line struct {
	*net.UDPConn
	machine *Machine

	mu   sync.Mutex // guards seed
	seed byte
}

// WriteTo sends an answer. A controller that is silent sends nothing, and one
// that answers nonsense sends every answer in several broken copies first.
func (l *line) WriteTo(p []byte, to net.Addr) (int, error) {
	if l.machine.silent() {
		return len(p), nil
	}
	if l.machine.is(Garbage) {
		for _, broken := range l.broken(p) {
			if _, err := l.UDPConn.WriteTo(broken, to); err != nil {
				return 0, err
			}
		}
	}
	return l.UDPConn.WriteTo(p, to)
}

// broken gives copies of a datagram that a careless reader stumbles over: cut
// off at different places, with lengths that are too great, and with one wrong
// byte each.
func (l *line) broken(p []byte) [][]byte {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.seed += 7
	copies := [][]byte{{}, {6}, []byte("HTTP/1.1 400 Bad Request\r\n\r\n")}
	for _, cut := range []int{4, 5, 16, 17, len(p) / 2, len(p) - 1} {
		if cut >= 0 && cut < len(p) {
			copies = append(copies, p[:cut])
		}
	}
	for _, at := range []int{4, 5, 6, 14, 15, 20, len(p) - 1, int(l.seed) % len(p)} {
		if at < len(p) {
			c := slices.Clone(p)
			c[at] ^= 0xff
			copies = append(copies, c)
		}
	}
	return copies
}
