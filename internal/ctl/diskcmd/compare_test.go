package diskcmd

import (
	"strings"
	"testing"
	"time"

	"github.com/holdfast-ha/holdfast/cluster"
	"github.com/holdfast-ha/holdfast/cluster/ident"
	"github.com/holdfast-ha/holdfast/quorumdisk"
	"github.com/holdfast-ha/holdfast/quorumdisk/volume"
	"github.com/holdfast-ha/holdfast/storage"
)

// healthy is a set of three disks of one cluster, with one node on them.
func healthy() []*sight {
	set := [][16]byte{{1}, {2}, {3}}
	var seen []*sight
	for i, name := range []string{"a", "b", "c"} {
		id := storage.Identity{Kind: "naa", Value: name}
		s := &sight{
			path: name, device: id, want: set[i], diskGen: 1,
			super: quorumdisk.Superblock{
				Cluster: ident.UUID{9}, Disk: set[i], Index: uint8(i), DiskGen: 1, Identity: id,
				Layout: quorumdisk.Layout{SectorSize: 512, Nmax: 4},
			},
			state: &volume.ReportState{Version: 57},
			member: func(id [16]byte) (bool, bool) {
				return id == set[0] || id == set[1] || id == set[2], true
			},
			snapshot: &volume.Snapshot{Beats: make([]cluster.SeenBeat, 4)},
		}
		s.snapshot.Beats[1].Beat = &cluster.Beat{Node: 2, Inc: ident.Incarnation{N: 3}, Seq: uint64(time.Hour)}
		seen = append(seen, s)
	}
	return seen
}

// TestCompare: each thing that no disk shows alone is found on the disk that has
// it, and a healthy set has none.
func TestCompare(t *testing.T) {
	for _, c := range []struct {
		name    string
		spoil   func(seen []*sight)
		path    string // of the finding; empty: none
		serious bool
		want    string
	}{
		{"healthy", func([]*sight) {}, "", false, ""},
		{"slow disk", func(s []*sight) { s[1].snapshot.Beats[1].Beat.Seq -= uint64(5 * time.Second) }, "", false, ""},
		{"node gone from one disk", func(s []*sight) { s[1].snapshot.Beats[1].Beat = nil }, "", false, ""},
		{"rolled back within a life", func(s []*sight) { s[1].snapshot.Beats[1].Beat.Seq -= uint64(10 * time.Minute) }, "b", true, "beat of node 2 is 10 min older"},
		{"rolled back before a life", func(s []*sight) { s[2].snapshot.Beats[1].Beat.Inc.N-- }, "c", true, "shows an old copy"},
		{"behind", func(s []*sight) { s[1].state.Version = 41 }, "b", false, "version 41, and a has 57"},
		{"foreign", func(s []*sight) { s[2].super.Cluster = ident.UUID{8}; s[2].state = nil }, "c", true, "of cluster"},
		{"clone in place", func(s []*sight) { s[1].device.Value = "other" }, "b", true, "not the device that was formatted"},
		{"same device twice", func(s []*sight) { *s[1] = *s[0]; s[1].path = "again" }, "again", true, "same device as a"},
		{"replaced", func(s []*sight) { s[2].super.Disk, s[2].want = [16]byte{7}, [16]byte{7} }, "c", true, "not in the cluster's set"},
		{"wrong disk", func(s []*sight) { s[2].want = [16]byte{7} }, "c", true, "node.yaml has quorum disk"},
	} {
		t.Run(c.name, func(t *testing.T) {
			seen := healthy()
			c.spoil(seen)
			found := compare(seen)
			if c.path == "" {
				if len(found) > 0 {
					t.Errorf("found %+v", found)
				}
				return
			}
			hit := false
			for _, f := range found {
				hit = hit || f.Path == c.path && f.Serious == c.serious && strings.Contains(f.Error, c.want) && f.Remedy != ""
			}
			if !hit {
				t.Errorf("found %+v, want %q on %s", found, c.want, c.path)
			}
		})
	}
}

// TestGauge: age and silence are counted from the read that showed the last
// change, with this host's clock.
func TestGauge(t *testing.T) {
	var g gauge
	start := time.Unix(1000, 0)
	beat := func(seq uint64) []cluster.SeenBeat {
		return []cluster.SeenBeat{{Node: 1, Sector: make([]byte, 8)}, {Node: 2, Sector: []byte{byte(seq)}, Beat: &cluster.Beat{Seq: seq}}}
	}
	for i, seq := range []uint64{1, 2, 2, 2, 3} {
		g.look(beat(seq), time.Duration(1+i)*time.Millisecond, start.Add(time.Duration(i)*time.Second))
	}
	if len(g.Slots) != 1 || g.Reads != 5 {
		t.Fatalf("%+v", g)
	}
	if s := g.Slots[0]; s.Node != 2 || s.Seq != 3 || s.Changes != 2 || s.Age != 0 || s.Longest != 2 {
		t.Errorf("%+v", s)
	}
	if got := g.histogram(); got != "<=1 ms: 1  <=2 ms: 1  <=4 ms: 2  <=8 ms: 1" {
		t.Errorf("histogram %q", got)
	}
	var b strings.Builder
	g.asked = start
	g.text(&b, start.Add(12*time.Second))
	if !strings.Contains(b.String(), "NO ANSWER for 12 s") {
		t.Errorf("a disk that hangs: %s", b.String())
	}
}
