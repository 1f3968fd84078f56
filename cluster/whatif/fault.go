package whatif

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/holdfast-ha/holdfast/cluster"
)

// Kind is what happens.
type Kind uint8

// The kinds of fault.
const (
	Dies    Kind = iota + 1 // a node loses its power
	Freezes                 // a node executes nothing any more; its watchdogs reset it, and it does not come back
	Leaves                  // a node is taken out of the cluster cleanly
	Lost                    // a quorum disk does not answer any node
	Cut                     // no network beat arrives anywhere
	Fails                   // a service does not run on a node any more, and does not start there
	Fumbles                 // one check of a service fails on a node, and what is done about it works
	Blind                   // no quorum disk answers one node
	Moves                   // somebody asks for a service to be moved to a node
)

// Fault is one thing that happens.
type Fault struct {
	Kind    Kind
	Node    string // of Dies, Freezes, Leaves, Blind, Fails, Fumbles and Moves
	Service string // of Fails, Fumbles and Moves
	Disk    int    // of Lost, from 1
}

// String is the fault as it would be asked for.
func (f Fault) String() string {
	switch f.Kind {
	case Dies:
		return f.Node + " dies"
	case Freezes:
		return f.Node + " freezes"
	case Leaves:
		return f.Node + " leaves"
	case Lost:
		return "disk " + strconv.Itoa(f.Disk) + " is lost"
	case Cut:
		return "the network is cut"
	case Blind:
		return f.Node + " loses its disks"
	case Fumbles:
		return "service " + f.Service + " fails once on " + f.Node
	case Moves:
		return "service " + f.Service + " moves to " + f.Node
	}
	return "service " + f.Service + " fails on " + f.Node
}

// Forms are the questions that are understood, for messages.
const Forms = `"what if NODE dies", "NODE freezes", "NODE leaves", "NODE loses its disks", "disk N is lost", "the network is cut", "service S fails on NODE", "service S fails once on NODE", "service S moves to NODE"; several are joined by "and"`

// Parse reads a question such as "what if beta dies and disk 2 is lost". Names
// are checked against the state. The error is for people.
func Parse(text string, s *cluster.State) ([]Fault, error) {
	text = strings.Join(strings.Fields(strings.TrimRight(strings.TrimSpace(text), "?.! ")), " ")
	text = strings.TrimPrefix(text, "what if ")
	var list []Fault
	for _, part := range strings.Split(text, " and ") {
		f, ok := parse(strings.TrimPrefix(part, "also "))
		if !ok {
			return nil, fmt.Errorf("%q is not understood: ask %s", part, Forms)
		}
		if err := f.check(s); err != nil {
			return nil, err
		}
		list = append(list, f)
	}
	return list, nil
}

func parse(part string) (Fault, bool) {
	match := func(form string) []string {
		m := regexp.MustCompile("^" + form + "$").FindStringSubmatch(part)
		if m == nil {
			return nil
		}
		return m[1:]
	}
	if m := match(`(?:the )?(?:quorum )?disk (\d{1,3}) (?:is lost|fails|dies)`); m != nil {
		n, err := strconv.Atoi(m[0])
		return Fault{Kind: Lost, Disk: n}, err == nil
	}
	if match(`(?:the )?(?:whole )?network (?:is cut|fails|dies|is lost)`) != nil {
		return Fault{Kind: Cut}, true
	}
	for words, kind := range map[string]Kind{"fails on": Fails, "fails once on": Fumbles, "moves to": Moves} {
		if m := match(`service (\S+) ` + words + ` (?:node )?(\S+)`); m != nil {
			return Fault{Kind: kind, Service: m[0], Node: m[1]}, true
		}
	}
	for word, kind := range map[string]Kind{"dies|crashes|loses its power|fails": Dies, "freezes|hangs": Freezes, "leaves": Leaves, "loses its (?:quorum )?disks": Blind} {
		if m := match(`(?:node )?(\S+) (?:` + word + `)`); m != nil {
			return Fault{Kind: kind, Node: m[0]}, true
		}
	}
	return Fault{}, false
}

func (f *Fault) check(s *cluster.State) error {
	if f.Kind == Lost && (f.Disk < 1 || f.Disk > len(s.Disks)) {
		return fmt.Errorf("there is no quorum disk %d: the cluster has %d, counted from 1", f.Disk, len(s.Disks))
	}
	if f.Node != "" {
		n := s.NodeNamed(f.Node)
		if n == nil {
			names := make([]string, 0, len(s.Nodes))
			for i := range s.Nodes {
				names = append(names, s.Nodes[i].Name)
			}
			return fmt.Errorf("there is no node %q; there is %s", f.Node, strings.Join(names, ", "))
		}
		if n.Phase != cluster.MemberPhase {
			return fmt.Errorf("%s is no member now (%s): nothing would change", f.Node, n.Phase)
		}
	}
	if f.Service != "" && s.Grant(f.Service) == nil {
		return fmt.Errorf("there is no service %q; holdfast status lists them", f.Service)
	}
	return nil
}

// happen lets it happen.
func (w *world) happen(f Fault) {
	n := w.named(f.Node)
	switch f.Kind {
	case Dies, Freezes:
		n.gone = true
	case Leaves:
		n.deliver(cluster.Asked{ID: 1, Request: cluster.LeaveCluster{}})
	case Lost:
		w.disks[f.Disk-1].lost = true
	case Cut:
		w.cut = true
	case Fails:
		w.broken[[2]string{f.Service, f.Node}] = true
	case Fumbles:
		w.fumbles[[2]string{f.Service, f.Node}] = true
		n.deliver(cluster.Stirred{Service: f.Service, Text: "it fails once, as was asked"})
	case Blind:
		n.blind = true
	case Moves:
		n.deliver(cluster.Asked{ID: 1, Request: cluster.MoveService{Service: f.Service, To: f.Node}})
	}
}

func (w *world) named(name string) *node {
	for _, n := range w.nodes {
		if n.name == name {
			return n
		}
	}
	return nil
}
