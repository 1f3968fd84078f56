package api

import "context"

// SimulateRequest asks what would happen.
type SimulateRequest struct {
	Text string `json:"text"` // "what if beta dies"
}

// Simulation is what would happen, as the cluster's own engine decides it.
type Simulation struct {
	Version  int            `json:"version"`
	Faults   []string       `json:"faults"`
	Services []Foretold     `json:"services"`
	Nodes    []ForetoldNode `json:"nodes"`                       // that would be lost
	After    []string       `json:"could_not_survive"`           // afterwards
	Assumed  []string       `json:"assumed,omitempty"`           // what this rests on and nobody has tried
	Story    []ForetoldLine `json:"story"`                       // what the members would note
	Worst    Seconds        `json:"failover_within_seconds"`     // what a takeover takes at most, as configured
	Quiet    Seconds        `json:"simulated_seconds,omitempty"` // virtual time after which nothing changed any more
}

// Foretold is what would become of a service.
type Foretold struct {
	Name       string      `json:"name"`
	From       string      `json:"from,omitempty"`
	To         string      `json:"to,omitempty"`
	Runs       bool        `json:"runs"`
	Granted    *Seconds    `json:"granted_seconds,omitempty"` // from the fault to the permission to start; its own start comes on top
	Proof      *Proof      `json:"proof,omitempty"`
	Why        string      `json:"why,omitempty"`
	Candidates []Candidate `json:"candidates,omitempty"`
}

// ForetoldNode is a node that would be lost.
type ForetoldNode struct {
	Name  string `json:"name"`
	Proof *Proof `json:"proof,omitempty"` // absent: nobody could be sure of its end
	Why   string `json:"why,omitempty"`
}

// ForetoldLine is one line of the story.
type ForetoldLine struct {
	At   Seconds `json:"at_seconds"` // from the fault
	Kind string  `json:"kind"`
	Text string  `json:"text"`
}

// Simulate asks what would happen.
func (c *Client) Simulate(ctx context.Context, text string) (*Simulation, error) {
	return post[Simulation](ctx, c, "/v1/simulate", SimulateRequest{Text: text})
}
