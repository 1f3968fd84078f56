package config

import (
	"fmt"
	"maps"
	"path"
	"slices"

	"github.com/holdfast-ha/holdfast/bmc"
	"github.com/holdfast-ha/holdfast/cluster"
	"github.com/holdfast-ha/holdfast/internal/config/form"
)

// ways reads the ways to fence one node.
func (c *clusterReader) ways(v *form.Value, where string) []cluster.Way {
	var ways []cluster.Way
	for _, e := range v.List {
		way := c.way(e, where)
		if outlet(&way) && slices.ContainsFunc(ways, outletIn) || outletIn(way) && slices.ContainsFunc(ways, func(w cluster.Way) bool { return outlet(&w) }) {
			c.Add(e.Node, where+": a switched outlet beside another one: the first proof wins, and a machine with two power supplies runs on with one of them",
				"write both as one way, {all: [{agent: ...}, {agent: ...}]}; or use its bmc, or the agent of its hypervisor, which cut all of its power")
		}
		ways = append(ways, way)
	}
	return ways
}

func (c *clusterReader) way(e *form.Value, where string) cluster.Way {
	if e.IsText() {
		return cluster.Way{Kind: e.Text}
	}
	all := e.Get("all")
	switch {
	case all == nil && e.Get("agent") == nil && !e.Wrong:
		c.Add(e.Node, where+": names no way", "add agent: (the name of a fence agent), or all: (a list of power switches)")
	case all == nil:
		return c.agent(e, where)
	case e.Get("agent") != nil || e.Get("with") != nil:
		c.Add(e.Node, where+": all stands beside an agent", "write the agent into the list of all")
	case len(all.List) == 1 && !all.Wrong:
		c.Add(all.Node, where+".all: one switch is no group", "write it without all, or add the others that feed the node")
	}
	way := cluster.Way{Kind: cluster.WayAll}
	if all == nil {
		return way
	}
	for _, p := range all.List {
		part := c.way(p, where+".all")
		if slices.ContainsFunc(way.All, func(w cluster.Way) bool { return w.Agent == part.Agent && maps.Equal(w.With, part.With) }) {
			c.Add(p.Node, fmt.Sprintf("%s.all: %s stands there twice", where, part.Name()), "each outlet has parameters of its own, as plug: 3 and plug: 4")
		}
		way.All = append(way.All, part)
	}
	return way
}

// agent reads a fence agent. What it cannot be told, or must not be asked, is refused
// here rather than at the moment of need.
func (c *clusterReader) agent(e *form.Value, where string) cluster.Way {
	way := cluster.Way{Kind: cluster.WayAgent, Agent: e.Str("agent")}
	if with := e.Get("with"); with != nil {
		c.secrets(with, where+".with", false)
		way.With = map[string]string{}
		for _, p := range with.Keys {
			way.With[p.Name] = p.Text
		}
	}
	if _, err := bmc.Parse((bmc.Reference{Way: bmc.WayAgent, Agent: way.Agent, Options: way.With}).String()); err != nil && way.Agent != "" {
		c.Add(e.Node, where+": "+err.Error(), "")
	}
	return way
}

// outletIn says that a way switches outlets, alone or with others.
func outletIn(w cluster.Way) bool {
	return slices.ContainsFunc(w.Parts(), func(p cluster.Way) bool { return outlet(&p) })
}

// outlet says that a way switches one outlet, of which a machine may have several.
func outlet(w *cluster.Way) bool {
	return slices.Contains([]string{
		"fence_apc", "fence_apc_snmp", "fence_cdu", "fence_cyberpower_ssh", "fence_eaton_snmp", "fence_emerson", "fence_eps", "fence_ipdu",
		"fence_lindypdu", "fence_netio", "fence_raritan", "fence_raritan_px3", "fence_tripplite_snmp", "fence_wti",
	}, path.Base(w.Agent))
}
