package drivers

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"time"

	"github.com/bougou/go-ipmi/pkg/command/app"
	"github.com/bougou/go-ipmi/pkg/command/chassis"
	"github.com/bougou/go-ipmi/pkg/types"
	"github.com/holdfast-ha/holdfast/bmc"
)

// lan reaches a controller over IPMI 2.0 without a program. The messages and
// the cryptography are go-ipmi's; the session is our own, because go-ipmi's
// client takes any datagram with the right sequence number for an answer,
// authenticated or not, and does not survive a malformed one.
type lan struct {
	address string
	user    string
	suites  []types.CipherSuiteID // in the order of trying, the one that worked last first
	options bmc.Options
}

func openSession(r bmc.Reference, o bmc.Options, port int) bmc.Driver {
	d := &lan{
		address: net.JoinHostPort(r.Host, strconv.Itoa(port)), user: r.User, options: o,
		suites: []types.CipherSuiteID{types.CipherSuiteID17, types.CipherSuiteID3},
	}
	switch r.Options["cipher"] {
	case "17":
		d.suites = d.suites[:1]
	case "3":
		d.suites = d.suites[1:]
	}
	return d
}

// State reads the chassis status (Get Chassis Status, IPMI 2.0 28.2).
func (d *lan) State(ctx context.Context) (state bmc.State, who bmc.Identity, err error) {
	err = d.in(ctx, func(ctx context.Context, s *session) (err error) {
		if who, err = d.identity(ctx, s); err != nil {
			return err
		}
		var status chassis.GetChassisStatusResponse
		if err := s.command(ctx, types.CommandGetChassisStatus, nil, &status); err != nil {
			return err
		}
		state = bmc.Off
		if status.PowerIsOn {
			state = bmc.On
		}
		return nil
	})
	return state, who, err
}

// Set sends Chassis Control (28.3), power down or power up.
func (d *lan) Set(ctx context.Context, on bool) error {
	return d.in(ctx, func(ctx context.Context, s *session) error {
		who, err := d.identity(ctx, s)
		if err != nil {
			return err
		}
		if err := d.options.Accept(who); err != nil {
			return err
		}
		request := chassis.ChassisControlRequest{ChassisControl: chassis.ChassisControlPowerDown}
		if on {
			request.ChassisControl = chassis.ChassisControlPowerUp
		}
		return s.command(ctx, types.CommandChassisControl, request.Pack(), nil)
	})
}

// identity asks for the GUID of the system, and where that is not usable for the
// address of the network card that the session came by; that a controller has
// neither is an answer.
func (d *lan) identity(ctx context.Context, s *session) (bmc.Identity, error) {
	var guid app.GetSystemGUIDResponse
	err := s.command(ctx, types.CommandGetSystemGUID, nil, &guid)
	var who bmc.Identity
	var refused *refusedError
	switch {
	case errors.As(err, &refused):
	case err != nil:
		return who, err
	default:
		if g, err := guidOf(guid.GUID[:]); err == nil {
			who.GUID = g
		}
	}
	if !d.options.WantsMAC(who.GUID) {
		return who, nil
	}
	var card lanCard
	err = s.command(ctx, types.CommandGetLanConfigParam, cardOf(thisChannel), &card)
	switch {
	case errors.As(err, &refused):
	case err != nil:
		return who, err
	case !card.address.IsZero():
		who.GUID = card.address
	}
	return who, nil
}

// thisChannel is, in a request, the channel that the request comes by.
const thisChannel = 0x0e

// cardOf is the data of Get LAN Configuration Parameters (IPMI 2.0, 23.2) that asks
// for the address of a channel's network card (parameter 5).
func cardOf(channel byte) []byte { return []byte{channel, 5, 0, 0} }

// lanCard is the answer: the parameter's revision, and six bytes.
type lanCard struct{ address bmc.GUID }

// Unpack takes what is no address for none.
func (c *lanCard) Unpack(data []byte) error {
	if len(data) == 7 {
		c.address, _ = bmc.FromMAC(data[1:])
	}
	return nil
}

// in runs f in a session of its own, over a socket of its own.
func (d *lan) in(ctx context.Context, f func(context.Context, *session) error) error {
	conn, err := (&net.Dialer{}).DialContext(ctx, "udp", d.address)
	if err != nil {
		return err
	}
	defer conn.Close()
	// A context without a deadline ends the reads as well.
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Now()) })
	defer stop()
	var s *session
	for i, suite := range d.suites {
		if s, err = login(ctx, conn, d.user, d.options.Password, suite); err == nil {
			// Some controllers do not answer to a suite that they do not
			// know, and each time that costs seconds. Calls come one at a
			// time, so nobody else looks at the list.
			d.suites[0], d.suites[i] = d.suites[i], d.suites[0]
			break
		}
		if !errors.Is(err, errSuite) {
			return fmt.Errorf("log in at %s: %w", d.address, err)
		}
	}
	if err != nil {
		return fmt.Errorf("log in at %s: %w; is another cipher= needed?", d.address, err)
	}
	defer s.logout()
	// A session begins with the rights of a mere user.
	raise := app.SetSessionPrivilegeLevelRequest{PrivilegeLevel: privilege}
	if err := s.command(ctx, types.CommandSetSessionPrivilegeLevel, raise.Pack(), nil); err != nil {
		return err
	}
	return f(ctx, s)
}
