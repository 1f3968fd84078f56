package outcomes

import (
	"fmt"
	"strings"

	"github.com/holdfast-ha/holdfast/bmc/bmctest"
	"github.com/holdfast-ha/holdfast/cluster"
)

// Pair is two power switches that feed one machine together, listed as one way
// under all: it runs for as long as one of them is on.
type Pair struct {
	Name          string
	First, Second bmctest.Fault
	Dark          bool // the second has lost its power before, and the machine runs on the first
	Named         bool // only a controller that names its machine can do that
	Want          cluster.FenceOutcome
	Why           string
}

// Pairs is the table of several switches.
func Pairs() []Pair {
	return []Pair{
		{Name: "both honest", Want: proven, Why: "two readings in which both were off"},
		{Name: "honest, and slow", Second: bmctest.Slow, Want: proven, Why: "off counts once both say so, twice"},
		{Name: "honest, and reboots", Second: bmctest.Rebooting, Want: proven, Why: "no answer of one makes both unknown, and both are asked again"},
		{Name: "honest, and off before", Dark: true, Want: unknown, Why: "a check in quiet times has read off of a switch of a node that runs: it may be another machine's, so the way's word counts for nothing until both say on"},
		{Name: "honest, and does nothing", Second: bmctest.Lying, Want: failed, Why: "one of them is on, and the machine runs on it"},
		{Name: "does nothing, and honest", First: bmctest.Lying, Want: failed, Why: "which one is on makes no difference"},
		{Name: "honest, and refuses", Second: bmctest.Refusing, Want: failed, Why: "one of them is on"},
		{Name: "honest, and comes back", Second: bmctest.ComesBack, Want: failed, Why: "never two readings in a row in which both were off"},
		{Name: "honest, and hangs", Second: bmctest.Hanging, Want: unknown, Why: "half of an answer is none"},
		{Name: "honest, and garbage", Second: bmctest.Garbage, Want: unknown, Why: "only the exact words count"},
		{Name: "honest, and says off", Second: bmctest.SaysOff, Want: unknown, Why: "a check in quiet times has read off of a switch of a node that beat after it"},
		{Name: "honest, and says done", Second: bmctest.SaysDone, Want: unknown, Why: "the node was seen after both had said off, which takes that back"},
		{Name: "another machine's, and honest", First: bmctest.OtherMachine, Named: true, Want: unknown, Why: "its GUID is not the node's: nothing is believed"},
		{Name: "hangs, and does nothing", First: bmctest.Hanging, Second: bmctest.Lying, Want: unknown, Why: "the request to the first is not answered in time, and nothing was read of the second after it"},
	}
}

// Sets are the columns of that table: what the first switch is. The second is an
// outlet.
func Sets() []string { return []string{"two outlets", "controller and outlet"} }

// Expect says what becomes of the pair in a column; false if it is not asked there.
func (p *Pair) Expect(set string) (cluster.FenceOutcome, bool) {
	return p.Want, !p.Named || set != "two outlets"
}

// pairsMarkdown is their part of the page.
func pairsMarkdown() string {
	var b strings.Builder
	b.WriteString(pairsHead)
	fmt.Fprintf(&b, "| the two | %s | why it ends so |\n|---|%s---|\n", strings.Join(Sets(), " | "), strings.Repeat("---|", len(Sets())))
	for _, p := range Pairs() {
		fmt.Fprintf(&b, "| %s |", p.Name)
		for _, set := range Sets() {
			word := "-"
			if want, ok := p.Expect(set); ok {
				word = want.String()
			}
			if word == "proven" {
				word = "**proven**"
			}
			fmt.Fprintf(&b, " %s |", word)
		}
		fmt.Fprintf(&b, " %s |\n", p.Why)
	}
	return b.String()
}

const pairsHead = `
## Several switches of one machine

A machine with two power supplies runs on with either. Its switches stand in one way, under ` + "`all`" + `: off is then a reading in which
every one of them said off, and it takes two such readings.

`
