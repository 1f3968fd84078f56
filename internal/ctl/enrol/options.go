package enrol

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/holdfast-ha/holdfast/internal/clock"
	"github.com/holdfast-ha/holdfast/internal/config"
	"github.com/holdfast-ha/holdfast/internal/ctl/power"
)

// DefaultPort is that of the heartbeat links (UDP) and of the join service (TCP).
const DefaultPort = 7320

// guestPause is how long a hypervisor may stop a guest where nobody says
// otherwise: snapshots stun for seconds.
const guestPause = 10 * time.Second

// Options say what the node is to be. What is empty gets a default.
type Options struct {
	Config        string   // path of node.yaml; guard.conf gets its place beside it
	Name          string   // default: the host's name
	Disks         []string // paths of the quorum disks
	Links         []string // own addresses, IP or IP:port; default: one of every network card
	SingleLink    bool     // one link is accepted
	Watchdogs     []string // DEVICE or DEVICE:TIMEOUT; default: every device that nobody uses
	AcceptSoftdog bool     // softdog alone is accepted
	PowerOff      bool     // the message off of sbd(8) switches the node off
	Key           string   // path of the key file; default: cluster.key beside node.yaml
	Power         power.Claim
	Pause         Pause
	Emulation     Emulation
	Dirs          config.Dirs
}

// Pause is how long a hypervisor may stop this machine; without Set it is 0 s,
// and 10 s where a hypervisor shows itself.
type Pause struct {
	Bound time.Duration
	Set   bool
}

// Emulation makes the node one of a power emulator.
type Emulation struct {
	On       bool
	Emulator string // socket
	Holder   string // socket of the second holder of the watchdogs; also without On
}

// settle fills in what was not given, and gives node.yaml but for the cluster,
// the slot and the disks. It changes nothing.
func (o *Options) settle() (*config.Node, error) {
	for _, p := range []*string{&o.Config, &o.Key, &o.Dirs.Run, &o.Dirs.State, &o.Emulation.Emulator, &o.Emulation.Holder} {
		if abs, err := filepath.Abs(*p); *p != "" && err == nil {
			*p = abs
		}
	}
	if _, err := os.Stat(o.Config); err == nil {
		return nil, fmt.Errorf("%s is there already: this node belongs to a cluster; to start anew: holdfast node leave on this node, holdfast node remove on another one, then remove %s", o.Config, o.Config)
	}
	if err := o.defaultName(); err != nil {
		return nil, err
	}
	if o.Key == "" {
		o.Key = filepath.Join(filepath.Dir(o.Config), "cluster.key")
	}
	n := &config.Node{
		Name: o.Name, Key: o.Key, AcceptSoftdog: o.AcceptSoftdog, PowerOff: o.PowerOff,
		Platform: config.Platform{
			PauseBound: o.Pause.Bound, PauseSet: o.Pause.Set, Emulated: o.Emulation.On,
			Emulator: o.Emulation.Emulator, Holder: o.Emulation.Holder,
		},
		Dirs: o.Dirs,
	}
	switch {
	case o.Emulation.On && o.Emulation.Emulator == "":
		return nil, errors.New("--emulated needs --emulator and the socket of a power emulator")
	case !o.Emulation.On && o.Emulation.Emulator != "":
		return nil, errors.New("--emulator without --emulated: a node either is emulated or is not")
	case !o.Pause.Set && !o.Emulation.On && isGuest():
		n.Platform.PauseBound, n.Platform.PauseSet = guestPause, true
	}
	if n.Dirs.Run == "" {
		n.Dirs.Run = "/run/holdfast/" + n.Name
	}
	if n.Dirs.State == "" {
		n.Dirs.State = "/var/lib/holdfast"
	}
	return n, errors.Join(o.setLinks(n), o.setWatchdogs(n))
}

func (o *Options) defaultName() error {
	if o.Name != "" {
		return nil
	}
	host, err := os.Hostname()
	if err != nil {
		return fmt.Errorf("the name of this host is not known (%w): give --name", err)
	}
	o.Name, _, _ = strings.Cut(strings.ToLower(host), ".")
	return nil
}

// setLinks parses the links, or takes the first address of every network card
// that is up.
func (o *Options) setLinks(n *config.Node) error {
	given := o.Links
	if len(given) == 0 {
		var err error
		if given, err = ownAddresses(); err != nil {
			return fmt.Errorf("the addresses of this host are not known (%w): give --link", err)
		}
	}
	for _, text := range given {
		at, err := netip.ParseAddrPort(text)
		if addr, bare := netip.ParseAddr(text); bare == nil {
			at, err = netip.AddrPortFrom(addr, DefaultPort), nil
		}
		if err != nil || at.Port() == 0 {
			return fmt.Errorf("--link %s: want this node's own address on a heartbeat network, as 10.0.0.11 or 10.0.0.11:%d", text, DefaultPort)
		}
		n.Links = append(n.Links, at)
	}
	n.SingleLink = o.SingleLink && len(n.Links) == 1
	switch {
	case len(n.Links) == 0:
		return errors.New("this host has no address but its own loopback: give --link")
	case len(n.Links) == 1 && !o.SingleLink:
		return fmt.Errorf("one heartbeat network only (%v): give a second --link on another network, so that one cable silences nobody; or accept the risk with --single-link", n.Links[0])
	}
	return nil
}

// ownAddresses returns one global address of each network card that is up.
func ownAddresses() ([]string, error) {
	cards, err := net.Interfaces()
	if err != nil {
		return nil, err
	}
	var found []string
	for _, card := range cards {
		if card.Flags&net.FlagUp == 0 || card.Flags&(net.FlagLoopback|net.FlagPointToPoint) != 0 {
			continue
		}
		addrs, err := card.Addrs()
		if err != nil {
			return nil, err
		}
		for _, addr := range addrs {
			if p, err := netip.ParsePrefix(addr.String()); err == nil && p.Addr().IsGlobalUnicast() {
				found = append(found, p.Addr().String())
				break
			}
		}
	}
	return found, nil
}

// platform connects to what the node will live on, and refuses a clock that
// leases cannot rest on.
func (o *Options) platform() (clock.Identity, error) {
	p, err := clock.Open(clock.Config{Emulator: o.Emulation.Emulator, Node: o.Name})
	if err != nil {
		return clock.Identity{}, err
	}
	if c, ok := p.(interface{ Close() error }); ok {
		defer func() { _ = c.Close() }()
	}
	if _, err := p.Now(); err != nil {
		return clock.Identity{}, fmt.Errorf("the clock of this machine cannot carry a lease: %w; look at its load and at its clock source", err)
	}
	if now := time.Now(); now.Year() < 2025 {
		return clock.Identity{}, fmt.Errorf("the wall clock of this machine says %s: set it, for certificates and events carry it", now.Format(time.DateOnly))
	}
	return p.Identity(), nil
}

// isGuest says whether a hypervisor shows itself to this machine.
func isGuest() bool {
	text, err := os.ReadFile("/proc/cpuinfo")
	return err == nil && strings.Contains(string(text), " hypervisor")
}
