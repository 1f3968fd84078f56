package api

import (
	"context"
	"time"
)

// The kinds of drills.
const (
	DrillKillNode    = "kill-node"    // a node is reset, as where its power fails
	DrillFreezeNode  = "freeze-node"  // its guard and its daemon execute nothing; its watchdogs reset it
	DrillCutNetwork  = "cut-network"  // what nodes say to each other is dropped on one node, for a while
	DrillCutDisk     = "cut-disk"     // one node reaches no quorum disk, for a while
	DrillFailService = "fail-service" // one check of a service says that it has failed
	DrillFence       = "fence"        // the ways to fence a node are tried, without a takeover
	DrillMove        = "move"         // a service is moved, and back
)

// DrillKinds are all kinds of drills, in the order in which they are shown.
func DrillKinds() []string {
	return []string{DrillKillNode, DrillFreezeNode, DrillCutNetwork, DrillCutDisk, DrillFailService, DrillFence, DrillMove}
}

// DrillStart begins what a drill breaks: POST /v1/drills. Whether the cluster can
// survive it was asked before (Simulate); what is asked here again is whether the
// node is well and no other drill is under way on it.
type DrillStart struct {
	Kind    string  `json:"kind"`              // all but fence and move, which break nothing
	Node    string  `json:"node"`              // on which it happens
	Service string  `json:"service,omitempty"` // of fail-service
	For     Seconds `json:"for_seconds,omitempty"`
}

// DrillRun is a drill that is under way on a node.
type DrillRun struct {
	Kind    string    `json:"kind"`
	Node    string    `json:"node"`
	Service string    `json:"service,omitempty"`
	Ends    time.Time `json:"ends"` // by then everything is as before, whatever becomes of the drill
	Text    string    `json:"text,omitempty"`
}

// DrillRecord is what came of a drill: POST /v1/drills/record keeps it.
type DrillRecord struct {
	Kind      string    `json:"kind"`
	Node      string    `json:"node,omitempty"`
	Service   string    `json:"service,omitempty"`
	Way       string    `json:"way,omitempty"` // of a fence
	Time      time.Time `json:"time"`          // when it began
	By        string    `json:"by"`            // the node on which it was run
	OK        bool      `json:"ok"`
	Text      string    `json:"text"` // the verdict
	Predicted *Seconds  `json:"predicted_seconds,omitempty"`
	Measured  *Seconds  `json:"measured_seconds,omitempty"`
	Bound     *Seconds  `json:"bound_seconds,omitempty"` // by how much the two may differ
}

// Drills is what a node knows of drills: its own, and what others have told it.
type Drills struct {
	Version int           `json:"version"`
	Running *DrillRun     `json:"running,omitempty"`       // on this node
	Last    []DrillRecord `json:"last"`                    // of each kind, node, service and way, the newest first
	Every   Seconds       `json:"every_seconds,omitempty"` // how often each kind is wanted, as configured; 0: not said
	Overdue []string      `json:"overdue,omitempty"`       // kinds
}

// Latest is the newest record of a kind; nil: there is none.
func (d *Drills) Latest(kind string) *DrillRecord {
	for i := range d.Last {
		if d.Last[i].Kind == kind {
			return &d.Last[i]
		}
	}
	return nil
}

// Drills asks what is known of drills.
func (c *Client) Drills(ctx context.Context) (*Drills, error) {
	return get[Drills](ctx, c, "/v1/drills", nil)
}

// StartDrill begins what a drill breaks.
func (c *Client) StartDrill(ctx context.Context, r DrillStart) (*DrillRun, error) {
	return post[DrillRun](ctx, c, "/v1/drills", r)
}

// RecordDrill keeps what came of a drill.
func (c *Client) RecordDrill(ctx context.Context, r DrillRecord) (*Result, error) {
	return post[Result](ctx, c, "/v1/drills/record", r)
}
