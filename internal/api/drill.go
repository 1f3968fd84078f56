package api

import (
	"context"
	"net/url"
)

// The steps of a drill: POST /v1/node/{name}/drill. They work on one way that cuts
// the node's power, and go past everything that decides: nothing is fenced and
// nothing taken over.
const (
	DrillCheck   = "check"   // ask for the state and the identity
	DrillOff     = "off"     // cut the power and read it twice; refused while anything may run there
	DrillOn      = "on"      // give the power back
	DrillVerdict = "verdict" // note the outcome: OK and Text
)

// DrillRequest is one step of a drill.
type DrillRequest struct {
	Step string `json:"step"`
	Way  string `json:"way"`            // its name: bmc, or that of an agent
	OK   bool   `json:"ok,omitempty"`   // of a verdict
	Text string `json:"text,omitempty"` // of a verdict
}

// DrillStep is what a step has shown.
type DrillStep struct {
	Version int     `json:"version"`
	Node    string  `json:"node"`
	Way     string  `json:"way"`
	Step    string  `json:"step"`
	Outcome string  `json:"outcome"` // proven, failed, unknown
	Text    string  `json:"text"`    // the evidence
	Took    Seconds `json:"took_seconds"`
	// Off is the age of the first reading that said off; nil if it said on.
	Off *Seconds `json:"off_seconds,omitempty"`
}

// Drill takes one step of a drill.
func (c *Client) Drill(ctx context.Context, node string, r DrillRequest) (*DrillStep, error) {
	return post[DrillStep](ctx, c, "/v1/node/"+url.PathEscape(node)+"/drill", r)
}
