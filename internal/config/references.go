package config

import (
	"fmt"
	"slices"
	"strings"

	"github.com/holdfast-ha/holdfast/cluster"
	"github.com/holdfast-ha/holdfast/internal/config/form"
)

// references checks what services say of each other.
func (c *clusterReader) references(conf *cluster.Config) {
	var names []string
	for _, s := range conf.Services {
		names = append(names, s.Name)
	}
	for _, s := range conf.Services {
		for _, list := range []string{"after", "with", "apart_from"} {
			c.referenced(s.Name, list, names)
		}
	}
	c.cycles(conf)
	c.apart(conf)
	c.offered(conf)
	if c.checked { // what is committed already has to stay readable
		c.alone(conf)
	}
}

// offered refuses what is needed and what no node has.
func (c *clusterReader) offered(conf *cluster.Config) {
	for _, s := range conf.Services {
		for _, a := range s.Needs {
			has := slices.ContainsFunc(conf.Offers, func(o cluster.Offer) bool {
				return slices.ContainsFunc(o.Has, func(h cluster.Amount) bool { return h.Name == a.Name && h.Value >= a.Value })
			})
			if n := c.services[s.Name].Get("needs").Get(a.Name); !has && n != nil {
				c.Add(n.Node, fmt.Sprintf("services.%s.needs.%s: no node offers so much", s.Name, a.Name), fmt.Sprintf("say what a node has: nodes: {NODE: {offers: {%s: ...}}}", a.Name))
			}
		}
	}
}

func (c *clusterReader) referenced(service, list string, names []string) {
	where := fmt.Sprintf("services.%s.%s", service, list)
	for _, n := range c.services[service].Items(list) {
		switch {
		case n.Text == service:
			c.Add(n.Node, where+": names the service itself", "remove it")
		case !slices.Contains(names, n.Text):
			c.Add(n.Node, fmt.Sprintf("%s: there is no service %q", where, n.Text), form.Suggest(n.Text, names))
		}
	}
}

// cycles refuses services that wait for each other, once for each circle.
func (c *clusterReader) cycles(conf *cluster.Config) {
	done := map[string]bool{}
	var trail []string
	var visit func(name string)
	visit = func(name string) {
		if i := slices.Index(trail, name); i >= 0 {
			if len(trail)-i > 1 {
				c.circle(append(slices.Clone(trail[i:]), name))
			}
			return
		}
		s, ok := conf.Service(name)
		if done[name] || !ok {
			return
		}
		trail = append(trail, name)
		for _, before := range s.After {
			visit(before)
		}
		trail = trail[:len(trail)-1]
		done[name] = true
	}
	for _, s := range conf.Services {
		visit(s.Name)
	}
}

// circle records a cycle at the reference that closes it.
func (c *clusterReader) circle(names []string) {
	last := names[len(names)-2]
	what := fmt.Sprintf("services.%s.after: none of these could ever start: %s", last, strings.Join(names, " after "))
	for _, n := range c.services[last].Items("after") {
		if n.Text == names[len(names)-1] {
			c.Add(n.Node, what, "remove one of these")
		}
	}
}

// apart refuses services that must be on one node and must not be.
func (c *clusterReader) apart(conf *cluster.Config) {
	together := map[string]string{} // union-find
	root := func(s string) string {
		for together[s] != "" {
			s = together[s]
		}
		return s
	}
	for _, s := range conf.Services {
		for _, other := range s.With {
			if a, b := root(s.Name), root(other); a != b {
				together[a] = b
			}
		}
	}
	for _, s := range conf.Services {
		for _, other := range s.ApartFrom {
			if other == s.Name || root(s.Name) != root(other) {
				continue
			}
			for _, n := range c.services[s.Name].Items("apart_from") {
				if n.Text == other {
					c.Add(n.Node, fmt.Sprintf("services.%s.apart_from: %s must be on the same node, by with", s.Name, other), "remove one of the two")
				}
			}
		}
	}
}
