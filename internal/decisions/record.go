// Package decisions is the decision log of a node as it stands on its disk:
// everything that the core was told, and what it answered, so that every decision
// can be looked at again and replayed through the same code, on any machine.
//
// A log is a folder of numbered files, which holdfastd writes (package
// internal/daemon/decisions): lines of JSON, compressed with zstd (RFC 8878). Each
// file begins with a Head and then with what the records after it stand on: the
// settings of a new life of the daemon, or the memory of its core in the middle of
// one. So every file that is kept can be replayed without the ones before it.
package decisions

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strconv"
	"time"

	"github.com/holdfast-ha/holdfast/cluster"
	"github.com/holdfast-ha/holdfast/cluster/core"
	"github.com/holdfast-ha/holdfast/cluster/diskset"
	"github.com/holdfast-ha/holdfast/cluster/ident"
	"github.com/holdfast-ha/holdfast/internal/decisions/memory"
)

// Record is one line of the log. Events, actions and requests are sealed sets of
// plain values, so each is written as its Go type's name and its fields. Exactly
// one of Head, Settings, Memory, Event, View and Gap is there.
//
//	{"head":{"format":2,"build":"...","node":"alpha","wall":"...","now":123}}
//	{"settings":{...}}
//	{"settings":{...},"memory":"...","types":"..."}
//	{"now":123,"event":{"is":"Tick"},"actions":[{"is":"Send","of":{...}}],"digest":"..."}
//	{"now":124,"view":true}
//	{"gap":17}
type Record struct {
	Head     *Head          `json:"head,omitempty"`
	Settings *core.Settings `json:"settings,omitempty"` // a life begins, or goes on with Memory
	Memory   []byte         `json:"memory,omitempty"`   // of the core, as package memory keeps it
	Types    []byte         `json:"types,omitempty"`    // of the program that can read Memory
	Now      ident.Instant  `json:"now,omitempty"`
	View     bool           `json:"view,omitempty"` // somebody looked at the core, which may make it forget and remember
	Event    *tagged        `json:"event,omitempty"`
	Actions  []tagged       `json:"actions,omitempty"`
	Digest   []byte         `json:"digest,omitempty"` // of the core's whole memory after the step; of decisions and every 1024th step
	Gap      int            `json:"gap,omitempty"`    // so many records are missing here
}

// Format is the version of the log's format.
const Format = 2

// Head is the first line of a file.
type Head struct {
	Format int           `json:"format"`
	Build  string        `json:"build"` // version of the program
	Node   string        `json:"node"`
	Wall   time.Time     `json:"wall"` // wall clock at Now, for people
	Now    ident.Instant `json:"now"`
}

// Kinds are the types behind the interfaces of a core.
func Kinds() memory.Kinds { return memory.KindsOf(append(sealed(), (*diskset.Watch)(nil))) }

// Mark is when a digest of the core's memory is due: after every step that
// decided something, and after every 1024th: with hundreds of services it is a
// millisecond's work, and there are a hundred steps in a second.
func Mark(step uint64, actions []cluster.Action) bool {
	return step%1024 == 0 || Decides(actions)
}

// Decides says that a step did more than to beat, to talk and to look after what runs.
func Decides(actions []cluster.Action) bool {
	for _, a := range actions {
		switch a := a.(type) {
		case cluster.Run:
			if a.Kind != cluster.RunCheck {
				return true
			}
		case cluster.Note, cluster.Reply, cluster.Fence, cluster.Exit:
			return true
		}
	}
	return false
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
		cluster.Stirred{},
		cluster.Asked{},
		cluster.FenceDone{},
		cluster.ReserveDone{},

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
		cluster.Reserve{},

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

// Step makes the record of one step.
func Step(now ident.Instant, ev cluster.Event, actions []cluster.Action) (*Record, error) {
	r := &Record{Now: now}
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
	return r, nil
}

// Line returns the record as it is written: as json.Marshal would write it, which
// looks at every byte of a step's values twice more.
func (r *Record) Line() ([]byte, error) {
	if r.Event == nil {
		b, err := json.Marshal(r)
		return append(b, '\n'), err
	}
	size := 128 + len(r.Event.Of)
	for i := range r.Actions {
		size += 32 + len(r.Actions[i].Of)
	}
	b := append(make([]byte, 0, size), '{')
	if r.Now != 0 {
		b = append(strconv.AppendInt(append(b, `"now":`...), int64(r.Now), 10), ',')
	}
	b = r.Event.append(append(b, `"event":`...))
	for i := range r.Actions {
		if i == 0 {
			b = append(b, `,"actions":[`...)
		} else {
			b = append(b, ',')
		}
		b = r.Actions[i].append(b)
	}
	if len(r.Actions) > 0 {
		b = append(b, ']')
	}
	if len(r.Digest) > 0 {
		b = append(base64.StdEncoding.AppendEncode(append(b, `,"digest":"`...), r.Digest), '"')
	}
	return append(b, '}', '\n'), nil
}

// append writes the value behind b; the names of types need no quoting.
func (t *tagged) append(b []byte) []byte {
	b = append(append(append(b, `{"is":"`...), t.Is...), '"')
	if len(t.Of) > 0 {
		b = append(append(b, `,"of":`...), t.Of...)
	}
	return append(b, '}')
}

// What is the event that the record is of.
func (r *Record) What() (cluster.Event, error) {
	v, err := r.Event.untag()
	if err != nil {
		return nil, err
	}
	ev, ok := v.(cluster.Event)
	if !ok {
		return nil, fmt.Errorf("%w: %s is no event", errRecord, r.Event.Is)
	}
	return ev, nil
}
