package scripttest

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/holdfast-ha/holdfast/cluster"
	"github.com/holdfast-ha/holdfast/cluster/clustertest"
)

// check is one kind of thing that can be so.
type check struct {
	pattern string
	is      func(r *run, w []string) bool
}

func checks() []check {
	return append(reservationChecks(), []check{
		{"SERVICE on NODE", func(r *run, w []string) bool {
			n := r.w.Owner(w[0])
			return n != nil && n.Name == w[2] && r.w.Running(w[0])
		}},
		{"SERVICE is partly up on NODE", func(r *run, w []string) bool {
			return r.any(func(v *cluster.View) bool {
				for i := range v.Services {
					if s := &v.Services[i]; s.Name == w[0] && s.State == cluster.Partly && v.State.NameOf(s.Owner) == w[5] {
						return true
					}
				}
				return false
			})
		}},
		{"SERVICE is down", func(r *run, w []string) bool { return r.w.Owner(w[0]) == nil }},
		{"SERVICE beside SERVICE", func(r *run, w []string) bool { return r.w.Owner(w[0]) != nil && r.w.Owner(w[0]) == r.w.Owner(w[2]) }},
		{"SERVICE away from SERVICE", func(r *run, w []string) bool {
			a, b := r.w.Owner(w[0]), r.w.Owner(w[3])
			return a != nil && b != nil && a != b
		}},
		{"SERVICE stopped before SERVICE", func(r *run, w []string) bool { return r.first(cluster.NoteStopped, w[0], w[3]) }},
		{"SERVICE stopped before SERVICE started", func(r *run, w []string) bool {
			return r.at(cluster.NoteStopped, w[0]) <= r.at(cluster.NoteStarting, w[3])
		}},
		{"SERVICE started before SERVICE", func(r *run, w []string) bool { return r.first(cluster.NoteStarted, w[0], w[3]) }},
		{"members NODES", func(r *run, w []string) bool { return r.members(w[1:]) }},
		{"NODE is held", func(r *run, w []string) bool { return r.w.Node(w[0]).Held() }},
		{"NODE is off", func(r *run, w []string) bool { return !r.w.Node(w[0]).Up() }},
		{"NODE is STAGE", func(r *run, w []string) bool { return stage(r.w.Node(w[0])) == strings.Join(w[2:], " ") }},
		{"NODE waits TEXT", func(r *run, w []string) bool {
			n := r.w.Node(w[0])
			return n.Core() != nil && strings.Contains(n.View().Waiting, strings.Join(w[2:], " "))
		}},
		{"NODE was reset NUMBER times", func(r *run, w []string) bool {
			n, _ := strconv.Atoi(w[3])
			return r.w.Node(w[0]).Resets == n
		}},
		{"NODE holds its lease", func(r *run, w []string) bool {
			n := r.w.Node(w[0])
			return n.Core() != nil && n.View().Lease.Held
		}},
		{"NODE promises failover within TIME", func(r *run, w []string) bool {
			n := r.w.Node(w[0])
			d, _ := time.ParseDuration(w[4])
			return n.Core() != nil && n.View().Timing.B == d
		}},
		{"NODE lives by failover within TIME", func(r *run, w []string) bool {
			n := r.w.Node(w[0])
			d, _ := time.ParseDuration(w[5])
			return n.Core() != nil && n.View().Timing.B == d && n.View().Lease.F == n.View().Timing.F
		}},
		{"NODE warns TEXT", func(r *run, w []string) bool {
			n := r.w.Node(w[0])
			return n.Core() != nil && strings.Contains(strings.Join(n.View().Warnings, "\n"), strings.Join(w[2:], " "))
		}},
		{"NODE rejects NODE for SERVICE because TEXT", func(r *run, w []string) bool { return r.rejects(w[0], w[2], w[4], strings.Join(w[6:], " ")) }},
		{"the service SERVICE is there because TEXT", func(r *run, w []string) bool {
			return r.any(func(v *cluster.View) bool {
				g := v.State.Grant(w[2])
				return g != nil && strings.Contains(g.Why, strings.Join(w[6:], " "))
			})
		}},
		{"refused TEXT", func(r *run, w []string) bool {
			return r.refused(strings.Join(w[1:], " "))
		}},
		{"told TEXT", func(r *run, w []string) bool { return r.told(w[1:], r.since) != "" }},
	}...)
}

// at is when something was told of a service first since the last fault; a long
// time from now if it was not.
func (r *run) at(kind cluster.NoteKind, service string) time.Duration {
	for i := range r.w.Notes {
		if n := &r.w.Notes[i]; n.At >= r.since && n.Kind == kind && n.Service == service {
			return n.At
		}
	}
	return 1<<63 - 1
}

// first says that something was told of one service before it was of another.
func (r *run) first(kind cluster.NoteKind, a, b string) bool { return r.at(kind, a) < r.at(kind, b) }

func stage(n *clustertest.Node) string {
	if n.Core() == nil {
		return "without a daemon"
	}
	return n.View().Stage
}

// members says that exactly these nodes are members, as each of them sees it.
func (r *run) members(names []string) bool {
	want := map[string]bool{}
	r.each(names, func(n *clustertest.Node) { want[n.Name] = true })
	for _, n := range r.w.Nodes {
		if want[n.Name] != (stage(n) == "member") {
			return false
		}
	}
	return true
}

// any says that a member's view is so.
func (r *run) any(is func(*cluster.View) bool) bool {
	for _, n := range r.w.Nodes {
		if n.Core() != nil {
			if v := n.View(); v.State != nil && is(&v) {
				return true
			}
		}
	}
	return false
}

// rejects says that a node explains why another one may not run a service.
func (r *run) rejects(by, node, service, because string) bool {
	n := r.w.Node(by)
	if n.Core() == nil {
		return false
	}
	for _, s := range n.View().Services {
		for _, c := range s.Nodes {
			if s.Name == service && c.Name == node && !c.Able && strings.Contains(c.Reason, because) {
				return true
			}
		}
	}
	return false
}

func findCheck(words []string) *check {
	for _, c := range checks() {
		if fits(strings.ReplaceAll(c.pattern, "STAGE", "TEXT"), words) {
			return &c
		}
	}
	return nil
}

func checkWords(words []string) error {
	if findCheck(words) != nil {
		return nil
	}
	var all []string
	for _, c := range checks() {
		all = append(all, c.pattern)
	}
	return fmt.Errorf("%q is nothing that can be so; there are: %s", strings.Join(words, " "), strings.Join(all, "; "))
}

// neverWords accepts a kind of note with whom it is about and words of it, or a check.
func neverWords(words []string) error {
	if len(words) > 0 && isNote(words[0]) {
		return nil
	}
	return checkWords(words)
}

// broken says how a ban was broken; empty if it was not.
func broken(r *run, b ban) string {
	w := b.line.words
	if isNote(w[0]) {
		return r.told(w, b.from)
	}
	if findCheck(w).is(r, w) {
		return strings.Join(w, " ")
	}
	return ""
}

func isNote(word string) bool {
	switch cluster.NoteKind(word) {
	case cluster.NoteSuspected, cluster.NoteFencing, cluster.NoteWay, cluster.NoteProof, cluster.NoteGrant, cluster.NoteStarting,
		cluster.NoteStarted, cluster.NoteReloaded, cluster.NoteStopping, cluster.NoteStopped, cluster.NoteReleased, cluster.NoteFailed, cluster.NoteSlow, cluster.NoteJoined,
		cluster.NoteLeft, cluster.NoteLease, cluster.NoteAdmin, cluster.NoteAlarm, "maintenance":
		return true
	}
	return word == "reply"
}

// told finds a note of a kind, "told proof alpha E3": about a node or a service if
// the next word is one, by a node if "by NODE" follows, and with the rest of the
// words in its text or its proof.
func (r *run) told(w []string, from time.Duration) string {
	kind, rest := cluster.NoteKind(w[0]), w[1:]
	about, by := "", ""
	if len(rest) > 0 && (isNode(rest[0]) || r.isService(rest[0])) {
		about, rest = rest[0], rest[1:]
	}
	if len(rest) > 1 && rest[0] == "by" && isNode(rest[1]) {
		by, rest = rest[1], rest[2:]
	}
	text := strings.Join(rest, " ")
	for i := range r.w.Notes {
		n := &r.w.Notes[i]
		if n.At < from || n.Kind != kind || by != "" && name(int(n.Node)) != by {
			continue
		}
		if about != "" && n.Service != about && name(int(n.Note.Node)) != about {
			continue
		}
		if said := fmt.Sprint(n.Proof, " ", n.Text); strings.Contains(said, text) {
			return fmt.Sprintf("%s at %s: %s %s", kind, n.At, n.Proof, n.Text)
		}
	}
	return ""
}

// refused says that a request was refused since the last fault, with these words.
func (r *run) refused(words string) bool {
	for i := range r.w.Notes {
		n := &r.w.Notes[i]
		if n.At >= r.since && n.Kind == "reply" && strings.HasPrefix(n.Text, "refused: ") && strings.Contains(n.Text, words) {
			return true
		}
	}
	return false
}

func (r *run) isService(word string) bool {
	for _, s := range r.s.opt.Services {
		if s.Name == word {
			return true
		}
	}
	return false
}

func name(id int) string {
	if id < 1 || id > len(nodeNames()) {
		return ""
	}
	return clustertest.NodeName(id)
}
