// Package bmctest has management controllers for tests, honest ones and the
// other kind, and the suite that every implementation of bmc.Switch passes.
//
// A Machine has power, an identity and a Fault of its controller. NewRedfish and
// NewIPMI serve such controllers on the loopback interface; NewProgram makes a
// program that plays ipmitool or a fence agent. All of them answer from the
// machine, so that a fault looks the same over every way.
package bmctest

import (
	"sync"
	"testing"
	"time"

	"github.com/holdfast-ha/holdfast/bmc"
)

// User and Password open every controller of this package.
const (
	User     = "admin"
	Password = "s3cret-Pa55word"
)

// Fault is what is wrong with a controller.
type Fault int

// The faults.
const (
	Honest          Fault = iota // nothing
	Slow                         // the machine goes off two readings after the request; until then the state is another word or on
	Early                        // says off when it accepts the request, on at the next reading, and the machine goes off after that
	Lying                        // accepts the request, and the machine stays on
	Hanging                      // takes requests and never answers
	DiesWithMachine              // shares the machine's power: once the machine is off, nothing answers
	OtherMachine                 // is wired to a machine with another GUID
	Anonymous                    // names no GUID
	Garbage                      // answers with nonsense
	Refusing                     // does not let this user switch
	SaysOff                      // says off, always, and switches nothing
	SaysDone                     // says off once it has accepted the request, and switches nothing
	Rebooting                    // reboots when it has switched: its next answers are lost
	ComesBack                    // takes "off" for a restart: the machine is on again after one reading
	ByCard                       // names no GUID, only the address of its network card
)

// lostAnswers is how many answers a controller that reboots loses.
const lostAnswers = 3

// Machine is a machine and what its controller does. Its methods may be called
// by several goroutines.
type Machine struct {
	GUID bmc.GUID // who the machine is
	Card [6]byte  // the address of its controller's network card, for IPMI
	// Turned is told, before the controller answers, that it has given the
	// machine power or taken it: for a machine that is emulated elsewhere. It
	// must be set before the controller is used, and call nothing of Machine.
	Turned func(on bool)

	end chan struct{} // closed when the test ends: hanging answers end

	mu       sync.Mutex // guards what follows
	fault    Fault
	on       bool
	offSince time.Time // when the machine really lost its power
	asked    bool      // a request to switch off was taken
	answers  int       // readings since then
	sessions []int     // the sessions in which off was answered
	requests int       // requests to switch off that were taken
	said     string    // the latest answer about the power
	away     int       // answers that are still to be lost
}

// NewMachine makes a machine that is on, for as long as the test lasts.
func NewMachine(t testing.TB, fault Fault) *Machine {
	guid, err := bmc.ParseGUID("3d1c4a50-9b2e-11ee-8c90-0242ac120002")
	if err != nil {
		t.Fatal(err)
	}
	m := Make(guid, fault)
	t.Cleanup(m.End)
	return m
}

// Make is NewMachine without a test. The caller ends it.
func Make(guid bmc.GUID, fault Fault) *Machine {
	return &Machine{GUID: guid, Card: [6]byte{0x52, 0x54, 0, 1, 2, 3}, fault: fault, on: true, end: make(chan struct{})}
}

// End ends what hangs in the machine's controller. It is called once, after the
// controller's last use.
func (m *Machine) End() { close(m.end) }

// IsOn says whether the machine has power, whatever its controller says.
func (m *Machine) IsOn() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.on
}

// OffSince says when the machine lost its power; zero while it is on.
func (m *Machine) OffSince() time.Time {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.offSince
}

// Requests counts the requests to switch off that the controller took.
func (m *Machine) Requests() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.requests
}

// OffSessions gives the sessions in which the controller said off, in order;
// each session has a number of its own.
func (m *Machine) OffSessions() []int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return append([]int(nil), m.sessions...)
}

// Set gives the machine power or takes it, without its controller.
func (m *Machine) Set(on bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.turn(on)
}

// SetFault changes what is wrong with the controller, as if it had been exchanged:
// a request that it has taken and not carried out is forgotten.
func (m *Machine) SetFault(f Fault) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.fault, m.asked, m.away = f, false, 0
}

// is says whether that is wrong with the controller now.
func (m *Machine) is(f Fault) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.fault == f
}

func (m *Machine) turn(on bool) {
	if on == m.on {
		return
	}
	m.on = on
	m.offSince = time.Time{}
	if !on {
		m.offSince = time.Now()
	}
	if m.Turned != nil {
		m.Turned(on)
	}
}

// silent says whether the controller does not answer now.
func (m *Machine) silent() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.away > 0 {
		m.away--
		return true
	}
	return m.fault == Hanging || m.fault == DiesWithMachine && !m.on
}

// shown is the GUID that the controller names; false if it names none.
func (m *Machine) shown() (bmc.GUID, bool) {
	g := m.GUID
	if m.is(OtherMachine) {
		g[15] ^= 0xff
	}
	return g, !m.is(Anonymous) && !m.is(ByCard)
}

// card answers Get LAN Configuration Parameters: false if the controller does not.
func (m *Machine) card() ([]byte, bool) {
	return append([]byte{0x11}, m.Card[:]...), !m.is(Anonymous)
}

// What a controller says about the power.
const (
	wordOn      = "On"
	wordOff     = "Off"
	wordLeaving = "PoweringOff" // Redfish has a word for it; the others say on
	wordGarbage = "\x00\xffPurple"
)

// status is the controller's answer in one session.
func (m *Machine) status(session int) string {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.answers++
	word := wordOn
	if !m.on {
		word = wordOff
	}
	switch {
	case m.fault == SaysOff, m.fault == SaysDone && m.asked:
		word = wordOff
	case m.fault == ComesBack && m.asked && !m.on:
		m.asked = false
		m.turn(true)
	case m.fault == Garbage:
		word = wordGarbage
	case m.fault == Slow && m.asked && m.on:
		word = wordLeaving
		if m.answers > 2 {
			m.turn(false)
			word = wordOff
		}
	case m.fault == Early && m.asked && m.on:
		switch {
		case m.answers == 1:
			word = wordOff
		case m.answers > 2:
			m.turn(false)
			word = wordOff
		}
	}
	if word == wordOff {
		m.sessions = append(m.sessions, session)
	}
	m.said = word
	return word
}

// again is the latest answer once more, where one question is asked twice.
func (m *Machine) again() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.said
}

// command is a request to switch; false if the controller refuses it.
func (m *Machine) command(on bool) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.fault == Refusing {
		return false
	}
	if !on {
		m.requests++
	}
	switch {
	case on:
		m.asked = false
		m.turn(true)
	case m.fault == Slow || m.fault == Early:
		if !m.asked {
			m.asked, m.answers = true, 0
		}
	case m.fault == SaysDone:
		m.asked = true
	case m.fault == Lying || m.fault == Garbage || m.fault == SaysOff:
	default:
		m.asked = true
		if m.fault == Rebooting && m.on {
			m.away = lostAnswers
		}
		m.turn(false)
	}
	return true
}
