package outcomes

import (
	"github.com/holdfast-ha/holdfast/bmc/bmctest"
	"github.com/holdfast-ha/holdfast/cluster"
)

// Device is one behaviour of a power switch.
type Device struct {
	Name  string
	Does  string        // what it does, for people
	Fault bmctest.Fault // what the fakes play
	Scene Scene         // what is wrong beside the device
	Want  cluster.FenceOutcome
	Why   string
	// But holds the ways that end otherwise, by the name of the way.
	But map[string]Otherwise
}

// Otherwise is what a way makes of a device that most ways see differently.
type Otherwise struct {
	Want cluster.FenceOutcome
	Why  string
}

// Scene is what is wrong beside the device.
type Scene int

// The scenes.
const (
	Plain         Scene = iota
	OffBefore           // the machine has lost its power before
	WrongPassword       // the password file holds another one
	Nobody              // nothing answers at the address
	OtherCert           // the certificate is not the pinned one
	TwoNamed            // one controller, two machines, the reference says which
	TwoUnnamed          // one controller, two machines, the reference does not
	CardKnown           // the address of the network card of the controller is expected, not a GUID
)

// Way is one way to reach a device.
type Way struct {
	Name      string
	Is        string // for people
	Needs     string // the program that it needs; empty: none
	Slow      bool   // it starts programs, and is left out with -short
	Agent     bool   // nothing names a machine
	Behaviour []bmctest.Fault
	Scenes    []Scene
}

// The outcomes, shorter.
const (
	proven  = cluster.FenceProven
	failed  = cluster.FenceFailed
	unknown = cluster.FenceUnknown
)

// Devices is the table, row by row.
func Devices() []Device {
	return append(honest(), append(liars(), others()...)...)
}

func honest() []Device {
	return []Device{
		{Name: "honest", Does: "switches, and says what is so", Want: proven, Why: "two exact readings, in two sessions"},
		{Name: "off before", Does: "as honest; the machine has lost its power before", Scene: OffBefore, Want: proven, Why: "two exact readings after the request, which changes nothing"},
		{Name: "slow", Does: "takes its time; until then the state is another word, or on", Fault: bmctest.Slow, Want: proven, Why: "it is asked until it says off twice"},
		{Name: "early", Does: "says off when it takes the request, then on, and switches later", Fault: bmctest.Early, Want: proven, Why: "the first off counts for nothing after the on behind it; two in a row come later"},
		{Name: "reboots", Does: "switches, reboots, and loses its answers meanwhile", Fault: bmctest.Rebooting, Want: proven, Why: "no answer is unknown, and it is asked again"},
		{
			Name: "two machines, named", Does: "one controller for two machines; the reference names the right one", Scene: TwoNamed, Want: proven,
			Why: "the system with the id of the reference is switched and read, and no other",
		},
		{
			Name: "known by its card", Does: "names no GUID that could be used; the address of its network card is expected", Fault: bmctest.ByCard, Scene: CardKnown,
			Want: proven, Why: "the card's address is the controller's own, and was found on the machine's bus when it joined",
		},
	}
}

func liars() []Device {
	return []Device{
		{Name: "does nothing", Does: "takes the request, and the machine stays on", Fault: bmctest.Lying, Want: failed, Why: "it says on after the request"},
		{Name: "comes back", Does: "takes off for a restart: off once, then on again", Fault: bmctest.ComesBack, Want: failed, Why: "never two readings of off in a row"},
		{
			Name: "says off", Does: "says off, always, of a machine that is on", Fault: bmctest.SaysOff, Want: unknown,
			Why: "a check in quiet times has read off of a node that beat after it: its word counts for nothing",
		},
		{
			Name: "says done", Does: "says off once it has taken the request, and the machine runs on", Fault: bmctest.SaysDone, Want: unknown,
			Why: "the node was seen after it was said to be off, which takes that back",
		},
		{Name: "garbage", Does: "answers with nonsense", Fault: bmctest.Garbage, Want: unknown, Why: "only the exact words count", But: map[string]Otherwise{
			"fence_redfish": {failed, "the agent takes every word but Off for on: a false alarm, never a false proof"},
		}},
	}
}

func others() []Device {
	return []Device{
		{Name: "refuses", Does: "does not let this user switch", Fault: bmctest.Refusing, Want: failed, Why: "it says on, and why it was refused is told"},
		{Name: "hangs", Does: "takes requests and never answers", Fault: bmctest.Hanging, Want: unknown, Why: "no answer in time; the call ends all the same"},
		{Name: "dies with the node", Does: "shares the machine's power, and is silent once that is off", Fault: bmctest.DiesWithMachine, Want: unknown, Why: "silence is not off: a cut network looks the same"},
		{
			Name: "another machine", Does: "is wired to, or stands at the address of, another machine", Fault: bmctest.OtherMachine, Want: unknown,
			Why: "its GUID is not the node's: nothing is switched and nothing believed",
		},
		{Name: "names nobody", Does: "does not say which machine it switches", Fault: bmctest.Anonymous, Want: unknown, Why: "the node's GUID is expected, and nothing is switched without it"},
		{Name: "names its card alone", Does: "names no GUID that could be used, and the node's GUID is expected", Fault: bmctest.ByCard, Want: unknown, Why: "that card is not known to be the node's"},
		{Name: "wrong password", Does: "honest, but the password is not its own", Scene: WrongPassword, Want: unknown, Why: "nothing was read"},
		{Name: "nobody there", Does: "nothing answers at the address", Scene: Nobody, Want: unknown, Why: "nothing was read"},
		{Name: "another certificate", Does: "shows another certificate than the pinned one", Scene: OtherCert, Want: unknown, Why: "the password is not sent to it"},
		{
			Name: "two machines, unnamed", Does: "one controller for two machines; the reference names none", Scene: TwoUnnamed, Want: unknown,
			Why: "nothing is switched where it is not said what",
			But: map[string]Otherwise{"fence_redfish": {unknown, "the agent switches the last machine of the list; the node is seen after that, which takes the off back. Give systems_uri"}},
		},
	}
}

// The behaviours that a fake can play for any way.
func all() []bmctest.Fault {
	return []bmctest.Fault{
		bmctest.Honest, bmctest.Slow, bmctest.Early, bmctest.Rebooting, bmctest.Lying, bmctest.ComesBack, bmctest.SaysOff, bmctest.SaysDone,
		bmctest.Garbage, bmctest.Refusing, bmctest.Hanging, bmctest.DiesWithMachine,
	}
}

func identified() []bmctest.Fault {
	return append(all(), bmctest.OtherMachine, bmctest.Anonymous, bmctest.ByCard)
}

// simulated are the behaviours that ipmi_sim can be brought to by the program that
// it switches the machine with.
func simulated() []bmctest.Fault {
	return []bmctest.Fault{
		bmctest.Honest, bmctest.Slow, bmctest.Lying, bmctest.ComesBack, bmctest.SaysOff, bmctest.SaysDone, bmctest.Garbage, bmctest.Hanging, bmctest.DiesWithMachine,
	}
}

// Ways are the columns.
func Ways() []Way {
	redfish := []Scene{Plain, OffBefore, WrongPassword, Nobody, OtherCert, TwoNamed, TwoUnnamed}
	ipmi := []Scene{Plain, OffBefore, WrongPassword, Nobody}
	cards := append([]Scene{CardKnown}, ipmi...)
	return []Way{
		{Name: "redfish", Is: "redfish://, against a fake service", Behaviour: identified(), Scenes: redfish},
		{Name: "redfish session", Is: "redfish:// with auth=session, against a fake service", Behaviour: identified(), Scenes: redfish},
		{Name: "ipmi go", Is: "ipmi:// with driver=go, against a fake controller", Behaviour: identified(), Scenes: cards},
		{Name: "ipmi tool", Is: "ipmi:// with Debian's ipmitool, against a fake controller", Needs: "ipmitool", Slow: true, Behaviour: identified(), Scenes: cards},
		{Name: "sim go", Is: "ipmi:// with driver=go, against Debian's ipmi_sim", Needs: "ipmi_sim", Behaviour: append(simulated(), bmctest.OtherMachine), Scenes: ipmi},
		{Name: "sim tool", Is: "ipmi:// with ipmitool, against ipmi_sim", Needs: "ipmi_sim", Slow: true, Behaviour: append(simulated(), bmctest.OtherMachine), Scenes: ipmi},
		{Name: "agent", Is: "a fence agent of ours, to the letter of the API", Agent: true, Behaviour: all(), Scenes: ipmi},
		{Name: "fence_ipmilan", Is: "Debian's agent, against ipmi_sim", Needs: "fence_ipmilan", Slow: true, Agent: true, Behaviour: simulated(), Scenes: ipmi},
		{
			Name: "fence_redfish", Is: "Debian's agent, against a fake service", Needs: "fence_redfish", Slow: true, Agent: true,
			Behaviour: all(), Scenes: []Scene{Plain, OffBefore, WrongPassword, Nobody, TwoNamed, TwoUnnamed},
		},
		{
			Name: "fence_virsh", Is: "Debian's agent, against a fake ssh and virsh", Needs: "fence_virsh", Slow: true, Agent: true,
			Behaviour: []bmctest.Fault{
				bmctest.Honest, bmctest.Slow, bmctest.Lying, bmctest.ComesBack, bmctest.SaysOff, bmctest.SaysDone, bmctest.Garbage, bmctest.Hanging,
			},
			Scenes: []Scene{Plain, OffBefore, WrongPassword},
		},
	}
}
