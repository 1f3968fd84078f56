package diskcmd

import (
	"fmt"
	"time"

	"github.com/holdfast-ha/holdfast/cluster"
	"github.com/holdfast-ha/holdfast/cluster/ident"
	"github.com/holdfast-ha/holdfast/internal/ctl/screen"
	"github.com/holdfast-ha/holdfast/quorumdisk"
)

// behind is how much older than elsewhere a beat may be on one disk: far more
// than a slow disk makes it, far less than a copy of yesterday.
const behind = 30 * time.Second

// earlierLife is the lag of a beat of an earlier incarnation, which has another
// clock.
const earlierLife = time.Duration(1<<63 - 1)

// compare looks for what no disk shows alone: clones, exchanged LUNs, a disk of
// another cluster, one that was replaced, and one that shows the past.
func compare(seen []*sight) []finding {
	var found []finding
	for i, s := range seen {
		add := func(where string, off int64, remedy, format string, args ...any) {
			found = append(found, finding{s.path, true, where, off, fmt.Sprintf(format, args...), remedy})
		}
		const at = quorumdisk.SuperOffset
		if id := quorumdisk.Recorded(s.device); id != s.super.Identity && s.super.Identity.Kind != "dev" {
			add("superblock A", at, "holdfast disk adopt-clone "+s.path+", if it shall take that one's place", "it is not the device that was formatted, but perhaps a clone or snapshot of it: formatted was %v, this is %v", s.super.Identity, id)
		}
		if s.want != [16]byte{} && s.want != s.super.Disk {
			add("superblock A", at, whereIs(seen, s.want), "node.yaml has quorum disk %v here, but it is %v", ident.UUID(s.want), s.super.Disk)
		}
		for _, o := range seen[:i] {
			switch {
			case o.super.Cluster != s.super.Cluster:
				add("superblock A", at, "name the disks of one cluster", "it is of cluster %v, and %s of %v", s.super.Cluster, o.path, o.super.Cluster)
			case o.super.Disk == s.super.Disk && o.device == s.device:
				add("superblock A", at, "give each disk once", "it is the same device as %s", o.path)
			case o.super.Disk == s.super.Disk:
				add("superblock A", at, "take the copy away from every host: two disks with one identity are two quorums", "%s carries the same quorum disk %v on another device: one of them is a clone", o.path, s.super.Disk)
			case o.super.Index == s.super.Index:
				add("superblock A", at, "one of them was replaced: see holdfast status for the set in use", "%s has the same place in the set, number %d", o.path, s.super.Index)
			}
		}
	}
	return append(found, compareStates(seen)...)
}

// whereIs says where the disk is that should stand elsewhere.
func whereIs(seen []*sight, id [16]byte) string {
	for _, s := range seen {
		if s.super.Disk == id {
			return "that one is at " + s.path + ": the LUNs were exchanged; use names of /dev/disk/by-id in node.yaml"
		}
	}
	return "check the path in node.yaml, and what the array maps there"
}

// compareStates looks at what the disks of one cluster hold.
func compareStates(seen []*sight) []finding {
	var found []finding
	newest := newestOf(seen)
	if newest == nil {
		return nil
	}
	for _, s := range seen {
		if s.super.Cluster != newest.super.Cluster || s.snapshot == nil {
			continue
		}
		if member, known := newest.member(s.super.Disk); known && !member {
			found = append(found, finding{
				s.path, true, "superblock A", quorumdisk.SuperOffset,
				fmt.Sprintf("disk %v is not in the cluster's set (generation %d, from version %d on %s): it was replaced, or never taken in", s.super.Disk, newest.diskGen, newest.state.Version, newest.path),
				"holdfast disk wipe " + s.path + ", if nobody needs it",
			})
			continue
		}
		version := uint64(0)
		if s.state != nil {
			version = s.state.Version
		}
		if version < newest.state.Version {
			found = append(found, finding{
				s.path, false, "register headers", quorumdisk.HeadersOffset,
				fmt.Sprintf("the newest state here is version %d, and %s has %d", version, newest.path, newest.state.Version),
				"harmless where a majority has the newer one: the next change is written here too",
			})
		}
		found = append(found, past(s, seen)...)
	}
	return found
}

func newestOf(seen []*sight) *sight {
	var newest *sight
	for _, s := range seen {
		if s.state != nil && (newest == nil || s.state.Version > newest.state.Version) {
			newest = s
		}
	}
	return newest
}

// past looks for nodes whose beat here is of the past: each cycle of a node
// writes to all disks, in one incarnation with a sequence that only rises.
func past(s *sight, seen []*sight) []finding {
	for i := range s.snapshot.Beats {
		here := s.snapshot.Beats[i].Beat
		for _, o := range seen {
			if o == s || o.snapshot == nil || o.super.Cluster != s.super.Cluster || i >= len(o.snapshot.Beats) {
				continue
			}
			there := o.snapshot.Beats[i].Beat
			if late := lag(here, there); late > behind {
				older := screen.Seconds(late) + " older than"
				if late == earlierLife {
					older = "of an earlier life of that node than"
				}
				return []finding{{
					s.path, true, "beats", s.super.Layout.BeatOffset(ident.NodeID(i + 1)),
					fmt.Sprintf("the beat of node %d is %s on %s: the disk does not take this node's writes, or shows an old copy of itself", i+1, older, o.path),
					"look at the paths to it and at the array: was a snapshot restored? until then it counts as failed",
				}}
			}
		}
	}
	return nil
}

// lag is how much older a beat is than another of the same node; zero where that
// cannot be told.
func lag(here, there *cluster.Beat) time.Duration {
	switch {
	case there == nil:
		return 0
	case here == nil:
		return 0 // a disk that came in later has none yet
	case here.Inc.N < there.Inc.N:
		return earlierLife
	case here.Inc != there.Inc || here.Seq >= there.Seq:
		return 0
	}
	return time.Duration(there.Seq - here.Seq)
}
