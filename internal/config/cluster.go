package config

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml/ast"

	"github.com/holdfast-ha/holdfast/cluster"
	"github.com/holdfast-ha/holdfast/cluster/timing"
	"github.com/holdfast-ha/holdfast/internal/config/phrase"
)

// Option changes how ParseCluster judges a file.
type Option func(*options)

type options struct {
	nodes   []string
	checked bool
}

// KnownNodes makes ParseCluster refuse the names of nodes that are not in the
// list. Without it node names are only checked for their form: a configuration
// is also read where the nodes are not known.
func KnownNodes(names []string) Option {
	return func(o *options) { o.nodes, o.checked = slices.Clone(names), true }
}

// Alert is one receiver of events: exactly one of the fields is set.
type Alert struct {
	Script  string // path of a program, which gets the event on its standard input
	Mail    string // an address for the machine's own mail system
	Webhook string // a URL that gets the event as JSON
}

// ParseCluster reads the cluster's configuration. The file's name is for
// messages only. The result is sorted, so that the same bytes give the same value
// on every node. The error is Problems: everything that is wrong, in the order
// of the file.
func ParseCluster(file string, src []byte, opts ...Option) (*cluster.Config, error) {
	conf, _, err := parseCluster(file, src, opts)
	return conf, err
}

// ParseAlerts reads the receivers of events, which are no concern of the core's,
// from the cluster's configuration. The error is that of ParseCluster.
func ParseAlerts(file string, src []byte) ([]Alert, error) {
	_, alerts, err := parseCluster(file, src, nil)
	return alerts, err
}

func parseCluster(file string, src []byte, opts []Option) (*cluster.Config, []Alert, error) {
	var o options
	for _, f := range opts {
		f(&o)
	}
	r, v := read(file, src, clusterShape())
	if v == nil {
		return nil, nil, r.err()
	}
	c := &clusterReader{reader: r, options: o, services: map[string]*value{}}
	conf := c.config(v)
	alerts := c.alerts(v)
	c.references(conf)
	if err := r.err(); err != nil {
		return nil, nil, err
	}
	return conf, alerts, nil
}

// clusterReader turns values of the right shape into a configuration.
type clusterReader struct {
	*reader
	options
	services map[string]*value
}

func (c *clusterReader) config(v *value) *cluster.Config {
	head := v.get("cluster")
	conf := &cluster.Config{Name: head.str("name"), FailoverWithin: head.dur("failover_within")}
	conf.Evict = head.str("partition") == "evict"
	conf.Quarantine, _ = phrase.Quarantine(head.str("quarantine"))
	if all := v.get("services"); all != nil {
		for _, e := range all.keys {
			c.services[e.name] = e.value
			conf.Services = append(conf.Services, c.service(e.name, e.value))
		}
	}
	slices.SortFunc(conf.Services, func(a, b cluster.Service) int { return strings.Compare(a.Name, b.Name) })
	if ways := v.get("fencing").get("ways"); ways != nil {
		for _, e := range ways.keys {
			c.node(e.node, e.name, "fencing.ways")
			conf.Fencing = append(conf.Fencing, cluster.Ways{Node: e.name, Ways: c.ways(e.value, "fencing.ways."+e.name)})
		}
	}
	conf.PowerOn = v.get("fencing").yes("power_on")
	slices.SortFunc(conf.Fencing, func(a, b cluster.Ways) int { return strings.Compare(a.Node, b.Node) })
	switch head.str("on_disk_loss") {
	case "keep":
		conf.KeepOnDiskLoss = true
	case "":
		conf.KeepOnDiskLoss = allHavePower(conf.Fencing)
	}
	switch grace := head.get("grace_period"); {
	case grace == nil && !conf.KeepOnDiskLoss:
		conf.Grace = timing.DefaultGrace
	case grace != nil && conf.KeepOnDiskLoss:
		c.add(grace.node, "cluster.grace_period: services are kept without limit while the quorum disks are gone", "remove it, or write on_disk_loss: stop")
	case grace != nil:
		conf.Grace = head.dur("grace_period")
	}
	return conf
}

// allHavePower is the default of on_disk_loss: where the power of every node can
// be cut, keeping services through the loss of the disks loses nothing.
func allHavePower(fencing []cluster.Ways) bool {
	for _, w := range fencing {
		if !slices.ContainsFunc(w.Ways, func(w cluster.Way) bool { return w.Kind == "bmc" || w.Kind == "agent" }) {
			return false
		}
	}
	return len(fencing) > 0
}

func (c *clusterReader) service(name string, v *value) cluster.Service {
	where := "services." + name
	s := cluster.Service{
		Name: name, Prefer: v.texts("prefer"), Only: v.texts("only"), Never: v.texts("never"),
		After: v.texts("after"), With: v.texts("with"), ApartFrom: v.texts("apart_from"),
		QuickStop: v.str("quick-stop") == "early",
	}
	s.Failback, _ = phrase.Failback(v.str("failback"))
	s.Restarts, _ = phrase.Budget(v.str("restarts"))
	if p := v.get("priority"); p != nil {
		s.Priority = int(p.num)
	}
	for _, list := range []string{"prefer", "only", "never"} {
		for _, n := range v.items(list) {
			c.node(n.node, n.text, where+"."+list)
		}
	}
	c.placement(v, where)
	s.Stack = c.stack(v, where)
	return s
}

// placement refuses rules that contradict each other.
func (c *clusterReader) placement(v *value, where string) {
	only, never := v.texts("only"), v.texts("never")
	for _, list := range []string{"prefer", "only"} {
		for _, n := range v.items(list) {
			switch {
			case slices.Contains(never, n.text):
				c.add(n.node, fmt.Sprintf("%s: %s stands under %s and under never", where, n.text, list), "remove it from one of the two")
			case list == "prefer" && len(only) > 0 && !slices.Contains(only, n.text):
				c.add(n.node, fmt.Sprintf("%s: %s is preferred, but does not stand under only", where, n.text), "add it to only, or remove it here")
			}
		}
	}
}

// node checks a node's name against the known ones.
func (c *clusterReader) node(n ast.Node, name, where string) {
	if c.checked && !slices.Contains(c.nodes, name) {
		c.add(n, fmt.Sprintf("%s: there is no node %q", where, name), suggest(name, c.nodes))
	}
}

func (c *clusterReader) ways(v *value, where string) []cluster.Way {
	var ways []cluster.Way
	for _, e := range v.list {
		if e.shape.form == text {
			ways = append(ways, cluster.Way{Kind: e.text})
			continue
		}
		way := cluster.Way{Kind: "agent", Agent: e.str("agent")}
		if with := e.get("with"); with != nil {
			way.With = map[string]string{}
			for _, p := range with.keys {
				way.With[p.name] = p.text
			}
		}
		ways = append(ways, way)
	}
	return ways
}

func (c *clusterReader) alerts(v *value) []Alert {
	var list []Alert
	for i, e := range v.items("alerts") {
		if len(e.keys) != 1 {
			c.add(e.node, fmt.Sprintf("alerts[%d]: names %d receivers, not one", i+1, len(e.keys)), "write one list entry for each")
			continue
		}
		list = append(list, Alert{Script: e.str("script"), Mail: e.str("mail"), Webhook: e.str("webhook")})
	}
	return list
}

// stack turns the members of a service into their specifications.
func (c *clusterReader) stack(v *value, where string) []cluster.Member {
	var members []cluster.Member
	count, guarded := map[string]int{}, false
	for i, e := range v.items("stack") {
		at := fmt.Sprintf("%s.stack[%d]", where, i+1)
		kind, spec := c.kind(e, at)
		if spec == nil {
			continue
		}
		if kind.check != nil {
			kind.check(c.reader, spec, at+"."+kind.name)
		}
		count[kind.name]++
		id := kind.name
		if n := count[kind.name]; n > 1 {
			id += "-" + strconv.Itoa(n)
		}
		check := e.get("check")
		guarded = guarded || spec.str("guard") == cluster.WayReservation
		members = append(members, cluster.Member{
			ID: id, Kind: kind.name, Spec: specOf(spec), Storage: kind.storage,
			Start: e.get("start").dur("timeout"), Stop: e.get("stop").dur("timeout"),
			Check: check.dur("timeout"), CheckEvery: check.dur("every"),
		})
	}
	for i := range members { // one guard is for all LUNs below the service
		members[i].Guarded = guarded && members[i].Storage
	}
	return members
}

// kind finds the one kind that a member names.
func (c *clusterReader) kind(v *value, where string) (memberKind, *value) {
	var found memberKind
	var spec *value
	for _, e := range v.keys {
		k, ok := kindOf(e.name)
		switch {
		case !ok:
		case spec != nil:
			c.add(e.node, fmt.Sprintf("%s: a second kind, %s, beside %s", where, k.name, found.name), "begin it with a dash of its own: - "+k.name+":")
		default:
			found, spec = k, e.value
		}
	}
	if spec == nil && !v.wrong {
		c.add(v.node, where+": names no kind of resource", "add one of "+kindNames())
	}
	return found, spec
}

// specOf is a specification as canonical JSON: keys sorted, durations as they
// were written.
func specOf(v *value) []byte {
	m := plain(v)
	if keys, ok := m.(map[string]any); ok {
		delete(keys, "guard") // for the cluster, not for the agent
	}
	b, err := json.Marshal(m)
	if err != nil {
		panic("config: a value of texts, numbers and lists does not encode: " + err.Error())
	}
	return b
}

func plain(v *value) any {
	switch v.shape.form {
	case object, table:
		m := map[string]any{}
		for _, e := range v.keys {
			m[e.name] = plain(e.value)
		}
		return m
	case list:
		l := []any{}
		for _, e := range v.list {
			l = append(l, plain(e))
		}
		return l
	case number:
		return v.num
	case truth:
		return v.truth
	case span:
		return short(v.span)
	}
	return v.text
}
