package services

import (
	"fmt"
	"math/bits"
	"time"

	"github.com/holdfast-ha/holdfast/cluster"
	"github.com/holdfast-ha/holdfast/cluster/ident"
)

const (
	// mostSilent is how many checks, one after the other, may stay without an answer
	// although nothing on this node stalls.
	mostSilent = 3
	// mostExcused is for how long a stall of this node excuses checks that give no
	// answer: a node that stalls for longer is no place for a service.
	mostExcused = 5 * time.Minute
)

// answers is what the latest checks of a service have said.
type answers struct {
	recent  uint32        // the latest checks, one bit each, the newest lowest: 1 for a failed one
	silent  int           // checks without an answer, one after the other
	excused ident.Instant // since when those are excused by a stall; 0: they are not
}

// verdict says whether a check means that the service has failed. An answer that
// did not come in time is not one: while this node or its disks stall it says
// nothing of the service, and else only if it stays away. So many failed checks of
// the latest ones as the configuration says are borne.
func (s *Set) verdict(l *local, e cluster.RunDone) (failed bool, text string) {
	p := l.spec.Patience
	bad := e.Outcome == cluster.Failed
	text = "check: " + e.Text
	switch e.Outcome {
	case cluster.OK:
		l.silent, l.excused = 0, 0
	case cluster.Unknown:
		if s.excuse(l, e, text) {
			return false, ""
		}
		l.silent++
		bad = l.silent >= mostSilent || p.Of > 0
		text = fmt.Sprintf("check: no answer, %d times in succession: %s", l.silent, e.Text)
	}
	l.recent <<= 1
	if bad {
		l.recent |= 1
	}
	of, most := max(p.Of, 1), max(p.Fails, 1)
	count := bits.OnesCount32(l.recent & (1<<of - 1))
	switch {
	case bad && count >= most:
		if of > 1 {
			text += fmt.Sprintf(" (%d of the latest %d checks)", count, of)
		}
		return true, text
	case bad:
		s.bear(l, fmt.Sprintf("%s; %d of the latest %d checks have failed, %d are too many", text, count, of, most))
	case e.Outcome == cluster.Unknown:
		s.bear(l, fmt.Sprintf("%s; %d are too many", text, mostSilent))
	case l.state == cluster.Up && l.recent == 0:
		l.text = ""
	}
	return false, ""
}

// excuse says that a check without an answer does not count, for this node stalls.
func (s *Set) excuse(l *local, e cluster.RunDone, text string) bool {
	stall := e.Stall
	if stall == "" && s.env.Slow {
		stall = "its own beats take long"
	}
	if stall == "" {
		return false
	}
	text = fmt.Sprintf("%s; this node stalls (%s), so that says nothing of the service", text, stall)
	if l.excused == 0 {
		l.excused = s.env.Now
		s.bear(l, text)
	}
	return s.env.Now.Sub(l.excused) < mostExcused
}

// bear tells of what is not acted upon, once for as long as it lasts.
func (s *Set) bear(l *local, text string) {
	if l.text != text {
		l.text = text
		s.emit(cluster.Note{Kind: cluster.NoteSlow, Service: l.name, Term: l.term, Text: text})
	}
}
