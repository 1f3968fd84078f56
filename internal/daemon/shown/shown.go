// Package shown turns what the daemon's parts know of links and watchdogs into what
// status shows of them. Nothing is decided by it.
package shown

import (
	"net/netip"
	"time"

	"github.com/holdfast-ha/holdfast/cluster"
	"github.com/holdfast-ha/holdfast/cluster/ident"
	"github.com/holdfast-ha/holdfast/heartbeat"
	"github.com/holdfast-ha/holdfast/internal/api"
	"github.com/holdfast-ha/holdfast/internal/guardwire"
)

// silent is the silence after which status shows a link as down: five network
// beats and room for a slow machine.
const silent = 2 * time.Second

// Links shows every link to every peer that is, or wants to be, in. own are this
// node's addresses.
func Links(states []heartbeat.LinkState, v *cluster.View, own []netip.AddrPort) []api.Link {
	list := []api.Link{}
	for _, s := range states {
		if v.State == nil {
			break
		}
		n := v.State.Node(s.Peer)
		if n == nil || n.Phase == cluster.Out {
			continue
		}
		l := api.Link{Index: s.Link, Peer: n.Name, Error: s.Problem, Traffic: api.Traffic{Received: s.Received, Missed: s.Missed, Unsent: s.Failed}}
		if s.Link < len(own) {
			l.Local = own[s.Link].String()
		}
		if s.Link < len(n.Links) {
			l.Remote = n.Links[s.Link]
		}
		if s.Heard != ident.LongAgo {
			age := max(0, v.Now.Sub(s.Heard))
			l.Age, l.Up = api.Maybe(age), age < silent
		}
		list = append(list, l)
	}
	return list
}

// Watchdogs shows the devices that the guard feeds.
func Watchdogs(all []guardwire.Watchdog) []api.Watchdog {
	list := []api.Watchdog{}
	for _, w := range all {
		list = append(list, api.Watchdog{
			Path: w.Path, Identity: w.Identity, Driver: w.Driver, Timeout: api.Of(w.Timeout),
			TMax: api.Of(w.TMax), Class: className(&w), Software: w.Software, Emulated: w.Emulated, Why: w.Why,
		})
	}
	return list
}

// className says how far a device is known. softdog with a record that counts is
// as good as any in a pair; alone it is what its class says.
func className(w *guardwire.Watchdog) string {
	if w.Software && w.Why == "" {
		return "qualified"
	}
	names := [...]string{"none", "unqualified", "qualified", "softdog only", "softdog accepted"}
	if int(w.Class) < len(names) {
		return names[w.Class]
	}
	return "unknown"
}
