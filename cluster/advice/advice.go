// Package advice says what an administrator should know though nothing has failed
// yet: ways of fencing that would not work, watchdogs that are missing or weak,
// quorum disks that fail while others carry the cluster.
package advice

import (
	"fmt"
	"strings"
	"time"

	"github.com/holdfast-ha/holdfast/cluster"
)

// Of is what an administrator should know of the disks and of the nodes'
// watchdogs though nothing has failed yet.
func Of(v *cluster.View) []string {
	var w []string
	for _, r := range v.Fencing {
		for _, way := range r.Ways {
			if way.State == cluster.FenceFailed.String() || way.State == cluster.FenceUnknown.String() {
				w = append(w, "fencing "+r.Name+" by "+way.Way+" would not work: "+way.Text)
			}
			if way.Stale {
				w = append(w, fmt.Sprintf("fencing %s by %s was not checked for %s: holdfast drill fence %s asks it now", r.Name, way.Way, way.Age.Round(time.Minute), r.Name))
			}
		}
	}
	w = append(w, ofDisks(v)...)
	for i := range v.Nodes {
		n := &v.Nodes[i]
		if n.Phase == cluster.Out {
			continue
		}
		switch n.Lease.Class {
		case cluster.WatchdogNone:
			w = append(w, fmt.Sprintf("%s has no watchdog: it can never be proven dead by time", n.Name))
		case cluster.WatchdogSoftOnly:
			w = append(w, fmt.Sprintf("%s has only softdog: takeover by lease is refused", n.Name))
		case cluster.WatchdogSoftAccepted:
			w = append(w, fmt.Sprintf("%s has only softdog: takeover by lease is weak", n.Name))
		case cluster.WatchdogUnqualified:
			w = append(w, fmt.Sprintf("%s: its watchdogs are not qualified, the wait is longer than it could be", n.Name))
		}
	}
	return w
}

// ofDisks says which quorum disks fail, and how one is replaced while a
// majority carries the cluster: without one, no change of the set is decided.
func ofDisks(v *cluster.View) []string {
	var bad []*cluster.DiskView
	for i := range v.Disks {
		if v.Disks[i].Err != "" {
			bad = append(bad, &v.Disks[i])
		}
	}
	var w []string
	for _, d := range bad {
		text := fmt.Sprintf("quorum disk %d: %s", d.Index+1, d.Err)
		if 2*len(bad) < len(v.Disks) {
			text += fmt.Sprintf("; the others carry the cluster, and a new disk can take its place: holdfast disk replace %v NEW", d.UUID)
		}
		w = append(w, text)
	}
	return append(w, ofLatency(v, len(bad))...)
}

// ofLatency says that the disks are too slow for this node to decide anything, though
// its lease may bear with them.
func ofLatency(v *cluster.View, bad int) []string {
	var slow []string
	for i := range v.Disks {
		if d := &v.Disks[i]; d.Err == "" && d.Slow {
			slow = append(slow, fmt.Sprintf("%.1f s on disk %d", d.Latency.Seconds(), d.Index+1))
		}
	}
	if len(slow) == 0 || 2*(bad+len(slow)) < len(v.Disks) {
		return nil
	}
	return []string{fmt.Sprintf("a beat takes %s: so slow a node leaves the decisions to the others, and may not answer requests: give them to another node, and look at this one's paths and at the array (holdfast doctor)",
		strings.Join(slow, ", "))}
}
