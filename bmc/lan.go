package bmc

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
)

// lan reaches a controller over IPMI 2.0 without a program. The messages and
// the cryptography are go-ipmi's; the session is our own, because go-ipmi's
// client takes any datagram with the right sequence number for an answer,
// authenticated or not, and does not survive a malformed one.
type lan struct {
	address  string
	user     string
	password Secret
	suites   []types.CipherSuiteID // in the order of trying
	want     []GUID
}

func openSession(r Reference, o Options, port int) driver {
	d := &lan{
		address: net.JoinHostPort(r.Host, strconv.Itoa(port)), user: r.User, password: o.Password, want: o.Expect,
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

func (d *lan) state(ctx context.Context) (state State, who Identity, err error) {
	err = d.in(ctx, func(ctx context.Context, s *session) error {
		if who, err = d.identity(ctx, s); err != nil {
			return err
		}
		var status chassis.GetChassisStatusResponse
		if err := s.command(ctx, types.CommandGetChassisStatus, nil, &status); err != nil {
			return err
		}
		state = Off
		if status.PowerIsOn {
			state = On
		}
		return nil
	})
	if err != nil {
		state = Unknown
	}
	return state, who, err
}

func (d *lan) set(ctx context.Context, on bool) error {
	return d.in(ctx, func(ctx context.Context, s *session) error {
		who, err := d.identity(ctx, s)
		if err != nil {
			return err
		}
		if err := expected(d.want, who); err != nil {
			return err
		}
		request := chassis.ChassisControlRequest{ChassisControl: chassis.ChassisControlPowerDown}
		if on {
			request.ChassisControl = chassis.ChassisControlPowerUp
		}
		return s.command(ctx, types.CommandChassisControl, request.Pack(), nil)
	})
}

// identity asks for the GUID of the system; that a controller has none is an
// answer.
func (d *lan) identity(ctx context.Context, s *session) (Identity, error) {
	var guid app.GetSystemGUIDResponse
	err := s.command(ctx, types.CommandGetSystemGUID, nil, &guid)
	var refused *refusedError
	switch {
	case errors.As(err, &refused):
		return Identity{}, nil
	case err != nil:
		return Identity{}, err
	}
	g, err := guidOf(guid.GUID[:])
	if err != nil {
		return Identity{}, nil
	}
	return Identity{GUID: g}, nil
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
	for _, suite := range d.suites {
		if s, err = login(ctx, conn, d.user, d.password, suite); err == nil {
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
