// Package scripttest runs stories: text files that say what happens to a cluster in
// virtual time, what must follow, and what must not. They are read by people
// first, so every line is a sentence of few words:
//
//	# What this story is about, and why it matters.
//	nodes 3                     the cluster; so are: disks, within, seeds, service, ways
//	service orders prefer alpha beta
//	boot                        everybody is switched on, and all are members
//	fault: power off alpha      something goes wrong; a story has at least one
//	never: started orders       from here to the end of the story (at least one)
//	in 11s: orders on beta      within this time of the last step
//	after 20s                   time passes
//	told proof alpha E3         somebody has said so since the last fault
//
// A line that begins with a blank continues the one before. The words of each
// kind of line are in the tables of steps.go and checks.go. The oracles of package
// clustertest judge every step of every story beside what it says itself.
package scripttest

import (
	"fmt"
	"strings"
	"time"

	"github.com/holdfast-ha/holdfast/cluster"
	"github.com/holdfast-ha/holdfast/cluster/clustertest"
	"github.com/holdfast-ha/holdfast/cluster/ident"
)

// Script is one story, parsed.
type Script struct {
	Name  string
	About string // the comment at its start
	Seeds int    // it is told so many times, with other random numbers
	Disks []int  // and with so many quorum disks
	// Change changes the options of the world; nil: nobody does.
	Change func(*clustertest.Options)
	// Held makes what stands in for a core that has panicked twice on one version.
	Held func(self ident.NodeID, ver uint64, count int) clustertest.Decider

	opt   clustertest.Options
	rules []func(*cluster.Config)
	lines []line
}

// line is one step or check.
type line struct {
	number int
	text   string // as it stands there
	kind   kind
	within time.Duration // of an "in" line
	words  []string
}

// kind is what a line does.
type kind int

const (
	step   kind = iota // something happens
	fault              // something goes wrong
	expect             // it must be so within a time
	holds              // it must be so now
	never              // it must not be so from here on
)

// Error is a story that cannot be read.
type Error struct {
	File string
	Line int
	Text string
}

// Error reads "lose-disk.txt:7: ...".
func (e *Error) Error() string { return fmt.Sprintf("%s:%d: %s", e.File, e.Line, e.Text) }

// Parse reads a story. A story without a fault, or without anything that is
// forbidden, is refused: it would show nothing.
func Parse(name, text string) (*Script, error) {
	s := &Script{Name: name, Seeds: 3, Disks: []int{1, 3}, opt: clustertest.Options{Nodes: 3}}
	counts := map[kind]int{}
	about, head := []string{}, true
	for i, raw := range joinLines(text) {
		if raw == "" {
			continue
		}
		if strings.HasPrefix(raw, "#") {
			if head {
				about = append(about, strings.TrimSpace(strings.TrimLeft(raw, "#")))
			}
			continue
		}
		head = false
		l, err := s.line(raw)
		if err != nil {
			return nil, &Error{name, i + 1, err.Error()}
		}
		if l != nil {
			l.number, l.text = i+1, raw
			counts[l.kind]++
			s.lines = append(s.lines, *l)
		}
	}
	s.About = strings.Join(about, " ")
	switch {
	case s.About == "":
		return nil, &Error{name, 1, "a story begins with a comment that says what it is about"}
	case counts[fault] == 0:
		return nil, &Error{name, 1, `a story has at least one "fault:" line`}
	case counts[never] == 0:
		return nil, &Error{name, 1, `a story forbids something: it has at least one "never:" line`}
	case counts[expect]+counts[holds] == 0:
		return nil, &Error{name, 1, "a story expects something"}
	}
	return s, nil
}

// joinLines gives the lines with their continuations; what was joined to a line
// before is empty, so that numbers stay.
func joinLines(text string) []string {
	lines := strings.Split(text, "\n")
	last := -1
	for i, l := range lines {
		if strings.HasPrefix(l, " ") && last >= 0 && strings.TrimSpace(l) != "" {
			lines[last] += " " + strings.TrimSpace(l)
			lines[i] = ""
			continue
		}
		lines[i] = strings.TrimSpace(l)
		if lines[i] != "" && !strings.HasPrefix(lines[i], "#") {
			last = i
		}
	}
	return lines
}

// line parses one line; nil is a line about the cluster, which is kept in s.
func (s *Script) line(raw string) (*line, error) {
	head, rest, colon := strings.Cut(raw, ":")
	words := strings.Fields(rest)
	first, _, _ := strings.Cut(head, " ")
	if !colon || first != "fault" && first != "never" && first != "in" {
		words = strings.Fields(raw)
		if done, err := s.setting(words); done || err != nil {
			return nil, err
		}
		if findStep(words) != nil {
			return &line{kind: step, words: words}, nil
		}
		if findCheck(words) != nil {
			return &line{kind: holds, words: words}, nil
		}
		return nil, stepWords(words)
	}
	switch first {
	case "fault":
		return &line{kind: fault, words: words}, stepWords(words)
	case "never":
		return &line{kind: never, words: words}, neverWords(words)
	}
	d, err := time.ParseDuration(strings.TrimSpace(strings.TrimPrefix(head, "in")))
	if err != nil {
		return nil, fmt.Errorf(`want "in 10s: ..."`)
	}
	return &line{kind: expect, within: d, words: words}, checkWords(words)
}

// Run tells the story once. t fails with the line that does not hold.
func (s *Script) Run(t clustertest.T, seed uint64, disks int) *clustertest.World {
	t.Helper()
	opt := s.opt
	opt.Seed, opt.Disks = seed, disks
	opt.Configure = func(c *cluster.Config) {
		for _, rule := range s.rules {
			rule(c)
		}
	}
	opt.Services = append([]cluster.Service(nil), s.opt.Services...)
	if s.Change != nil {
		s.Change(&opt)
	}
	r := &run{t: t, w: clustertest.New(t, opt), s: s, snapshots: map[int]clustertest.Snapshot{}}
	r.w.Held = s.Held
	for i := range s.lines {
		r.line(&s.lines[i])
	}
	r.forbidden()
	return r.w
}

// run is one telling.
type run struct {
	t     clustertest.T
	w     *clustertest.World
	s     *Script
	since time.Duration // of the last fault
	last  time.Duration // of the last step
	bans  []ban

	snapshots map[int]clustertest.Snapshot
	twins     []*clustertest.Node // second machines with a node's identity
}

// ban is a "never" line from when it stands.
type ban struct {
	line *line
	from time.Duration
}

func (r *run) line(l *line) {
	r.t.Helper()
	switch l.kind {
	case fault, step:
		if l.kind == fault {
			r.since = r.w.Now
		}
		findStep(l.words).do(r, l.words)
		r.last = r.w.Now
	case expect:
		r.until(l)
	case holds:
		if !findCheck(l.words).is(r, l.words) {
			r.fail(l, "this does not hold")
		}
	case never:
		r.bans = append(r.bans, ban{l, r.w.Now})
	}
	r.forbidden()
}

// until waits until a check holds, within a time of the last step.
func (r *run) until(l *line) {
	r.t.Helper()
	for c := findCheck(l.words); !c.is(r, l.words); {
		if r.w.Now-r.last > l.within {
			r.fail(l, "this did not happen in time")
		}
		r.w.Run(10 * time.Millisecond)
		r.forbidden()
	}
	r.last = r.w.Now
}

// forbidden fails if something has happened that must not.
func (r *run) forbidden() {
	r.t.Helper()
	for _, b := range r.bans {
		if what := broken(r, b); what != "" {
			r.fail(b.line, "it happened all the same: "+what)
		}
	}
}

func (r *run) fail(l *line, what string) {
	r.t.Helper()
	r.w.Fail("%s:%d: %s\n    %s", r.s.Name, l.number, what, l.text)
}
