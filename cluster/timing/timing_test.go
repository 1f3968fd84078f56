package timing_test

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/holdfast-ha/holdfast/cluster/timing"
)

func hardware() timing.Device { return timing.Device{Name: "iTCO", Class: timing.Qualified} }

func softdog() timing.Device {
	return timing.Device{Name: "softdog", Class: timing.Qualified, Software: true}
}

func pairOf(b time.Duration) timing.Input {
	return timing.Input{FailoverWithin: b, Devices: []timing.Device{softdog(), hardware()}, SecondHolder: true}
}

func one(b time.Duration) timing.Input {
	return timing.Input{FailoverWithin: b, Devices: []timing.Device{hardware()}, SecondHolder: true}
}

func fixed(in timing.Input, t time.Duration) timing.Input {
	for i := range in.Devices {
		in.Devices[i].Timeout = t
	}
	return in
}

func unqualified(in timing.Input) timing.Input {
	for i := range in.Devices {
		in.Devices[i].Class = timing.Unqualified
	}
	return in
}

// near compares to the rounding of the documented table.
func near(got time.Duration, want, tolerance float64) bool {
	return math.Abs(got.Seconds()-want) <= tolerance
}

// TestDocumentedTable holds the values that the manual prints, to its rounding.
func TestDocumentedTable(t *testing.T) {
	fast := fixed(pairOf(3500*time.Millisecond), time.Second)
	fast.Tz = 250 * time.Millisecond
	for _, row := range []struct {
		name                        string
		in                          timing.Input
		smallest                    bool
		twd, tmax, f, h, w, suspect float64
	}{
		{"two", pairOf(5 * time.Second), true, 2, 2.3, 1.2, .3, 4.6, 1.25},
		{"two, default", pairOf(10 * time.Second), false, 2, 2.3, 5.8, 1, 9.2, 2.5},
		{"two, fixed at 5 s", fixed(pairOf(8500*time.Millisecond), 5*time.Second), true, 5, 5.6, 1.3, .33, 8, 2.1},
		{"two, 1 s, measured T_z", fast, true, 1, 1.2, 1.5, .37, 3, .9},
		{"one", one(7500 * time.Millisecond), true, 2, 2.3, 1.35, .34, 7, 1.9},
		{"one, 15 s", one(15 * time.Second), false, 3, 3.4, 6.2, 1, 14.2, 3.75},
		{"one, unqualified", unqualified(one(14 * time.Second)), false, 2, 5, 2.3, .57, 13.4, 3.5},
	} {
		t.Run(row.name, func(t *testing.T) {
			tab, err := timing.Derive(row.in)
			if err != nil {
				t.Fatal(err)
			}
			for _, c := range []struct {
				name string
				got  time.Duration
				want float64
				tol  float64
			}{
				{"T_wd", tab.Twd, row.twd, 0},
				{"T_max", tab.TMax, row.tmax, 0},
				{"F", tab.F, row.f, .06},
				{"h", tab.H, row.h, .006},
				{"W", tab.W, row.w, .06},
				{"T_sus", tab.Tsus, row.suspect, .06},
			} {
				if !near(c.got, c.want, c.tol) {
					t.Errorf("%s = %v, documented %g s", c.name, c.got, c.want)
				}
			}
			least, err := timing.SmallestB(row.in)
			if err != nil || (least == row.in.FailoverWithin) != row.smallest {
				t.Errorf("smallest B = %v, %v; documented as smallest: %v", least, err, row.smallest)
			}
		})
	}
}

func TestSmallestB(t *testing.T) {
	quick := pairOf(0)
	quick.Tz = 250 * time.Millisecond
	guest := one(0)
	guest.PauseBound = 10 * time.Second
	alone := timing.Input{Devices: []timing.Device{softdog()}, SecondHolder: true, AcceptSoftdog: true, Lockup: 23 * time.Second}
	unheld := one(0)
	unheld.SecondHolder = false
	for name, c := range map[string]struct {
		in   timing.Input
		want time.Duration
	}{
		"two":                       {pairOf(0), 5 * time.Second},
		"two, measured T_z":         {quick, 4500 * time.Millisecond},
		"one":                       {one(0), 7500 * time.Millisecond},
		"unqualified":               {unqualified(one(0)), 13 * time.Second},
		"guest":                     {guest, 40 * time.Second},
		"softdog alone, accepted":   {alone, 49 * time.Second},
		"one, no second holder":     {unheld, 10 * time.Second},
		"two, one not measured":     {timing.Input{Devices: []timing.Device{{Software: true}, hardware()}, SecondHolder: true}, 7500 * time.Millisecond},
		"softdog and an unmeasured": {timing.Input{Devices: []timing.Device{softdog(), {}}, SecondHolder: true}, 13 * time.Second},
	} {
		got, err := timing.SmallestB(c.in)
		if err != nil || got != c.want {
			t.Errorf("%s: smallest B = %v, %v; want %v", name, got, err, c.want)
		}
	}
}

// A device that was measured with one timeout is not known with another, so the
// derivation keeps to the measured timeout where that is safe.
func TestMeasuredTimeoutPreferred(t *testing.T) {
	in := one(25 * time.Second)
	in.Devices[0].TMax, in.Devices[0].At = 3400*time.Millisecond, 3*time.Second
	tab, err := timing.Derive(in)
	if err != nil {
		t.Fatal(err)
	}
	if tab.Twd != 3*time.Second || tab.TMax != 3400*time.Millisecond {
		t.Errorf("T_wd %v with T_max %v; want the measured 3 s with 3.4 s", tab.Twd, tab.TMax)
	}
}

// Of a pair the slower device counts; of a softdog never less than its timer may
// take when the clock is slewed.
func TestSlowerOfThePair(t *testing.T) {
	slow := hardware()
	slow.Timeout = 5 * time.Second
	fast := hardware()
	fast.Timeout = 2 * time.Second
	early := softdog()
	early.TMax, early.At = 2*time.Second, 2*time.Second
	early.Timeout = 2 * time.Second
	exact := fast
	exact.TMax, exact.At = 2100*time.Millisecond, 2*time.Second
	for name, c := range map[string]struct {
		devices []timing.Device
		tmax    time.Duration
		m       int
	}{
		"two hardware":        {[]timing.Device{fast, slow}, 5600 * time.Millisecond, 1},
		"the other order":     {[]timing.Device{slow, fast}, 5600 * time.Millisecond, 1},
		"three":               {[]timing.Device{slow, fast, softdog()}, 2300 * time.Millisecond, 1},
		"softdog fires early": {[]timing.Device{early, exact}, 2300 * time.Millisecond, 1},
		"hardware alone":      {[]timing.Device{exact}, 2100 * time.Millisecond, 2},
	} {
		tab, err := timing.Derive(timing.Input{FailoverWithin: 12 * time.Second, Devices: c.devices, SecondHolder: true})
		if err != nil || tab.TMax != c.tmax || tab.M != c.m {
			t.Errorf("%s: T_max %v, m %d, %v; want %v, %d", name, tab.TMax, tab.M, err, c.tmax, c.m)
		}
	}
}

func TestRefusals(t *testing.T) {
	tooSmall := one(7 * time.Second)
	short := pairOf(10 * time.Second)
	short.Devices[0].Timeout = 500 * time.Millisecond
	apart := pairOf(10 * time.Second)
	apart.Devices[0].Max, apart.Devices[1].Min = 4*time.Second, 5*time.Second
	guest := one(30 * time.Second)
	guest.PauseBound = 10 * time.Second
	for name, c := range map[string]struct {
		in   timing.Input
		says []string
	}{
		"too small": {tooSmall, []string{
			"failover_within 7 s is refused", "must be at least 2h + 2io + 0.5 s", "smallest value that is safe on this hardware is 7.5 s",
			"second watchdog", "5 s", "T_z of 0.25 s",
		}},
		"no watchdog":   {timing.Input{FailoverWithin: 10 * time.Second}, []string{"no watchdog", "reservations"}},
		"softdog alone": {timing.Input{FailoverWithin: 60 * time.Second, Devices: []timing.Device{softdog()}}, []string{"softdog alone", "accept_softdog: true"}},
		"half a second": {short, []string{"watchdog softdog", "0.5 s is under 1 s"}},
		"no common":     {apart, []string{"no whole second", "5 s to 4 s"}},
		"pauses":        {guest, []string{"pause bound V = 10 s", "40 s"}},
		"zero":          {pairOf(0), []string{"more than 0", "5 s"}},
		"huge":          {pairOf(time.Hour), []string{"at most 600 s"}},
	} {
		_, err := timing.Derive(c.in)
		var u *timing.Unsafe
		if !errors.As(err, &u) {
			t.Errorf("%s: error %v, want *Unsafe", name, err)
			continue
		}
		for _, s := range c.says {
			if !strings.Contains(err.Error(), s) {
				t.Errorf("%s: %q does not say %q", name, err, s)
			}
		}
	}
}

// The smallest value named by a refusal is accepted, and half a second less is not.
func TestSmallestIsSharp(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in := input(t)
		least, err := timing.SmallestB(in)
		if err != nil {
			return
		}
		in.FailoverWithin = least
		if _, err := timing.Derive(in); err != nil {
			t.Fatalf("smallest %v is refused: %v", least, err)
		}
		in.FailoverWithin = least - 500*time.Millisecond
		if _, err := timing.Derive(in); err == nil {
			t.Fatalf("%v is accepted, but %v was called the smallest", in.FailoverWithin, least)
		}
	})
}

// TestInequalities recomputes, independently, what makes a time proof true.
func TestInequalities(t *testing.T) {
	accepted := 0
	rapid.Check(t, func(t *rapid.T) {
		in := input(t)
		tab, err := timing.Derive(in)
		if err != nil {
			return
		}
		accepted++
		rho, io, tz := defaults(in)
		worst := tab.F.Seconds()*(1+rho)/(1-rho) + (1+rho)*float64(tab.M)*tab.TMax.Seconds() + .05 + tz.Seconds() + in.PauseBound.Seconds()
		if tab.W.Seconds() < worst-1e-9 {
			t.Fatalf("W %v is under %g s", tab.W, worst)
		}
		if least := max(2*tab.H+2*io+500*time.Millisecond, in.PauseBound); tab.F < least {
			t.Fatalf("F %v is under %v", tab.F, least)
		}
		if gate := tab.W + tab.HPoll + max(300*time.Millisecond, 7*io); gate > tab.B {
			t.Fatalf("crash to gate takes up to %v, promised %v", gate, tab.B)
		}
		if tab.WC < tab.W || tab.G < tab.F || tab.Tsus < 2*tab.H || tab.Tsus < in.PauseBound || tab.Tsus > tab.W {
			t.Fatalf("W %v WC %v F %v G %v T_sus %v h %v", tab.W, tab.WC, tab.F, tab.G, tab.Tsus, tab.H)
		}
		checkWatchdogs(t, in, tab)
	})
	if accepted == 0 {
		t.Error("no generated input was accepted: the generator tests nothing")
	}
}

// checkWatchdogs says how long a node may live on after its deadline, from the
// devices alone: the proof rests on the best device that cannot be fed late.
func checkWatchdogs(t *rapid.T, in timing.Input, tab timing.Table) {
	qualified, hard := 0, 0
	best := time.Duration(math.MaxInt64)
	for i, d := range in.Devices {
		twd := tab.Timeouts[i]
		if twd < tab.Twd || d.Timeout != 0 && twd != d.Timeout || d.Min != 0 && twd < d.Min || d.Max != 0 && twd > d.Max {
			t.Fatalf("device %d: timeout %v, T_wd %v", i, twd, tab.Twd)
		}
		if d.Timeout == 0 && (twd < 2*time.Second && !in.AllowOneSecond || twd%time.Second != 0) {
			t.Fatalf("device %d: derived timeout %v", i, twd)
		}
		if d.Class == timing.Qualified {
			qualified++
		}
		if !d.Software {
			hard++
			best = min(best, twd)
		}
	}
	least := 1
	if qualified < 2 || hard == 0 || len(in.Devices) < 2 {
		least = 2
	}
	if !in.SecondHolder {
		least++
	}
	if tab.M < least {
		t.Fatalf("m = %d with %+v", tab.M, in)
	}
	if hard > 0 && tab.TMax < best {
		t.Fatalf("T_max %v is under the shortest hardware timeout %v", tab.TMax, best)
	}
	if hard == 0 && tab.TMax < in.Lockup {
		t.Fatalf("T_max %v of softdog alone is under the lockup detector's %v", tab.TMax, in.Lockup)
	}
}

func defaults(in timing.Input) (rho float64, io, tz time.Duration) {
	rho, io, tz = in.Rho, in.IO, in.Tz
	if rho == 0 {
		rho = .005
	}
	if io == 0 {
		io = 20 * time.Millisecond
	}
	if tz == 0 {
		tz = time.Second
	}
	return rho, io, tz
}

func input(t *rapid.T) timing.Input {
	millis := func(label string, most int) time.Duration {
		return time.Duration(rapid.IntRange(0, most).Draw(t, label)) * time.Millisecond
	}
	in := timing.Input{
		FailoverWithin: millis("b", 60000),
		SecondHolder:   rapid.Bool().Draw(t, "held"),
		AllowOneSecond: rapid.Bool().Draw(t, "one second"),
		AcceptSoftdog:  rapid.Bool().Draw(t, "accepted"),
		Tz:             millis("tz", 3000),
		IO:             millis("io", 300),
		Rho:            float64(rapid.IntRange(0, 20).Draw(t, "rho")) / 1000,
		Grace:          millis("grace", 150000),
		Lockup:         millis("lockup", 30000),
	}
	if rapid.IntRange(0, 3).Draw(t, "guest") == 0 {
		in.PauseBound = millis("pause", 12000)
	}
	for i := range rapid.IntRange(1, 3).Draw(t, "devices") {
		d := timing.Device{Name: fmt.Sprint("dog", i), Class: timing.Class(rapid.IntRange(0, 1).Draw(t, "class")), Software: rapid.Bool().Draw(t, "soft")}
		switch rapid.IntRange(0, 3).Draw(t, "limits") {
		case 0:
			d.Timeout = time.Duration(rapid.IntRange(1, 8).Draw(t, "timeout")) * time.Second
		case 1:
			d.Min, d.Max = millis("min", 6000), 6*time.Second+millis("max", 60000)
		case 2:
			d.At = time.Duration(rapid.IntRange(1, 6).Draw(t, "at")) * time.Second
			d.TMax = d.At + millis("measured", 1000)
		}
		in.Devices = append(in.Devices, d)
	}
	return in
}

func TestWaitTakesTheLarger(t *testing.T) {
	s := timing.Site{Tz: time.Second, Rho: timing.DefaultRho}
	peer := timing.Lease{F: 2 * time.Second, G: 100 * time.Second, TMax: 5 * time.Second, M: 1}
	ours := timing.Lease{F: 4 * time.Second, G: 4 * time.Second, TMax: 2 * time.Second, M: 2, V: 3 * time.Second}
	// (1.005)*(4/0.995 + 2*5) + 0.05 + 1 + 3
	if w := timing.Wait(peer, ours, s); !near(w, 18.1402, .0001) {
		t.Errorf("W = %v, want 18.1402 s", w)
	}
	if w, x := timing.Wait(peer, ours, s), timing.Wait(ours, peer, s); w != x {
		t.Errorf("W depends on the order: %v and %v", w, x)
	}
	// (1.005)*(100/0.995 + 2*5) + 0.05 + 1 + 3
	if w := timing.WaitOutsider(peer, ours, s); !near(w, 115.1050, .0001) {
		t.Errorf("WC = %v, want 115.105 s", w)
	}
	peer.G = math.MaxInt64
	if w := timing.WaitOutsider(peer, ours, s); w != math.MaxInt64 {
		t.Errorf("WC = %v with unlimited grace, want never", w)
	}
}

func TestExplainAndExpect(t *testing.T) {
	tab, err := timing.Derive(pairOf(10 * time.Second))
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, r := range tab.Explain() {
		if r.Why == "" || seen[r.Name] {
			t.Errorf("row %q: repeated, or without a reason", r.Name)
		}
		seen[r.Name] = true
		if r.Name == "W" && !(r.Value == tab.W && strings.Contains(r.Why, "T_max 2.3 s")) {
			t.Errorf("row W: %+v", r)
		}
	}
	rows := tab.Expect(timing.Costs{Stop: 2 * time.Second})
	if len(rows) != 7 {
		t.Fatalf("%d kinds of proof, want 7", len(rows))
	}
	for i, e := range rows {
		if !strings.HasPrefix(e.Proof, fmt.Sprintf("E%d ", i+1)) || e.Why == "" || e.Known && (e.Typ <= 0 || e.Worst < e.Typ) {
			t.Errorf("row %d: %+v", i, e)
		}
	}
	if e3 := rows[2]; e3.Worst > tab.B || !near(e3.Typ, 9.0, .1) {
		t.Errorf("E3: %+v with B %v", e3, tab.B)
	}
	if e5, e3 := rows[4], rows[2]; e5.Worst >= e3.Typ {
		t.Errorf("reservations take up to %v, no less than the time proof's %v", e5.Worst, e3.Typ)
	}
}

// TestFailures: of the proofs that there can be the first one counts; who loses its
// controller with its power has no such proof; and nothing is predicted where nothing is
// taken over.
func TestFailures(t *testing.T) {
	costs := timing.Costs{BMC: time.Second}
	for grace, owner := range map[time.Duration]string{0: "E6 kill acknowledged", timing.DefaultGrace: "E1 released"} {
		in := pairOf(10 * time.Second)
		in.Grace = grace
		tab, err := timing.Derive(in)
		if err != nil {
			t.Fatal(err)
		}
		proofs := map[string]timing.Failure{}
		for _, f := range tab.Failures(costs) {
			if f.Worst < f.Typ || f.Proof == "" && f.Typ != 0 || f.Proof == "" && f.Why == "" {
				t.Errorf("%+v", f)
			}
			proofs[f.What] = f
		}
		for what, proof := range map[string]string{
			"a node loses its power":                         "E4 power off",
			"a node loses its power, its controller with it": "E3 time",
			"a node loses the network alone":                 "",
			"everybody loses the quorum disks":               "",
			"a node alone loses the quorum disks":            owner,
			"a service is moved, or its node leaves":         "E1 released",
		} {
			if f, ok := proofs[what]; !ok || f.Proof != proof {
				t.Errorf("grace %v, %s: %+v, want proof %q", grace, what, f, proof)
			}
		}
		if f := proofs["a node loses its power, its controller with it"]; f.Worst > tab.B {
			t.Errorf("by time it takes %v at worst, promised was %v", f.Worst, tab.B)
		}
	}
}

func TestSavings(t *testing.T) {
	in := unqualified(one(0))
	in.SecondHolder = false
	list := timing.Savings(in)
	if len(list) < 3 {
		t.Fatalf("savings %+v, want measuring, a holder and a smaller T_z at least", list)
	}
	now, err := timing.SmallestB(in)
	if err != nil {
		t.Fatal(err)
	}
	for i, s := range list {
		if s.Smallest >= now || i > 0 && s.Smallest < list[i-1].Smallest {
			t.Errorf("saving %d of %v from %v is not one, or out of order", i, s, now)
		}
	}
	if in.Devices[0].Class != timing.Unqualified || len(in.Devices) != 1 {
		t.Errorf("the input was changed: %+v", in)
	}
}
