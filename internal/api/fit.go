package api

import "encoding/json"

// FitRequest asks a node whether it could run services, of which nothing is tried.
// It goes from one daemon to another, and names secrets but holds none.
type FitRequest struct {
	Services []FitService `json:"services"`
}

// FitService is a service as its node would run it.
type FitService struct {
	Name  string      `json:"name"`
	Stack []FitMember `json:"stack"`
	// Beside are kinds of members that other services bring, which go with this one
	// or before it: what they bring need not be there yet.
	Beside []string `json:"beside,omitempty"`
}

// FitMember is one of its members.
type FitMember struct {
	ID      string          `json:"id"`
	Kind    string          `json:"kind"`
	Spec    json.RawMessage `json:"spec"`
	Storage bool            `json:"storage,omitempty"`
	Guarded bool            `json:"guarded,omitempty"`
}

// FitReply is the answer, in the order of the request.
type FitReply struct {
	Version  int       `json:"version"`
	Services []Fitness `json:"services"`
}

// Fitness is the answer for one service.
type Fitness struct {
	Service string `json:"service"`
	Verdict string `json:"verdict"` // one of the Fit constants
	Text    string `json:"text,omitempty"`
}

// The verdicts of a node on a service.
const (
	Fits       = "fits"
	FitLacks   = "lacks"   // something is missing there; the text says what
	FitUnknown = "unknown" // and why
)
