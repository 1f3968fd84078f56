package oracle

import (
	"time"

	"github.com/holdfast-ha/holdfast/cluster/ident"
)

// lun is a data LUN that lets only registered nodes write.
type lun struct {
	service string
	keyed   map[ident.NodeID]bool
	flying  map[ident.NodeID]int     // REGISTERs that may still land
	writers map[ident.NodeID]*holder // nodes whose processes use it
	term    uint64                   // the highest in which processes have used it
}

func (j *Judge) lun(name string) *lun {
	if j.luns == nil {
		j.luns = map[string]*lun{}
	}
	l := j.luns[name]
	if l == nil {
		l = &lun{keyed: map[ident.NodeID]bool{}, flying: map[ident.NodeID]int{}, writers: map[ident.NodeID]*holder{}}
		j.luns[name] = l
	}
	return l
}

// Keyed says that a LUN holds a node's key, or not any more: without it nothing
// of the node's changes the LUN, not even what was on its way.
func (j *Judge) Keyed(id ident.NodeID, name string, on bool, at time.Duration) {
	l := j.lun(name)
	if l.keyed[id] = on; on {
		j.alone(name, l, at)
	} else if h := l.writers[id]; h != nil && !h.running && at >= h.loose {
		delete(l.writers, id)
	}
}

// Loose says that a LUN is about to lose a node's key, and that what the node has
// on its way there is not aborted: it may land during the drain.
func (j *Judge) Loose(id ident.NodeID, name string, at time.Duration) {
	if h := j.lun(name).writers[id]; h != nil {
		if h.loose = at + j.limits.Drain; !h.running {
			h.loose = min(h.loose, h.until)
		}
	}
}

// Lands says that a write has landed which a node's processes sent in a term:
// nobody may have begun to use the LUN in a later one.
func (j *Judge) Lands(id ident.NodeID, name string, term uint64) {
	if l := j.lun(name); term < l.term {
		j.say(TwoOwners, "a write of node %d in term %d lands on %s, which is used in term %d", id, term, name, l.term)
	}
}

// Flies says that a REGISTER of a node has begun its way to a LUN (1), or ended
// it (-1).
func (j *Judge) Flies(id ident.NodeID, name string, n int) { j.lun(name).flying[id] += n }

// Stores says that from now on processes of a service may write to these LUNs
// from a node, as far as those let it. Of the grant that it acts on its service,
// incarnation and term count.
func (j *Judge) Stores(id ident.NodeID, by Grant, luns []string, at time.Duration) {
	if g, ok := j.service(by.Service).grants[by.Term]; !ok || g.Owner != j.nodes[id].id || g.Inc != by.Inc {
		j.say(NoGrant, "node %d %v starts the storage of %s in term %d, which is nobody's or another's", id, by.Inc, by.Service, by.Term)
	}
	for _, name := range luns {
		l := j.lun(name)
		l.service = by.Service
		l.writers[id] = &holder{running: true, inc: by.Inc, term: by.Term}
		l.term = max(l.term, by.Term)
		j.alone(name, l, at)
	}
}

// writes says that a node can change a LUN, or that its last writes may land.
func (l *lun) writes(id ident.NodeID, at time.Duration) bool {
	h := l.writers[id]
	return h != nil && (at < h.loose || l.keyed[id] && (h.running || at < h.until))
}

// alone speaks if more than one node can change a LUN.
func (j *Judge) alone(name string, l *lun, at time.Duration) {
	first := ident.NodeID(0)
	for i := range j.nodes {
		id := ident.NodeID(i)
		if !l.writes(id, at) {
			continue
		}
		if first != 0 {
			j.say(TwoOwners, "%s can be written to by node %d and by node %d", name, first, id)
			return
		}
		first = id
	}
}

// unstores says that nothing of a service uses its LUNs from a node any more.
func (j *Judge) unstores(id ident.NodeID, service string) {
	for _, l := range j.luns {
		if l.service == service {
			delete(l.writers, id)
		}
	}
}

// lunsEnd says that a machine executes nothing any more: what it wrote last may
// land during the drain.
func (j *Judge) lunsEnd(id ident.NodeID, at time.Duration) {
	for _, l := range j.luns {
		if h := l.writers[id]; h != nil && h.running {
			h.running, h.until = false, at+j.limits.Drain
		}
	}
}

// cutOff speaks if a term begins on the fenced storage of a service while one
// that is not the new owner can write there, or may be able to soon.
func (j *Judge) cutOff(g Grant) {
	for name, l := range j.luns {
		if l.service != g.Service {
			continue
		}
		for id, h := range l.writers {
			if h.running && h.term < g.Term && (l.keyed[id] || l.flying[id] > 0) {
				j.say(NoProof, "term %d of %s begins on its storage alone while node %d can write to %s, or will", g.Term, g.Service, id, name)
			}
		}
	}
}
