package metrics

import (
	"strconv"

	"github.com/holdfast-ha/holdfast/internal/api"
)

// adder takes one value and the values of its labels.
type adder = func(v float64, labels ...string)

// table is every metric.
func table() []metric {
	var all []metric
	for _, part := range [][]metric{cluster(), nodes(), services(), disks(), fencing(), drills(), others(), exporter()} {
		all = append(all, part...)
	}
	return all
}

func cluster() []metric {
	return []metric{
		{"holdfast_info", "1; the version of the program, the cluster's name and this node's.", []string{"build", "cluster", "node"}, func(s *api.Status, add adder) {
			add(1, s.Self.Build, s.Cluster.Name, s.Self.Name)
		}},
		{"holdfast_health", "1 for the health that status exits with, 0 for the others.", []string{"health"}, func(s *api.Status, add adder) {
			oneOf(string(s.Health), []string{string(api.Healthy), string(api.Warning), string(api.Critical)}, add)
		}},
		{"holdfast_warnings", "Warnings that status shows.", nil, func(s *api.Status, add adder) { add(float64(len(s.Warnings))) }},
		{"holdfast_state_version", "Version of the register: grows by one with every commit.", nil, func(s *api.Status, add adder) { add(float64(s.Cluster.State)) }},
		{"holdfast_config_version", "Version of the configuration.", nil, func(s *api.Status, add adder) { add(float64(s.Cluster.Config)) }},
		{"holdfast_membership_version", "Version of the membership: grows by one with every node that comes or goes.", nil, func(s *api.Status, add adder) { add(float64(s.Cluster.Membership)) }},
		{"holdfast_coordinator", "1 if this node is the coordinator.", nil, func(s *api.Status, add adder) { add(yes(s.Cluster.Coordinator == s.Self.Name)) }},
		{"holdfast_lease_seconds", "How long this node's lease is still good.", nil, func(s *api.Status, add adder) { seconds(s.Self.Lease, add) }},
		{"holdfast_lease_length_seconds", "How long one beat makes it good.", nil, func(s *api.Status, add adder) { seconds(s.Self.LeaseLength, add) }},
		{"holdfast_quorate", "1 if this node has a lease: a majority of the quorum disks takes its beats.", nil, func(s *api.Status, add adder) { add(yes(held(s))) }},
		{"holdfast_protocol_version", "Version of the protocol that the cluster uses.", nil, func(s *api.Status, add adder) { add(float64(s.Cluster.Protocol)) }},
		{"holdfast_disk_set_version", "Version of the set of quorum disks: grows by one with every change.", nil, func(s *api.Status, add adder) { add(float64(s.DiskSet.Generation)) }},
		{"holdfast_cluster_maintenance", "1 if the whole cluster is in maintenance.", nil, func(s *api.Status, add adder) { add(yes(s.Cluster.Maintenance != nil)) }},
		{"holdfast_guard_connected", "1 if the daemon has its guard.", nil, func(s *api.Status, add adder) { add(yes(s.Self.Guard == "connected")) }},
	}
}

func nodes() []metric {
	return []metric{
		{"holdfast_node_phase", "1 for the phase that a node is in, 0 for the others.", []string{"node", "phase"}, func(s *api.Status, add adder) {
			for i := range s.Nodes {
				oneOf(s.Nodes[i].Phase, []string{"out", "joining", "member", "leaving"}, add, s.Nodes[i].Name)
			}
		}},
		{"holdfast_node_fencing", "1 while a node is being fenced.", []string{"node"}, func(s *api.Status, add adder) {
			for i := range s.Nodes {
				add(yes(s.Nodes[i].Fencing), s.Nodes[i].Name)
			}
		}},
		{"holdfast_node_standby", "1 if a node is on standby.", []string{"node"}, func(s *api.Status, add adder) {
			for i := range s.Nodes {
				add(yes(s.Nodes[i].Standby), s.Nodes[i].Name)
			}
		}},
		{"holdfast_node_maintenance", "1 if a node is in maintenance.", []string{"node"}, func(s *api.Status, add adder) {
			for i := range s.Nodes {
				add(yes(s.Nodes[i].Maintenance != nil), s.Nodes[i].Name)
			}
		}},
		{"holdfast_node_quarantined", "1 if a node runs nothing because it has failed too often.", []string{"node"}, func(s *api.Status, add adder) {
			for i := range s.Nodes {
				add(yes(s.Nodes[i].Quarantine != nil), s.Nodes[i].Name)
			}
		}},
		{"holdfast_node_disk_age_seconds", "Since a node's beat on the quorum disks changed last.", []string{"node"}, func(s *api.Status, add adder) {
			for i := range s.Nodes {
				seconds(s.Nodes[i].DiskAge, add, s.Nodes[i].Name)
			}
		}},
		{"holdfast_node_network_age_seconds", "Since a node was heard on any link.", []string{"node"}, func(s *api.Status, add adder) {
			for i := range s.Nodes {
				seconds(s.Nodes[i].NetAge, add, s.Nodes[i].Name)
			}
		}},
		{"holdfast_node_wait_seconds", "Silence of a node that proves its death.", []string{"node"}, func(s *api.Status, add adder) {
			for i := range s.Nodes {
				add(float64(s.Nodes[i].Wait), s.Nodes[i].Name)
			}
		}},
	}
}

func services() []metric {
	return []metric{
		{"holdfast_service_state", "1 for the state that a service is in, 0 for the others.", []string{"service", "state"}, func(s *api.Status, add adder) {
			for i := range s.Services {
				oneOf(s.Services[i].State, []string{"stopped", "starting", "running", "stopping", "broken", "partly running", "wrong settings", "unknown"}, add, s.Services[i].Name)
			}
		}},
		{"holdfast_service_owner", "1 for the node that owns a service.", []string{"service", "node"}, func(s *api.Status, add adder) {
			for i := range s.Services {
				if s.Services[i].Node != "" {
					add(1, s.Services[i].Name, s.Services[i].Node)
				}
			}
		}},
		{"holdfast_service_term", "Number of the grant by which a service runs: grows with every move and takeover.", []string{"service"}, func(s *api.Status, add adder) {
			for i := range s.Services {
				add(float64(s.Services[i].Term), s.Services[i].Name)
			}
		}},
		{"holdfast_service_wanted", "1 if a service should run: nobody has stopped it.", []string{"service"}, func(s *api.Status, add adder) {
			for i := range s.Services {
				add(yes(!s.Services[i].Stopped && !s.Cluster.Stopped), s.Services[i].Name)
			}
		}},
		{"holdfast_service_frozen", "1 if a service is frozen.", []string{"service"}, func(s *api.Status, add adder) {
			for i := range s.Services {
				add(yes(s.Services[i].Frozen), s.Services[i].Name)
			}
		}},
		{"holdfast_service_maintenance", "1 if a service is in maintenance of its own.", []string{"service"}, func(s *api.Status, add adder) {
			for i := range s.Services {
				add(yes(s.Services[i].Maintenance != nil), s.Services[i].Name)
			}
		}},
	}
}

func disks() []metric {
	return []metric{
		{"holdfast_disk_up", "1 if a quorum disk answers this node.", []string{"disk", "path"}, func(s *api.Status, add adder) {
			for i := range s.Disks {
				add(yes(s.Disks[i].Error == ""), diskLabels(&s.Disks[i])...)
			}
		}},
		{"holdfast_disk_age_seconds", "Since this node's last good read of a quorum disk.", []string{"disk", "path"}, func(s *api.Status, add adder) {
			for i := range s.Disks {
				seconds(s.Disks[i].Age, add, diskLabels(&s.Disks[i])...)
			}
		}},
		{"holdfast_disk_latency_seconds", "What this node's last beat on a quorum disk took.", []string{"disk", "path"}, func(s *api.Status, add adder) {
			for i := range s.Disks {
				add(float64(s.Disks[i].Latency), diskLabels(&s.Disks[i])...)
			}
		}},
	}
}

func fencing() []metric {
	return []metric{
		{"holdfast_fencing_way_works", "1 if a way to fence a node worked at its latest check, which is not stale. A way that was not checked yet, as those of the node itself, has no value.", []string{"node", "way"}, func(s *api.Status, add adder) {
			ways(s, func(node string, w *api.Way) {
				if w.State == "not checked yet" {
					return // unknown, which is not broken
				}
				add(yes(!w.Stale && (w.State == "works" || w.State == "always there")), node, w.Way)
			})
		}},
		{"holdfast_fencing_way_age_seconds", "Since the latest check of a way to fence a node.", []string{"node", "way"}, func(s *api.Status, add adder) {
			ways(s, func(node string, w *api.Way) { seconds(w.Age, add, node, w.Way) })
		}},
		{"holdfast_fencing_took_seconds", "How long the latest check of a way took, or the latest attempt to fence by it.", []string{"node", "way"}, func(s *api.Status, add adder) {
			ways(s, func(node string, w *api.Way) { seconds(w.Took, add, node, w.Way) })
		}},
		{"holdfast_fencing_attempts_total", "Attempts to fence by a way, by what they have shown, of this node since its daemon began.", []string{"node", "way", "outcome"}, func(s *api.Status, add adder) {
			ways(s, func(node string, w *api.Way) {
				if w.Tried != nil {
					add(float64(w.Tried.Proven), node, w.Way, "proven")
					add(float64(w.Tried.Failed), node, w.Way, "failed")
					add(float64(w.Tried.Unknown), node, w.Way, "unknown")
				}
			})
		}},
		{"holdfast_failover_within_seconds", "What the administrator has chosen.", nil, func(s *api.Status, add adder) { add(float64(s.Failover.Within)) }},
		{"holdfast_failover_expected_seconds", "From a fault to the permission to start elsewhere, by proof; typical and worst.", []string{"proof", "case"}, func(s *api.Status, add adder) {
			for _, e := range s.Failover.Expected {
				if e.Known {
					add(float64(e.Typical), e.Proof, "typical")
					add(float64(e.Worst), e.Proof, "worst")
				}
			}
		}},
		{"holdfast_failover_last_granted_seconds", "Of the latest takeover: from the last beat to the permission to start.", []string{"service", "from", "to", "proof"}, func(s *api.Status, add adder) {
			if l := s.Failover.Last; l != nil {
				add(float64(l.Granted), l.Service, l.From, l.To, l.Proof)
			}
		}},
		{"holdfast_failover_last_time_seconds", "When the latest takeover was, in seconds since 1970.", nil, func(s *api.Status, add adder) {
			if l := s.Failover.Last; l != nil {
				add(float64(l.Time.UnixNano()) / 1e9)
			}
		}},
	}
}

func ways(s *api.Status, each func(node string, w *api.Way)) {
	for i := range s.Fencing {
		for k := range s.Fencing[i].Ways {
			each(s.Fencing[i].Node, &s.Fencing[i].Ways[k])
		}
	}
}

func others() []metric {
	return []metric{
		{"holdfast_link_up", "1 if a peer is heard on a link.", []string{"link", "peer"}, func(s *api.Status, add adder) {
			for i := range s.Links {
				add(yes(s.Links[i].Up), strconv.Itoa(s.Links[i].Index+1), s.Links[i].Peer)
			}
		}},
		{"holdfast_link_age_seconds", "Since something arrived from a peer on a link.", []string{"link", "peer"}, func(s *api.Status, add adder) {
			for i := range s.Links {
				seconds(s.Links[i].Age, add, strconv.Itoa(s.Links[i].Index+1), s.Links[i].Peer)
			}
		}},
		{"holdfast_link_messages_total", "Messages of a peer's present life on a link, by what became of them: received, missed (it has sent them, they did not arrive), or unsent (of this node's own).", []string{"link", "peer", "fate"}, func(s *api.Status, add adder) {
			for i := range s.Links {
				l, number := &s.Links[i], strconv.Itoa(s.Links[i].Index+1)
				add(float64(l.Received), number, l.Peer, "received")
				add(float64(l.Missed), number, l.Peer, "missed")
				add(float64(l.Unsent), number, l.Peer, "unsent")
			}
		}},
		{"holdfast_watchdog_timeout_seconds", "Timeout of a watchdog that this node feeds, as read back.", []string{"device", "class"}, func(s *api.Status, add adder) {
			for i := range s.Watchdogs {
				add(float64(s.Watchdogs[i].Timeout), s.Watchdogs[i].Path, s.Watchdogs[i].Class)
			}
		}},
		{"holdfast_watchdog_reset_seconds", "How long a watchdog takes at most to reset this node, from the last feed.", []string{"device", "class"}, func(s *api.Status, add adder) {
			for i := range s.Watchdogs {
				add(float64(s.Watchdogs[i].TMax), s.Watchdogs[i].Path, s.Watchdogs[i].Class)
			}
		}},
	}
}
