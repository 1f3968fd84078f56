package scripttest

import (
	"strconv"
	"time"

	"github.com/holdfast-ha/holdfast/cluster"
	"github.com/holdfast-ha/holdfast/cluster/clustertest"
	"github.com/holdfast-ha/holdfast/cluster/ident"
)

// otherSteps are about machines that pass for a node of the cluster, or that speak
// another version.
func otherSteps() []verb {
	return []verb{
		{"a second machine of NODE is heard once by NODES", func(r *run, w []string) {
			first := r.w.Node(w[4])
			inc := ident.Incarnation{N: first.View().Inc.N + 3, Boot: ident.BootID{0xee}}
			m := &cluster.Message{From: first.ID, Inc: inc, Phase: cluster.Joining, State: cluster.GuardBound, LeaseAge: -time.Second, DiskGen: first.View().State.DiskGen}
			nodes(9, func(n *clustertest.Node) { n.Give(cluster.Received{Msg: m}) })(r, w)
		}},
		{"a second machine of NODE is switched on", func(r *run, w []string) {
			r.twins = append(r.twins, r.w.Node(w[4]).Twin())
		}},
		{"the second machines lose their power", func(r *run, _ []string) {
			for _, n := range r.twins {
				n.NoReboot = true
				n.PowerOff()
			}
		}},
		{"NODES cannot read the network beats of NODE", func(r *run, w []string) {
			from := r.w.Node(w[len(w)-1])
			nodes(0, func(n *clustertest.Node) {
				r.w.Net.Cut(from.ID, n.ID, true)
				var beat func()
				beat = func() {
					if from.Up() && from.Core() != nil {
						n.Give(cluster.Received{From: from.ID, Unread: "its messages are of version 9"})
					}
					r.w.After(200*time.Millisecond, beat)
				}
				beat()
			})(r, w)
		}},
		{"NODE says to NODES that it holds its lease", func(r *run, w []string) {
			from := r.w.Node(w[0])
			m := &cluster.Message{From: from.ID, Inc: from.View().Inc, Phase: cluster.MemberPhase, State: cluster.GuardBound, DiskGen: from.View().State.DiskGen}
			nodes(3, func(n *clustertest.Node) {
				r.w.Net.Cut(from.ID, n.ID, true)
				var beat func()
				beat = func() {
					n.Give(cluster.Received{Msg: m})
					r.w.After(200*time.Millisecond, beat)
				}
				beat()
			})(r, w)
		}},
		{"the core of NODE panics on the present version", func(r *run, w []string) {
			n := r.w.Node(w[3])
			n.Poison = n.View().State.Ver
		}},
		{"NODE is given a program that does not", func(r *run, w []string) { r.w.Node(w[0]).Repair() }},
		{"NODE speaks protocol NUMBER", func(r *run, w []string) {
			p, _ := strconv.Atoi(w[3])
			r.w.Node(w[0]).Protocol = cluster.Protocol(p)
		}},
	}
}
