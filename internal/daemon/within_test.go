package daemon

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-ha/holdfast/cluster"
	"github.com/holdfast-ha/holdfast/internal/api"
)

// promised is what this node's beat on the disk promises now.
func (r *rig) promised() *cluster.Beat {
	r.t.Helper()
	v := r.volume()
	l := v.Layout()
	table := make([]byte, l.TableSize())
	must(r.t, v.ReadTable(table, time.Second))
	b, err := v.Codec().OpenBeat(l.Beat(table, 1), 1)
	must(r.t, err)
	return b
}

// within applies another failover_within.
func (l *life) within(t *testing.T, seconds int) error {
	t.Helper()
	s, err := l.Status(t.Context())
	must(t, err)
	text := strings.Replace(firstConfig, "failover_within: 10s", fmt.Sprintf("failover_within: %ds", seconds), 1)
	_, err = l.Apply(t.Context(), api.ApplyRequest{Config: text, Expect: s.Cluster.Config})
	return err
}

// TestFailoverWithinChangesLive changes failover_within under a running service: a
// real guard promises the new lease on the disk, in the same incarnation, and
// nothing is stopped, started or fed less for it. A restarted daemon finds the
// promise that its guard has kept, and can change it again.
func TestFailoverWithinChangesLive(t *testing.T) {
	r := newRig(t)
	r.guard()
	first := r.begin()
	before := first.runs(t)
	short := r.promised().Lease.F
	if err := first.within(t, 2); err == nil || !strings.Contains(err.Error(), "failover_within 2 s is refused") || !strings.Contains(err.Error(), "smallest") {
		t.Errorf("2 s, which no node can promise: %v", err)
	}

	must(t, first.within(t, 20))
	waitFor(t, "the beat on the disk to promise the longer lease", func() bool { return r.promised().Lease.F > short })
	long := r.promised().Lease.F
	waitFor(t, "the node to live by it", func() bool {
		s, err := first.Status(t.Context())
		must(t, err)
		return s.Failover.Within == 20 && s.Self.Lease != nil && s.Self.Lease.Duration() > short
	})
	first.stop()
	if err := <-first.ended; err != nil {
		t.Fatal(err)
	}

	second := r.begin()
	after := second.runs(t)
	if f := r.promised().Lease.F; f != long || after.Failover.Within != 20 {
		t.Errorf("after a restart the beat promises %s (%v s are configured), want %s", f, after.Failover.Within, long)
	}
	must(t, second.within(t, 10))
	waitFor(t, "the beat to promise the shorter lease again", func() bool { return r.promised().Lease.F == short })
	waitFor(t, "the status to say so", func() bool {
		s, err := second.Status(t.Context())
		must(t, err)
		return s.Failover.Within == 10 && s.Failover.Problem == ""
	})
	if b := r.promised(); b.Inc.String() != before.Self.Incarnation {
		t.Errorf("incarnation %s, was %s", b.Inc, before.Self.Incarnation)
	}
	if calls := strings.Join(r.runner.calls, ", "); calls != "start orders" {
		t.Errorf("the service was touched: %s", calls)
	}
}
