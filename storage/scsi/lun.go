package scsi

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Path is one way to a LUN: a device of the kernel's sd driver, or a simulated one.
type Path interface {
	// Name is what people call the path, as sdc.
	Name() string
	// Command sends a command descriptor with what it sends (nil: nothing) and
	// returns what it receives, at most receive bytes. What the device refuses is a
	// *StatusError; every other error means that nobody knows what has happened.
	Command(cdb, send []byte, receive int) ([]byte, error)
}

// LUN is a logical unit by all its paths; one of them at least.
type LUN struct {
	Name  string
	Paths []Path
}

// Report is what was read back from a LUN.
type Report struct {
	Keys         []uint64 // one for every path of every initiator, as the device lists them
	Reservation  Reservation
	Capabilities Capabilities
	// Aborted are the keys whose PREEMPT AND ABORT was answered with good. Unsure says
	// that another one was not: the key is gone, and what was sent with it may still land.
	Aborted []uint64
	Unsure  bool
	Silent  []string // paths that did not answer, and were left out
}

// String is a report in words.
func (r Report) String() string {
	kept := "registrations are lost with the power of the target"
	if r.Capabilities.Persisting {
		kept = "registrations outlive a loss of power"
	}
	if len(r.Silent) > 0 {
		kept += ", no answer by " + strings.Join(r.Silent, ", ")
	}
	if !r.Reservation.Held {
		return "no reservation, " + kept
	}
	return fmt.Sprintf("%v, %d registrations, %s", r.Reservation.Type, len(r.Keys), kept)
}

// Unreachable is a path that could not be opened: it answers nothing.
func Unreachable(name string, why error) Path { return unreachable{name, why} }

type unreachable struct {
	name string
	why  error
}

func (u unreachable) Name() string                                { return u.name }
func (u unreachable) Command([]byte, []byte, int) ([]byte, error) { return nil, u.why }

// ErrForeign is a key on a LUN that does not belong to the cluster.
var ErrForeign = errors.New("keys that Holdfast has not set")

// attentions is how often in a row a path may tell of the past before it is given up.
const attentions = 4

// send repeats a command that was answered with a unit attention: the device has
// not looked at it.
func send(p Path, cdb, out []byte, receive int) ([]byte, error) {
	for i := 1; ; i++ {
		b, err := p.Command(cdb, out, receive)
		if !Attention(err) || i == attentions {
			if err != nil {
				err = fmt.Errorf("%s: %w", p.Name(), err)
			}
			return b, err
		}
	}
}

// first asks one path after the other until one answers.
func (l LUN) first(ask func(Path) error) error {
	var all []error
	for _, p := range l.Paths {
		err := ask(p)
		if err == nil {
			return nil
		}
		all = append(all, err)
	}
	return fmt.Errorf("%s: %w", l.Name, errors.Join(all...))
}

// How long paths are waited for once one has answered. The kernel holds a request back
// for as long as it hopes for a broken path, which a takeover does not wait for; what is
// registered waits longer, for a path that is only slow had better have its key.
const (
	prompt  = time.Second
	laggard = 5 * time.Second
)

// answering is the LUN by those of its paths that answer a question, whatever they
// answer, and the names of the others; an error if none does. A path that is silent
// carries no write: it needs no key, and must not keep a node with another path from
// its storage. Nothing is registered by it, so that nothing can arrive late by it: what
// may still be on its way is a question.
func (l LUN) answering(patience time.Duration) (live LUN, silent []string, err error) {
	type answer struct {
		path int
		err  error
	}
	answers := make(chan answer, len(l.Paths))
	for i, p := range l.Paths {
		go func() { // ends when the kernel has answered
			_, err := send(p, reserveIn(inReadReservation, 24), nil, 24)
			answers <- answer{i, err}
		}()
	}
	answered := make([]bool, len(l.Paths))
	var failed []error
	var enough <-chan time.Time
	for heard := 0; heard < len(l.Paths); {
		select {
		case a := <-answers:
			heard++
			var refused *StatusError
			if answered[a.path] = a.err == nil || errors.As(a.err, &refused); !answered[a.path] {
				failed = append(failed, a.err)
			} else if enough == nil {
				enough = time.After(patience)
			}
		case <-enough:
			heard = len(l.Paths)
		}
	}
	live.Name = l.Name
	for i, p := range l.Paths {
		if answered[i] {
			live.Paths = append(live.Paths, p)
		} else {
			silent = append(silent, p.Name())
		}
	}
	if len(live.Paths) == 0 {
		return live, silent, fmt.Errorf("%s: %w", l.Name, errors.Join(failed...))
	}
	return live, silent, nil
}

// Look reads keys, reservation and capabilities, and which paths do not answer.
func (l LUN) Look() (Report, error) {
	l, silent, err := l.answering(prompt)
	if err != nil {
		return Report{Silent: silent}, err
	}
	r, err := l.look()
	r.Silent = silent
	return r, err
}

// look is Look by paths that answer: the first one that does.
func (l LUN) look() (Report, error) {
	var r Report
	err := l.first(func(p Path) error {
		keys, err := readKeys(p)
		if err != nil {
			return err
		}
		b, err := send(p, reserveIn(inReadReservation, 24), nil, 24)
		if err != nil {
			return err
		}
		if r.Reservation, err = parseReservation(b); err != nil {
			return err
		}
		b, err = send(p, reserveIn(inCapabilities, 8), nil, 8)
		if err == nil {
			r.Capabilities, err = parseCapabilities(b)
		}
		var refused *StatusError
		if errors.As(err, &refused) {
			err = nil // an old device that cannot say what it can
		}
		r.Keys = keys.List
		return err
	})
	return r, err
}

// readKeys reads all keys, with a longer answer if the first did not hold them.
func readKeys(p Path) (Keys, error) {
	for length := 1024; ; length = 65528 {
		b, err := send(p, reserveIn(inReadKeys, uint16(length)), nil, length)
		if err != nil {
			return Keys{}, err
		}
		k, err := parseKeys(b)
		if !errors.Is(err, ErrShort) || length > 1024 {
			return k, err
		}
	}
}

// Register registers a key on every path that answers, whatever is registered there,
// takes part in the reservation or makes it, and reads everything back. With an error
// something of it may have been done, or not.
func (l LUN) Register(key uint64) (Report, error) {
	l, silent, err := l.answering(laggard)
	if err != nil {
		return Report{Silent: silent}, err
	}
	before, err := l.look()
	if err != nil {
		return before, err
	}
	for _, p := range l.Paths {
		if _, err := send(p, reserveOut(outRegisterIgnore, 0), parameters(0, key, before.Capabilities.Persists), 0); err != nil {
			return before, fmt.Errorf("%s: register: %w", l.Name, err)
		}
	}
	if err := l.reserve(key, before.Capabilities); err != nil {
		return before, err
	}
	after, err := l.check(key)
	after.Silent = silent
	return after, err
}

// reserve makes or joins the reservation: for all registrants where the device
// offers that, so that it does not end with its holder.
func (l LUN) reserve(key uint64, c Capabilities) error {
	r, err := l.look()
	if err != nil || r.Reservation.Held && r.Reservation.Type.guards() {
		return err
	}
	if r.Reservation.Held {
		return fmt.Errorf("%s: holds a reservation of %v, which does not keep others from writing: release it with sg_persist --out --clear", l.Name, r.Reservation.Type)
	}
	t := AllRegistrants
	if !c.Offers(t) {
		t = RegistrantsOnly
	}
	_, err = send(l.Paths[0], reserveOut(outReserve, t), parameters(key, 0, false), 0)
	if IsConflict(err) {
		return nil // somebody was faster; Check says what is there
	}
	return err
}

func (t Type) guards() bool { return t == AllRegistrants || t == RegistrantsOnly }

// Check reads back whether a key is registered on every path that answers and the
// reservation is held. A path is asked by a command that only a registrant may send
// and that changes nothing where the reservation is for all registrants; with the
// other type the device has to list the key once for every path.
func (l LUN) Check(key uint64) (Report, error) {
	l, silent, err := l.answering(prompt)
	if err != nil {
		return Report{Silent: silent}, err
	}
	r, err := l.check(key)
	r.Silent = silent
	return r, err
}

// check is Check by paths that answer.
func (l LUN) check(key uint64) (Report, error) {
	r, err := l.look()
	switch {
	case err != nil:
		return r, err
	case !slices.Contains(r.Keys, key):
		return r, fmt.Errorf("%s: key %#016x is not registered", l.Name, key)
	case !r.Reservation.Held:
		return r, fmt.Errorf("%s: nothing is reserved, so everybody can write", l.Name)
	case !r.Reservation.Type.guards():
		return r, fmt.Errorf("%s: reserved with %v, which does not keep others from writing", l.Name, r.Reservation.Type)
	case r.Reservation.Type == RegistrantsOnly:
		n := 0
		for _, k := range r.Keys {
			if k == key {
				n++
			}
		}
		if n < len(l.Paths) {
			return r, fmt.Errorf("%s: registered on %d of %d paths", l.Name, n, len(l.Paths))
		}
		return r, nil
	}
	for _, p := range l.Paths {
		if _, err := send(p, reserveOut(outReserve, AllRegistrants), parameters(key, 0, false), 0); err != nil {
			return r, fmt.Errorf("%s: %w", l.Name, err)
		}
	}
	return r, nil
}

// Others says of every key but a node's own whether it is to go, may stay, or is
// none of the cluster's.
type Others func(key uint64) (gone, foreign bool)

// Take preempts every key that has to go, aborts its commands, and reads keys and
// reservation back. It is done only if the report comes without an error: then
// none of these keys can change the LUN any more.
func (l LUN) Take(key uint64, others Others) (Report, error) {
	l, silent, err := l.answering(prompt)
	if err != nil {
		return Report{Silent: silent}, err
	}
	r, err := l.look()
	if err != nil {
		return r, err
	}
	if err := foreign(l.Name, r.Keys, key, others); err != nil {
		return r, err
	}
	t, aborted, unsure := r.Reservation.Type, []uint64(nil), false
	if !r.Reservation.Held {
		return r, fmt.Errorf("%s: nothing is reserved, so everybody can write", l.Name)
	}
	for _, k := range distinct(r.Keys) {
		if gone, _ := others(k); !gone || k == key {
			continue
		}
		sure := l.preempt(key, k, t)
		if unsure = unsure || !sure; sure {
			aborted = append(aborted, k)
		}
	}
	if r, err = l.check(key); err != nil {
		return r, err
	}
	r.Aborted, r.Unsure, r.Silent = aborted, unsure, silent
	for _, k := range r.Keys {
		if gone, _ := others(k); gone && k != key {
			return r, fmt.Errorf("%s: key %#016x is still there", l.Name, k)
		}
	}
	return r, foreign(l.Name, r.Keys, key, others)
}

// preempt takes one key away by the first path that does, and says whether the
// device has answered the very first attempt with good: after one that was not
// answered, or a conflict because the key is gone, nobody knows of the commands.
func (l LUN) preempt(key, victim uint64, t Type) (sure bool) {
	for i, p := range l.Paths {
		if _, err := send(p, reserveOut(outPreemptAndAbort, t), parameters(key, victim, false), 0); err == nil {
			return i == 0
		}
	}
	return false
}

func foreign(name string, keys []uint64, own uint64, others Others) error {
	var list []string
	for _, k := range distinct(keys) {
		if _, is := others(k); is && k != own {
			list = append(list, fmt.Sprintf("%#016x", k))
		}
	}
	if len(list) == 0 {
		return nil
	}
	return fmt.Errorf("%s: %w: %s; who has them can write: take them away with sg_persist --out --preempt, and see whether multipath.conf has a reservation_key", name, ErrForeign, strings.Join(list, ", "))
}

func distinct(keys []uint64) []uint64 {
	list := slices.Clone(keys)
	slices.Sort(list)
	return slices.Compact(list)
}
