// Package scsitest is a SCSI target with persistent reservations that takes and
// gives the bytes of SPC-4, and can be told to misbehave in the ways that real
// ones are known for.
package scsitest

import (
	"encoding/binary"
	"errors"
	"sync"

	"github.com/holdfast-ha/holdfast/storage/scsi"
)

// Fault is one way to misbehave.
type Fault uint8

// The faults.
const (
	Honest         Fault = iota
	IgnoresOut           // answers every change with "good" and changes nothing
	HangsOnAbort         // PREEMPT AND ABORT takes the key away and is never answered: the path reports no answer
	OneKeyPerHost        // keeps one registration per host, whatever paths there are
	NoType7              // knows only the type whose holder is one path
	KeepsKeys            // a preempted key stays
	NoReservations       // knows no persistent reservations at all
	Forgets              // loses all registrations with its power, and says so (no APTPL)
)

// Target is one logical unit. It may be used by several goroutines.
type Target struct {
	mu       sync.Mutex
	fault    Fault
	order    []string // paths, in the order of their registration
	keys     map[string]uint64
	reserved scsi.Type
	holder   string // path, of type 5
	gen      uint32
	persists bool
	notices  map[string][2]byte // unit attentions that wait, by path
	down     map[string]bool
	held     map[string]chan struct{} // paths that hold every command back, until closed
}

// New returns a target without registrations.
func New(f Fault) *Target {
	return &Target{fault: f, keys: map[string]uint64{}, notices: map[string][2]byte{}, down: map[string]bool{}, held: map[string]chan struct{}{}}
}

// LUN is the target as a host sees it by some paths.
func (t *Target) LUN(host string, paths ...string) scsi.LUN {
	l := scsi.LUN{Name: "lun"}
	for _, p := range paths {
		l.Paths = append(l.Paths, &path{t, host + "/" + p, host})
	}
	return l
}

// Reset is a loss of power: registrations that were not made to outlive it are
// gone, and every path is told.
func (t *Target) Reset() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.persists {
		t.keys, t.order, t.reserved, t.holder = map[string]uint64{}, nil, 0, ""
	}
	t.notices["*"] = [2]byte{0x29, 0}
}

// Lose drops the registration of one path, as a new session of it does.
func (t *Target) Lose(host, p string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.drop(host + "/" + p)
}

// Down makes a path answer no more, or again.
func (t *Target) Down(host, p string, down bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.down[host+"/"+p] = down
}

// Hold makes a path hold back every command until it is let go, and then fail it.
func (t *Target) Hold(host, p string) (letGo func()) {
	t.mu.Lock()
	defer t.mu.Unlock()
	ch := make(chan struct{})
	t.held[host+"/"+p] = ch
	return func() { close(ch) }
}

// Foreign registers a key that somebody else has set.
func (t *Target) Foreign(key uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.set("elsewhere", key)
}

// Writes says whether a write by a path of a host gets through.
func (t *Target) Writes(host, p string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	_, registered := t.keys[t.nexus(host+"/"+p, host)]
	return t.reserved == 0 || registered
}

func (t *Target) nexus(path, host string) string {
	if t.fault == OneKeyPerHost {
		return host
	}
	return path
}

func (t *Target) set(nexus string, key uint64) {
	if _, ok := t.keys[nexus]; !ok {
		t.order = append(t.order, nexus)
	}
	t.keys[nexus] = key
}

func (t *Target) drop(nexus string) {
	delete(t.keys, nexus)
	for i, n := range t.order {
		if n == nexus {
			t.order = append(t.order[:i:i], t.order[i+1:]...)
			break
		}
	}
	if t.reserved == scsi.RegistrantsOnly && t.holder == nexus || len(t.keys) == 0 {
		t.reserved, t.holder = 0, ""
	}
}

// path is one initiator port that reaches the target.
type path struct {
	t          *Target
	name, host string
}

// Name implements scsi.Path.
func (p *path) Name() string { return p.name }

// Command implements scsi.Path.
func (p *path) Command(cdb, send []byte, receive int) ([]byte, error) {
	t := p.t
	t.mu.Lock()
	defer t.mu.Unlock()
	if held := t.held[p.name]; held != nil {
		t.mu.Unlock()
		<-held
		t.mu.Lock()
		return nil, errors.New("no answer from the device")
	}
	if t.down[p.name] {
		return nil, errors.New("no answer from the device")
	}
	if n, ok := t.notices["*"]; ok {
		delete(t.notices, "*")
		return nil, check(6, n)
	}
	if n, ok := t.notices[p.name]; ok {
		delete(t.notices, p.name)
		return nil, check(6, n)
	}
	if t.fault == NoReservations || len(cdb) != 10 {
		return nil, check(5, [2]byte{0x20, 0})
	}
	switch cdb[0] {
	case 0x5e:
		return t.in(cdb, receive)
	case 0x5f:
		if int(binary.BigEndian.Uint32(cdb[5:])) != len(send) || len(send) != 24 {
			return nil, check(5, [2]byte{0x1a, 0})
		}
		return nil, t.out(p, cdb, send)
	}
	return nil, check(5, [2]byte{0x20, 0})
}

func check(key byte, code [2]byte) error {
	return &scsi.StatusError{Status: scsi.CheckCondition, Key: key, Code: code[0], Sub: code[1]}
}

func (t *Target) in(cdb []byte, receive int) ([]byte, error) {
	b := binary.BigEndian.AppendUint32(nil, t.gen)
	switch cdb[1] & 0x1f {
	case 0:
		b = binary.BigEndian.AppendUint32(b, uint32(8*len(t.order)))
		for _, n := range t.order {
			b = binary.BigEndian.AppendUint64(b, t.keys[n])
		}
	case 1:
		if t.reserved == 0 {
			b = append(b, 0, 0, 0, 0)
			break
		}
		b = append(b, 0, 0, 0, 16)
		b = binary.BigEndian.AppendUint64(b, t.keys[t.holder])
		b = append(b, 0, 0, 0, 0, 0, byte(t.reserved), 0, 0)
	case 2:
		types := byte(0xea)
		if t.fault == NoType7 {
			types = 0x6a
		}
		active, can := byte(0x80), byte(0x05)
		if t.fault == Forgets {
			can = 0x04
		}
		if t.persists {
			active |= 1
		}
		b = []byte{0, 8, can, active, types, 1, 0, 0}
	default:
		return nil, check(5, [2]byte{0x24, 0})
	}
	length := min(receive, int(binary.BigEndian.Uint16(cdb[7:])), len(b))
	return b[:length], nil
}

func (t *Target) out(p *path, cdb, send []byte) error {
	key, action := binary.BigEndian.Uint64(send), binary.BigEndian.Uint64(send[8:])
	nexus, kind := t.nexus(p.name, p.host), scsi.Type(cdb[2]&0x0f)
	if service := cdb[1] & 0x1f; service != 6 && t.keys[nexus] != key {
		return &scsi.StatusError{Status: scsi.Conflict}
	}
	if t.fault == IgnoresOut {
		return nil
	}
	switch cdb[1] & 0x1f {
	case 6:
		t.gen++
		t.persists = send[20]&1 != 0
		t.set(nexus, action)
	case 1:
		switch {
		case t.fault == NoType7 && kind == scsi.AllRegistrants:
			return check(5, [2]byte{0x24, 0})
		case t.reserved == 0:
			t.reserved = kind
			if kind == scsi.RegistrantsOnly {
				t.holder = nexus
			}
		case t.reserved != kind || kind == scsi.RegistrantsOnly && t.holder != nexus:
			return &scsi.StatusError{Status: scsi.Conflict}
		}
	case 5:
		return t.preempt(nexus, kind, action)
	default:
		return check(5, [2]byte{0x24, 0})
	}
	return nil
}

func (t *Target) preempt(by string, kind scsi.Type, victim uint64) error {
	found, held := false, false
	for _, n := range append([]string(nil), t.order...) {
		if t.keys[n] != victim {
			continue
		}
		if found = true; t.fault == KeepsKeys {
			continue
		}
		held = held || n == t.holder
		t.drop(n)
		t.notices[n] = [2]byte{0x2a, 0x05}
	}
	if !found {
		return &scsi.StatusError{Status: scsi.Conflict}
	}
	t.gen++
	if held {
		t.reserved, t.holder = kind, by
	}
	if t.fault == HangsOnAbort {
		return errors.New("no answer from the device")
	}
	return nil
}
