package volume

import (
	"encoding/hex"
	"time"

	"github.com/holdfast-ha/holdfast/cluster"
	"github.com/holdfast-ha/holdfast/cluster/ident"
	"github.com/holdfast-ha/holdfast/quorumdisk"
)

// Report is what `holdfast disk show` tells of one disk: identities and words
// as text, sizes in bytes, times in seconds. Its JSON names are stable; new ones
// may be added.
type Report struct {
	Path     string       `json:"path"`
	Device   string       `json:"device"` // the device's own identity now
	Super    ReportSuper  `json:"superblock"`
	Notes    []string     `json:"notes,omitempty"`
	Watched  float64      `json:"watched_seconds"` // between the two looks; 0: one look
	Nodes    []ReportNode `json:"nodes"`           // those that ever wrote
	Damaged  []string     `json:"damaged,omitempty"`
	Newest   *ReportState `json:"state,omitempty"`
	StateErr string       `json:"state_error,omitempty"`
}

// ReportSuper is a superblock as text.
type ReportSuper struct {
	Format     int    `json:"format"`
	Cluster    string `json:"cluster"`
	Disk       string `json:"disk"`
	Index      int    `json:"index"`
	DiskGen    uint32 `json:"disk_generation"`
	SectorSize int    `json:"sector_size"`
	Nodes      int    `json:"room_for_nodes"`
	Size       int64  `json:"size"`
	Created    string `json:"created"`
	Device     string `json:"formatted_device"`
}

// ReportNode is what one node's regions show.
type ReportNode struct {
	Node       int      `json:"node"`
	Beating    *bool    `json:"beating,omitempty"` // nil: nobody looked twice
	State      string   `json:"guard_state,omitempty"`
	Phase      string   `json:"phase,omitempty"`
	Inc        string   `json:"incarnation,omitempty"`
	Host       string   `json:"host,omitempty"`
	Seq        uint64   `json:"seq,omitempty"`
	F          float64  `json:"lease_seconds,omitempty"`
	TMax       float64  `json:"watchdog_seconds,omitempty"`
	Committed  uint64   `json:"committed_version,omitempty"`
	Block      uint64   `json:"block_generation,omitempty"`
	Accepted   string   `json:"accepted_ballot,omitempty"`
	Version    uint64   `json:"accepted_version,omitempty"`
	BlobGen    uint64   `json:"blob_generation,omitempty"`
	Complaints []string `json:"errors,omitempty"`
}

// ReportState is the newest state on the disk, in short.
type ReportState struct {
	Version   uint64            `json:"version"`
	View      uint64            `json:"view"`
	ConfigRev uint64            `json:"configuration"`
	Members   map[string]string `json:"nodes"`    // name to phase
	Owners    map[string]string `json:"services"` // name to owner, or ""
}

// Report looks at the disk and, if first is an earlier look at it, says whose
// beats changed in the time between. It reads one body: that of the newest state.
func (v *Volume) Report(first *Snapshot, between, timeout time.Duration) (*Report, error) {
	s, err := v.Snapshot(timeout)
	if err != nil {
		return nil, err
	}
	info := v.disk.Info()
	r := &Report{Path: info.Path, Device: info.Identity.String(), Super: reportSuper(s.Super), Notes: s.Notes}
	var beating []bool
	if first != nil {
		beating, r.Watched = Beating(first, s), between.Seconds()
	}
	for i := range s.Beats {
		if n, wrote := reportNode(s, i); wrote {
			if beating != nil {
				n.Beating = &beating[i]
			}
			r.Nodes = append(r.Nodes, n)
		}
	}
	for _, e := range s.Headers.Bad {
		r.Damaged = append(r.Damaged, e.Error())
	}
	state, _, err := v.NewestState(timeout)
	if err != nil {
		r.StateErr = err.Error()
	}
	if state != nil {
		r.Newest = reportState(state)
	}
	return r, nil
}

func reportSuper(s quorumdisk.Superblock) ReportSuper {
	return ReportSuper{
		Format: int(s.Format), Cluster: s.Cluster.String(), Disk: s.Disk.String(), Index: int(s.Index), DiskGen: s.DiskGen,
		SectorSize: s.Layout.SectorSize, Nodes: s.Layout.Nmax, Size: s.Size, Created: s.Created.Format(time.RFC3339),
		Device: s.Identity.String(),
	}
}

// reportNode says what a node wrote; wrote is false if it never wrote anything.
func reportNode(s *Snapshot, i int) (n ReportNode, wrote bool) {
	seen := &s.Beats[i]
	n.Node = int(seen.Node)
	if seen.Err != "" {
		n.Complaints, wrote = append(n.Complaints, seen.Err), true
	}
	if b := seen.Beat; b != nil {
		wrote = true
		n.State, n.Phase, n.Inc, n.Host, n.Seq = b.State.String(), b.Payload.Phase.String(), incarnation(b.Inc), b.Host.String(), b.Seq
		n.F, n.TMax, n.Committed = b.Lease.F.Seconds(), b.Lease.TMax.Seconds(), b.Payload.Committed.Ver
	}
	if h, ok := s.Headers.Block(seen.Node); ok {
		wrote = true
		n.Block, n.Accepted, n.Version = h.Gen, h.Bal.String(), h.Ver
	}
	if e := s.BlobErrs[i]; e != nil {
		n.Complaints, wrote = append(n.Complaints, e.Error()), true
	}
	if b := s.Blobs[i]; b != nil {
		wrote = true
		n.BlobGen = b.Gen
	}
	return n, wrote
}

// incarnation is the number and the whole boot identity.
func incarnation(i ident.Incarnation) string {
	return i.String() + hex.EncodeToString(i.Boot[4:])
}

func reportState(s *cluster.State) *ReportState {
	r := &ReportState{Version: s.Ver, View: s.View, ConfigRev: s.ConfigRev, Members: map[string]string{}, Owners: map[string]string{}}
	for i := range s.Nodes {
		r.Members[s.Nodes[i].Name] = s.Nodes[i].Phase.String()
	}
	for i := range s.Services {
		g := &s.Services[i]
		r.Owners[g.Service] = ""
		if g.Owner != 0 {
			r.Owners[g.Service] = s.NameOf(g.Owner)
		}
	}
	return r
}
