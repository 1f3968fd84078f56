package main

import (
	"slices"

	"github.com/holdfast-ha/holdfast/cluster/clustertest/oracle"
)

// table is every mutant. To add one: a name that says what is wrong, the file, a
// piece of it that stands there once, what to put in its place, the rule that has
// to be found broken, and the trouble that shows it. TestTableFits says whether it
// can be applied.
func table() []Mutant {
	return slices.Concat(waits(), leases(), proofs(), graces(), owners(), registers(), machines())
}

// waits are breaks of the proof by time's arithmetic.
func waits() []Mutant {
	ghost := string(oracle.Ghost)
	silence := "kinds=freeze|freeze in the feeding loop|cut all disks of a node|power off|cut the network, slack=1s"
	return []Mutant{
		{
			Name: "the drain time of a dead host's writes is left out of the wait",
			File: "cluster/timing/wait.go", Old: "float64(Eps+s.Tz+l.V)", New: "float64(Eps+l.V)", By: ghost, Focus: silence,
		},
		{
			Name: "the watchdog's time is left out of the wait",
			File: "cluster/timing/wait.go", Old: "+float64(l.M)*float64(l.TMax))", New: ")", By: ghost, Focus: silence,
		},
		{
			Name: "the time for which a hypervisor may stop a node is left out of the wait",
			File: "cluster/timing/wait.go", Old: "float64(Eps+s.Tz+l.V)", New: "float64(Eps+s.Tz)", By: ghost, Focus: silence + ", pause=3s",
		},
		{
			Name: "nobody counts the watchdog period that a guard's death adds: its last close pets",
			File: "cluster/timing/choice.go", Old: "if !in.SecondHolder {", New: "if false {", By: ghost, Focus: silence + ", dogs=two without a second holder",
		},
		{
			Name: "a single watchdog is taken for a pair",
			File: "cluster/timing/choice.go", Old: "c := choice{m: 2,", New: "c := choice{m: 1,", By: ghost, Focus: silence + ", dogs=one",
		},
		{
			Name: "a stall of the array puts nothing off: what waited in it lands after the proof",
			File: "cluster/landing/landing.go", Old: "return !slices.ContainsFunc(s.seen, func(x stall) bool {", New: "return true || !slices.ContainsFunc(s.seen, func(x stall) bool {", By: ghost,
			Focus: "kinds=the array holds every request|freeze|power off|cut all disks of a node, slack=1s",
		},
		{
			Name: "a node waits by its own timeouts, whatever the other's beat promises",
			File: "cluster/peer/peer.go", Old: "theirs = p.Beat.Lease.Timing().Larger(p.Disk.Promise(p.Beat.Inc))", New: "_ = p.Disk.Promise(p.Beat.Inc)", By: ghost,
			Focus: "kinds=change failover_within|change failover_within|restart the daemon at once|power off|freeze",
		},
	}
}

// leases are breaks of what a guard may do.
func leases() []Mutant {
	late := string(oracle.FedLate)
	return []Mutant{
		{
			Name: "the guard feeds after the end of the lease",
			File: "cluster/lease/lease.go", Old: "(now <= l.v.Permission && l.fresh(now))", New: "now <= l.v.Permission", By: late,
			Focus: "kinds=cut all disks of a node|cut the network",
		},
		{
			Name: "a lease is revived after a suspend",
			File: "cluster/lease/lease.go", Old: "return l.v.State == Bound && slept > Nap", New: "return false", By: string(oracle.FedDead) + "|" + string(oracle.TwoOwners) + "|" + string(oracle.NoProof),
			Focus: "kinds=suspend with the watchdogs, slack=1s, every=30s",
		},
		{
			Name: "the guard feeds after the end of the daemon's permission",
			File: "cluster/lease/lease.go", Old: "(now <= l.v.Permission && l.fresh(now))", New: "l.fresh(now)", By: late,
			Focus: "kinds=kill the daemon|stall the daemon",
		},
		{
			Name: "a bound node that has shown nothing yet is taken for idle, and fed",
			File: "cluster/lease/lease.go", Old: "l.v.State == Free || (now", New: "l.v.State == Free || l.v.Start == l.first || (now", By: late,
			Focus: "kinds=power off|cut all disks of a node|cut all disks of all nodes|the array freezes for all",
		},
		{
			Name: "one disk renews the lease, not a majority",
			File: "cluster/quorum/quorum.go", Old: "KthLargest(at, set, Majority(set.Len()))", New: "KthLargest(at, set, 1)", By: late,
			Focus: "kinds=cut a disk of a node|a disk of a node hangs, disks=3",
		},
		{
			Name: "a stopping incarnation renews its lease",
			File: "cluster/lease/lease.go", Old: "inc != l.v.Inc || l.v.Frozen || disk", New: "inc != l.v.Inc || disk", By: late,
			Focus: "kinds=fence|stops fail|remove a node|stall the daemon",
		},
		{
			Name: "a kill record does not freeze the lease",
			File: "cluster/lease/lease.go", Old: "l.v.Frozen, l.v.Killed = true, true", New: "l.v.Killed = true", By: late,
			Focus: "kinds=fence|stops fail|stall the daemon",
		},
		{
			Name: "grace lasts beyond what the beats promise",
			File: "cluster/lease/lease.go", Old: "min(l.v.Grace, after(l.v.Start, l.v.Params.G))", New: "l.v.Grace", By: late,
			Focus: "kinds=cut all disks of a node|cut all disks of all nodes|stops fail|stops fail, grace=20s",
		},
	}
}

// proofs are breaks of what counts as a proof that a node has ended.
func proofs() []Mutant {
	return []Mutant{
		{
			Name: "a read from before the verdict confirms it",
			File: "cluster/liveness/liveness.go", Old: "p.in[i] && s.checked > p.round", New: "p.in[i]", By: string(oracle.Ghost),
			Focus: "kinds=late reads, disks=3, nodes=2, every=30s, slack=1s",
		},
		{
			Name: "the staleness of three disks is judged at different instants",
			File: "cluster/liveness/liveness.go", Old: "if p.in[i] = s.known &&", New: "if p.in[i] = p.in[i] || s.known &&", By: string(oracle.Ghost) + "|" + string(oracle.NoProof),
			Focus: "kinds=cut a disk of a node|a disk of a node hangs|cut the network, disks=3",
		},
		{
			Name: "the last word of a dying node counts as a proof",
			File: "cluster/peer/peer.go", Old: "if p.Beat != nil && p.Beat.Inc == inc && p.Beat.State == cluster.GuardRetired", New: "if p.Beat != nil && p.Beat.Inc == inc && p.Beat.State >= cluster.GuardStopping", By: string(oracle.TwoOwners),
			Focus: "kinds=fence|stops fail|slow services",
		},
		{
			Name: "power that was read as off proves the end at once, and writes may still land",
			File: "cluster/fencing/fencing.go", Old: "|| !env.Stalls.Landed(v.off.last, env.Now, env.Tz)", New: "", By: string(oracle.PowerEarly),
			Focus: "kinds=freeze|cut all disks of a node, agents",
		},
		{
			Name: "a node that is no member waits like one",
			File: "cluster/core/observe.go", Old: "p.Wait(c.t.Lease, !c.insider(c.reg.state), c.t.Site())", New: "p.Wait(c.t.Lease, false, c.t.Site())", By: string(oracle.Ghost),
			Focus: "kinds=only one sees the disks, grace=60s, every=100s",
		},
		{
			Name: "a node that is no member does not know of a longer grace than its own",
			File: "cluster/timing/wait.go", Old: "return s.after(max(l.F, l.G), l)", New: "return s.after(max(l.F, ours.G), l)", By: string(oracle.Ghost),
			Focus: "kinds=only one sees the disks|change the grace|change the grace, grace=80s, every=40s",
		},
		{
			Name: "an incarnation is compared without its boot id",
			File: "cluster/lease/lease.go", Old: "case inc != l.v.Inc:", New: "case inc.N != l.v.Inc.N:", Story: "./cluster/lease ^Test",
		},
		{
			Name: "a spare blade's claim is believed: it does not wait for the end of the machine before it",
			File: "cluster/slot/slot.go", Old: "return u.Beat != nil && u.Beat.Host != u.Host &&", New: "return u.Beat == nil &&", Story: "./cluster ^TestSpareMachine",
		},
		{
			Name: "an order of a dead daemon life is obeyed by the guard",
			File: "internal/guardwire/serve.go", Old: "h.Conn == c.ID && h.Seq > last)", New: "true || h.Seq > last)", Story: "./internal/guardwire ^TestOrderOfAnotherLifeIsRefused",
		},
	}
}

// graces are breaks of the promises of network grace.
func graces() []Mutant {
	ghost := string(oracle.Ghost)
	return []Mutant{
		{
			Name: "a promise is given and not kept in mind",
			File: "cluster/grace/node.go", Old: "n.promises.Make(m.From, e.Now)", New: "_ = e.Now", By: ghost + "|" + string(oracle.NoProof),
			Focus: "kinds=cut all disks of a node|cut the network|stops fail, grace=60s",
		},
		{
			Name: "a node becomes a member although a member does not know of it",
			File: "cluster/decide/decide.go", Old: "if was && !v.Retired && v.Acked < s.View {", New: "if was && !v.Retired && v.Acked < 0 {", By: ghost + "|" + string(oracle.NoProof),
			Focus: "kinds=only one sees the disks, grace=60s, every=100s",
		},
		{
			Name: "one promise is enough for grace",
			File: "cluster/grace/rules.go", Old: "return r.sent, r.wait.empty()", New: "r.wait = nodes{}\n\treturn r.sent, true", By: ghost + "|" + string(oracle.NoProof),
			Focus: "kinds=cut all disks of a node|cut a link|cut the network, grace=60s, nodes=3",
		},
	}
}

// owners are breaks of what a node may start and when it has to have stopped.
func owners() []Mutant {
	stopped := string(oracle.NotStopped)
	starts := stopped + "|" + string(oracle.TwoOwners) + "|" + string(oracle.NoGrant) + "|" + string(oracle.NoProof)
	return []Mutant{
		{
			Name: "a stop that failed is taken for a stop",
			File: "cluster/services/done.go", Old: "if e.Outcome != cluster.OK {\n\t\ts.stopFailed(l, e)", New: "if false {\n\t\ts.stopFailed(l, e)", By: stopped,
			Focus: "kinds=stops fail|move",
		},
		{
			Name: "nothing is stopped after a start that failed",
			File: "cluster/services/done.go", Old: "l.state = cluster.Up // something of it may run", New: "l.state = cluster.Down // something of it may run", By: stopped,
			Focus: "kinds=starts fail|move|fence",
		},
		{
			Name: "an orphaned start: the stop does not wait for the agent that it interrupted",
			File: "cluster/services/done.go", Old: "if l.started != 0 {\n\t\treturn // it is not", New: "if false {\n\t\treturn // it is not", By: starts,
			Focus: "kinds=move|two at once, every=1s",
		},
		{
			Name: "a restarted daemon forgets that it has released a term",
			File: "cluster/services/services.go", Old: "if t, ok := s.inherited[g.Service]; ok && t == g.Term {\n\t\ts.adopt(l, g)", New: "if t, ok := s.inherited[g.Service]; false && ok && t == g.Term {\n\t\ts.adopt(l, g)", By: starts,
			Focus: "kinds=restart the daemon at once|move|two at once, every=500ms",
		},
		{
			Name: "the release of any term ends this one",
			File: "cluster/said.go", Old: "is := func(r *Released) bool { return r.Service == g.Service && r.Term == g.Term }", New: "is := func(r *Released) bool { return r.Service == g.Service }", By: string(oracle.NoGrant) + "|" + string(oracle.NoProof),
			Focus: "kinds=move|two at once|restart the daemon at once",
		},
		{
			Name: "a service is taken from a node that is about to be fenced",
			File: "cluster/decide/services.go", Old: "case n == nil || n.Dead >= g.Inc.N:", New: "case n == nil || n.Dead >= g.Inc.N || !n.Fencing.IsZero():", By: string(oracle.NoProof),
			Focus: "kinds=fence|freeze|cut all disks of a node",
		},
		{
			Name: "the gate of a takeover by reservations is forgotten at the next takeover",
			File: "cluster/decide/services.go", Old: "\t\t\te.Proof = n.Proof\n\t\t}\n", New: "\t\t\te.Proof = n.Proof\n\t\t}\n\t\te.Pending = nil\n", By: string(oracle.NoProof),
			Focus: "kinds=the heir of a storage dies too, guarded, nodes=3, nobmc, slack=12s, every=40s",
		},
		{
			Name: "terms begin again when a service is configured again",
			File: "cluster/decide/services.go", Old: "Term: d.Base.Ver, Why: \"new\"", New: "Term: 0, Why: \"new\"", By: string(oracle.Backwards),
			Focus: "kinds=take a service from the configuration",
		},
	}
}

// registers are breaks of the register and of what is written.
func registers() []Mutant {
	two := string(oracle.TwoDecisions)
	return []Mutant{
		{
			Name: "a proposer does not mind a higher ballot",
			File: "cluster/register/disks.go", Old: "h.Node != m.cfg.Self && h.Mbal.Compare(m.mbal) > 0", New: "false", By: two,
			Focus: "kinds=two at once|move|all disks are slow",
		},
		{
			Name: "phase 1 does not look for what was accepted",
			File: "cluster/register/disks.go", Old: "if m.phase == phase1 && h.Node != m.cfg.Self {", New: "if false {", By: two,
			Focus: "kinds=two at once|move|bad register writes|kill the daemon",
		},
		{
			Name: "one disk of three is a majority of the register",
			File: "cluster/register/sets.go", Old: "return m.cfg.Sets.Met(by)", New: "return by != 0", Story: "./cluster/register ^Test",
		},
		{
			Name: "an overtaken proposer goes on as the leader",
			File: "cluster/register/register.go", Old: "func (m *Machine[V]) abort(seen ident.Ballot) {\n\tm.leader = false", New: "func (m *Machine[V]) abort(seen ident.Ballot) {", Story: "./cluster/register ^Test",
		},
		{
			Name: "the ring is wrapped over a write whose outcome is unknown",
			File: "cluster/register/disks.go", Old: "now.Sub(f) >= quarantine {", New: "now.Sub(f) >= 0 {", Story: "./cluster/register ^Test",
		},
		{
			Name: "a restarted proposer writes where writes of its former life may land",
			File: "cluster/register/recover.go", Old: "if next.has(g) {", New: "if false {", Story: "./cluster/register ^Test",
		},
		{
			Name: "a machine that could not write for a while writes without looking first",
			File: "cluster/register/disks.go", Old: "k.written < m.step && now.Sub(k.ring.looked) > Prompt:", New: "k.written < m.step && false:", Story: "./cluster/register ^TestWriterThatWasAwayLooksFirst$",
		},
		{
			Name: "a node whose disks are too slow to decide by stays the coordinator",
			File: "cluster/core/publish.go", Old: "!c.able() || !c.disks.Prompt()", New: "!c.able()", Story: "./cluster ^TestSlowDisksOfTheFirstNodeDoNotStopTheOthers$",
		},
	}
}

// machines are breaks of what keeps two machines with one node's identity apart.
func machines() []Mutant {
	return []Mutant{
		{
			Name: "a ticket that was written late counts",
			File: "cluster/register/shared.go", Old: "ok = ok && now.Sub(e.asked) <= Prompt", New: "_ = Prompt", Story: "./cluster/register ^TestLateTicketDoesNotCount$",
		},
		{
			Name: "a ticket does not have to stand",
			File: "cluster/register/shared.go", Old: "e.step, k.notBefore = waits, now.Add(standing)", New: "e.step, k.notBefore = waits, now.Add(standing/1000)", Story: "./cluster/register ^TestTicketHasToStand$",
		},
		{
			Name: "blocks are written in the place of the tickets",
			File: "cluster/register/disks.go", Old: "if g%Generations == ticketSlot || k.orphaned(now, g) {", New: "if k.orphaned(now, g) {", Story: "./cluster/register ^TestRingWraps$",
		},
		{
			Name: "where the newest life writes next is not left out behind an older one's block",
			File: "cluster/register/shared.go", Old: "return next | places(0).after(s.newest.Gen) | skips.after(s.newest.Gen)", New: "return next", Story: "./cluster/register ^TestPlacesOfTheNewestLifeAreLeftOut$",
		},
		{
			Name: "a slot is claimed where another than the joined incarnation has beaten",
			File: "cluster/slot/slot.go", Old: "if u.Joined.IsZero() || u.Beat == nil || u.Said", New: "if true || u.Joined.IsZero() || u.Beat == nil || u.Said", Story: "./cluster/slot ^TestRival$",
		},
		{
			Name: "a slot is claimed at once where something has beaten that was never let in",
			File: "cluster/slot/slot.go", Old: "if u.Beat == nil || u.Said || u.Beat.Inc.N <= max(u.Joined.N, u.Dead) {", New: "if true {", Story: "./cluster/slot ^TestStranger$",
		},
	}
}
