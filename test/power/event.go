package power

import (
	"encoding/json"
	"io"
	"sync"

	"golang.org/x/sys/unix"
)

// Event is something that happened, stamped with the emulator's clock.
type Event struct {
	Seq int `json:"seq"` // from 0, without gaps
	// At is the emulator's CLOCK_MONOTONIC in nanoseconds. Only instants of
	// one emulator are compared.
	At     int64  `json:"at_ns"`
	What   What   `json:"what"`
	Node   string `json:"node,omitempty"`
	Device string `json:"device,omitempty"`
	Text   string `json:"text,omitempty"`
	// LastPet is, for a bite, when the device was last petted.
	LastPet int64 `json:"last_pet_ns,omitempty"`
}

// What is the kind of an Event.
type What string

// The kinds of event. Bite, ResetRequested and PowerOff begin a power loss: from
// then on nothing of the node counts. Dark ends it: file systems are shut down,
// processes killed. Trouble is a step of it that did not work.
const (
	Registered     What = "registered"
	PowerOn        What = "power-on"
	Opened         What = "opened"
	TimeoutSet     What = "timeout-set"
	ClosePet       What = "close-pet"
	Disarmed       What = "disarmed"
	Pretimeout     What = "pretimeout" // a bite is to come
	Bite           What = "bite"
	ResetRequested What = "reset-requested"
	PowerOff       What = "power-off"
	Cut            What = "cut" // file systems shut down, disks read-only: no write of the node lands after this
	Dark           What = "dark"
	Trouble        What = "trouble"
	Mark           What = "mark"
)

// now reads the emulator's clock. Its timers run on the same clock.
func now() int64 {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts); err != nil {
		panic("CLOCK_MONOTONIC cannot be read: " + err.Error())
	}
	return ts.Nano()
}

// journal keeps all events and lets readers wait for more.
type journal struct {
	mu     sync.Mutex
	events []Event
	grown  chan struct{} // closed and replaced when an event is added
	copy   io.Writer     // one JSON object per line; may be nil
}

func newJournal(w io.Writer) *journal {
	return &journal{grown: make(chan struct{}), copy: w}
}

// add appends an event; At is filled in unless it is set.
func (j *journal) add(ev Event) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if ev.At == 0 {
		ev.At = now()
	}
	ev.Seq = len(j.events)
	j.events = append(j.events, ev)
	close(j.grown)
	j.grown = make(chan struct{})
	if j.copy == nil {
		return
	}
	if line, err := json.Marshal(ev); err == nil {
		_, _ = j.copy.Write(append(line, '\n')) // a full disk must not stop the watchdogs
	}
}

// from returns the events from seq on, and a channel that closes when there are more.
func (j *journal) from(seq int) ([]Event, <-chan struct{}) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.events[min(seq, len(j.events)):len(j.events):len(j.events)], j.grown
}
