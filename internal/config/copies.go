package config

import (
	"fmt"
	"slices"
	"strings"

	"github.com/holdfast-ha/holdfast/cluster"
	"github.com/holdfast-ha/holdfast/internal/config/form"
	"github.com/holdfast-ha/holdfast/internal/config/members"
	"github.com/holdfast-ha/holdfast/internal/config/phrase"
)

// copy puts the copies in the place of the services that have some.
func (c *clusterReader) copy(conf *cluster.Config) {
	var all []cluster.Service
	for _, s := range conf.Services {
		all = append(all, c.copies(s, c.services[s.Name])...)
	}
	slices.SortFunc(all, func(a, b cluster.Service) int { return strings.Compare(a.Name, b.Name) })
	conf.Services = all
	c.spread(conf)
}

// copies makes a service into its copies, each a service of its own that is apart
// from the others. What only one node may use at a time cannot be in them.
func (c *clusterReader) copies(s cluster.Service, v *form.Value) []cluster.Service {
	where := "services." + s.Name
	number, everywhere := v.Get("copies"), v.Yes("everywhere")
	if number == nil && !everywhere {
		return []cluster.Service{s}
	}
	count := cluster.MostCopies
	if number != nil {
		count = int(number.Num)
		if everywhere {
			c.Add(number.Node, where+": copies and everywhere contradict each other", "keep one of the two")
		}
	}
	for i, m := range s.Stack {
		if k, _ := members.Find(m.Kind); k.Storage || m.Sole != "" {
			c.Add(v.Items("stack")[i].Node, fmt.Sprintf("%s: a service that runs on several nodes cannot have %s: only one node may use it at a time", where, m.ID),
				"give it a service of its own, and let this one start after that")
		}
	}
	if len(s.With) > 0 {
		c.Add(v.Get("with").Node, where+".with: a service that runs on several nodes is with no other one", "remove it, or the copies")
	}
	var list []cluster.Service
	for n := 1; n <= count; n++ {
		one := s
		one.Name, one.Copy = cluster.CopyName(s.Name, n), cluster.Copy{Of: s.Name, Number: n, Everywhere: everywhere}
		one.ApartFrom = slices.Clone(s.ApartFrom)
		for o := 1; o < n; o++ {
			one.ApartFrom = append(one.ApartFrom, cluster.CopyName(s.Name, o))
		}
		list = append(list, one)
	}
	return list
}

// spread makes what is said of a service with copies said of each of them.
func (c *clusterReader) spread(conf *cluster.Config) {
	for i := range conf.Services {
		s := &conf.Services[i]
		of := s.Name
		if s.Copy.Of != "" {
			of = s.Copy.Of
		}
		var apart []string
		for _, name := range s.ApartFrom {
			apart = append(apart, conf.Copies(name)...)
		}
		s.ApartFrom = apart
		for _, name := range s.With {
			if list := conf.Copies(name); len(list) > 0 && list[0] != name {
				c.Add(c.services[of].Get("with").Node, fmt.Sprintf("services.%s.with: %s runs on several nodes, so nothing can be with it", of, name), "use after, or remove it")
			}
		}
	}
}

// amounts reads how much of what there is, or is needed.
func (c *clusterReader) amounts(v *form.Value, where string) []cluster.Amount {
	if v == nil {
		return nil
	}
	var list []cluster.Amount
	for _, e := range v.Keys {
		n, ok := phrase.Amount(e.Value.Text)
		if !ok {
			c.Add(e.Value.Node, fmt.Sprintf("%s.%s: %q is no amount", where, e.Name, e.Value.Text), "write a whole number, with K, M, G or T for powers of 1024: 8G")
		}
		list = append(list, cluster.Amount{Name: e.Name, Value: n})
	}
	slices.SortFunc(list, func(a, b cluster.Amount) int { return strings.Compare(a.Name, b.Name) })
	return list
}

// offers reads what the nodes have.
func (c *clusterReader) offers(v *form.Value) []cluster.Offer {
	if v == nil {
		return nil
	}
	var list []cluster.Offer
	for _, e := range v.Keys {
		c.node(e.Node, e.Name, "nodes")
		list = append(list, cluster.Offer{Node: e.Name, Has: c.amounts(e.Value.Get("offers"), "nodes."+e.Name+".offers")})
	}
	slices.SortFunc(list, func(a, b cluster.Offer) int { return strings.Compare(a.Node, b.Node) })
	return list
}

// soleOf names what of a member only one node may use at a time: a file system on a
// disk, an address, a virtual machine. Empty: nothing.
func soleOf(kind members.Kind, v *form.Value) string {
	switch kind.Name {
	case "filesystem":
		if device := v.Str("device"); strings.HasPrefix(device, "/") {
			return "filesystem " + device
		}
	case "lvm":
		return "lvm " + v.Str("group")
	case "ip":
		address, _, _ := strings.Cut(v.Str("address"), "/")
		return "ip " + address
	case "vm":
		return "vm " + v.Str("domain")
	}
	return ""
}

// live says that a member is handed over as it runs. Its copy arrives before the service
// is stopped here, so nothing may stand below it.
func (c *clusterReader) live(kind members.Kind, v *form.Value, at string, place int) bool {
	m := v.Get("migrate")
	if m != nil && place > 0 {
		c.Add(m.Node, fmt.Sprintf("%s.%s.migrate: it is not the first member of its service, and what stands below it cannot be on two nodes while its memory goes over", at, kind.Name),
			"put it first, with its disks on storage that all nodes have, or remove migrate: a move then shuts it down and boots it")
	}
	return m != nil
}

// alone refuses what only one node may use at a time in more than one service: they
// could be on two nodes.
func (c *clusterReader) alone(conf *cluster.Config) {
	has := map[string]string{}
	for _, s := range conf.Services {
		for i, m := range s.Stack {
			switch other := has[m.Sole]; {
			case m.Sole == "":
			case other != "" && other != s.Name:
				c.Add(c.services[s.Name].Items("stack")[i].Node, fmt.Sprintf("services.%s.stack[%d]: %s is in the service %s already, and only one node may use it at a time", s.Name, i+1, m.Sole, other),
					"keep it in one of the two, and let the other start after that")
			default:
				has[m.Sole] = s.Name
			}
		}
	}
}
