package outcomes

import (
	"fmt"
	"slices"
	"strings"

	"github.com/holdfast-ha/holdfast/bmc/bmctest"
	"github.com/holdfast-ha/holdfast/cluster"
)

// Expect says what a way makes of a device; false if it is not asked there.
func (w *Way) Expect(d *Device) (cluster.FenceOutcome, string, bool) {
	if d.Scene != Plain && !slices.Contains(w.Scenes, d.Scene) || !slices.Contains(w.Behaviour, d.Fault) {
		return 0, "", false
	}
	if other, ok := d.But[w.Name]; ok {
		return other.Want, other.Why, true
	}
	return d.Want, d.Why, true
}

// Markdown is docs/FENCING-OUTCOMES.md.
func Markdown(devices []Device, ways []Way) string {
	var b strings.Builder
	b.WriteString(head)
	b.WriteString("\n## The ways\n\n| way | what it is |\n|---|---|\n")
	for _, w := range ways {
		fmt.Fprintf(&b, "| %s | %s |\n", w.Name, w.Is)
	}
	b.WriteString("\n## The outcomes\n\n| device |")
	for _, w := range ways {
		fmt.Fprintf(&b, " %s |", w.Name)
	}
	b.WriteString("\n|---|" + strings.Repeat("---|", len(ways)) + "\n")
	for i := range devices {
		fmt.Fprintf(&b, "| %s |", devices[i].Name)
		for j := range ways {
			word := "-"
			if want, _, ok := ways[j].Expect(&devices[i]); ok {
				word = want.String()
			}
			if word == "proven" {
				word = "**proven**"
			}
			fmt.Fprintf(&b, " %s |", word)
		}
		b.WriteString("\n")
	}
	b.WriteString("\nA dash: that way cannot be brought to it here, or knows no such thing.\n\n## The devices\n\n| device | what it does | why it ends so |\n|---|---|---|\n")
	for i := range devices {
		d := &devices[i]
		why := d.Why
		for j := range ways {
			if other, ok := d.But[ways[j].Name]; ok {
				why += "; " + ways[j].Name + ": " + other.Why
			}
		}
		fmt.Fprintf(&b, "| %s | %s | %s |\n", d.Name, d.Does, why)
	}
	b.WriteString(pairsMarkdown())
	b.WriteString(foot)
	return b.String()
}

// faults says whether every fault has a device.
func faults(devices []Device) map[bmctest.Fault]bool {
	seen := map[bmctest.Fault]bool{}
	for i := range devices {
		seen[devices[i].Fault] = true
	}
	return seen
}

const head = `# What a power switch is worth

This page is made by ` + "`go test ./test/outcomes -run TestDocument -write`" + ` of the table in test/outcomes/table.go, which was
written before the code; the tests of that package hold every cell against a real device, a real program, or a fake of one.

A fencing by power is **proven** when off was read twice, exactly, in two sessions, after the fencing was chosen, from a switch that
named the node's own machine (where it names any), and nothing was read or heard of the node since. It is *failed* when the
node is shown to be on, or the way cannot work. Everything else is *unknown*. Neither failed nor unknown is ever acted on: the
other ways and the proof by time go on. There is no cell that says proven of a machine that runs, and none that says anything
else of an honest device.
`

const foot = `
## What no question to a switch can tell

A switch that says on for as long as it is not asked to switch, says off from then on, and leaves the machine running, while
that machine neither beats nor is heard (it hangs, and may wake up), looks like an honest one. That off is true then is the one thing that is
assumed of a switch. ` + "`holdfast drill fence NODE --cycle`" + ` tries exactly this on a node that runs nothing and beats: a switch that lies is found there.

## Agents that are refused

Agents that take away storage or network but not power (fence_scsi, fence_mpath, fence_brocade, ...), and agents whose off is
a message or an assumption (fence_sbd, fence_kdump, fence_dummy, fence_ack_manual, ...), are refused when the configuration is
applied: their off says nothing about the power of a machine. ` + "`missing_as_off`" + ` is refused for the same reason.

## Agents that are helped

fence_virsh says off of everything that is not a word for on: also where virsh is not found, or libvirt does not answer. Its off
counts only if the list of machines, read right after it, shows the machine as off too.
To the agent a guest "in shutdown" is off although it still runs for a moment; the request to destroy it comes before and ends that.

fence_ipmilan and its relatives (fence_ilo3 to 5, fence_idrac, fence_imm) hand the password to ipmitool as an argument, which every
user of the machine can read for the instant until ipmitool blanks it. ` + "`ipmi://`" + ` reaches the same controllers and does not.
The SNMP agents (fence_apc_snmp, ...) do the same with the community, for as long as snmpget and snmpset run.
`
