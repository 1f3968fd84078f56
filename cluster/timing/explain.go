package timing

import (
	"fmt"
	"time"
)

// Row is one line of `holdfast timing`: a value and why it is no other.
type Row struct {
	Name  string
	Value time.Duration
	Why   string // the formula or inequality, with its numbers
}

// Explain lists every value of the table with the reason for it.
func (t Table) Explain() []Row {
	rho := t.in.Rho
	rows := []Row{
		{"failover_within", t.B, fmt.Sprintf("asked for; W %s + h_poll %s + %s for reading and committing = %s",
			sec(t.W), sec(t.HPoll), sec(t.in.reserve()), sec(t.W+t.HPoll+t.in.reserve()))},
		{"T_wd", t.Twd, "shortest watchdog timeout: the largest whole second up to failover_within/5 that all devices accept and F allows, unless fixed in node.yaml"},
		{"T_max", t.TMax, t.whyTMax()},
		{"F", t.F, fmt.Sprintf("lease: (1-rho)*((B - h_poll - %s - eps - T_z - V)/(1+rho) - %d*T_max); at least 2h + 2io + 0.5 s and V: %s",
			sec(t.in.reserve()), t.M, sec(leastLease(t.in, t.H)))},
		{"G", t.G, "lease with the consent of all members while the quorum disks are gone; F means none is used"},
		{"W", t.W, fmt.Sprintf("silence that proves a death: (1+%g)*(F %s/(1-%g) + %d x T_max %s) + eps %s + T_z %s + V %s",
			rho, sec(t.F), rho, t.M, sec(t.TMax), sec(Eps), sec(t.Tz), sec(t.V))},
		{"W_c", t.WC, fmt.Sprintf("the same for a node that is not a member: G %s in place of F", sec(t.G))},
		{"T_sus", t.Tsus, fmt.Sprintf("silence before fencing: the larger of 2h = %s and B/4 = %s; at least 2 s from a B of 8 s on", sec(2*t.H), sec(t.B/4))},
	}
	return append(rows, t.explainRest()...)
}

func (t Table) whyTMax() string {
	switch t.M {
	case 1:
		return "the slower of two measured watchdogs fed one after the other: one period may follow the deadline (m = 1)"
	case 2:
		return fmt.Sprintf("a feed may follow its check by a whole period, or the descriptors have no second holder: m = 2, so %s may follow the deadline", sec(2*t.TMax))
	}
	return fmt.Sprintf("one device, and no second holder of its descriptor: m = %d, so %s may follow the deadline", t.M, sec(time.Duration(t.M)*t.TMax))
}

func (t Table) explainRest() []Row {
	return []Row{
		{"h", t.H, "period of the disk beats: F/4, from 0.2 s to 1 s"},
		{"h_poll", t.HPoll, "period of the reads of the others' beats: h/2"},
		{"retry", t.Retry, "a failed beat is repeated after h/4"},
		{"net", t.Net, "period of the network beats"},
		{"pet", t.Pet, "period of the watchdog feeds: T_wd/20, at least 0.1 s"},
		{"T_z", t.Tz, "a write of a reset host may still reach the disks for this long; a booting node waits it out before it joins"},
		{"V", t.V, "how long a hypervisor may stop this machine (platform.pause_bound)"},
		{"margin", t.Margin, "a peer counts as stale only if it is older than our own beat by 2h + F/4: a slow SAN accuses nobody"},
		{"slot check", t.Slot, "our slot must stand still for two beats before it is claimed: nobody else uses this node id"},
		{"t_asym", t.Asym, "a member that lost its disks is asked to release its services after this"},
		{"ask", t.Ask, "age of the lease at which the members are asked for grace: F/3"},
		{"quick-stop", t.Early, "age of the lease at which services with `quick-stop: early` begin to stop: F/2"},
		{"emergency", t.Emergency, "after the end of the lease all other services begin to stop: T_wd/3"},
		{"permission", t.Permission, "the guard goes on for this long without the daemon, so that it can be restarted; not part of W"},
		{"renew", t.Renew, "period of that permission's renewal"},
	}
}

// Suspicion is how long a peer's last beat must have been seen before the fencing
// begins: T_sus, and longer than this node's own beat is old by the margin. That
// age is half a period typically, and a whole one at worst.
func (t Table) Suspicion() (typ, worst time.Duration) {
	return max(t.Tsus, t.Margin+t.H/2), max(t.Tsus, t.Margin+t.H)
}

// Costs are what the other proofs take on this site. A way that is not
// configured has no cost, and nothing is predicted for it.
type Costs struct {
	Commit  time.Duration // of one change of the register, default 5 ms
	Preempt time.Duration // of all reservations; 0: services are not guarded by reservations
	Stop    time.Duration // of everything on a node that obeys a kill; no default
	BMC     time.Duration // off and confirmed, typical; 0: there is no power way
	BMCMost time.Duration // and at worst, default 6 s
}

// Expected is the time from a fault to the permission to start elsewhere when
// the takeover rests on one kind of proof.
type Expected struct {
	Proof      string // as in timelines: "E3 time"
	Known      bool   // false: it depends on what nobody can predict, see Why
	Typ, Worst time.Duration
	Why        string
}

// Expect predicts the failover for each kind of proof, E1 to E7 in order.
func (t Table) Expect(c Costs) []Expected {
	c = c.withDefaults()
	io := t.in.IO
	slow := t.HPoll + t.in.reserve() // at worst: seen late, committed slowly
	row := func(proof string, typ time.Duration, most time.Duration, why string) Expected {
		return Expected{Proof: proof, Known: true, Typ: typ, Worst: most + slow, Why: why}
	}
	early, late := t.Suspicion()
	early += t.HPoll/2 - t.H/2 + io + 2*c.Commit
	late += 2 * c.Commit
	silence := fmt.Sprintf("%s of silence (T_sus %s, and own age + margin %s)", sec(early), sec(t.Tsus), sec(t.Margin))
	return []Expected{
		row("E1 released", c.Commit+io, c.Commit, "a clean move: no wait beside the stop itself"),
		{Proof: "E2 newer incarnation", Why: fmt.Sprintf("as soon as the node is back: its boot + T_z %s", sec(t.Tz))},
		row("E3 time", t.W+t.HPoll/2-t.H/2+2*io, t.W, fmt.Sprintf("W %s; always possible while the quorum disks are", sec(t.W))),
		c.configured(c.BMC, row("E4 power off", early+c.BMC+t.Tz, late+c.BMCMost+t.Tz,
			fmt.Sprintf("%s + power off, read twice + T_z %s", silence, sec(t.Tz)))),
		c.configured(c.Preempt, row("E5 reservation", early+c.Preempt, late+c.Preempt,
			silence+" + pre-empting the keys; storage members start, the others with a proof of the node's death")),
		row("E6 kill acknowledged", early+c.Stop+t.Tz, late+c.Stop+t.Tz, fmt.Sprintf("%s + the node's own verified stop + T_z %s", silence, sec(t.Tz))),
		{Proof: "E7 operator", Why: "when somebody has looked and typed `holdfast node confirm-off`"},
	}
}

// configured keeps a prediction only for a way that this site has.
func (c Costs) configured(cost time.Duration, e Expected) Expected {
	if cost == 0 {
		return Expected{Proof: e.Proof, Why: "this way is not configured"}
	}
	return e
}

func (c Costs) withDefaults() Costs {
	if c.Commit == 0 {
		c.Commit = 5 * time.Millisecond
	}
	if c.BMCMost == 0 {
		c.BMCMost = max(6*time.Second, c.BMC)
	}
	return c
}
