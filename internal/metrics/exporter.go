package metrics

import (
	"strconv"
	"strings"

	"github.com/holdfast-ha/holdfast/internal/api"
)

// exporter are the metrics of ha_cluster_exporter (its doc/metrics.md) whose meaning is
// the same here, for dashboards and rules that others have made: a service stands for
// a resource, and a link for a ring.
func exporter() []metric {
	return []metric{
		{"ha_cluster_pacemaker_nodes", "1 for each status that a node has: online, standby, standby_onfail (quarantined), maintenance, pending, unclean (being fenced), shutdown, expected_up, dc (the coordinator).", []string{"node", "status", "type"}, exportNodes},
		{"ha_cluster_pacemaker_resources", "1 for each status that a service has: active, failed, blocked (frozen), orphaned, failure_ignored.", []string{"agent", "clone", "group", "managed", "node", "resource", "role", "status"}, exportServices},
		{"ha_cluster_pacemaker_stonith_enabled", "1: nothing is taken over without a proof.", nil, func(_ *api.Status, add adder) { add(1) }},
		{"ha_cluster_corosync_quorate", "1 if this node has a lease: a majority of the quorum disks takes its beats.", nil, func(s *api.Status, add adder) { add(yes(held(s))) }},
		{"ha_cluster_corosync_rings", "1 if every node that is in is heard on a link.", []string{"ring_id", "node_id", "number", "address"}, func(s *api.Status, add adder) {
			rings(s, func(number int, address string, healthy bool) {
				add(yes(healthy), strconv.FormatUint(s.Cluster.Membership, 10), strconv.Itoa(s.Self.ID), strconv.Itoa(number), address)
			})
		}},
		{"ha_cluster_corosync_ring_errors", "0 if all links are like that, else how many are not.", nil, func(s *api.Status, add adder) {
			faulty := 0
			rings(s, func(_ int, _ string, healthy bool) { faulty += int(yes(!healthy)) })
			add(float64(faulty))
		}},
		{"ha_cluster_sbd_devices", "1 for the status that a quorum disk has: healthy or unhealthy.", []string{"device", "status"}, func(s *api.Status, add adder) {
			for i := range s.Disks {
				status := "healthy"
				if s.Disks[i].Error != "" {
					status = "unhealthy"
				}
				add(1, s.Disks[i].Path, status)
			}
		}},
	}
}

// held says that this node has a lease.
func held(s *api.Status) bool { return s.Self.Lease != nil && *s.Self.Lease > 0 }

func exportNodes(s *api.Status, add adder) {
	for i := range s.Nodes {
		n := &s.Nodes[i]
		for status, is := range map[string]bool{
			"online": n.Phase == "member" && !n.Fencing, "standby": n.Standby, "standby_onfail": n.Quarantine != nil,
			"maintenance": n.Maintenance != nil || s.Cluster.Maintenance != nil, "pending": n.Phase == "joining", "unclean": n.Fencing,
			"shutdown": n.Phase == "leaving", "expected_up": n.Phase != "out", "dc": n.Name == s.Cluster.Coordinator,
		} {
			add(yes(is), n.Name, status, "member")
		}
	}
}

func exportServices(s *api.Status, add adder) {
	roles := map[string]string{"running": "started", "partly running": "started", "starting": "starting", "stopping": "stopping"}
	for i := range s.Services {
		v := &s.Services[i]
		role, known := roles[v.State]
		if !known {
			role = "stopped"
		}
		managed := strconv.FormatBool(v.Maintenance == nil && s.Cluster.Maintenance == nil)
		for status, is := range map[string]bool{
			"active": v.State == "running" || v.State == "partly running", "failed": v.State == "broken", "blocked": v.Frozen, "orphaned": false, "failure_ignored": false,
		} {
			add(yes(is), "holdfast:service", "", "", managed, v.Node, v.Name, role, status)
		}
	}
}

// rings tells of every link, numbered from 0 on as corosync does.
func rings(s *api.Status, each func(number int, address string, healthy bool)) {
	healthy, local, most := map[int]bool{}, map[int]string{}, -1
	for i := range s.Links {
		l := &s.Links[i]
		up, seen := healthy[l.Index]
		healthy[l.Index] = l.Up && (up || !seen)
		local[l.Index], most = l.Local, max(most, l.Index)
	}
	for n := 0; n <= most; n++ {
		if up, seen := healthy[n]; seen {
			address := local[n]
			if at := strings.LastIndexByte(address, ':'); at > 0 {
				address = strings.Trim(address[:at], "[]")
			}
			each(n, address, up)
		}
	}
}
