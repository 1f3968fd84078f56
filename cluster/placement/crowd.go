package placement

import (
	"slices"

	"github.com/holdfast-ha/holdfast/cluster/ident"
)

// Crowd is who owns what, and who must be with or apart from whom: what the
// verdicts on all services share, so that judging a thousand of them does not
// mean to look at a million pairs.
type Crowd struct {
	load  [ident.MaxNodes + 1]int // services that a node owns
	owner map[string]ident.NodeID
	apart map[string][]string // both ways
	with  map[string][]string // both ways
}

// NewCrowd returns an empty crowd with room for so many services.
func NewCrowd(services int) *Crowd {
	return &Crowd{owner: make(map[string]ident.NodeID, services), apart: map[string][]string{}, with: map[string][]string{}}
}

// Rule says what a service must be apart from, and with.
func (c *Crowd) Rule(service string, apart, with []string) {
	both := func(m map[string][]string, list []string) {
		for _, other := range list {
			m[service] = append(m[service], other)
			m[other] = append(m[other], service)
		}
	}
	both(c.apart, apart)
	both(c.with, with)
}

// Owns says that a node owns a service from now on; 0: nobody does.
func (c *Crowd) Owns(service string, node ident.NodeID) {
	if was := c.owner[service]; was != 0 {
		c.load[was]--
	}
	if c.owner[service] = node; node != 0 {
		c.load[node]++
	}
}

// Others fills in what the services beside this one mean for it on a node.
func (c *Crowd) Others(service string, n *Node) {
	n.Load = c.load[n.ID]
	if c.owner[service] == n.ID {
		n.Load--
	}
	for _, o := range c.sorted(c.apart, service) {
		if o != service && c.owner[o] == n.ID {
			n.Against = append(n.Against, o)
		}
	}
	for _, o := range c.sorted(c.with, service) {
		if at := c.owner[o]; o != service && at != 0 && at != n.ID {
			n.Lacks = append(n.Lacks, o)
		}
	}
}

// sorted returns the others of a service in order, each once.
func (c *Crowd) sorted(of map[string][]string, service string) []string {
	list := of[service]
	if len(list) > 1 {
		slices.Sort(list)
		list = slices.Compact(list)
		of[service] = list
	}
	return list
}
