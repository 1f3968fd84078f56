package timing

import (
	"fmt"
	"time"
)

// Failure is one kind of failure, and the time from it to the permission to start
// elsewhere by the proof that comes first.
type Failure struct {
	What       string // "a node loses its power"
	Proof      string // as in Expected; empty where nothing is taken over
	Typ, Worst time.Duration
	Why        string // what happens, where that is not the proof alone
}

// Failures predicts the failover for each kind of failure on a site with these costs.
func (t Table) Failures(c Costs) []Failure {
	byProof := t.Expect(c)
	first := func(what, why string, numbers ...int) Failure { // of the proofs that there can be
		f := Failure{What: what, Why: why}
		for _, n := range numbers {
			if e := byProof[n-1]; e.Known && (f.Proof == "" || e.Typ < f.Typ) {
				f.Proof, f.Typ, f.Worst = e.Proof, e.Typ, e.Worst
			}
		}
		return f
	}
	c = c.withDefaults()
	stays := "nothing is fenced, and its services stay where they are"
	list := []Failure{
		first("a node loses its power", "", 3, 4, 5),
		first("a node loses its power, its controller with it", "", 3, 5),
		first("a node hangs, freezes, or loses network and disks", "its watchdogs end it when its lease has run out", 3, 4, 5),
		{What: "a node loses the network alone", Why: stays + ": it is reached through the quorum disks"},
		t.alone(c, first("", "", 3, 4, 5)),
		{What: "everybody loses the quorum disks", Why: fmt.Sprintf("services stay for %s by the consent of all members; nobody takes over", sec(t.G))},
		first("the guard of a node dies", "whoever takes its place resets the node at once; its watchdogs do it otherwise", 3, 4, 5),
		{
			What: "the daemon of a node dies, and is not started again", Proof: byProof[2].Proof, Typ: t.Permission + byProof[2].Typ, Worst: t.Permission + byProof[2].Worst,
			Why: fmt.Sprintf("services stay for %s, in which it can be started again; then the guard goes no further", sec(t.Permission)),
		},
		first("a service is moved, or its node leaves", "its stop comes on top", 1),
	}
	if t.G <= t.F {
		list[5].Why = fmt.Sprintf("without grace services stop when the lease F %s has run out; nobody takes over", sec(t.F))
	}
	return list
}

// alone is the failure of a node that alone has lost the quorum disks, while its links
// work: with grace it is asked to release its services; without it lives by its lease,
// stops everything and says so.
func (t Table) alone(c Costs, silent Failure) Failure {
	early, late := t.Suspicion()
	f := Failure{What: "a node alone loses the quorum disks", Proof: "E1 released", Typ: early + t.Asym + c.Stop, Worst: late + t.Asym + c.Stop + t.HPoll + t.in.reserve()}
	f.Why = fmt.Sprintf("it goes on by the others' consent until it is asked to release its services, after %s", sec(t.Asym))
	if t.G <= t.F {
		f.Proof, f.Typ = "E6 kill acknowledged", t.F+t.Emergency+c.Stop
		f.Worst = f.Typ + t.Tz + t.HPoll + t.in.reserve()
		f.Why = "it stops everything when its lease has run out; if that takes longer than its watchdogs, " + silent.Proof + " proves its end"
	}
	return f
}
