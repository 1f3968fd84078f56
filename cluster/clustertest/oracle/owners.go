package oracle

import (
	"time"

	"github.com/holdfast-ha/holdfast/cluster/ident"
)

// service is one service as it truly is.
type service struct {
	holders map[ident.NodeID]*holder
	grants  map[uint64]Grant // by term, as decided
	top     uint64           // highest term that was decided
}

// holder is a node whose processes of a service write, or may.
type holder struct {
	running bool
	asleep  bool // its machine is suspended, and it would run otherwise
	inc     ident.Incarnation
	term    uint64
	until   time.Duration // once it runs no more: its last writes land before
	loose   time.Duration // without a key: what was not aborted lands before
}

// Grant is the ownership of a service in a decided version.
type Grant struct {
	Service string
	Owner   ident.NodeID // 0: free
	Inc     ident.Incarnation
	Term    uint64
	Proven  bool   // it names a proof of how the term before ended
	Storage bool   // it rests on a fenced storage: only those members may start
	Why     string // in words
}

// decision is what was decided for a version.
type decision struct {
	sum [32]byte
	by  ident.NodeID
}

func (j *Judge) service(name string) *service {
	s := j.services[name]
	if s == nil {
		s = &service{holders: map[ident.NodeID]*holder{}, grants: map[uint64]Grant{}}
		j.services[name] = s
	}
	return s
}

// Runs says that from now on processes of a service may write from a node.
func (j *Judge) Runs(id ident.NodeID, inc ident.Incarnation, name string, term uint64, at time.Duration) {
	s := j.service(name)
	for other, h := range s.holders {
		if other == id {
			continue
		}
		if h.running {
			j.say(TwoOwners, "%s runs on node %d and on node %d", name, other, id)
		} else if until := j.landed(h.until - j.limits.Drain); at < until {
			j.say(TwoOwners, "%s starts on node %d while writes of node %d may land for another %v", name, id, other, until-at)
		}
	}
	g, ok := s.grants[term]
	switch b := j.nodes[id].now; {
	case b == nil || b.inc != inc:
		j.say(NoGrant, "node %d starts %s in term %d as %v, to which its guard is not bound", id, name, term, inc)
	case !ok || g.Owner != j.nodes[id].id || g.Inc != inc:
		j.say(NoGrant, "node %d %v starts %s in term %d, which is nobody's or another's", id, inc, name, term)
	case term < s.top:
		j.say(NoGrant, "node %d %v starts %s in term %d, and term %d was decided", id, inc, name, term, s.top)
	}
	s.holders[id] = &holder{running: true, inc: inc, term: term}
	j.placed(j.nodes[id], name)
}

// Stops says that nothing of a service runs on a node any more, nor will, and
// that its writes have completed.
func (j *Judge) Stops(id ident.NodeID, name string) {
	delete(j.service(name).holders, id)
	j.unstores(id, name)
}

// Sleeps says that a machine is suspended: what it wrote last may still land
// during the drain, and then nothing of it does before it wakes.
func (j *Judge) Sleeps(id ident.NodeID, at time.Duration) {
	for _, s := range j.services {
		if h := s.holders[id]; h != nil && h.running {
			h.running, h.asleep, h.until = false, true, at+j.limits.Drain
		}
	}
}

// Wakes says that a suspended machine goes on where it was.
func (j *Judge) Wakes(id ident.NodeID) {
	for name, s := range j.services {
		h := s.holders[id]
		if h == nil || !h.asleep {
			continue
		}
		h.running, h.asleep = true, false
		for other, o := range s.holders {
			if other != id && o.running {
				j.say(TwoOwners, "%s runs on node %d, and node %d wakes up with it", name, other, id)
			}
		}
	}
}

// Releases says that a node publishes that it released a term for good.
func (j *Judge) Releases(id ident.NodeID, name string, term uint64) {
	if h := j.service(name).holders[id]; h != nil && h.running && h.term <= term {
		j.say(NotStopped, "node %d releases term %d of %s while term %d runs on it", id, term, name, h.term)
	}
}

// Decided says that a node holds a version for committed, with this sum of its
// content and these grants. Every version is told in any order and again.
func (j *Judge) Decided(by ident.NodeID, ver uint64, sum [32]byte, grants []Grant) {
	if d, ok := j.versions[ver]; ok {
		if d.sum != sum {
			j.say(TwoDecisions, "version %d is one thing to node %d and another to node %d", ver, d.by, by)
		}
		return
	}
	j.versions[ver] = decision{sum, by}
	fresh := ver > j.newest
	if fresh {
		j.newest = ver
	}
	for _, g := range grants {
		j.granted(g, ver, fresh)
	}
}

// granted takes one grant of a version that is new to the judge.
func (j *Judge) granted(g Grant, ver uint64, fresh bool) {
	s := j.service(g.Service)
	if fresh && g.Term < s.top {
		j.say(Backwards, "version %d puts %s back from term %d to %d", ver, g.Service, s.top, g.Term)
	}
	if g.Owner == 0 {
		return
	}
	if old, ok := s.grants[g.Term]; ok {
		if old.Owner != g.Owner || old.Inc != g.Inc {
			j.say(TwoDecisions, "term %d of %s belongs to node %d %v and to node %d %v", g.Term, g.Service, old.Owner, old.Inc, g.Owner, g.Inc)
		}
		return
	}
	s.grants[g.Term] = g
	if g.Why == "" {
		j.say(Words, "version %d gives %s to node %d and does not say why", ver, g.Service, g.Owner)
	}
	if g.Term < s.top {
		return
	}
	s.top = g.Term
	if g.Storage {
		j.cutOff(g)
	}
	for id, h := range s.holders {
		if h.running && h.term < g.Term && !g.Storage {
			j.say(NoProof, "version %d begins term %d of %s on node %d while term %d runs on node %d", ver, g.Term, g.Service, g.Owner, h.term, id)
		}
	}
	if _, had := s.grants[g.Term-1]; had && !g.Proven {
		j.say(NoProof, "version %d begins term %d of %s without a proof of how term %d ended", ver, g.Term, g.Service, g.Term-1)
	}
}

// Explains says that an action was explained so; an empty text is none.
func (j *Judge) Explains(by ident.NodeID, action, text string) {
	if text == "" {
		j.say(Words, "node %d does not say why: %s", by, action)
	}
}
