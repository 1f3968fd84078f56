package sim

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/holdfast-ha/holdfast/cluster"
	"github.com/holdfast-ha/holdfast/cluster/clustertest"
	"github.com/holdfast-ha/holdfast/cluster/timing"
	"github.com/holdfast-ha/holdfast/test/sim/workload"
)

// Trouble is how long the faults go on in one seed's story.
const Trouble = 4 * time.Minute

// Plan is a story before it is told: everything that a seed decides. A plan may be
// made smaller, and told again.
type Plan struct {
	Seed    uint64
	Nodes   int
	Disks   int
	Within  time.Duration // failover_within
	Dogs    string        // the watchdogs that every node has
	BMC     bool          // every node has a management controller
	Guarded bool          // reservations guard the storage of its services
	PowerOn bool          // a node that was fenced by it is switched on again
	Pause   time.Duration // how long a hypervisor may stop a node
	Rules
	Services []cluster.Service
	Length   time.Duration // of the trouble
	Kinds    []string      // the kinds of fault that this seed knows
	Strikes  []Strike
	Hunted
}

// Rules are what the configuration says of lost disks and networks.
type Rules struct {
	Grace  time.Duration // on_disk_loss: stop after this; 0: no grace
	Keeps  bool          // on_disk_loss: keep
	Evicts bool          // partition: evict
	Sealed bool          // network beats are sealed packets, not values
}

// makeRules chooses the rules of a seed.
func makeRules(seed uint64) (r Rules) {
	if rng := rand.New(rand.NewPCG(seed, 98)); rng.IntN(3) > 0 {
		r.Grace = between(rng, 20*time.Second, 90*time.Second)
	}
	rng := rand.New(rand.NewPCG(seed, 96))
	r.Keeps, r.Evicts = rng.IntN(6) == 0, rng.IntN(4) == 0
	r.Sealed = rng.IntN(3) == 0
	return r
}

// apply puts the rules into a configuration.
func (r Rules) apply(c *cluster.Config) {
	c.Grace, c.KeepOnDiskLoss, c.Evict = r.Grace, r.Keeps, r.Evicts
}

// Strike is one fault: when it strikes after the boot, its kind, and the seed of
// what else there is to choose.
type Strike struct {
	Number int
	At     time.Duration
	Kind   string
	Seed   uint64
}

// String is a line of a schedule.
func (s Strike) String() string {
	return fmt.Sprintf("%3d %9.3fs %s", s.Number, s.At.Seconds(), s.Kind)
}

// MakePlan makes the plan of a seed.
func MakePlan(seed uint64) Plan { return makePlan(seed, Trouble) }

func makePlan(seed uint64, length time.Duration) Plan {
	rng := rand.New(rand.NewPCG(seed, 99))
	p := Plan{Seed: seed, Nodes: 2 + rng.IntN(4), Disks: 1 + 2*rng.IntN(2), Length: length}
	p.Dogs = []string{"two", "two", "two", "one", "two without a second holder", "unqualified"}[rng.IntN(6)]
	if rng.IntN(6) == 0 {
		p.Pause = time.Duration(1+rng.IntN(3)) * time.Second
	}
	p.Within = leastWithin(p) + time.Duration(rng.IntN(25))*500*time.Millisecond
	if p.BMC = rng.IntN(3) == 0; p.BMC {
		p.PowerOn = rng.IntN(2) == 0
	}
	for i := range 1 + rng.IntN(5) {
		p.Services = append(p.Services, workload.Service(rng, i, p.Nodes))
	}
	p.guard(rand.New(rand.NewPCG(seed, 97)))
	workload.Beside(rand.New(rand.NewPCG(seed, 95)), p.Services)
	p.strikes(rng)
	p.Rules = makeRules(seed)
	return p
}

// leastWithin is the smallest failover_within that the plan's hardware allows.
func leastWithin(p Plan) time.Duration {
	var in timing.Input
	p.hardware(&in)
	b, err := timing.SmallestB(in)
	if err != nil {
		panic(fmt.Sprintf("no failover_within is safe with watchdogs %q and a pause of %s: %v", p.Dogs, p.Pause, err))
	}
	return max(b, 5*time.Second)
}

// hardware is what every node of the plan has.
func (p Plan) hardware(in *timing.Input) {
	const t = 2 * time.Second
	soft := timing.Device{Name: "softdog", Class: timing.Qualified, Software: true, Timeout: t, TMax: t + t/10 + 100*time.Millisecond, At: t}
	hard := timing.Device{Name: "hardware", Class: timing.Qualified, Timeout: t, TMax: t + t/10, At: t}
	in.SecondHolder, in.Devices = true, []timing.Device{soft, hard}
	switch p.Dogs {
	case "one":
		in.Devices = in.Devices[1:]
	case "two without a second holder":
		in.SecondHolder = false
	case "unqualified":
		hard.Class, hard.TMax = timing.Unqualified, 0
		in.Devices = []timing.Device{hard}
	}
	in.PauseBound = p.Pause
}

// ways are how each node may be fenced, beside the time proof.
func (p Plan) ways() []cluster.Ways {
	var ways []cluster.Way
	if p.BMC {
		way := cluster.Way{Kind: cluster.WayBMC}
		if p.Agents {
			way = cluster.Way{Kind: cluster.WayAgent, Agent: "fence_test"}
		}
		ways = append(ways, way)
	}
	if p.Guarded {
		ways = append(ways, cluster.Way{Kind: cluster.WayReservation})
	}
	if len(ways) == 0 {
		return nil
	}
	var list []cluster.Ways
	for id := range p.Nodes {
		list = append(list, cluster.Ways{Node: clustertest.NodeName(id + 1), Ways: ways})
	}
	return list
}

// guard puts storage that reservations guard below the services of some plans:
// below all of them, or as all that there is of them.
func (p *Plan) guard(rng *rand.Rand) {
	if p.Guarded = rng.IntN(4) == 0; !p.Guarded {
		return
	}
	disk := cluster.Member{ID: "filesystem", Kind: "filesystem", Storage: true, Guarded: true}
	for i := range p.Services {
		s := &p.Services[i]
		if rest := s.Stack; rng.IntN(3) > 0 {
			s.Stack = append([]cluster.Member{disk}, rest...)
		} else {
			s.Stack = []cluster.Member{disk}
		}
	}
}

// strikes chooses which kinds of trouble this seed knows, for fewer kinds at a time
// go deeper than all of them together, and when each of them strikes.
func (p *Plan) strikes(rng *rand.Rand) {
	var kinds []fault
	for _, f := range all() {
		if f.apart || f.fits != nil && !f.fits(*p) {
			continue
		}
		if rng.IntN(2) == 0 || f.rare {
			f.weight *= 1 + rng.IntN(3)
			kinds = append(kinds, f)
			p.Kinds = append(p.Kinds, f.name)
		}
	}
	total := 0
	for _, f := range kinds {
		total += f.weight
	}
	for at := 15 * time.Second; at < p.Length; at += between(rng, 100*time.Millisecond, 10*time.Second) {
		n := rng.IntN(total)
		i := slices.IndexFunc(kinds, func(f fault) bool { n -= f.weight; return n < 0 })
		p.Strikes = append(p.Strikes, Strike{Number: len(p.Strikes), At: at, Kind: kinds[i].name, Seed: rng.Uint64()})
	}
}

// Keep returns the plan with these strikes only, by their numbers.
func (p Plan) Keep(numbers []int) Plan {
	var kept []Strike
	for _, s := range p.Strikes {
		if slices.Contains(numbers, s.Number) {
			kept = append(kept, s)
		}
	}
	p.Strikes = kept
	return p
}

// Numbers are the numbers of the strikes.
func (p Plan) Numbers() []int {
	var list []int
	for _, s := range p.Strikes {
		list = append(list, s.Number)
	}
	return list
}

func between(rng *rand.Rand, a, b time.Duration) time.Duration { return workload.Between(rng, a, b) }
