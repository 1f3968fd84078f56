package scripttest

import (
	"strconv"
	"time"

	"github.com/holdfast-ha/holdfast/cluster/clustertest"
)

// reservationSteps are about the data LUNs below guarded services: of each
// service three, that answer every node unless a story says otherwise.
func reservationSteps() []verb {
	return []verb{
		{"registering takes TIME on NODES", func(r *run, w []string) {
			d, _ := time.ParseDuration(w[2])
			r.each(w[4:], func(n *clustertest.Node) { n.LUNs.Late = d })
		}},
		{"registering does nothing on NODES", nodes(4, func(n *clustertest.Node) { n.LUNs.Dropped = true })},
		{"registering works on NODES", nodes(3, func(n *clustertest.Node) { n.LUNs.Late, n.LUNs.Dropped = 0, false })},
		{"cut LUN NUMBER on NODES", lun(true)},
		{"mend LUN NUMBER on NODES", lun(false)},
		{"aborts hang on NODES", nodes(3, func(n *clustertest.Node) { n.LUNs.Aborts = true })},
		{"the target of SERVICE forgets its keys", func(r *run, w []string) { r.w.LUNs().Forget(w[3]) }},
	}
}

func lun(cut bool) func(*run, []string) {
	return func(r *run, w []string) {
		i, _ := strconv.Atoi(w[2])
		r.each(w[4:], func(n *clustertest.Node) {
			for len(n.LUNs.Cut) < i {
				n.LUNs.Cut = append(n.LUNs.Cut, false)
			}
			n.LUNs.Cut[i-1] = cut
		})
	}
}

func reservationChecks() []check {
	return []check{
		{"NODE has the storage of SERVICE", func(r *run, w []string) bool { return r.w.Stores(w[len(w)-1]) == w[0] }},
		{"NODE has keys on NUMBER LUNs of SERVICE", func(r *run, w []string) bool {
			n, _ := strconv.Atoi(w[4])
			return r.w.LUNs().Registered(w[len(w)-1], r.w.Node(w[0]).ID) == n
		}},
		{"NODE says a key is on its way", func(r *run, w []string) bool { return r.w.Node(w[0]).Registering() }},
	}
}
