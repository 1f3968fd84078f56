package decisions

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"

	"github.com/holdfast-ha/holdfast/cluster"
	"github.com/holdfast-ha/holdfast/cluster/core"
	"github.com/holdfast-ha/holdfast/cluster/ident"
)

// A record of the decision log is one JSON line: what the core was told, when,
// and what it answered. Events, actions and requests are sealed sets of plain
// values, so each is written as its Go type's name and its fields. The first
// record of a life has the core's settings instead; a gap says that records are
// missing.
//
//	{"settings":{...}}
//	{"now":123,"event":{"is":"Tick"},"actions":[{"is":"Send","of":{...}}]}
//	{"gap":17}
type record struct {
	Settings *core.Settings `json:"settings,omitempty"`
	Now      ident.Instant  `json:"now,omitempty"`
	Event    *tagged        `json:"event,omitempty"`
	Actions  []tagged       `json:"actions,omitempty"`
	Gap      int            `json:"gap,omitempty"`
}

// tagged is a value of a sealed set with the name of its type.
type tagged struct {
	Is string          `json:"is"`
	Of json.RawMessage `json:"of,omitempty"`
}

// asked is cluster.Asked as it is written: a request is of a sealed set too.
type asked struct {
	ID      uint64
	Request tagged
}

// sealed lists every type of the three sets; a test compares it with the source.
func sealed() []any {
	return []any{
		cluster.Tick{},
		cluster.Started{},
		cluster.Table{},
		cluster.Echoed{},
		cluster.Noticed{},
		cluster.RegisterWrote{},
		cluster.RegisterHeaders{},
		cluster.RegisterBody{},
		cluster.BlobWrote{},
		cluster.BlobRead{},
		cluster.Received{},
		cluster.RunDone{},
		cluster.Asked{},
		cluster.FenceDone{},

		cluster.Order{},
		cluster.RegisterOp{},
		cluster.WriteBlob{},
		cluster.ReadBlob{},
		cluster.Send{},
		cluster.Run{},
		cluster.Reply{},
		cluster.Note{},
		cluster.Exit{},
		cluster.Fence{},
		cluster.FenceStop{},

		cluster.MoveService{},
		cluster.StartService{},
		cluster.StopService{},
		cluster.FreezeService{},
		cluster.ClearService{},
		cluster.StandbyNode{},
		cluster.Maintain{},
		cluster.StopCluster{},
		cluster.StartCluster{},
		cluster.FenceNode{},
		cluster.ConfirmOff{},
		cluster.AddNode{},
		cluster.RemoveNode{},
		cluster.ApplyConfig{},
		cluster.ChangeDisks{},
		cluster.KeepDisks{},
		cluster.LeaveCluster{},
	}
}

// tag writes a value of a sealed set.
func tag(v any) (tagged, error) {
	t := tagged{Is: reflect.TypeOf(v).Name()}
	if a, ok := v.(cluster.Asked); ok {
		request, err := tag(a.Request)
		if err != nil {
			return t, err
		}
		v = asked{ID: a.ID, Request: request}
	}
	if reflect.TypeOf(v).NumField() == 0 {
		return t, nil
	}
	var err error
	t.Of, err = json.Marshal(v)
	return t, err
}

// errRecord says that a record is not one of this version.
var errRecord = errors.New("a record that this version does not know")

// untag reads what tag wrote.
func (t *tagged) untag() (any, error) {
	if t.Is == "Asked" {
		return t.untagAsked()
	}
	for _, example := range sealed() {
		kind := reflect.TypeOf(example)
		if kind.Name() != t.Is {
			continue
		}
		v := reflect.New(kind)
		if len(t.Of) > 0 {
			if err := json.Unmarshal(t.Of, v.Interface()); err != nil {
				return nil, fmt.Errorf("%s: %w", t.Is, err)
			}
		}
		return v.Elem().Interface(), nil
	}
	return nil, fmt.Errorf("%w: %q", errRecord, t.Is)
}

func (t *tagged) untagAsked() (any, error) {
	var a asked
	if err := json.Unmarshal(t.Of, &a); err != nil {
		return nil, fmt.Errorf("%s: %w", t.Is, err)
	}
	v, err := a.Request.untag()
	if err != nil {
		return nil, err
	}
	request, ok := v.(cluster.Request)
	if !ok {
		return nil, fmt.Errorf("%w: %s is no request", errRecord, a.Request.Is)
	}
	return cluster.Asked{ID: a.ID, Request: request}, nil
}

// newRecord writes one step.
func newRecord(now ident.Instant, ev cluster.Event, actions []cluster.Action) ([]byte, error) {
	r := record{Now: now}
	event, err := tag(ev)
	if err != nil {
		return nil, err
	}
	r.Event = &event
	for _, a := range actions {
		t, err := tag(a)
		if err != nil {
			return nil, err
		}
		r.Actions = append(r.Actions, t)
	}
	return line(r)
}

func line(r record) ([]byte, error) {
	b, err := json.Marshal(r)
	return append(b, '\n'), err
}
