package incidents

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/holdfast-ha/holdfast/internal/api"
)

// The kinds of events that incidents are made of, as package cluster notes them.
const (
	kindBegan     = "daemon"
	kindLastBeat  = "last-beat"
	kindSuspected = "suspected"
	kindFencing   = "fencing"
	kindWay       = "way"
	kindProof     = "proof"
	kindGrant     = "grant"
	kindStarting  = "starting"
	kindStarted   = "started"
	kindStopping  = "stopping"
	kindStopped   = "stopped"
	kindReleased  = "released"
	kindFailed    = "failed"
	kindJoined    = "joined"
	kindLease     = "lease"
	kindWaiting   = "waiting"
	kindAlarm     = "alarm"
	kindAdmin     = "admin"
	kindChecked   = "checked"
)

// What an incident is about.
const (
	NodeLost      = "node lost"      // it was fenced, or came back before anybody could
	DisksLost     = "disks lost"     // a node could not reach the quorum disks
	ServiceFailed = "service failed" // a service failed on a node that was well
)

// Incident is one failure and what became of it.
type Incident struct {
	ID       string     `json:"id"` // the version of the register in which it began, and its subject: the same on every node
	Kind     string     `json:"kind"`
	Subject  string     `json:"subject"` // node or service
	Cause    string     `json:"cause"`
	Began    time.Time  `json:"began"`           // the last sign that all was well
	Ended    *time.Time `json:"ended,omitempty"` // every service that it has hit was started again, or is configured no more; absent: not yet
	Noticed  *Phase     `json:"noticed,omitempty"`
	Decided  *Phase     `json:"decided,omitempty"`
	Proven   *Phase     `json:"proven,omitempty"`
	Proof    *api.Proof `json:"proof,omitempty"`
	Ways     []Way      `json:"ways,omitempty"`
	Services []Hit      `json:"services"`
	Returned *Told      `json:"returned,omitempty"` // the node is a member again
	Steps    []Told     `json:"steps"`
	State    uint64     `json:"state_version"`
}

// Phase is a part of an incident that was waited for.
type Phase struct {
	On   time.Time   `json:"on"`           // its end
	Took api.Seconds `json:"took_seconds"` // since the phase before, or the beginning
	By   string      `json:"by"`           // the node that has noted it
	Text string      `json:"text"`
}

// Way is one attempt to fence the node.
type Way struct {
	Way     string       `json:"way"`
	Outcome string       `json:"outcome"`
	Took    *api.Seconds `json:"took_seconds,omitempty"`
	Text    string       `json:"text"`
}

// Hit is what an incident did to one service.
type Hit struct {
	Service string       `json:"service"`
	From    string       `json:"from,omitempty"`
	To      string       `json:"to,omitempty"` // empty: nobody has it yet
	Term    uint64       `json:"term,omitempty"`
	Proof   string       `json:"proof,omitempty"`
	Granted *time.Time   `json:"granted,omitempty"`
	Started *time.Time   `json:"started,omitempty"`
	Failed  string       `json:"failed,omitempty"`       // why it is not running again
	Checked *time.Time   `json:"checked,omitempty"`      // its first check since found it well
	Removed *time.Time   `json:"removed,omitempty"`      // it was taken out of the configuration before it ran again
	Down    *api.Seconds `json:"down_seconds,omitempty"` // at most: from the beginning to started
}

// Open says that the incident is not over.
func (i *Incident) Open() bool { return i.Ended == nil }

// owner is who has a service, as far as events tell.
type owner struct {
	node string
	term uint64
}

// silence is what was seen of a node before it was fenced.
type silence struct {
	last, suspected *Told
}

// finder goes through events once.
type finder struct {
	found    []*Incident
	nodes    map[string]*Incident // by name and incarnation; also those that are over
	latest   map[string]*Incident // by node: the newest that is not another incarnation's
	services map[string]*Incident // that have failed, not yet over
	owners   map[string]owner
	silent   map[string]*silence
}

// Find makes incidents of events that Merge has ordered, the oldest first.
func Find(told []Told) []Incident {
	f := &finder{nodes: map[string]*Incident{}, latest: map[string]*Incident{}, services: map[string]*Incident{}, owners: map[string]owner{}, silent: map[string]*silence{}}
	for i := range told {
		f.take(&told[i])
	}
	out := make([]Incident, 0, len(f.found))
	for _, i := range f.found {
		if i.Kind != "" { // it became part of another one
			i.close()
			out = append(out, *i)
		}
	}
	slices.SortStableFunc(out, func(a, b Incident) int { return a.Began.Compare(b.Began) })
	same := map[string]int{}
	for k := range out { // what fails again before the register moves on
		id := out[k].ID
		if same[id]++; same[id] > 1 {
			out[k].ID = fmt.Sprintf("%s.%d", id, same[id])
		}
	}
	return out
}

func key(t *Told) string { return t.Node + " " + t.Incarnation }

func (f *finder) take(t *Told) {
	switch t.Kind {
	case kindLastBeat, kindSuspected:
		f.suspect(t)
	case kindFencing:
		f.fencing(t)
	case kindWay, kindAlarm:
		f.about(t, t.Node)
	case kindProof:
		f.proof(t)
	case kindLease:
		f.lease(t)
	case kindWaiting:
		if i := f.latest[t.Node]; i == nil || !i.Open() {
			i := f.begin(t, DisksLost, t.Node, t.Text)
			f.nodes[key(t)], f.latest[t.Node] = i, i
		} else {
			i.step(t)
		}
	case kindGrant:
		f.grant(t)
	case kindFailed:
		f.failed(t)
	case kindStarting, kindStopping, kindStopped, kindReleased:
		f.step(t)
	case kindStarted:
		f.started(t)
	case kindJoined, kindBegan:
		f.back(t)
	case kindAdmin:
		f.admin(t)
	case kindChecked:
		f.checked(t)
	}
}

// begin makes an incident of what t says first.
func (f *finder) begin(t *Told, kind, subject, cause string) *Incident {
	i := &Incident{
		ID: fmt.Sprintf("%d-%s", t.State, subject), Kind: kind, Subject: subject, Cause: cause, Began: t.On, State: t.State,
		Services: []Hit{}, Steps: []Told{*t},
	}
	f.found = append(f.found, i)
	return i
}

func (i *Incident) step(t *Told) { i.Steps = append(i.Steps, *t) }

// suspect keeps what was seen last of a node. Several nodes tell of it; the newest
// last beat counts, and the first suspicion.
func (f *finder) suspect(t *Told) {
	if i := f.nodes[key(t)]; i != nil {
		if i.Proven == nil {
			i.step(t)
		}
		return
	}
	s := f.silent[key(t)]
	if t.Kind == kindLastBeat {
		// One that was suspected before and was heard again begins anew.
		if s == nil || t.On.Sub(s.last.On) > time.Second {
			s = &silence{}
			f.silent[key(t)] = s
		}
		if s.last == nil || t.On.After(s.last.On) {
			s.last = t
		}
		return
	}
	if s != nil && s.suspected == nil {
		s.suspected = t
	}
}

func (f *finder) fencing(t *Told) {
	if i := f.nodes[key(t)]; i != nil && i.Decided != nil {
		i.step(t)
		return
	}
	i := f.latest[t.Node]
	if i == nil || !i.Open() || i.Proven != nil {
		i = f.begin(t, NodeLost, t.Node, t.Text)
	} else { // it began with its disks, or its lease
		i.Kind, i.Cause = NodeLost, t.Text
		i.step(t)
	}
	f.nodes[key(t)], f.latest[t.Node] = i, i
	if s := f.silent[key(t)]; s != nil && s.last.On.Before(t.On) && t.On.Sub(s.last.On) < time.Hour {
		i.Steps = append([]Told{*s.last}, i.Steps...)
		i.Began = earlier(i.Began, s.last.On)
		if s.suspected != nil {
			i.Steps = slices.Insert(i.Steps, 1, *s.suspected)
			i.Noticed = i.phase(s.suspected, s.suspected.Text)
		}
	}
	for name, s := range sorted(f.services) { // what failed on the node before is why
		if f.owners[name].node == t.Node && s.Kind != "" {
			i.Began, i.Steps = earlier(i.Began, s.Began), append(slices.Clone(s.Steps), i.Steps...)
			s.Kind = ""
			delete(f.services, name)
		}
	}
	for name, o := range sorted(f.owners) {
		if o.node == t.Node {
			i.hit(name, o)
		}
	}
	i.Decided = i.phase(t, t.Text)
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

// hit notes that a service was on the node.
func (i *Incident) hit(service string, o owner) *Hit {
	for k := range i.Services {
		if i.Services[k].Service == service {
			return &i.Services[k]
		}
	}
	i.Services = append(i.Services, Hit{Service: service, From: o.node})
	return &i.Services[len(i.Services)-1]
}

// phase ends at t, and began with the one before.
func (i *Incident) phase(t *Told, text string) *Phase {
	from := i.Began
	for _, p := range []*Phase{i.Noticed, i.Decided, i.Proven} {
		if p != nil && p.On.Before(t.On) && p.On.After(from) {
			from = p.On
		}
	}
	return &Phase{On: t.On, Took: api.Of(max(0, t.On.Sub(from))), By: t.By, Text: text}
}

// about adds what was said of a node to its incident.
func (f *finder) about(t *Told, node string) {
	i := f.nodes[key(t)]
	if i == nil {
		if i = f.latest[node]; i == nil || !i.Open() {
			return
		}
	}
	i.step(t)
	if t.Way != "" {
		i.Ways = append(i.Ways, Way{Way: t.Way, Outcome: t.Outcome, Took: t.Took, Text: t.Text})
	}
}

func (f *finder) proof(t *Told) {
	i := f.nodes[key(t)]
	if i == nil {
		if t.Service != "" || strings.HasPrefix(t.Proof, "E1") {
			return
		}
		i = f.begin(t, NodeLost, t.Node, "it ended, and came back before anybody had chosen its fencing")
		f.nodes[key(t)], f.latest[t.Node] = i, i
		for name, o := range sorted(f.owners) {
			if o.node == t.Node {
				i.hit(name, o)
			}
		}
	} else {
		i.step(t)
	}
	// That of a service alone: its storage may start, no more. And who has released
	// everything is proven to have ended when it comes back: nobody has waited for that.
	if i.Proven != nil || t.Service != "" || i.Kind == DisksLost && !i.Open() {
		return
	}
	i.Proven = i.phase(t, t.Text)
	i.Proof = &api.Proof{Kind: t.Proof, Node: t.Node, Incarnation: t.Incarnation, By: t.By, Text: t.Text}
}

// lease is what a node says of its own.
func (f *finder) lease(t *Told) {
	i := f.nodes[t.By+" "+t.Incarnation]
	if i == nil {
		if i = f.latest[t.By]; i != nil && !i.Open() {
			i = nil
		}
	}
	switch {
	case i != nil:
		i.step(t)
		if strings.HasSuffix(t.Text, "is held again") && i.Kind == DisksLost && len(i.Services) == 0 {
			i.Ended = &t.On
		}
	case strings.HasSuffix(t.Text, "is held again"), strings.HasPrefix(t.Text, "everything is verified stopped"):
	default:
		i = f.begin(t, DisksLost, t.By, t.Text)
		f.nodes[t.By+" "+t.Incarnation], f.latest[t.By] = i, i
	}
}

func (f *finder) grant(t *Told) {
	was := f.owners[t.Service]
	f.owners[t.Service] = owner{t.Node, t.Term}
	i := f.services[t.Service]
	if i == nil {
		if i = f.latest[was.node]; i == nil || !i.Open() && !strings.HasPrefix(t.Proof, "E1") {
			i = f.byProof(t)
		}
	}
	if i == nil || !i.Open() {
		return
	}
	h := i.hit(t.Service, was)
	h.To, h.Term, h.Proof, h.Granted, h.Started, h.Failed = t.Node, t.Term, t.Proof, &t.On, nil, ""
	i.step(t)
}

// byProof finds the incident whose proof ended the term before, where who had the
// service is not remembered.
func (f *finder) byProof(t *Told) *Incident {
	for _, i := range slices.Backward(f.found) {
		if i.Kind == NodeLost && i.Open() && i.Proof != nil && i.Proof.Kind == t.Proof {
			return i
		}
	}
	return nil
}

// failed begins an incident where the service was well, or is a part of one.
func (f *finder) failed(t *Told) {
	if i := f.latest[t.By]; i != nil && i.Open() && (i.Decided != nil || i.Kind == DisksLost) {
		i.step(t)
		return
	}
	for _, i := range slices.Backward(f.found) {
		if k := slices.IndexFunc(i.Services, func(h Hit) bool { return h.Service == t.Service }); k >= 0 && i.Open() && i.Kind != "" {
			i.Services[k].Failed, i.Services[k].To = t.Text, ""
			i.step(t)
			return
		}
	}
	i := f.begin(t, ServiceFailed, t.Service, t.Text)
	i.hit(t.Service, owner{t.By, t.Term})
	f.services[t.Service] = i
	if _, known := f.owners[t.Service]; !known {
		f.owners[t.Service] = owner{t.By, t.Term}
	}
}

// step adds what happened to a service to the incident that has hit it.
func (f *finder) step(t *Told) *Incident {
	if i := f.latest[t.By]; i != nil && i.Open() && (t.Kind == kindStopping || t.Kind == kindStopped) {
		i.step(t)
		return i
	}
	for _, i := range slices.Backward(f.found) {
		if i.Kind != "" && i.Open() && slices.ContainsFunc(i.Services, func(h Hit) bool { return h.Service == t.Service }) {
			i.step(t)
			return i
		}
	}
	if i := f.latest[t.Node]; t.Kind == kindReleased && i != nil && i.Open() {
		i.hit(t.Service, owner{t.Node, t.Term})
		i.step(t)
		return i
	}
	return nil
}

func (f *finder) started(t *Told) {
	i := f.step(t)
	if i == nil {
		return
	}
	for k := range i.Services {
		if h := &i.Services[k]; h.Service == t.Service && (h.Term == t.Term || h.Term == 0) {
			h.Started, h.To, h.Failed = &t.On, t.By, ""
		}
	}
	if i.close(); !i.Open() {
		delete(f.services, t.Service)
	}
}

// back notes that a node which was lost is there again.
func (f *finder) back(t *Told) {
	node := t.Node
	if node == "" {
		node = t.By
	}
	i := f.latest[node]
	if i == nil || i.Returned != nil {
		return
	}
	if t.Kind == kindBegan || t.Incarnation == "" {
		if i.Open() {
			i.step(t)
		}
		return
	}
	if f.nodes[key(t)] == i {
		return // the incarnation that was lost, noted late
	}
	i.Returned = t
	i.step(t)
	if i.Kind == DisksLost && len(i.Services) == 0 {
		i.Ended = &t.On
	}
}
