package play

import (
	"sync"
	"time"

	"github.com/holdfast-ha/holdfast/test/demo/ledger"
	"github.com/holdfast-ha/holdfast/test/demo/stage"
)

// lookEvery is how often the kernel is asked; it bounds the error of a sight.
const lookEvery = 5 * time.Millisecond

// sights is who had what of a service first, as seen in the kernel's tables from
// outside the nodes.
type sights struct {
	stop chan struct{}
	done chan struct{}

	mu        sync.Mutex // guards all below
	mounted   map[string]int64
	addressed map[string]int64
}

// observe begins to look at every node. What is there already does not count.
func observe(s *stage.Stage, v *stage.Service) *sights {
	o := &sights{
		stop: make(chan struct{}), done: make(chan struct{}),
		mounted: map[string]int64{}, addressed: map[string]int64{},
	}
	look := func() {
		o.mu.Lock()
		defer o.mu.Unlock()
		for _, n := range s.Nodes {
			note(o.mounted, n.Name, n.Mounted(v))
			note(o.addressed, n.Name, n.HasAddress(v))
		}
	}
	look()
	for _, have := range []map[string]int64{o.mounted, o.addressed} {
		for name := range have {
			have[name] = -1
		}
	}
	go func() { // ends with end
		defer close(o.done)
		tick := time.NewTicker(lookEvery)
		defer tick.Stop()
		for {
			select {
			case <-o.stop:
				return
			case <-tick.C:
				look()
			}
		}
	}()
	return o
}

func note(have map[string]int64, name string, now bool) {
	if _, known := have[name]; now && !known {
		have[name] = ledger.Now()
	}
}

// end ends the looking.
func (o *sights) end() {
	close(o.stop)
	<-o.done
}

// of returns when the node was seen to mount and to have the address first, in
// CLOCK_MONOTONIC nanoseconds; 0 or less: it was not.
func (o *sights) of(n *stage.Node) (mounted, addressed int64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.mounted[n.Name], o.addressed[n.Name]
}
