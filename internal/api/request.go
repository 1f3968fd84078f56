package api

import (
	"fmt"
	"time"
)

// The verbs of POST /v1/service/{name}/{verb}.
const (
	ServiceMove     = "move" // To: the node; empty: the best other one
	ServiceStart    = "start"
	ServiceStop     = "stop"
	ServiceRestart  = "restart"
	ServiceFreeze   = "freeze"
	ServiceUnfreeze = "unfreeze"
	ServiceFailback = "failback" // move to the best node
	ServiceClear    = "clear"    // forget failures
	// ServiceMaintenance leaves it as it is for a time: For.
	ServiceMaintenance = "maintenance"
)

// The verbs of POST /v1/node/{name}/{verb}.
const (
	NodeStandby    = "standby"
	NodeOnline     = "online"
	NodeFence      = "fence"       // Why, By, DryRun
	NodeConfirmOff = "confirm-off" // Operator and How
	NodeRemove     = "remove"
	// NodeMaintenance leaves its services as they are for a time: For.
	NodeMaintenance = "maintenance"
)

// The verbs of POST /v1/cluster/{verb}.
const (
	ClusterStop        = "stop"        // the planned stop: services first, then every node leaves
	ClusterStart       = "start"       // ends it
	ClusterMaintenance = "maintenance" // For: all services stay as they are
)

// The verbs of POST /v1/disks/{verb}.
const (
	DisksChange = "change" // offers another set: From, To, Paths
	DisksKeep   = "keep"   // withdraws the offer: Why
)

// DisksRequest is the body of a verb on the set of quorum disks.
type DisksRequest struct {
	From  []string `json:"from,omitempty"`  // UUIDs of the set that it was made for
	To    []string `json:"to,omitempty"`    // UUIDs of the set to come
	Paths []string `json:"paths,omitempty"` // of To, where this node finds them
	Why   string   `json:"why,omitempty"`
}

// UpgradeRequest is the body of an upgrade of this node's programs.
type UpgradeRequest struct {
	DryRun bool `json:"dry_run,omitempty"` // only ask whether they could take over
}

// ClusterRequest is the body of a cluster verb; it may be empty.
type ClusterRequest struct {
	For Seconds `json:"for_seconds,omitempty"` // how long a maintenance lasts; 0 ends it
}

// ServiceRequest is the body of a service verb; it may be empty.
type ServiceRequest struct {
	To  string  `json:"to,omitempty"`
	For Seconds `json:"for_seconds,omitempty"` // how long a maintenance lasts; 0 ends it
}

// NodeRequest is the body of a node verb.
type NodeRequest struct {
	Why      string  `json:"why,omitempty"`
	By       string  `json:"by,omitempty"`      // the way to begin with; empty: all at once
	DryRun   bool    `json:"dry_run,omitempty"` // only say what would be done
	Operator string  `json:"operator,omitempty"`
	How      string  `json:"how,omitempty"`         // how it was verified that the node is off
	For      Seconds `json:"for_seconds,omitempty"` // how long a maintenance lasts; 0 ends it
}

// ApplyRequest replaces the configuration. With DryRun it is only planned.
type ApplyRequest struct {
	Config string `json:"config"` // YAML
	File   string `json:"file,omitempty"`
	Expect uint64 `json:"expect_version,omitempty"` // config_version it was made for; 0: any
	DryRun bool   `json:"dry_run,omitempty"`
}

// Result is the answer to a request that was carried out: it is committed.
type Result struct {
	Version int    `json:"version"`
	Text    string `json:"text,omitempty"`
	State   uint64 `json:"state_version,omitempty"` // the version that carries it
}

// Config is a configuration, byte for byte.
type Config struct {
	Version int    `json:"version"`
	Config  uint64 `json:"config_version"`
	State   uint64 `json:"state_version"`
	Text    string `json:"config"`
}

// ConfigVersion is a version of the configuration that this node has kept.
type ConfigVersion struct {
	Config uint64    `json:"config_version"`
	State  uint64    `json:"state_version"`
	Time   time.Time `json:"time"` // when this node learned it
	Bytes  int       `json:"bytes"`
}

// Plan says what applying a configuration would do.
type Plan struct {
	Version  int          `json:"version"`
	Config   uint64       `json:"config_version"` // that it is compared with
	Changes  []Change     `json:"changes"`
	Actions  []PlanAction `json:"actions"`            // in order
	Others   []PlanAction `json:"others"`             // services that stay as they are, or wait
	Problems []string     `json:"problems,omitempty"` // why it would be refused
	Advice   []string     `json:"advice,omitempty"`   // what is taken, and could serve better
}

// Change is one difference of two configurations.
type Change struct {
	What string `json:"what"` // "service orders", "cluster"
	Kind string `json:"kind"` // add, remove, change, rename
	Text string `json:"text"`
}

// PlanAction is what happens to one service, and which nodes could run it with the
// new configuration, in the order in which they would be chosen.
type PlanAction struct {
	Service      string      `json:"service"`
	Action       string      `json:"action"` // start, stop, restart, reload, move; of others: stay, wait
	From         string      `json:"from,omitempty"`
	To           string      `json:"to,omitempty"`
	Text         string      `json:"text"`                           // why
	Member       string      `json:"from_member,omitempty"`          // restart, reload: what stands below it stays as it is
	Formerly     string      `json:"formerly,omitempty"`             // the name that it has now
	Interruption *Seconds    `json:"interruption_seconds,omitempty"` // as predicted; absent: none
	Measured     bool        `json:"interruption_measured"`          // by its latest start and stop; else it is assumed
	Nodes        []Candidate `json:"nodes,omitempty"`
}

// Lasted is what the latest start and stop of a service took; nil: not known.
type Lasted struct{ Start, Stop *Seconds }

// EventQuery selects events.
type EventQuery struct {
	Since   time.Time // wall clock; zero: all
	After   uint64    // only IDs above
	Kind    string    // empty: all
	Service string    // empty: all
	Node    string    // empty: all
	Limit   int       // only the newest so many; 0: all
	Follow  bool      // go on with what happens
}

// Fits says whether an event is one that the query asks for, but for its Limit.
func (q EventQuery) Fits(e *Event) bool {
	return e.ID > q.After && !e.Time.Before(q.Since) &&
		(q.Kind == "" || q.Kind == e.Kind) && (q.Service == "" || q.Service == e.Service) && (q.Node == "" || q.Node == e.Node)
}

// Error is a failure as it goes over the wire.
type Error struct {
	Status  int    `json:"-"`    // of HTTP
	Code    string `json:"code"` // one of the Code constants
	Message string `json:"message"`
}

// The codes of errors.
const (
	CodeRefused   = "refused"   // it cannot be done; the message says why
	CodeInvalid   = "invalid"   // the request makes no sense
	CodeForbidden = "forbidden" // the role does not allow it
	CodeNotFound  = "not-found"
	CodeUnknown   = "unknown"     // no answer in time: it may still take effect
	CodeNotReady  = "unavailable" // the daemon cannot answer that now
)

// Error is the message.
func (e *Error) Error() string { return e.Message }

// Errorf makes an Error with the HTTP status that fits the code.
func Errorf(code, format string, args ...any) *Error {
	status := map[string]int{
		CodeRefused: 409, CodeInvalid: 400, CodeForbidden: 403, CodeNotFound: 404, CodeUnknown: 504, CodeNotReady: 503,
	}[code]
	if status == 0 {
		status = 500
	}
	return &Error{Status: status, Code: code, Message: fmt.Sprintf(format, args...)}
}
