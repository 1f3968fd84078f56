package gather

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"maps"
	"net"
	"os"
	"slices"
	"strconv"
	"time"

	"github.com/holdfast-ha/holdfast/bmc"
	"github.com/holdfast-ha/holdfast/internal/config"
	"github.com/holdfast-ha/holdfast/internal/doctor"
)

// certificates looks at those that have an end: of the metrics, and of controllers
// whose certificate is not pinned.
func (m *Machine) certificates(ctx context.Context, n *config.Node, now time.Time) []doctor.Certificate {
	var list []doctor.Certificate
	for _, f := range []string{n.Metrics.Certificate, n.Metrics.Clients} {
		if f != "" {
			c := doctor.Certificate{Of: f, Now: now, Remedy: "put a renewed one in its place; it is read with the next scrape"}
			list = append(list, ends(c, func() (time.Time, error) { return m.endOfFile(f) }))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(n.Controllers)) {
		r, err := bmc.Parse(n.Controllers[name].URL)
		if err != nil || r.Way != bmc.WayRedfish || r.Options["fingerprint"] != "" || r.Options["tls"] == "insecure" || m.Probe.Certificate == nil {
			continue
		}
		at := net.JoinHostPort(r.Host, strconv.Itoa(cmp.Or(r.Port, 443)))
		c := doctor.Certificate{Of: "the controller of " + name, Now: now, Remedy: "renew it there, or pin it: ?fingerprint=sha256:HEX in node.yaml"}
		list = append(list, ends(c, func() (time.Time, error) { return m.Probe.Certificate(ctx, at) }))
	}
	return list
}

func ends(c doctor.Certificate, of func() (time.Time, error)) doctor.Certificate {
	var err error
	if c.Ends, err = of(); err != nil {
		c.Problem = err.Error()
	}
	return c
}

// endOfFile is when the first certificate of a file of several ends.
func (m *Machine) endOfFile(path string) (time.Time, error) {
	var end time.Time
	text, err := os.ReadFile(m.path(path))
	if err != nil {
		return end, err
	}
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		if block.Type != "CERTIFICATE" {
			continue
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return end, err
		}
		if end.IsZero() || c.NotAfter.Before(end) {
			end = c.NotAfter
		}
	}
	if end.IsZero() {
		return end, errors.New("no certificate is in it")
	}
	return end, nil
}

// shown asks who listens at an address when its certificate ends, and believes nothing else of it.
func shown(ctx context.Context, address string) (time.Time, error) {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	d := tls.Dialer{Config: &tls.Config{InsecureSkipVerify: true}} // nothing is said to it
	c, err := d.DialContext(ctx, "tcp", address)
	if err != nil {
		return time.Time{}, err
	}
	defer c.Close()
	list := c.(*tls.Conn).ConnectionState().PeerCertificates
	if len(list) == 0 {
		return time.Time{}, errors.New("it shows none")
	}
	return list[0].NotAfter, nil
}
