package guard

import (
	"time"

	"github.com/holdfast-ha/holdfast/cluster"
	"github.com/holdfast-ha/holdfast/cluster/ident"
	"github.com/holdfast-ha/holdfast/quorumdisk"
)

// lastWordTime is how long a reset that nobody else decided waits for the last
// word: more than a disk at work needs, and nothing beside a watchdog's timeout.
const lastWordTime = 25 * time.Millisecond

// dieSaying is die for a reset that only this node knows the reason of: a beat
// that says dying is left on the quorum disks, for whoever asks later what became
// of the node. It is no proof of anything: a reset may hang in the firmware. The
// node is dead before the first word is written, and a disk that does not take it
// at once is not waited for. The worker that calls it writes its own word itself.
func (g *Guard) dieSaying(why string, caller *worker) {
	if g.dead.Swap(true) {
		return
	}
	if !g.state.bound().IsZero() {
		g.lastWord(caller)
	}
	g.reset(why)
}

func (g *Guard) lastWord(caller *worker) {
	g.saying.Store(true)
	asked := 0
	g.each(func(w *worker) {
		if w != caller {
			poke(w.kick)
			asked++
		}
	})
	if caller != nil {
		caller.sayDying()
	}
	limit := time.NewTimer(lastWordTime)
	defer limit.Stop()
	for ; asked > 0; asked-- {
		select {
		case <-g.said:
		case <-limit.C:
			return
		}
	}
}

// sayDying writes the last word to this worker's disk, once. Whoever waits for it
// hears of the attempt, not of its success.
func (w *worker) sayDying() {
	if w.end.said {
		return
	}
	w.end.said = true
	defer poke(w.g.said)
	now, err := w.g.now()
	if err != nil || w.disk == nil {
		return
	}
	n, ok := w.g.state.dying(now, &w.on.beat, w.on.payload)
	if !ok || w.on.codec.SealBeat(w.on.sector, &w.on.beat, w.on.payload[:n]) != nil {
		return
	}
	_ = w.disk.Write(w.on.sector, w.on.codec.Layout().BeatOffset(w.g.deps.Node), lastWordTime) // best effort
}

// dying fills h and payload with the last word of the bound incarnation, and
// returns the payload's length; false while FREE.
func (s *state) dying(now ident.Instant, h *quorumdisk.BeatHeader, payload []byte) (int, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	*h = s.header()
	if h.Inc.IsZero() {
		return 0, false
	}
	h.State, h.Seq, h.Latency = cluster.GuardDying, uint64(now), s.latency
	return copy(payload, s.payload[:s.length]), true
}
