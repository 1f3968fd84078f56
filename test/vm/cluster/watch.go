package cluster

import (
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/holdfast-ha/holdfast/test/vm/witness"
)

// Reign is a time in which one node alone was seen to write on the data disk.
type Reign struct {
	Owner       int       // number of the node
	First, Last time.Time // when its first and its last block were seen in the file behind the disk
}

// Watch looks at the file behind the data disk again and again. Instants are those of this process's clock, and up to a look
// late: 50 ms and what a look takes.
type Watch struct {
	cluster *Cluster
	stop    chan struct{}
	done    chan struct{}

	mu     sync.Mutex
	seen   map[int]uint64
	reigns []Reign
}

// Watch begins to watch; Stop ends it.
func (c *Cluster) Watch() *Watch {
	w := &Watch{cluster: c, stop: make(chan struct{}), done: make(chan struct{}), seen: map[int]uint64{}}
	w.look(true)
	go w.run() // ends with Stop
	return w
}

func (w *Watch) run() {
	defer close(w.done)
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-w.stop:
			return
		case <-tick.C:
			w.look(false)
		}
	}
}

// look notes whose blocks have become more since the look before.
func (w *Watch) look(first bool) {
	for _, n := range w.cluster.Nodes {
		all, err := witness.Look(w.cluster.Data.File(), n.Number)
		if err != nil {
			continue // a block is being written; a torn one stays and fails the last look
		}
		now := content(all)
		w.mu.Lock()
		changed := now != w.seen[n.Number]
		w.seen[n.Number] = now
		if changed && !first {
			w.note(n.Number)
		}
		w.mu.Unlock()
	}
}

// content changes with every write to a region: not the newest number does, for a writer that is started anew counts from
// the beginning.
func content(all []witness.Block) uint64 {
	var sum uint64
	for i, b := range all {
		sum = sum*31 + b.Number + uint64(i)
	}
	return sum
}

func (w *Watch) note(owner int) {
	now := time.Now()
	if last := len(w.reigns) - 1; last >= 0 && w.reigns[last].Owner == owner {
		w.reigns[last].Last = now
		return
	}
	w.reigns = append(w.reigns, Reign{owner, now, now})
}

// Reigns is what was seen so far.
func (w *Watch) Reigns() []Reign {
	w.mu.Lock()
	defer w.mu.Unlock()
	return append([]Reign(nil), w.reigns...)
}

// Stop ends the watch and gives what it saw. A block that is no single write's is an error.
func (w *Watch) Stop() ([]Reign, error) {
	close(w.stop)
	<-w.done
	for _, n := range w.cluster.Nodes {
		var err error
		for range 5 { // a look beside a write
			if _, err = witness.Look(w.cluster.Data.File(), n.Number); err == nil {
				break
			}
			<-time.After(20 * time.Millisecond)
		}
		if err != nil {
			return nil, fmt.Errorf("blocks of n%d: %w", n.Number, err)
		}
	}
	return w.Reigns(), nil
}

// Story is reigns in words, in seconds from an instant.
func Story(since time.Time, reigns []Reign) string {
	var words []string
	for _, r := range reigns {
		words = append(words, fmt.Sprintf("n%d %.1f to %.1f s", r.Owner, r.First.Sub(since).Seconds(), r.Last.Sub(since).Seconds()))
	}
	return strings.Join(words, ", ")
}
