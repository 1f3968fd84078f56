package placement

import (
	"cmp"
	"slices"
)

// Amount is so much of something that services share on a node: bytes of
// memory, cores, whatever the admin counts.
type Amount struct {
	Name  string
	Value int64
}

// Rules are a service's own words on where it may run.
type Rules struct {
	Service  string
	Prefer   []string // node names, the best first
	Only     []string
	Never    []string
	Priority int
	With     []string // on the same node as these, both ways
	Apart    []string // on another node than these, both ways
	After    []string // only the order within a bundle is taken from it
	Needs    []Amount
	Returns  bool // it goes back to a better node by itself
}

// Book is the rules of all services, worked out once for a configuration: which
// services go together, which go apart, and who chooses first.
type Book struct {
	rules   []Rules
	index   map[string]int
	apart   [][]int // by service
	bundle  []int   // of every service
	bundles []bundle
	groups  [][]int  // bundles of one priority by name, the highest priority first
	kinds   []string // what services need, by name
	needs   [][]need // by service
}

// need is so much of one of the kinds.
type need struct {
	kind  int
	value int64
}

// bundle is services that are always on one node.
type bundle struct {
	members  []int // in the order in which they start
	priority int   // the highest of theirs
	loose    bool  // no rule ties it to anything but an order of preference
	returns  bool  // one of them goes back to a better node by itself
}

// Compile works out the rules. Names of services that are not among them mean
// nothing.
func Compile(rules []Rules) *Book {
	b := &Book{
		rules: rules, index: make(map[string]int, len(rules)), apart: make([][]int, len(rules)),
		bundle: make([]int, len(rules)), needs: make([][]need, len(rules)),
	}
	for i := range rules {
		b.index[rules[i].Service] = i
	}
	root := b.together()
	for i := range rules {
		for _, other := range rules[i].Apart {
			if j, ok := b.index[other]; ok && j != i {
				b.apart[i], b.apart[j] = append(b.apart[i], j), append(b.apart[j], i)
			}
		}
	}
	at := map[int]int{}
	for i := range rules {
		slices.Sort(b.apart[i])
		b.apart[i] = slices.Compact(b.apart[i])
		k, ok := at[root(i)]
		if !ok {
			k = len(b.bundles)
			at[root(i)] = k
			b.bundles = append(b.bundles, bundle{priority: rules[i].Priority, loose: true})
		}
		b.bundle[i] = k
		u := &b.bundles[k]
		u.members = append(u.members, i)
		u.priority = max(u.priority, rules[i].Priority)
		u.loose = u.loose && len(rules[i].Only)+len(rules[i].Never)+len(rules[i].Needs)+len(b.apart[i]) == 0
		u.returns = u.returns || rules[i].Returns
		b.count(i)
	}
	for k := range b.bundles {
		b.bundles[k].loose = b.bundles[k].loose && len(b.bundles[k].members) == 1
		b.startOrder(b.bundles[k].members)
	}
	b.rank()
	return b
}

// count takes down what a service needs.
func (b *Book) count(i int) {
	for _, a := range b.rules[i].Needs {
		k := slices.Index(b.kinds, a.Name)
		if k < 0 {
			k = len(b.kinds)
			b.kinds = append(b.kinds, a.Name)
		}
		b.needs[i] = append(b.needs[i], need{k, a.Value})
	}
}

// together joins the services that must be on one node, and returns who stands
// for the bundle of each.
func (b *Book) together() func(int) int {
	up := make([]int, len(b.rules))
	for i := range up {
		up[i] = i
	}
	root := func(i int) int {
		for up[i] != i {
			up[i] = up[up[i]]
			i = up[i]
		}
		return i
	}
	for i := range b.rules {
		for _, other := range b.rules[i].With {
			if j, ok := b.index[other]; ok {
				up[max(root(i), root(j))] = min(root(i), root(j))
			}
		}
	}
	return root
}

// startOrder sorts the members of a bundle: after those that they start after,
// then by priority, then by name.
func (b *Book) startOrder(members []int) {
	if len(members) < 2 {
		return
	}
	slices.SortFunc(members, func(x, y int) int {
		return cmp.Or(-cmp.Compare(b.rules[x].Priority, b.rules[y].Priority), cmp.Compare(b.rules[x].Service, b.rules[y].Service))
	})
	rest := slices.Clone(members)
	for n := range members {
		k := slices.IndexFunc(rest, func(i int) bool {
			return !slices.ContainsFunc(b.rules[i].After, func(name string) bool {
				j, ok := b.index[name]
				return ok && j != i && slices.Contains(rest, j)
			})
		})
		k = max(k, 0) // a circle is refused where the configuration is read
		members[n] = rest[k]
		rest = slices.Delete(rest, k, k+1)
	}
}

// rank sorts the bundles into groups of one priority.
func (b *Book) rank() {
	order := make([]int, len(b.bundles))
	for k := range order {
		order[k] = k
	}
	slices.SortStableFunc(order, func(x, y int) int { return -cmp.Compare(b.bundles[x].priority, b.bundles[y].priority) })
	for _, k := range order {
		if last := len(b.groups) - 1; last >= 0 && b.bundles[b.groups[last][0]].priority == b.bundles[k].priority {
			b.groups[last] = append(b.groups[last], k)
			continue
		}
		b.groups = append(b.groups, []int{k})
	}
}

// Len is the number of services.
func (b *Book) Len() int { return len(b.rules) }

// Rules returns the rules of the service with this number.
func (b *Book) Rules(i int) *Rules { return &b.rules[i] }

// All returns a copy of the rules that the book was made of.
func (b *Book) All() []Rules { return slices.Clone(b.rules) }

// Index is the number of a service, from 0 on; false if the book has none of
// this name.
func (b *Book) Index(service string) (int, bool) {
	if i, ok := b.index[service]; ok {
		return i, true
	}
	return 0, false
}

// Bundle lists the services that are always on one node with a service, itself
// among them, in the order in which they start.
func (b *Book) Bundle(i int) []int { return b.bundles[b.bundle[i]].members }

// Apart lists the services that are never on one node with a service.
func (b *Book) Apart(i int) []int { return b.apart[i] }
