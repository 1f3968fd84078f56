package drivers

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"

	bmcredfish "github.com/bmc-toolbox/bmclib/v2/providers/redfish"
	"github.com/go-logr/logr"
	"github.com/holdfast-ha/holdfast/bmc"
)

// logoutTime is how long a session may take to close when the call that opened
// it has no time left. A session that is not closed counts against the
// controller's small limit until it expires there.
const logoutTime = 2 * time.Second

// redfish reaches a controller through bmclib's gofish driver. The driver is
// made for each session anew, as bmclib's types keep state, and it is made
// alone: bmclib's own client would offer the password to every protocol that it
// knows, one of them without encryption.
type redfish struct {
	scheme, host, port string
	user               string
	system             string // id of the system, empty for the only one
	options            bmc.Options
	tls                *tls.Config // nil without TLS
	session            bool        // log in for a session instead of sending the password with each request
	ignoreEtag         bool
}

func openRedfish(r bmc.Reference, o bmc.Options) (bmc.Driver, error) {
	if strings.EqualFold(os.Getenv("DEBUG_BMCLIB"), "true") {
		return nil, errors.New("DEBUG_BMCLIB=true in the environment makes bmclib print passwords: take it out")
	}
	d := &redfish{
		scheme: "https", host: r.Host, port: "443",
		user: r.User, system: r.System, options: o,
		session: r.Options["auth"] == "session", ignoreEtag: r.Options["etag"] == "ignore",
	}
	if o.Password.Reveal() == "" {
		return nil, errors.New("has no password")
	}
	if r.Way == bmc.WayRedfishPlain {
		d.scheme, d.port = "http", "80"
	} else {
		var err error
		if d.tls, err = tlsConfig(r); err != nil {
			return nil, err
		}
	}
	if r.Port != 0 {
		d.port = strconv.Itoa(r.Port)
	}
	return d, nil
}

// State reads the property PowerState of the system.
func (d *redfish) State(ctx context.Context) (state bmc.State, who bmc.Identity, err error) {
	err = d.in(ctx, func(conn *bmcredfish.Conn, w *wire) error {
		text, err := conn.PowerStateGet(ctx)
		who = w.identity()
		if err != nil {
			return err
		}
		// Redfish also has PoweringOn, PoweringOff and Paused, and
		// controllers have words of their own.
		if state = exactly(text, "on", "off"); state == bmc.Unknown {
			return fmt.Errorf("the power state is %q, neither On nor Off", bmc.OneLine(text))
		}
		return nil
	})
	return state, who, err
}

// Set sends the action Reset with ForceOff or On; bmclib leaves it out where the
// system already is in that state.
func (d *redfish) Set(ctx context.Context, on bool) error {
	return d.in(ctx, func(conn *bmcredfish.Conn, _ *wire) error {
		word := "off"
		if on {
			word = "on"
		}
		_, err := conn.PowerSet(ctx, word) // ForceOff or On; the boolean says nothing that Confirm would believe
		return err
	})
}

// in runs f in a session of its own: new connections, and a new login if the
// controller wants one.
func (d *redfish) in(ctx context.Context, f func(*bmcredfish.Conn, *wire) error) error {
	w := &wire{ctx: ctx, system: d.system, options: d.options, base: &http.Transport{
		DialContext:            (&net.Dialer{}).DialContext,
		TLSClientConfig:        d.tls.Clone(),
		MaxResponseHeaderBytes: maxAnswer,
	}}
	defer w.base.CloseIdleConnections()
	host := d.host
	if strings.Contains(host, ":") {
		host = "[" + strings.Replace(host, "%", "%25", 1) + "]"
	}
	conn := bmcredfish.New(d.scheme+"://"+host, d.user, d.options.Password.Reveal(), logr.Discard(),
		bmcredfish.WithHttpClient(&http.Client{Transport: w, CheckRedirect: sameHost}),
		bmcredfish.WithPort(d.port),
		bmcredfish.WithUseBasicAuth(!d.session),
		bmcredfish.WithEtagMatchDisabled(d.ignoreEtag))
	err := conn.Open(ctx)
	if err == nil {
		err = f(conn, w)
		// The driver's requests end with the call's context; logging out has to
		// happen even after that.
		out, cancel := context.WithTimeout(context.WithoutCancel(ctx), logoutTime)
		defer cancel()
		w.use(out)
		_ = conn.Close(out)
	}
	return w.explain(err)
}

// sameHost refuses redirects to elsewhere: a controller has no reason for them,
// and they would carry the request, and perhaps the password, away.
func sameHost(r *http.Request, via []*http.Request) error {
	first := via[0].URL
	if r.URL.Host != first.Host || r.URL.Scheme != first.Scheme || len(via) > 3 {
		return fmt.Errorf("the controller redirects to %s://%s, which is refused", r.URL.Scheme, r.URL.Host)
	}
	return nil
}

// exactly gives the state that a text names, and Unknown for any other text.
// Case and space around do not count.
func exactly(text, on, off string) bmc.State {
	switch strings.ToLower(strings.TrimSpace(text)) {
	case on:
		return bmc.On
	case off:
		return bmc.Off
	}
	return bmc.Unknown
}
