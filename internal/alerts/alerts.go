// Package alerts tells people and programs outside of the cluster what has happened:
// by mail, a webhook, a script or an SNMP trap.
//
// Every daemon follows what all nodes note (Herald), so that each knows what there is
// to tell and what was told; only the coordinator tells. What was told is an event
// like any other: whoever becomes coordinator next goes on where the one before was.
// Nothing waits for a receiver, and nothing is decided here.
package alerts

import (
	"fmt"
	"hash/fnv"
	"slices"
	"strings"
	"time"

	"github.com/holdfast-ha/holdfast/cluster"
	"github.com/holdfast-ha/holdfast/internal/api"
	"github.com/holdfast-ha/holdfast/internal/incidents"
)

// The levels of an alert.
const (
	Problem = "problem" // something has happened, and goes on
	Over    = "over"    // what it has cost has ended
	Test    = "test"    // nothing has happened
)

// Alert is what a receiver is told. As JSON it is what scripts and webhooks get.
type Alert struct {
	Version  int                 `json:"version"`
	Key      string              `json:"key"` // the same for the same alert, whoever sends it
	Level    string              `json:"level"`
	Cluster  string              `json:"cluster"`
	Sender   string              `json:"sender"` // the node
	Time     time.Time           `json:"time"`   // of what it is about
	Title    string              `json:"title"`
	Text     []string            `json:"text"`            // what happened, why, the proof
	Next     []string            `json:"next"`            // what to do
	Proof    string              `json:"proof,omitempty"` // by what the end of a node was known; empty: it is not, or there was nothing to prove
	Incident *incidents.Incident `json:"incident,omitempty"`
}

// version of the fields of an Alert.
const version = 1

// Of makes alerts of what the nodes have noted: for every incident one when it begins
// and one when it is over, or that alone where it ended before anybody was told, and
// one for every alarm that belongs to none.
func Of(told []incidents.Told) []Alert {
	var list []Alert
	part := map[string]bool{}
	all := incidents.Find(told)
	for k := range all {
		i := &all[k]
		for _, s := range i.Steps {
			part[id(&s)] = true
		}
		if i.Open() {
			list = append(list, ofIncident(i, i.ID+":"+Problem, Problem, i.Began))
			continue
		}
		list = append(list, ofIncident(i, i.ID+":"+Over, Over, *i.Ended))
	}
	for k := range told {
		t := &told[k]
		if t.Kind != "alarm" || part[id(t)] {
			continue
		}
		level := Problem
		if good(t.Text) {
			level = Over
		}
		list = append(list, Alert{
			Version: version, Key: alarmKey(t), Level: level, Time: t.On, Title: first(t.Text), Text: []string{t.By + " says: " + t.Text},
			Next: []string{"holdfast status", fmt.Sprintf("holdfast events --by %s --since 1h", t.By)},
		})
	}
	return list
}

// good says that an alarm is the guard's word that something is well again.
func good(text string) bool {
	return slices.ContainsFunc([]string{": it works", "a watchdog is fed again", "the lease is good again: the watchdogs are fed"}, func(end string) bool { return strings.HasSuffix(text, end) })
}

func id(t *incidents.Told) string { return fmt.Sprintf("%s:%d", t.By, t.ID) }

// alarmKey is the same for the same alarm within an hour.
func alarmKey(t *incidents.Told) string {
	h := fnv.New64a()
	_, _ = h.Write([]byte(t.By + t.Node + t.Text)) // never fails
	return fmt.Sprintf("alarm-%x-%s", h.Sum64(), t.On.UTC().Format("2006010215"))
}

func ofIncident(i *incidents.Incident, key, level string, when time.Time) Alert {
	title := i.Title()
	if level == Over {
		title = "over: " + title
	}
	next := append(i.Remedies(), "holdfast explain incident "+i.ID)
	a := Alert{Version: version, Key: key, Level: level, Time: when, Title: title, Text: i.Text(), Next: next, Incident: i}
	if i.Proven != nil && i.Proof != nil {
		a.Proof = fmt.Sprintf("%s, found by %s: %s", i.Proof.Kind, i.Proven.By, i.Proven.Text)
	}
	return a
}

// first is the beginning of a text, as a title.
func first(text string) string {
	text, _, _ = strings.Cut(text, ";")
	return cluster.Limit(text, 120)
}

// kind of the events that say what was told. Their text begins with the alert's key,
// and their Way is the receiver.
const kind = "alert"

// noted is the event that says that a receiver was told.
func noted(a *Alert, receiver, outcome, text string) api.Event {
	level := "info"
	if outcome == failed {
		level = "warn"
	}
	return api.Event{Kind: kind, Level: level, Way: receiver, Outcome: outcome, Text: a.Key + " " + text}
}

// What became of an alert at one receiver.
const (
	sent    = "sent"
	held    = "held back" // too many within a short time
	failed  = "failed"    // for the time being
	givenUp = "given up"
)

// parseNoted says of which alert and receiver an event tells that no more is to be
// done there.
func parseNoted(e *api.Event) (key, receiver string, done bool) {
	key, _, _ = strings.Cut(e.Text, " ")
	return key, e.Way, e.Kind == kind && e.Outcome != failed
}
