package config

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/goccy/go-yaml/ast"

	"github.com/holdfast-ha/holdfast/cluster"
	"github.com/holdfast-ha/holdfast/cluster/timing"
	"github.com/holdfast-ha/holdfast/internal/config/form"
	"github.com/holdfast-ha/holdfast/internal/config/members"
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
	_, more, err := parseCluster(file, src, nil)
	return more.alerts, err
}

// ParseDrills reads how often each kind of drill is wanted; 0: it is not said. The
// error is that of ParseCluster.
func ParseDrills(file string, src []byte) (time.Duration, error) {
	_, more, err := parseCluster(file, src, nil)
	return more.drills, err
}

// beside is what a configuration says that is no concern of the core's.
type beside struct {
	alerts []Alert
	drills time.Duration
}

func parseCluster(file string, src []byte, opts []Option) (*cluster.Config, beside, error) {
	var o options
	for _, f := range opts {
		f(&o)
	}
	r, v := form.Read(file, src, clusterShape())
	if v == nil {
		return nil, beside{}, r.Err()
	}
	c := &clusterReader{Reader: r, options: o, services: map[string]*form.Value{}, kinds: members.All()}
	conf := c.config(v)
	more := beside{alerts: c.alerts(v)}
	more.drills, _ = phrase.Every(v.Str("drills"))
	c.references(conf)
	c.copy(conf)
	if err := r.Err(); err != nil {
		return nil, beside{}, err
	}
	return conf, more, nil
}

// clusterReader turns values of the right shape into a configuration.
type clusterReader struct {
	*form.Reader
	options
	services map[string]*form.Value
	kinds    []members.Kind
}

func (c *clusterReader) config(v *form.Value) *cluster.Config {
	head := v.Get("cluster")
	conf := &cluster.Config{Name: head.Str("name"), FailoverWithin: head.Dur("failover_within")}
	conf.Evict = head.Str("partition") == "evict"
	conf.Quarantine, _ = phrase.Quarantine(head.Str("quarantine"))
	if all := v.Get("services"); all != nil {
		for _, e := range all.Keys {
			c.services[e.Name] = e.Value
			conf.Services = append(conf.Services, c.service(e.Name, e.Value))
		}
	}
	slices.SortFunc(conf.Services, func(a, b cluster.Service) int { return strings.Compare(a.Name, b.Name) })
	if ways := v.Get("fencing").Get("ways"); ways != nil {
		for _, e := range ways.Keys {
			c.node(e.Node, e.Name, "fencing.ways")
			conf.Fencing = append(conf.Fencing, cluster.Ways{Node: e.Name, Ways: c.ways(e.Value, "fencing.ways."+e.Name)})
		}
	}
	conf.Offers = c.offers(v.Get("nodes"))
	conf.PowerOn = v.Get("fencing").Yes("power_on")
	slices.SortFunc(conf.Fencing, func(a, b cluster.Ways) int { return strings.Compare(a.Node, b.Node) })
	switch head.Str("on_disk_loss") {
	case "keep":
		conf.KeepOnDiskLoss = true
	case "":
		conf.KeepOnDiskLoss = allHavePower(conf.Fencing)
	}
	switch grace := head.Get("grace_period"); {
	case grace == nil && !conf.KeepOnDiskLoss:
		conf.Grace = timing.DefaultGrace
	case grace != nil && conf.KeepOnDiskLoss:
		c.Add(grace.Node, "cluster.grace_period: services are kept without limit while the quorum disks are gone", "remove it, or write on_disk_loss: stop")
	case grace != nil:
		conf.Grace = head.Dur("grace_period")
	}
	return conf
}

// allHavePower is the default of on_disk_loss: where the power of every node can
// be cut, keeping services through the loss of the disks loses nothing.
func allHavePower(fencing []cluster.Ways) bool {
	for _, w := range fencing {
		if !slices.ContainsFunc(w.Ways, func(w cluster.Way) bool { return w.CutsPower() }) {
			return false
		}
	}
	return len(fencing) > 0
}

func (c *clusterReader) service(name string, v *form.Value) cluster.Service {
	where := "services." + name
	s := cluster.Service{
		Name: name, Prefer: v.Texts("prefer"), Only: v.Texts("only"), Never: v.Texts("never"),
		After: v.Texts("after"), With: v.Texts("with"), ApartFrom: v.Texts("apart_from"),
		QuickStop: v.Str("quick-stop") == "early",
	}
	s.Failback, _ = phrase.Failback(v.Str("failback"))
	s.Restarts, _ = phrase.Budget(v.Str("restarts"))
	s.Patience, _ = phrase.Checks(v.Str("checks"))
	s.Patience.Stop = v.Dur("stop_grace")
	s.Needs = c.amounts(v.Get("needs"), where+".needs")
	if p := v.Get("priority"); p != nil {
		s.Priority = int(p.Num)
	}
	for _, list := range []string{"prefer", "only", "never"} {
		for _, n := range v.Items(list) {
			c.node(n.Node, n.Text, where+"."+list)
		}
	}
	c.placement(v, where)
	s.Stack = c.stack(v, where)
	return s
}

// placement refuses rules that contradict each other.
func (c *clusterReader) placement(v *form.Value, where string) {
	only, never := v.Texts("only"), v.Texts("never")
	for _, list := range []string{"prefer", "only"} {
		for _, n := range v.Items(list) {
			switch {
			case slices.Contains(never, n.Text):
				c.Add(n.Node, fmt.Sprintf("%s: %s stands under %s and under never", where, n.Text, list), "remove it from one of the two")
			case list == "prefer" && len(only) > 0 && !slices.Contains(only, n.Text):
				c.Add(n.Node, fmt.Sprintf("%s: %s is preferred, but does not stand under only", where, n.Text), "add it to only, or remove it here")
			}
		}
	}
}

// node checks a node's name against the known ones.
func (c *clusterReader) node(n ast.Node, name, where string) {
	if c.checked && !slices.Contains(c.nodes, name) {
		c.Add(n, fmt.Sprintf("%s: there is no node %q", where, name), form.Suggest(name, c.nodes))
	}
}

// stack turns the members of a service into their specifications.
func (c *clusterReader) stack(v *form.Value, where string) []cluster.Member {
	var list []cluster.Member
	count, guarded := map[string]int{}, false
	for i, e := range v.Items("stack") {
		at := fmt.Sprintf("%s.stack[%d]", where, i+1)
		kind, spec := c.kind(e, at)
		if spec == nil {
			continue
		}
		if kind.Check != nil {
			kind.Check(c.Reader, spec, at+"."+kind.Name)
		}
		with := e.Get("with")
		if with != nil && !kind.With {
			c.Add(with.Node, fmt.Sprintf("%s: %s has no parameters beside it", at, kind.Name), "write its keys below "+kind.Name+":")
		}
		count[kind.Name]++
		id := kind.Name
		if n := count[kind.Name]; n > 1 {
			id += "-" + strconv.Itoa(n)
		}
		c.secrets(spec, at+"."+kind.Name, false)
		c.secrets(with, at+".with", true)
		check := e.Get("check")
		guarded = guarded || spec.Str("guard") == cluster.WayReservation
		list = append(list, cluster.Member{
			ID: id, Kind: kind.Name, Spec: kind.Spec(spec, with), Storage: kind.Storage, Reloads: kind.Reloads, Sole: soleOf(kind, spec),
			Live:  c.live(kind, spec, at, i),
			Start: cmp.Or(e.Get("start").Dur("timeout"), kind.Usual.Start), Stop: cmp.Or(e.Get("stop").Dur("timeout"), kind.UsualStop(spec)),
			Check: cmp.Or(check.Dur("timeout"), kind.Usual.Check), CheckEvery: cmp.Or(check.Dur("every"), kind.Usual.Every),
		})
	}
	if guarded {
		c.guardable(v, where)
	}
	for i := range list { // one guard is for all LUNs below the service
		list[i].Guarded = guarded && list[i].Storage
	}
	return list
}

// kind finds the one kind that a member names.
func (c *clusterReader) kind(v *form.Value, where string) (members.Kind, *form.Value) {
	var found members.Kind
	var spec *form.Value
	for _, e := range v.Keys {
		at := slices.IndexFunc(c.kinds, func(k members.Kind) bool { return k.Name == e.Name })
		if at < 0 {
			continue
		}
		k := c.kinds[at]
		switch {
		case spec != nil:
			c.Add(e.Node, fmt.Sprintf("%s: a second kind, %s, beside %s", where, k.Name, found.Name), "begin it with a dash of its own: - "+k.Name+":")
		default:
			found, spec = k, e.Value
		}
	}
	if spec == nil && !v.Wrong {
		c.Add(v.Node, where+": names no kind of resource", "add one of "+members.Names())
	}
	return found, spec
}

// guardable refuses storage whose LUNs cannot be told: sessions that name no disks
// are refused unless another member names some.
func (c *clusterReader) guardable(v *form.Value, where string) {
	items := v.Items("stack")
	named := slices.ContainsFunc(items, func(e *form.Value) bool { return e.Get("filesystem") != nil || e.Get("lvm") != nil })
	for i, e := range items {
		at := fmt.Sprintf("%s.stack[%d]", where, i+1)
		if m := e.Get("iscsi"); m != nil && m.Get("devices") == nil && !named {
			c.Add(m.Node, at+".iscsi: which disks the service's guard, a reservation, is for cannot be told", "write iscsi: {target: ..., devices: [...]}")
		}
		if m := e.Get("lvm"); m != nil && m.Get("devices") == nil {
			c.Add(m.Node, at+".lvm: which disks the service's guard, a reservation, is for cannot be told", "write lvm: {group: ..., devices: [...]}")
		}
	}
}
