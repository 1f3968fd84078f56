package stage

import (
	"context"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/vishvananda/netlink"

	"github.com/holdfast-ha/holdfast/internal/api"
	"github.com/holdfast-ha/holdfast/internal/clock"
	"github.com/holdfast-ha/holdfast/test/demo/ledger"
)

// Mounted says whether the node has the service's file system mounted, by the
// kernel's table of the node's mount namespace. Not root it is always false.
func (n *Node) Mounted(v *Service) bool {
	if n.room == nil {
		return false
	}
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/mountinfo", n.room.PID()))
	return err == nil && strings.Contains(string(text), " "+v.Mountpoint()+" ")
}

// HasAddress says whether the service's address is on a card of the node, by
// the kernel's word. Not root it is always false.
func (n *Node) HasAddress(v *Service) bool {
	if n.cardsOf == nil {
		return false
	}
	return n.Carries(v.Address())
}

// Carries says the same of any address.
func (n *Node) Carries(address string) bool {
	if n.cardsOf == nil {
		return false
	}
	all, err := n.cardsOf.AddrList(nil, netlink.FAMILY_V4)
	want := net.ParseIP(address)
	return err == nil && slices.ContainsFunc(all, func(a netlink.Addr) bool { return a.IP.Equal(want) })
}

// Server is the process on the node that answers for the service; 0: there is none.
func (n *Node) Server(v *Service) int {
	for _, pid := range n.PIDs() {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
		args := strings.Split(string(text), "\x00")
		if err == nil && len(args) > 1 && args[1] == "serve" && slices.Contains(args, v.File()) {
			return pid
		}
	}
	return 0
}

// ClockOffset is what to add to an instant of the node's interval clock, as its
// events carry it, to have CLOCK_MONOTONIC of this machine in nanoseconds. The
// node must be on.
func (n *Node) ClockOffset() (int64, error) {
	p, err := clock.DialEmulator(n.stage.powerSocket(), n.Name)
	if err != nil {
		return 0, err
	}
	defer p.Close()
	before := ledger.Now()
	now, err := p.Now()
	return (before+ledger.Now())/2 - int64(now), err
}

// Event is an event of a node's story, with its instant on this machine's clock.
type Event struct {
	api.Event
	Mono     int64  // CLOCK_MONOTONIC, nanoseconds: when it happened
	Observer string // the node that tells
}

// Story collects the events that all nodes that answer have stored and that
// happened after an instant of CLOCK_MONOTONIC, in order.
func (s *Stage) Story(ctx context.Context, after int64) []Event {
	var all []Event
	for _, n := range s.Nodes {
		events, err := n.story(ctx, after)
		if err == nil {
			all = append(all, events...)
		}
	}
	slices.SortStableFunc(all, func(a, b Event) int {
		switch {
		case a.Mono < b.Mono:
			return -1
		case a.Mono > b.Mono:
			return 1
		}
		return 0
	})
	return all
}

// Recent is the story of the latest time.
func (s *Stage) Recent(ctx context.Context, d time.Duration) []Event {
	return s.Story(ctx, ledger.Now()-int64(d))
}

func (n *Node) story(ctx context.Context, after int64) ([]Event, error) {
	offset, err := n.ClockOffset()
	if err != nil {
		return nil, err
	}
	c, err := n.API()
	if err != nil {
		return nil, err
	}
	defer c.Close()
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	var found []Event
	since := time.Now().Add(-time.Duration(ledger.Now() - after))
	err = c.Events(ctx, api.EventQuery{Since: since.Add(-time.Second)}, func(e api.Event) error {
		// What was noted before the node's last boot has another clock.
		if mono := e.At + offset; mono >= after {
			found = append(found, Event{Event: e, Mono: mono, Observer: n.Name})
		}
		return nil
	})
	return found, err
}
