package plan

import (
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"github.com/holdfast-ha/holdfast/cluster"
	"github.com/holdfast-ha/holdfast/cluster/foresee"
)

// compareRest says what else differs of the cluster as a whole.
func (p *planner) compareRest() {
	now, next := p.now, p.Next
	if now.Evict != next.Evict {
		p.change("cluster", "change", "partition: "+either(now.Evict, "evict", "tolerate")+" -> "+either(next.Evict, "evict", "tolerate"))
	}
	if now.Quarantine != next.Quarantine {
		p.change("cluster", "change", "quarantine: "+flaps(now.Quarantine)+" -> "+flaps(next.Quarantine))
	}
	if now.PowerOn != next.PowerOn {
		p.change("fencing", "change", fmt.Sprintf("power_on: %v -> %v", now.PowerOn, next.PowerOn))
	}
	ways := func(c *cluster.Config) map[string]string {
		m := map[string]string{}
		for _, w := range c.Fencing {
			m[w.Node] = wayWords(w.Ways)
		}
		return m
	}
	p.compareTables("fencing of ", ways(now), ways(next))
	offers := func(c *cluster.Config) map[string]string {
		m := map[string]string{}
		for _, o := range c.Offers {
			m[o.Node] = amountWords(o.Has)
		}
		return m
	}
	p.compareTables("offers of ", offers(now), offers(next))
	for i := range now.Fencing {
		other := slices.IndexFunc(next.Fencing, func(w cluster.Ways) bool { return w.Node == now.Fencing[i].Node })
		if other >= 0 && !reflect.DeepEqual(now.Fencing[i], next.Fencing[other]) && wayWords(now.Fencing[i].Ways) == wayWords(next.Fencing[other].Ways) {
			p.change("fencing of "+now.Fencing[i].Node, "change", "the parameters of an agent")
		}
	}
}

// compareTables says what differs of what there is one of for each node.
func (p *planner) compareTables(what string, now, next map[string]string) {
	names := maps.Clone(now)
	maps.Copy(names, next)
	for _, name := range slices.Sorted(maps.Keys(names)) {
		a, was := now[name]
		b, is := next[name]
		switch {
		case was && is && a != b:
			p.change(what+name, "change", a+" -> "+b)
		case was && !is:
			p.change(what+name, "remove", a)
		case is && !was:
			p.change(what+name, "add", b)
		}
	}
}

// wayWords lists ways without their parameters: these may be secrets.
func wayWords(list []cluster.Way) string {
	names := make([]string, 0, len(list))
	for i := range list {
		names = append(names, list[i].Name())
	}
	return strings.Join(names, ", ")
}

func amountWords(list []cluster.Amount) string {
	words := make([]string, 0, len(list))
	for _, a := range list {
		words = append(words, fmt.Sprintf("%s %d", a.Name, a.Value))
	}
	return strings.Join(words, ", ")
}

func flaps(r cluster.FlapRule) string {
	if r.Count == 0 {
		return "off"
	}
	return fmt.Sprintf("%d in %v for %v", r.Count, r.Within, r.For)
}

func either(is bool, yes, no string) string {
	if is {
		return yes
	}
	return no
}

// compareServices says what differs of the services: renamed ones are told as such,
// and members that go from one to another.
func (p *planner) compareServices() {
	renamed := foresee.Renamed(p.now, p.Next)
	gone := map[string]string{}
	for to, from := range renamed {
		gone[from] = to
	}
	for i := range p.now.Services {
		old := &p.now.Services[i]
		if _, stays := p.Next.Service(old.Name); !stays && gone[old.Name] == "" {
			p.change("service "+old.Name, "remove", describe(old))
		}
	}
	for i := range p.Next.Services {
		one := &p.Next.Services[i]
		old, known := p.now.Service(one.Name)
		switch {
		case renamed[one.Name] != "":
			old, _ = p.now.Service(renamed[one.Name])
			text := "is now called " + one.Name
			if d := p.difference(old, one); d != "" {
				text += "; " + d
			}
			p.change("service "+old.Name, "rename", text)
		case !known:
			p.change("service "+one.Name, "add", p.describeNew(one))
		case !reflect.DeepEqual(old, one):
			p.change("service "+one.Name, "change", p.difference(old, one))
		}
	}
}

func describe(s *cluster.Service) string {
	var kinds []string
	for i := range s.Stack {
		kinds = append(kinds, s.Stack[i].ID)
	}
	return strings.Join(kinds, ", ")
}

// describeNew names what a new service is made of, and what of that it takes over.
func (p *planner) describeNew(s *cluster.Service) string {
	parts := []string{describe(s)}
	for i := range s.Stack {
		if from := p.comesFrom(s.Name, &s.Stack[i]); from != "" {
			parts = append(parts, s.Stack[i].ID+" comes from "+from)
		}
	}
	return strings.Join(parts, "; ")
}

// comesFrom names the service that loses a member to another one.
func (p *planner) comesFrom(service string, m *cluster.Member) string {
	for i := range p.now.Services {
		o := &p.now.Services[i]
		next, stays := p.Next.Service(o.Name)
		if o.Name == service || !hasMember(o, m) || stays && hasMember(next, m) {
			continue
		}
		return o.Name
	}
	return ""
}

// goesTo names the service that gets a member from another one.
func (p *planner) goesTo(service string, m *cluster.Member) string {
	for i := range p.Next.Services {
		n := &p.Next.Services[i]
		now, was := p.now.Service(n.Name)
		if n.Name == service || !hasMember(n, m) || was && hasMember(now, m) {
			continue
		}
		return n.Name
	}
	return ""
}

func hasMember(s *cluster.Service, m *cluster.Member) bool {
	return slices.ContainsFunc(s.Stack, func(o cluster.Member) bool { return foresee.SameMember(&o, m) })
}

// difference lists what has changed of a service.
func (p *planner) difference(old, next *cluster.Service) string {
	var parts []string
	say := func(name string, a, b any) {
		if !reflect.DeepEqual(a, b) {
			parts = append(parts, fmt.Sprintf("%s: %v -> %v", name, a, b))
		}
	}
	say("prefer", old.Prefer, next.Prefer)
	say("only", old.Only, next.Only)
	say("never", old.Never, next.Never)
	say("priority", old.Priority, next.Priority)
	say("after", old.After, next.After)
	say("with", old.With, next.With)
	if old.Copy.Of == "" || next.Copy.Of == "" || old.Copy.Of == next.Copy.Of {
		say("apart_from", old.ApartFrom, next.ApartFrom)
	}
	say("failback", failback(old.Failback), failback(next.Failback))
	say("restarts", budget(old.Restarts), budget(next.Restarts))
	say("quick-stop", either(old.QuickStop, "early", "no"), either(next.QuickStop, "early", "no"))
	say("needs", amountWords(old.Needs), amountWords(next.Needs))
	say("checks", fmt.Sprintf("%d of %d", max(1, old.Patience.Fails), max(1, old.Patience.Of)), fmt.Sprintf("%d of %d", max(1, next.Patience.Fails), max(1, next.Patience.Of)))
	say("stop_grace", old.Patience.Stop, next.Patience.Stop)
	return strings.Join(append(parts, p.stackDifference(old, next)...), "; ")
}

func failback(f cluster.Failback) string {
	switch {
	case f.Mode != cluster.Automatic:
		return "manual"
	case f.After > 0:
		return fmt.Sprintf("automatic after %v", f.After)
	}
	return "automatic"
}

func budget(b cluster.Budget) string {
	if b.Count == 0 {
		return "none"
	}
	return fmt.Sprintf("%d in %v", b.Count, b.Within)
}

// stackDifference follows the members by what they are, not by their names: these
// count what stands before them.
func (p *planner) stackDifference(old, next *cluster.Service) []string {
	var parts []string
	met := map[int]bool{}
	for i := range old.Stack {
		o := &old.Stack[i]
		k := counterpart(o, next, met)
		if k < 0 {
			text := "stack: without " + o.ID
			if to := p.goesTo(old.Name, o); to != "" && to != next.Name {
				text += ", which goes to " + to
			}
			parts = append(parts, text)
			continue
		}
		met[k] = true
		n := &next.Stack[k]
		if n.ID != o.ID {
			parts = append(parts, fmt.Sprintf("stack: %s is now called %s", o.ID, n.ID))
		}
		if d := specDifference(o.Spec, n.Spec); d != "" {
			parts = append(parts, fmt.Sprintf("stack: %s: %s", n.ID, d))
		}
		if i != k {
			parts = append(parts, fmt.Sprintf("stack: %s moves from place %d to %d", n.ID, i+1, k+1))
		}
		if o.Start != n.Start || o.Stop != n.Stop || o.Check != n.Check || o.CheckEvery != n.CheckEvery {
			parts = append(parts, "stack: limits of "+n.ID)
		}
		if o.Guarded != n.Guarded {
			parts = append(parts, "stack: guard of "+n.ID)
		}
	}
	for k := range next.Stack {
		if n := &next.Stack[k]; !met[k] {
			text := "stack: with " + n.ID
			if from := p.comesFrom(next.Name, n); from != "" && from != old.Name {
				text += ", which comes from " + from
			}
			parts = append(parts, text)
		}
	}
	return parts
}

// counterpart finds what a member has become: itself elsewhere, or what has its name;
// -1 if there is nothing.
func counterpart(o *cluster.Member, next *cluster.Service, met map[int]bool) int {
	named := -1
	for k := range next.Stack {
		n := &next.Stack[k]
		switch {
		case met[k]:
		case foresee.SameMember(o, n):
			return k
		case n.ID == o.ID && n.Kind == o.Kind:
			named = k
		}
	}
	return named
}

// specDifference names the keys of a specification that differ, with their values.
func specDifference(old, next []byte) string {
	var a, b map[string]any
	if json.Unmarshal(old, &a) != nil || json.Unmarshal(next, &b) != nil {
		return either(string(old) == string(next), "", "changed")
	}
	return strings.Join(keyDifference("", a, b), ", ")
}

func keyDifference(path string, a, b map[string]any) []string {
	names := maps.Clone(a)
	if names == nil {
		names = map[string]any{}
	}
	maps.Copy(names, b)
	var parts []string
	for _, k := range slices.Sorted(maps.Keys(names)) {
		x, y := a[k], b[k]
		xm, xIs := x.(map[string]any)
		ym, yIs := y.(map[string]any)
		switch {
		case reflect.DeepEqual(x, y):
		case xIs && yIs:
			parts = append(parts, keyDifference(path+k+".", xm, ym)...)
		default:
			parts = append(parts, fmt.Sprintf("%s%s: %s -> %s", path, k, valueWords(k, x), valueWords(k, y)))
		}
	}
	return parts
}

// valueWords is a value as it is shown. What is called a password is not shown,
// although it had better be a reference.
func valueWords(key string, v any) string {
	if v == nil {
		return "none"
	}
	for _, word := range []string{"pass", "secret", "token", "key"} {
		if s, is := v.(string); is && strings.Contains(strings.ToLower(key), word) && !strings.HasPrefix(s, "secret:") && !strings.HasPrefix(s, "/") {
			return "(not shown)"
		}
	}
	text, err := json.Marshal(v)
	if err != nil {
		return "?"
	}
	return strings.Trim(string(text), `"`)
}
