package ctl

import (
	"path/filepath"

	"github.com/holdfast-ha/holdfast/cluster/timing"
	"github.com/holdfast-ha/holdfast/internal/api"
	"github.com/holdfast-ha/holdfast/internal/ctl/doctor"
	"github.com/holdfast-ha/holdfast/internal/ctl/enrol"
)

// made is what init and join have made, for programs.
type made struct {
	Version   int              `json:"version"`
	Cluster   string           `json:"cluster"`
	ClusterID string           `json:"cluster_id"`
	Node      string           `json:"node"`
	ID        int              `json:"id"`
	Files     []string         `json:"files"` // that were written; the key among them is secret
	Disks     []madeDisk       `json:"disks"`
	Links     []string         `json:"links"`
	Power     string           `json:"power,omitempty"` // what the other nodes are told of this one's controller
	Times     madeTimes        `json:"times"`
	Better    []string         `json:"better"`   // what would make it faster or safer
	Findings  []doctor.Finding `json:"findings"` // of the doctor: to repair before the node has work
}

type madeDisk struct {
	Path string `json:"path"`
	UUID string `json:"uuid"`
}

// madeTimes are what was derived for this hardware.
type madeTimes struct {
	Within   api.Seconds    `json:"failover_within_seconds"`
	Lease    api.Seconds    `json:"lease_seconds"`
	Proof    api.Seconds    `json:"proof_seconds"` // silence that proves a death
	Expected []api.Expected `json:"expected"`
}

func (a *app) printMade(e *enrol.Enrolled) error {
	n, t := e.Node, e.Table
	m := made{
		Version: api.Version, Cluster: n.Cluster.Name, ClusterID: n.Cluster.ID.String(), Node: n.Name, ID: int(n.ID),
		Files: []string{a.Config, filepath.Join(filepath.Dir(a.Config), "guard.conf"), n.Key}, Disks: []madeDisk{}, Links: []string{}, Power: e.Switch,
		Times: madeTimes{Within: api.Of(t.B), Lease: api.Of(t.F), Proof: api.Of(t.W), Expected: []api.Expected{}}, Better: better(e), Findings: doctor.Found(n),
	}
	for _, d := range n.Disks {
		m.Disks = append(m.Disks, madeDisk{Path: d.Path, UUID: d.UUID.String()})
	}
	for _, l := range n.Links {
		m.Links = append(m.Links, l.String())
	}
	for _, x := range t.Expect(timing.Costs{}) {
		m.Times.Expected = append(m.Times.Expected, api.Expected{Proof: x.Proof, Known: x.Known, Typical: api.Of(x.Typ), Worst: api.Of(x.Worst), Why: x.Why})
	}
	return a.PrintJSON(&m)
}
