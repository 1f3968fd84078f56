// Package power verifies that a management controller is this machine's own: what
// it says over the network is compared with what the machine knows of itself. It
// switches nothing.
package power

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/holdfast-ha/holdfast/bmc"
	"github.com/holdfast-ha/holdfast/bmc/drivers"
	"github.com/holdfast-ha/holdfast/cluster/ident"
	"github.com/holdfast-ha/holdfast/internal/config"
)

// powerPatience bounds what is asked of a management controller.
const powerPatience = 30 * time.Second

// Claim is this machine's management controller as the admin names it.
type Claim struct {
	URL          string // redfish://user@host or ipmi://user@host; empty: none
	PasswordFile string // mode 0600, or credential:NAME; default: bmc.secret beside node.yaml
}

// Verify makes sure that a controller is this machine's: what it says over the
// network must be what the machine itself knows from its firmware and over the bus
// in its chassis, host among it, in any byte order. It returns the settings for
// node.yaml, and what the other nodes are told: the reference, # and the GUID.
func (p *Claim) Verify(ctx context.Context, etc string, own []bmc.GUID) (config.BMC, string, error) {
	if p.URL == "" {
		return config.BMC{}, "", nil
	}
	ref, err := bmc.Parse(p.URL)
	if err != nil {
		return config.BMC{}, "", fmt.Errorf("--bmc: %w", err)
	}
	if ref.Way == bmc.WayAgent {
		return config.BMC{}, "", errors.New("--bmc: a fence agent does not say which machine it switches, so that nothing can be verified: it stands under fencing.ways of the cluster's configuration")
	}
	place := p.PasswordFile
	if place == "" {
		place = filepath.Join(etc, "bmc.secret")
	} else if !strings.HasPrefix(place, "credential:") {
		if place, err = filepath.Abs(place); err != nil {
			return config.BMC{}, "", err
		}
	}
	secret, err := bmc.ReadSecret(place)
	if errors.Is(err, os.ErrNotExist) {
		return config.BMC{}, "", fmt.Errorf("--bmc: %w; write the password of %s there, with mode 0600, or name its file with --bmc-password", err, ref.User)
	} else if err != nil {
		return config.BMC{}, "", fmt.Errorf("--bmc: %w", err)
	}
	if len(own) == 0 {
		return config.BMC{}, "", errors.New("--bmc: this machine does not know who it is, neither from its firmware nor from /dev/ipmi0 (modprobe ipmi_devintf ipmi_si), so that nothing can be verified")
	}
	s, err := drivers.Open(ref, bmc.Options{Password: secret})
	if err != nil {
		return config.BMC{}, "", fmt.Errorf("--bmc: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, powerPatience)
	defer cancel()
	r := s.State(ctx)
	switch {
	case r.State == bmc.Unknown:
		return config.BMC{}, "", fmt.Errorf("--bmc %s: %s", ref.Title(), r.Text)
	case r.State == bmc.Off:
		return config.BMC{}, "", fmt.Errorf("--bmc %s: it says that its machine is off, and this one is running: it is another machine's", ref.Title())
	}
	if err := (bmc.Options{Expect: own}).Accept(r.Identity); err != nil {
		return config.BMC{}, "", fmt.Errorf("--bmc %s: %w", ref.Title(), err)
	}
	return config.BMC{URL: ref.String(), PasswordFile: place}, ref.String() + "#" + r.Identity.GUID.String(), nil
}

// Settle is Verify with what this machine says of itself: an emulated one is known
// by its host alone.
func (p *Claim) Settle(ctx context.Context, etc string, host ident.UUID, emulated bool) (config.BMC, string, error) {
	if p.URL == "" {
		return config.BMC{}, "", nil
	}
	own := []bmc.GUID{bmc.GUID(host)}
	if !emulated {
		own, _ = drivers.InBand(ctx) // what is missing is missing; nothing at all is refused
	}
	return p.Verify(ctx, etc, own)
}
