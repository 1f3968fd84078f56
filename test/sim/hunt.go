package sim

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/holdfast-ha/holdfast/cluster/clustertest"
)

// Focus narrows the stories of many seeds down to one kind of trouble: it finds
// in a few of them what all kinds together show in thousands. The zero value
// narrows nothing.
type Focus struct {
	Kinds []string // of fault; none: those of the seed
	Nodes int      // 0: as the seed says, as with all that follows
	Disks int
	Dogs  string
	BMC   bool          // every node has a management controller
	NoBMC bool          // no node has one
	Agent bool          // which an agent talks to
	Every time.Duration // between two strikes, about
	// Guarded puts storage that reservations guard below the services.
	Guarded bool
	Grace   time.Duration // on_disk_loss: stop after this
	Pause   time.Duration // how long a hypervisor may stop a node
	Slack   time.Duration // failover_within is the least that is safe, and this
	// Unhealed ends a story with its trouble: only safety is judged.
	Unhealed bool
}

// Hunted is what only a hunt asks of a plan.
type Hunted struct {
	Agents   bool // an agent talks to the management controllers
	Unhealed bool // the story ends with the trouble: nothing is healed, and no progress demanded
}

// ParseFocus reads words like "kinds=freeze|power off, disks=3, grace=60s".
func ParseFocus(text string) (f Focus, err error) {
	for word := range strings.SplitSeq(text, ",") {
		key, value, _ := strings.Cut(strings.TrimSpace(word), "=")
		switch key {
		case "":
		case "kinds":
			f.Kinds = strings.Split(value, "|")
		case "nodes":
			f.Nodes, err = strconv.Atoi(value)
		case "disks":
			f.Disks, err = strconv.Atoi(value)
		case "dogs":
			f.Dogs = value
		case "unhealed":
			f.Unhealed = true
		case "bmc":
			f.BMC = true
		case "guarded":
			f.Guarded = true
		case "nobmc":
			f.NoBMC = true
		case "agents":
			f.BMC, f.Agent = true, true
		case "every":
			f.Every, err = time.ParseDuration(value)
		case "grace":
			f.Grace, err = time.ParseDuration(value)
		case "pause":
			f.Pause, err = time.ParseDuration(value)
		case "slack":
			f.Slack, err = time.ParseDuration(value)
		default:
			err = fmt.Errorf("nothing is called %q", key)
		}
		if err != nil {
			return f, fmt.Errorf("focus %q: %w", text, err)
		}
	}
	return f, f.known()
}

// known says which of the kinds of fault there is none of.
func (f Focus) known() error {
	for _, k := range f.Kinds {
		if !slices.ContainsFunc(all(), func(x fault) bool { return x.name == k }) {
			return fmt.Errorf("focus: no fault is called %q", k)
		}
	}
	return nil
}

// Plan is the plan of a seed with this focus.
func (f Focus) Plan(seed uint64) Plan {
	p := MakePlan(seed)
	p.Unhealed = f.Unhealed
	rng := rand.New(rand.NewPCG(seed, 97))
	slack := p.Within - leastWithin(p)
	if f.Nodes > 0 && f.Nodes < p.Nodes {
		p.Nodes = f.Nodes
		for i := range p.Services { // who prefers a node that is not there any more
			p.Services[i].Prefer = slices.DeleteFunc(p.Services[i].Prefer, func(name string) bool {
				return !slices.ContainsFunc([]int{1, 2, 3, 4, 5}[:f.Nodes], func(n int) bool { return clustertest.NodeName(n) == name })
			})
		}
	}
	if p.Nodes = max(p.Nodes, f.Nodes); f.Disks > 0 {
		p.Disks = f.Disks
	}
	if f.Dogs != "" {
		p.Dogs = f.Dogs
	}
	if f.Grace > 0 {
		p.Grace = f.Grace
	}
	if f.Pause > 0 {
		p.Pause = f.Pause
	}
	if f.Slack > 0 {
		slack = f.Slack
	}
	p.BMC, p.Agents = (p.BMC || f.BMC) && !f.NoBMC, f.Agent
	least, most := 100*time.Millisecond, 10*time.Second
	for f.Guarded && !p.Guarded {
		p.guard(rng)
	}
	if f.Every > 0 {
		least, most = f.Every/2, f.Every*3/2
	}
	p.Within = leastWithin(p) + slack
	if len(f.Kinds) == 0 {
		return p
	}
	p.Kinds, p.Strikes = f.Kinds, nil
	for at := 15 * time.Second; at < p.Length; at += between(rng, least, most) {
		p.Strikes = append(p.Strikes, Strike{Number: len(p.Strikes), At: at, Kind: f.Kinds[rng.IntN(len(f.Kinds))], Seed: rng.Uint64()})
	}
	return p
}

// Hunt tells the stories of count seeds from first on with a focus, each of them
// once, by workers at once, until one is bad. It returns that one, of several the
// one with the lowest seed, and how many were told.
func Hunt(f Focus, first uint64, count, workers int, more func() bool) (bad *Result, told int) {
	var (
		mu   sync.Mutex
		wait sync.WaitGroup
	)
	take := func() (uint64, bool) {
		mu.Lock()
		defer mu.Unlock()
		if told >= count || bad != nil || !more() {
			return 0, false
		}
		told++
		return first + uint64(told) - 1, true
	}
	for range workers {
		wait.Go(func() {
			for seed, ok := take(); ok; seed, ok = take() {
				r := Tell(f.Plan(seed))
				mu.Lock()
				if r.Failed != "" && (bad == nil || r.Plan.Seed < bad.Plan.Seed) {
					bad = &r
				}
				mu.Unlock()
			}
		})
	}
	wait.Wait()
	return bad, told
}
