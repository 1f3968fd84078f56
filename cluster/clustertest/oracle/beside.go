package oracle

import "slices"

// beside is what the configuration says of services on one node. It holds for as
// long as it is told: the simulator does not take such services from it.
type beside struct {
	apart map[string][]string // both ways
	with  map[string][]string // both ways
}

// Beside says that a service is never on one node with some, and always with others.
func (j *Judge) Beside(name string, with, apart []string) {
	if j.rules.apart == nil {
		j.rules = beside{apart: map[string][]string{}, with: map[string][]string{}}
	}
	for _, o := range apart {
		j.rules.apart[name], j.rules.apart[o] = append(j.rules.apart[name], o), append(j.rules.apart[o], name)
	}
	for _, o := range with {
		j.rules.with[name], j.rules.with[o] = append(j.rules.with[name], o), append(j.rules.with[o], name)
	}
}

// placed speaks if a service that begins to run on a machine meets one there that it
// must not meet, or leaves one alone on another machine that it belongs to.
func (j *Judge) placed(n *node, name string) {
	for other, s := range j.services {
		apart, with := slices.Contains(j.rules.apart[name], other), slices.Contains(j.rules.with[name], other)
		for id, h := range s.holders {
			switch {
			case !h.running:
			case apart && j.nodes[id] == n:
				j.say(NotApart, "%s starts on node %d, where %s runs, and they must be apart", name, id, other)
			case with && h.term < s.top && s.grants[s.top].Owner == n.id:
				// what a former owner's processes do without their storage is not the service
			case with && j.nodes[id] != n:
				j.say(NotTogether, "%s starts on node %d while %s runs on node %d, and they must be together", name, n.id, other, id)
			}
		}
	}
}
