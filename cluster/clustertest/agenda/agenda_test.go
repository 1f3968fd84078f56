package agenda_test

import (
	"slices"
	"testing"
	"time"

	"github.com/holdfast-ha/holdfast/cluster/clustertest/agenda"
)

func TestOrder(t *testing.T) {
	var a agenda.Agenda
	var got []int
	for i, at := range []time.Duration{3, 1, 2, 1, 3, 9} {
		a.Note(at, func() { got = append(got, i) })
	}
	for {
		_, run, ok := a.Next(5)
		if !ok {
			break
		}
		run()
	}
	if want := []int{1, 3, 2, 0, 4}; !slices.Equal(got, want) {
		t.Errorf("order %v, want %v: by time, then as noted, and nothing after the end", got, want)
	}
}

func TestPending(t *testing.T) {
	var p agenda.Pending
	var got []int
	first := p.Add(func() { got = append(got, 1) })
	second := p.Add(func() { got = append(got, 2) })
	third := p.Add(func() { got = append(got, 3) })
	first()
	ends := false
	p.Settle(func() bool { ends = !ends; return ends })
	first()
	second()
	third()
	if want := []int{1, 2}; !slices.Equal(got, want) {
		t.Errorf("ended: %v, want %v: each once, and not after it was settled", got, want)
	}
}
