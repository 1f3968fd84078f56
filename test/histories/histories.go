// Package histories drives the consensus register through random histories over
// simulated quorum disks, and judges them.
//
// Two to five nodes propose at the same time over one or three disks in memory.
// Everything between the register's machine and the bytes is the real thing:
// each life of a node opens each disk as a volume, seals headers, compresses
// states, and reads what the disk gives back. A seed decides everything: who
// acts when, which requests fail, hang, tear, land late or twice, who crashes
// between two steps, and what one of three disks forgets.
//
// A history ends with everything healed, and every node must be able to commit.
// It is judged three times over: every version has one state, built on the one
// before (checked as it happens, see oracle.go); no acknowledged commit is lost;
// and what the proposers were told is linearizable (porcupine, see linear.go).
//
// Broken turns one rule of the protocol off, in the glue between machine and
// disk and nowhere else: the tests demand that each one is noticed.
package histories

import (
	"fmt"
	"math/rand/v2"
	"strings"
)

// Config is what a history is made of. Draw gives one for a seed.
type Config struct {
	Seed   uint64
	Nodes  int
	Disks  int
	Sector int // bytes: 512 or 4096
	Steps  int // random things that happen before everything is healed
	Trouble
	Broken Broken
	Trace  bool // keep a log of what happened
}

// Trouble is how often what goes wrong, of 100.
type Trouble struct {
	Writes  int // write requests that end without success
	Reads   int // reads that fail
	Ghosts  int // acknowledged writes of which a copy may land again
	Crashes int // steps that are the crash and restart of a node
	Liar    Liar
}

// Liar is what one of the disks does apart from failing.
type Liar uint8

// The ways in which the last of the disks breaks its word. Honest disks fail,
// hang and repeat themselves, but what they acknowledged stands.
const (
	Honest    Liar = iota
	Loses          // acknowledges writes that never take effect
	Delays         // acknowledges writes that take effect later, or never
	Stale          // answers with what stood there before
	Tears          // acknowledges writes of which a part took effect
	Misplaces      // writes and reads at other places
	Wiped          // is overwritten with zeros while everybody uses it
	Replaced       // is found to have forgotten, and taken out of use
	liars
)

// String names the kind of lie.
func (l Liar) String() string {
	return [...]string{"honest", "loses", "delays", "stale", "tears", "misplaces", "wiped", "replaced"}[l%liars]
}

// Broken is one rule of the protocol that does not hold.
type Broken uint8

// The rules that can be broken, each by the glue around an intact machine or by
// a disk that does what no quorum disk may do.
const (
	Intact         Broken = iota
	AnyDiskDecides        // one disk of three is taken for a majority
	NoChecksum            // headers whose checksum and seal do not fit are believed
	AnyBody               // a body is believed without comparing its hash
	ReusedBallot          // a restarted node does not know which ballots it has entered
	ClearedBlock          // a node clears its block after a commit
	GhostWraps            // an acknowledged write lands again when its place holds a newer one
	EarlyRead             // the headers are read before the own block is written
	Blind                 // nobody sees what others have accepted
	NoReadBack            // what a disk acknowledged is believed to stand there
	NoIdentity            // a disk that was wiped is read on
	OnePlace              // the ring has one place
	brokens
)

// String names the broken rule.
func (b Broken) String() string {
	return [...]string{
		"intact", "one disk is taken for a majority", "missing checksum", "stale body accepted without its hash", "reused ballot", "cleared block",
		"ghost that wraps the ring", "headers read before the own write", "phase 1 ignores what others accepted",
		"acknowledged writes are not looked for", "wiped disk read on", "one place instead of a ring",
	}[b%brokens]
}

// Draw decides what the history of a seed is made of: each one has some of the
// faults, so that they do not hide each other.
func Draw(seed uint64) Config {
	r := rand.New(rand.NewPCG(seed, 0x68697374))
	c := Config{Seed: seed, Nodes: 2 + r.IntN(4), Disks: 1 + 2*r.IntN(2), Sector: 512, Steps: 60 + r.IntN(180)}
	if r.IntN(16) == 0 {
		c.Sector = 4096
	}
	if r.IntN(20) == 0 {
		c.Steps *= 5 // long enough for rings to wrap
	}
	c.Writes = 20 + r.IntN(45)
	c.Reads = r.IntN(3) * r.IntN(15)
	c.Ghosts = r.IntN(2) * r.IntN(20)
	c.Crashes = r.IntN(3)
	c.Liar = Liar(r.IntN(int(liars)))
	if c.Disks == 1 && c.Liar > Tears {
		c.Liar = Honest // what it alone forgets, nobody knows
	}
	return c
}

// String says what the history is made of, for a failure's message.
func (c *Config) String() string {
	return fmt.Sprintf("seed %d: %d nodes, %d disks of %d, %d steps; of 100: %d writes and %d reads fail, %d ghosts, %d crashes; the liar: %v; broken: %v",
		c.Seed, c.Nodes, c.Disks, c.Sector, c.Steps, c.Writes, c.Reads, c.Ghosts, c.Crashes, c.Liar, c.Broken)
}

// Result is what became of a history.
type Result struct {
	Err     error // the rule that was broken; nil: none
	Commits int   // acknowledged to their proposers
	Writes  int   // writes of a block that were submitted before everything was healed
	Unknown int   // of them, those whose writer was not told that they succeeded
	Landed  int   // of the unknown, those that took effect all the same
	Trace   []string
}

// Run plays a history.
func (s *Stage) Run(c Config) (r Result) {
	w := &world{Config: c, stage: s, rng: rand.New(rand.NewPCG(c.Seed, 0x72756e))}
	defer func() {
		if p := recover(); p != nil {
			v, ok := p.(violation)
			if !ok {
				panic(p)
			}
			r = w.result
			r.Err = fmt.Errorf("%s (%s)", v.what, &c)
		}
	}()
	w.boot()
	for range c.Steps {
		w.step()
	}
	w.settle()
	w.linearizable()
	return w.result
}

// violation ends a history.
type violation struct{ what string }

func (w *world) violated(format string, args ...any) {
	what := fmt.Sprintf(format, args...)
	w.log("VIOLATED: %s", what)
	panic(violation{what})
}

func (w *world) log(format string, args ...any) {
	if w.Config.Trace {
		w.result.Trace = append(w.result.Trace, fmt.Sprintf("%6d  ", w.tick)+fmt.Sprintf(format, args...))
	}
}

// Shrink looks for a smaller history that breaks a rule too: fewer steps, nodes
// and kinds of fault. c has to break one.
func (s *Stage) Shrink(c Config) Config {
	try := func(change func(*Config)) bool {
		smaller := c
		change(&smaller)
		if s.Run(smaller).Err == nil {
			return false
		}
		c = smaller
		return true
	}
	for again := true; again; {
		again = false
		for step := c.Steps / 2; step > 0; step /= 2 {
			for c.Steps > step && try(func(s *Config) { s.Steps -= step }) {
				again = true
			}
		}
		for _, change := range []func(*Config){
			func(s *Config) { s.Nodes = max(s.Nodes-1, 1) },
			func(s *Config) { s.Reads = 0 },
			func(s *Config) { s.Ghosts = 0 },
			func(s *Config) { s.Crashes = 0 },
			func(s *Config) { s.Liar = Honest },
		} {
			if probe := c; probe != changed(probe, change) && try(change) {
				again = true
			}
		}
	}
	return c
}

func changed(c Config, change func(*Config)) Config {
	change(&c)
	return c
}

// Story is the log of a history, for a person.
func (s *Stage) Story(c Config) string {
	c.Trace = true
	r := s.Run(c)
	return strings.Join(r.Trace, "\n")
}
