package drivers

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"os/exec"
	"strconv"
	"strings"

	bmcipmitool "github.com/bmc-toolbox/bmclib/v2/providers/ipmitool"
	"github.com/go-logr/logr"
	"github.com/holdfast-ha/holdfast/bmc"
)

// The drivers of IPMI.
const (
	driverTool = "ipmitool" // bmclib and the program ipmitool
	driverGo   = "go"       // our own session, no program
)

// The longest user and password of IPMI 2.0, in bytes (22.30, 13.31). Longer
// ones would be cut somewhere, and fail with a riddle.
const (
	maxUserIPMI     = 16
	maxPasswordIPMI = 20
)

func openIPMI(r bmc.Reference, o bmc.Options) (bmc.Driver, error) {
	switch p := o.Password.Reveal(); {
	case p == "":
		return nil, errors.New("has no password")
	case len(p) > maxPasswordIPMI:
		return nil, fmt.Errorf("has a password of %d bytes; IPMI knows at most %d", len(p), maxPasswordIPMI)
	case len(r.User) > maxUserIPMI:
		return nil, fmt.Errorf("has a user of %d bytes; IPMI knows at most %d", len(r.User), maxUserIPMI)
	}
	port := r.Port
	if port == 0 {
		port = 623
	}
	if r.Options["driver"] == driverGo {
		return openSession(r, o, port), nil
	}
	path, err := exec.LookPath("ipmitool")
	if err != nil {
		return nil, errors.New("needs the program ipmitool: install the package ipmitool, or add ?driver=go to the reference")
	}
	return newIPMITool(r, o, path, port)
}

// ipmitool reaches a controller through bmclib's ipmitool driver, which runs
// the program once or several times per call; each run is a session. The
// password goes through the program's environment.
type ipmitool struct {
	conn    *bmcipmitool.Conn
	raw     program  // to ask what bmclib does not: who the machine is
	suit    []string // cipher suites to try with raw, in bmclib's order
	options bmc.Options
}

func newIPMITool(r bmc.Reference, o bmc.Options, path string, port int) (bmc.Driver, error) {
	host := r.Host
	if strings.Contains(host, ":") {
		host = "[" + host + "]" // without brackets bmclib would leave the address out
	}
	d := &ipmitool{options: o, suit: []string{"3", "17"}}
	if c := r.Options["cipher"]; c != "" {
		d.suit = []string{c}
	}
	conn, err := bmcipmitool.New(host, r.User, o.Password.Reveal(),
		bmcipmitool.WithLogger(logr.Discard()),
		bmcipmitool.WithPort(strconv.Itoa(port)),
		bmcipmitool.WithCipherSuite(r.Options["cipher"]),
		bmcipmitool.WithIpmitoolPath(path))
	if err != nil {
		return nil, err
	}
	d.conn = conn
	d.raw = program{
		path: path, env: []string{"IPMITOOL_PASSWORD=" + o.Password.Reveal()},
		args: []string{"-I", "lanplus", "-H", r.Host, "-p", strconv.Itoa(port), "-U", r.User, "-E", "-N", "2", "-R", "3"},
	}
	return d, nil
}

// State runs ipmitool twice: for the identity, and for the power.
func (d *ipmitool) State(ctx context.Context) (bmc.State, bmc.Identity, error) {
	who, err := d.identity(ctx)
	if err != nil {
		return bmc.Unknown, who, err
	}
	text, err := d.conn.PowerStateGet(ctx)
	if err != nil {
		return bmc.Unknown, who, err
	}
	state := exactly(text, "chassis power is on", "chassis power is off")
	if state == bmc.Unknown {
		return bmc.Unknown, who, fmt.Errorf("ipmitool printed %q, which is neither on nor off", bmc.OneLine(text))
	}
	return state, who, nil
}

// Set runs ipmitool chassis power, after the identity is checked if it has to be.
func (d *ipmitool) Set(ctx context.Context, on bool) error {
	if len(d.options.Expect) > 0 {
		who, err := d.identity(ctx)
		if err != nil {
			return err
		}
		if err := d.options.Accept(who); err != nil {
			return err
		}
	}
	word := "off"
	if on {
		word = "on"
	}
	// The boolean is true also when ipmitool printed anything else than "is
	// on" before, and nothing was sent.
	_, err := d.conn.PowerSet(ctx, word)
	return err
}

// identity asks for the system's GUID (Get System GUID, IPMI 2.0 22.14), and where
// that is not usable for the address of the controller's network card. That a
// controller has neither is an answer; only silence is an error.
func (d *ipmitool) identity(ctx context.Context) (bmc.Identity, error) {
	var who bmc.Identity
	raw, err := d.ask(ctx, "0x06", "0x37")
	if err != nil {
		return who, err
	}
	if g, err := guidOf(raw); err == nil {
		who.GUID = g
	}
	if !d.options.WantsMAC(who.GUID) {
		return who, nil
	}
	request := []string{"0x0c", "0x02"}
	for _, b := range cardOf(thisChannel) {
		request = append(request, fmt.Sprintf("%#02x", b))
	}
	if raw, err = d.ask(ctx, request...); err != nil {
		return who, err
	}
	var card lanCard
	if _ = card.Unpack(raw); !card.address.IsZero() {
		who.GUID = card.address
	}
	return who, nil
}

// ask sends one command and returns its data; none if the controller does not know
// the command, or if what ipmitool prints is nonsense.
func (d *ipmitool) ask(ctx context.Context, request ...string) ([]byte, error) {
	var last error
	for _, cipher := range d.suit {
		p := d.raw
		p.args = append(append(append([]string{}, p.args...), "-C", cipher, "raw"), request...)
		status, output, complaints, err := p.run(ctx)
		if err != nil {
			return nil, err
		}
		if status != 0 {
			last = fmt.Errorf("ipmitool: %s", bmc.OneLine(complaints))
			if strings.Contains(complaints, "rsp=0x") {
				return nil, nil // the controller answered: it does not know the command
			}
			continue
		}
		raw, err := hex.DecodeString(strings.Join(strings.Fields(output), ""))
		if err != nil {
			return nil, nil
		}
		return raw, nil
	}
	return nil, last
}

// guidOf makes a GUID of the 16 bytes that a controller sent.
func guidOf(raw []byte) (bmc.GUID, error) {
	return bmc.ParseGUID(hex.EncodeToString(raw))
}
