// Package agenda is the order of everything that will happen in a simulated
// world: by time, and at one time in the order in which it was noted.
package agenda

import (
	"container/heap"
	"time"
)

// Agenda is what will happen. The zero value is empty.
type Agenda struct {
	queue queue
	seq   uint64
}

// Note has run called at an instant of the world's time.
func (a *Agenda) Note(at time.Duration, run func()) {
	a.seq++
	heap.Push(&a.queue, event{at, a.seq, run})
}

// Next takes what happens next, until end at the latest; ok is false if nothing does.
func (a *Agenda) Next(end time.Duration) (at time.Duration, run func(), ok bool) {
	if len(a.queue) == 0 || a.queue[0].at > end {
		return 0, nil, false
	}
	e := heap.Pop(&a.queue).(event)
	return e.at, e.run, true
}

type event struct {
	at  time.Duration
	seq uint64
	run func()
}

type queue []event

func (q queue) Len() int { return len(q) }

func (q queue) Less(i, j int) bool {
	return q[i].at < q[j].at || q[i].at == q[j].at && q[i].seq < q[j].seq
}

func (q queue) Swap(i, j int) { q[i], q[j] = q[j], q[i] }

func (q *queue) Push(x any) { *q = append(*q, x.(event)) }

func (q *queue) Pop() any {
	old := *q
	e := old[len(old)-1]
	*q = old[:len(old)-1]
	return e
}
