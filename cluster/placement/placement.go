// Package placement says where a service goes, and why not elsewhere. It is a
// pure function of rules and facts: hard rules are filters with a reason and a
// remedy, never scores; among the nodes that pass, the order of preference
// decides, then the number of services, then the node's number.
package placement

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"

	"github.com/holdfast-ha/holdfast/cluster/ident"
)

// Rules are a service's own words on where it may run.
type Rules struct {
	Service string
	Prefer  []string
	Only    []string
	Never   []string
}

// Node is one node as the decision sees it.
type Node struct {
	ID      ident.NodeID
	Name    string
	Unfit   string // why it can run nothing now; empty if it can
	Remedy  string
	Failed  string   // why this service has failed there; empty if it has not
	Load    int      // services it owns
	Against []string // services on it that must be apart from this one
	Lacks   []string // services that must be on the same node and are elsewhere
}

// Candidate is the verdict on one node.
type Candidate struct {
	Node   ident.NodeID
	Name   string
	Able   bool
	Rank   int // place in the order of preference; len(Prefer) if not named
	Reason string
	Remedy string
	load   int
}

// Judge returns a verdict on every node, those that may run the service first
// and in the order in which they would be chosen.
func Judge(r Rules, nodes []Node) []Candidate {
	list := make([]Candidate, 0, len(nodes))
	for i := range nodes {
		n := &nodes[i]
		c := Candidate{Node: n.ID, Name: n.Name, Rank: rank(r.Prefer, n.Name), load: n.Load}
		c.Reason, c.Remedy = reject(r, n)
		c.Able = c.Reason == ""
		if c.Able {
			c.Reason = praise(r, n, c.Rank)
		}
		list = append(list, c)
	}
	slices.SortFunc(list, func(a, b Candidate) int {
		switch {
		case a.Able != b.Able && a.Able:
			return -1
		case a.Able != b.Able:
			return 1
		}
		return cmp.Or(cmp.Compare(a.Rank, b.Rank), cmp.Compare(a.load, b.load), cmp.Compare(a.Node, b.Node))
	})
	return list
}

func rank(prefer []string, name string) int {
	if i := slices.Index(prefer, name); i >= 0 {
		return i
	}
	return len(prefer)
}

// reject names the first rule that keeps the service from a node.
func reject(r Rules, n *Node) (reason, remedy string) {
	switch {
	case n.Unfit != "":
		return n.Unfit, n.Remedy
	case slices.Contains(r.Never, n.Name):
		return "never: names it", "change the service's never: list"
	case len(r.Only) > 0 && !slices.Contains(r.Only, n.Name):
		return "only: does not name it", "add it to the service's only: list"
	case n.Failed != "":
		return "failed there: " + n.Failed, fmt.Sprintf("mend the cause, then: holdfast service clear %s", r.Service)
	case len(n.Against) > 0:
		return fmt.Sprintf("apart_from: %s runs there", n.Against[0]), fmt.Sprintf("holdfast service move %s", n.Against[0])
	case len(n.Lacks) > 0:
		return fmt.Sprintf("with: %s runs elsewhere", n.Lacks[0]), fmt.Sprintf("holdfast service move %s --to %s", n.Lacks[0], n.Name)
	}
	return "", ""
}

func praise(r Rules, n *Node, rank int) string {
	runs := "it runs " + strconv.Itoa(n.Load) + " other services"
	if rank < len(r.Prefer) {
		return "prefer: names it at place " + strconv.Itoa(rank+1) + "; " + runs
	}
	return "may run it; " + runs
}
