package screen_test

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/holdfast-ha/holdfast/internal/api"
	"github.com/holdfast-ha/holdfast/internal/ctl/screen"
)

func sec(s float64) *api.Seconds { v := api.Seconds(s); return &v }

// at is when the screens were taken.
func at() time.Time { return time.Date(2026, 11, 22, 12, 30, 15, 0, time.UTC) }

func healthy() *api.Status {
	dogs := []api.Watchdog{
		{Path: "/run/power.sock/alpha/softdog", Timeout: 2, Class: "qualified", Emulated: true},
		{Path: "/run/power.sock/alpha/hw", Timeout: 2, Class: "qualified", Emulated: true},
	}
	return &api.Status{
		Version: 1, Time: at(), Health: api.Healthy,
		Cluster: api.ClusterInfo{Name: "hospital", State: 41, Config: 3, Membership: 7, Coordinator: "alpha"},
		Self:    api.Self{Name: "alpha", ID: 1, Stage: "member", Emulated: true, Lease: sec(5.6), Holder: "process", Guard: "connected"},
		Nodes: []api.Node{
			{ID: 1, Name: "alpha", Phase: "member", Guard: "bound", DiskAge: sec(.3), Watchdog: "qualified", Services: []string{"orders", "reports"}},
			{ID: 2, Name: "beta", Phase: "member", Guard: "bound", DiskAge: sec(.8), NetAge: sec(.1), Watchdog: "qualified"},
			{ID: 3, Name: "gamma", Phase: "member", Guard: "bound", DiskAge: sec(.8), NetAge: sec(.1), Standby: true, Watchdog: "qualified"},
		},
		Services: []api.Service{
			{Name: "orders", State: "running", Node: "alpha", Term: 4, Why: "alpha is the node that it prefers most"},
			{Name: "reports", State: "running", Node: "alpha", Term: 2, Frozen: true},
			{Name: "archive", State: "stopped", Stopped: true, Why: "stopped by the admin"},
		},
		Disks: []api.Disk{{Path: "/dev/disk/by-id/wwn-0x600508b1001c3a2b4d5e6f7081920a1b", Age: sec(.2), Latency: .0012}},
		Links: []api.Link{
			{Index: 0, Peer: "beta", Local: "10.0.0.11:7320", Remote: "10.0.0.12:7320", Age: sec(.1), Up: true},
			{Index: 1, Peer: "beta", Local: "10.1.0.11:7320", Remote: "10.1.0.12:7320", Age: sec(.1), Up: true},
		},
		Watchdogs: dogs,
		Fencing: []api.Readiness{
			{Node: "beta", Ways: []api.Way{{Way: "bmc", State: "works", Age: sec(100)}, {Way: "disk", State: "works", Age: sec(.8)}}},
			{Node: "gamma", Ways: []api.Way{{Way: "fence_virsh", State: "works", Age: sec(220)}, {Way: "disk", State: "works", Age: sec(.8)}}},
		},
		Failover: api.Failover{Within: 10, Expected: []api.Expected{
			{Proof: "E1 released", Known: true, Typical: .025, Worst: .8},
			{Proof: "E2 newer incarnation", Why: "as soon as the node is back"},
			{Proof: "E3 time", Known: true, Typical: 8.9, Worst: 10},
			{Proof: "E5 reservation", Known: true, Typical: 2.6, Worst: 3.4},
		}, Last: &api.Measured{Service: "orders", From: "beta", To: "alpha", Proof: "E3 time", Granted: 9.1, Started: 9.9, Time: at().Add(-time.Hour)}},
	}
}

func fencing() *api.Status {
	s := healthy()
	s.Health = api.Critical
	s.Self.Emulated = false
	s.Self.Waiting = "a proof that beta has ended, to start orders"
	s.Nodes[1] = api.Node{
		ID: 2, Name: "beta", Phase: "member", DiskAge: sec(4.2), NetAge: sec(4.3), Fencing: true, NodeWait: api.NodeWait{Remaining: sec(4.8)},
		Watchdog: "qualified", Services: []string{"orders"}, Why: "its beat and its network were silent for 2.5 s",
	}
	s.Nodes[2] = api.Node{
		ID: 3, Name: "gamma", Phase: "out", Watchdog: "-",
		Proof: &api.Proof{Kind: "E4 power off", Node: "gamma", By: "alpha", Text: "two readings of Off, 1.1 s apart"},
	}
	s.Services[0] = api.Service{Name: "orders", State: "stopped", Node: "beta", Term: 4, Wanted: "alpha", Why: "its owner beta is being fenced; it starts on alpha as soon as beta is proven to have ended"}
	s.Links[1].Up, s.Links[1].Age, s.Links[1].Error = false, sec(4.3), "no route to host"
	s.Links[0].Up, s.Links[0].Age = false, sec(4.3)
	s.Disks = append(s.Disks, api.Disk{Path: "/dev/disk/by-id/wwn-0xdead", Error: "read: no answer within the deadline; the request is still in flight"})
	s.Failover.Last = nil
	s.Drills = &api.Drills{Last: []api.DrillRecord{
		{Kind: api.DrillMove, Time: at().Add(-49 * time.Hour), OK: true}, {Kind: api.DrillFence, Node: "beta", Time: at().Add(-40 * 24 * time.Hour)},
	}}
	s.Fencing[0].Ways[0] = api.Way{Way: "bmc", State: "unknown", Text: "10.0.0.12 does not answer", Age: sec(40)}
	s.Fencing[1].Ways[0].Age, s.Fencing[1].Ways[0].Stale = sec(3000), true
	s.Fencing[1].Ways[1] = api.Way{Way: "disk", State: "not checked yet"}
	s.Warnings = []string{"quorum disk 1 does not answer: quorum rests on the others", "all links to beta are down, while it was seen on the disk 4 s ago; that alone would fence nobody"}
	return s
}

// crowded has names and addresses as long as they come.
func crowded() *api.Status {
	s := healthy()
	long := "a-very-long-name-of-something-that-somebody-chose"
	for i := range s.Nodes {
		s.Nodes[i].Name, s.Nodes[i].Watchdog, s.Nodes[i].Services = long, "unqualified", []string{long, long}
	}
	for i := range s.Services {
		s.Services[i].Name, s.Services[i].Node, s.Services[i].Wanted = long, long, "another-"+long
	}
	for i := range s.Links {
		s.Links[i].Peer, s.Links[i].Local, s.Links[i].Remote = long, "[2001:db8:85a3:8d3:1319:8a2e:370:7348]:7320", "[2001:db8:85a3:8d3:1319:8a2e:370:7349]:7320"
	}
	return s
}

func booting() *api.Status {
	return &api.Status{
		Version: 1, Time: at(), Health: api.Critical,
		Cluster:  api.ClusterInfo{Name: "hospital"},
		Self:     api.Self{Name: "alpha", ID: 1, Stage: "reading the quorum disk", Waiting: "a majority of the quorum disks", Guard: "not connected: no such file"},
		Disks:    []api.Disk{{Path: "/dev/disk/by-id/wwn-0x6", Error: "open: no such device"}},
		Failover: api.Failover{Problem: "no watchdog is fed on this node: nothing would end it if it hung"},
	}
}

// TestStatus compares whole screens; go test -update writes them anew.
func TestStatus(t *testing.T) {
	since := map[string]time.Time{"orders": at().Add(-90 * time.Minute), "reports": at().Add(-50 * time.Hour)}
	for name, s := range map[string]*api.Status{"healthy": healthy(), "fencing": fencing(), "booting": booting(), "crowded": crowded()} {
		t.Run(name, func(t *testing.T) {
			var b bytes.Buffer
			if err := screen.Status(&b, s, screen.Look{Since: since}); err != nil {
				t.Fatal(err)
			}
			for i, line := range strings.Split(b.String(), "\n") {
				if n := utf8.RuneCountInString(line); n > screen.Width {
					t.Errorf("line %d has %d columns, at most %d fit: %s", i+1, n, screen.Width, line)
				}
				if strings.TrimRight(line, " ") != line {
					t.Errorf("line %d ends in blanks: %q", i+1, line)
				}
			}
			golden := filepath.Join("testdata", name+".txt")
			if flag.Lookup("update").Value.String() == "true" {
				if err := os.WriteFile(golden, b.Bytes(), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if got := b.String(); got != string(want) {
				t.Errorf("got\n%s\nwant\n%s", got, want)
			}
		})
	}
}

func TestMain(m *testing.M) {
	flag.Bool("update", false, "write the golden files anew")
	flag.Parse()
	os.Exit(m.Run())
}

func TestSeconds(t *testing.T) {
	for d, want := range map[time.Duration]string{
		-1: "never", 0: "0 s", 307 * time.Microsecond: "307 us", 25 * time.Millisecond: "25 ms", 2300 * time.Millisecond: "2.3 s",
		19204 * time.Millisecond: "19.2 s", 120 * time.Second: "120 s", 90 * time.Minute: "90 min", 5 * time.Hour: "5 h", 50 * time.Hour: "2 days",
	} {
		if got := screen.Seconds(d); got != want {
			t.Errorf("%v: %q, want %q", d, got, want)
		}
	}
}

func TestWrap(t *testing.T) {
	text := strings.Repeat("word ", 40)
	for i, line := range strings.Split(screen.Wrap(text, 20, "    "), "\n") {
		limit := screen.Width
		if i == 0 {
			limit = 20
		}
		if len(line) > limit {
			t.Errorf("line %d has %d columns, want at most %d", i, len(line), limit)
		}
	}
	if got := screen.Wrap("a b", 20, ""); got != "a b" {
		t.Errorf("%q", got)
	}
}
