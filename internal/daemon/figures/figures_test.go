package figures

import (
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/holdfast-ha/holdfast/cluster"
	"github.com/holdfast-ha/holdfast/cluster/ident"
	"github.com/holdfast-ha/holdfast/cluster/register"
)

// count is a recorder that counts what it is told.
type count struct{ steps, looks int }

func (c *count) Step(ident.Instant, cluster.Event, []cluster.Action) { c.steps++ }
func (c *count) Looked(ident.Instant)                                { c.looks++ }

func at(seconds float64) ident.Instant { return ident.Instant(seconds * float64(time.Second)) }

// scrape is the text of all that was counted.
func scrape(f *Figures) string {
	r := prometheus.NewRegistry()
	r.MustRegister(f)
	w := httptest.NewRecorder()
	promhttp.HandlerFor(r, promhttp.HandlerOpts{}).ServeHTTP(w, httptest.NewRequest("GET", "/", nil))
	return w.Body.String()
}

// TestFigures: a story of a takeover, with everything that there is to count.
func TestFigures(t *testing.T) {
	next := &count{}
	f := New(next)
	own, peer := ident.Incarnation{N: 1}, ident.Incarnation{N: 2}
	table := func(disk int, issued float64, seq uint64, err string) cluster.Table {
		return cluster.Table{
			Disk: disk, Wrote: err == "", Inc: own, Issued: at(issued), ReadIssued: at(issued + .002), Completed: at(issued + .003), Err: err,
			Beats: []cluster.SeenBeat{{Node: 1, Beat: &cluster.Beat{Inc: own, Seq: seq}}, {Node: 2, Beat: &cluster.Beat{Inc: peer, Seq: seq}}, {Node: 3}},
		}
	}
	steps := []struct {
		now     float64
		ev      cluster.Event
		actions []cluster.Action
	}{
		{1, table(0, 1, 5, ""), nil},
		{1.1, table(0, 1.1, 5, ""), nil}, // the same beat of the peer
		{1.4, table(0, 1.4, 6, ""), nil},
		{1.5, table(1, 1.5, 6, "input/output error"), nil},
		{2, cluster.Received{Link: 1, Msg: &cluster.Message{From: 2, Inc: peer}}, nil},
		{2.25, cluster.Received{Link: 1, Msg: &cluster.Message{From: 2, Inc: peer}}, nil},
		{2.3, cluster.Received{Link: 0, From: 3, Unread: "newer"}, nil},
		{10, cluster.Tick{}, []cluster.Action{
			cluster.Note{Kind: cluster.NoteLastBeat, Node: 2, At: at(8)},
			cluster.RegisterOp{Op: register.Op[*cluster.State]{Kind: register.Write, Disk: 0, Seq: 1}},
			cluster.Fence{Op: 7, Kind: cluster.FenceOff, Way: cluster.Way{Kind: cluster.WayBMC}},
		}},
		{10.004, cluster.RegisterWrote{Disk: 0, Seq: 1, OK: true}, nil},
		{10.005, cluster.RegisterBody{Disk: 0}, nil}, // nobody has asked
		{11, cluster.FenceDone{Op: 7, Outcome: cluster.FenceProven}, []cluster.Action{
			cluster.Note{Kind: cluster.NoteGrant, Node: 1, Service: "orders", Term: 4, Proof: cluster.ProofTime},
			cluster.Note{Kind: cluster.NoteGrant, Node: 1, Service: "moved", Term: 2, Proof: cluster.ProofReleased},
			cluster.Run{Op: 9, Kind: cluster.RunStart, Service: &cluster.Service{Name: "orders"}, Term: 4},
		}},
		{13, cluster.RunDone{Op: 9, Outcome: cluster.OK}, []cluster.Action{cluster.Note{Kind: cluster.NoteStarted, Service: "orders", Term: 4}}},
		{13, cluster.RunDone{Op: 9, Outcome: cluster.OK}, []cluster.Action{cluster.Note{Kind: cluster.NoteStarted, Service: "orders", Term: 4}}}, // twice is once
		{2000, cluster.Tick{}, []cluster.Action{cluster.Note{Kind: cluster.NoteGrant, Node: 1, Service: "later", Term: 1, Proof: cluster.ProofTime}}},
		{2001, cluster.Tick{}, []cluster.Action{cluster.Note{Kind: cluster.NoteJoined, Node: 2}}},
		{2002, cluster.Tick{}, []cluster.Action{cluster.Note{Kind: cluster.NoteGrant, Node: 1, Service: "back", Term: 1, Proof: cluster.ProofTime}}},
	}
	for _, s := range steps {
		f.Step(at(s.now), s.ev, s.actions)
	}
	f.Looked(at(2003))
	for _, ver := range []uint64{40, 41, 41, 43} {
		f.Committed(ver)
	}
	if next.steps != len(steps) || next.looks != 1 {
		t.Errorf("%d steps and %d looks were passed on", next.steps, next.looks)
	}
	text, proof := scrape(f), cluster.ProofTime.String()
	for _, want := range []string{
		`holdfast_disk_beat_seconds_count{disk="1"} 3`, `holdfast_disk_beat_seconds_bucket{disk="1",le="0.005"} 3`, `holdfast_disk_read_seconds_bucket{disk="1",le="0.001"} 3`,
		`holdfast_disk_failures_total{disk="2",request="beat"} 1`,
		`holdfast_beat_gap_seconds_count{over="disk 1"} 1`, `holdfast_beat_gap_seconds_bucket{over="disk 1",le="0.3"} 0`, `holdfast_beat_gap_seconds_bucket{over="disk 1",le="0.5"} 1`,
		`holdfast_beat_gap_seconds_sum{over="link 2"} 0.25`, `holdfast_register_seconds_count{disk="1",request="write"} 1`,
		`holdfast_fence_seconds_sum{attempt="off",outcome="proven",way="bmc"} 1`,
		`holdfast_failover_granted_seconds_sum{proof="` + proof + `"} 3`, `holdfast_failover_granted_seconds_count{proof="` + proof + `"} 1`,
		`holdfast_failover_started_seconds_sum{proof="` + proof + `"} 5`, `holdfast_failover_started_seconds_count{proof="` + proof + `"} 1`,
		`holdfast_operations_total{operation="start",outcome="ok",service="orders"} 1`, `holdfast_operation_last_seconds{operation="start",service="orders"} 2`,
		`holdfast_register_commits_total 3`,
	} {
		if !strings.Contains(text, want+"\n") {
			t.Errorf("no %s", want)
		}
	}
	for _, not := range []string{`request="body"`, `over="link 1"`} {
		if strings.Contains(text, not) {
			t.Errorf("there is %s", not)
		}
	}
	if t.Failed() {
		t.Log(text)
	}
}
