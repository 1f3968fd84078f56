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
