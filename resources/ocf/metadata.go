package ocf

import (
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/holdfast-ha/holdfast/resources"
)

// Metadata is what an agent says of itself (OCF Resource Agent API 1.1, section
// "Metadata").
type Metadata struct {
	Name       string      `xml:"name,attr"`
	Version    string      `xml:"version"`
	Parameters []Parameter `xml:"parameters>parameter"`
	Actions    []Action    `xml:"actions>action"`
}

// Parameter is one of an agent's settings.
type Parameter struct {
	Name       string `xml:"name,attr"`
	Unique     string `xml:"unique,attr"`       // API 1.0: no two resources may have the same value
	Group      string `xml:"unique-group,attr"` // API 1.1: the combination of all of one group is unique
	Required   string `xml:"required,attr"`
	Reloadable string `xml:"reloadable,attr"` // a change needs no restart
	Content    struct {
		Type    string  `xml:"type,attr"`
		Default *string `xml:"default,attr"`
		Options []struct {
			Value string `xml:"value,attr"`
		} `xml:"option"`
	} `xml:"content"`
	Deprecated *struct{} `xml:"deprecated"`
}

// Action is one thing that an agent can do.
type Action struct {
	Name     string `xml:"name,attr"`
	Timeout  string `xml:"timeout,attr"`
	Interval string `xml:"interval,attr"`
	Depth    string `xml:"depth,attr"`
	Role     string `xml:"role,attr"`
}

// ParseMetadata reads what an agent prints for the action meta-data. Agents in
// the field write XML that is not quite XML; what can be understood is.
func ParseMetadata(text string) (Metadata, error) {
	var m Metadata
	d := xml.NewDecoder(strings.NewReader(text))
	d.Strict, d.Entity = false, xml.HTMLEntity
	d.CharsetReader = func(_ string, r io.Reader) (io.Reader, error) { return r, nil }
	if err := d.Decode(&m); err != nil {
		return m, fmt.Errorf("its metadata cannot be read: %w", err)
	}
	if len(m.Actions) == 0 {
		return m, errors.New("its metadata name no actions")
	}
	return m, nil
}

// Has says whether the agent knows an action.
func (m Metadata) Has(action string) bool {
	return slices.ContainsFunc(m.Actions, func(a Action) bool { return a.Name == action })
}

// Usual are the timeouts that the agent advertises; of several for monitor the
// longest.
func (m Metadata) Usual() resources.Limits {
	var l resources.Limits
	for _, a := range m.Actions {
		d := span(a.Timeout)
		switch a.Name {
		case "start":
			l.Start = max(l.Start, d)
		case "stop":
			l.Stop = max(l.Stop, d)
		case "monitor", "status":
			l.Check = max(l.Check, d)
		}
	}
	return l
}

// span reads a time as agents write it: a number with ms, s, m, min or h, or none
// for seconds. What it cannot read is 0.
func span(text string) time.Duration {
	text = strings.TrimSpace(text)
	digits := strings.IndexFunc(text, func(c rune) bool { return c < '0' || c > '9' })
	if digits < 0 {
		digits = len(text)
	}
	n, err := strconv.ParseInt(text[:digits], 10, 32)
	if err != nil {
		return 0
	}
	unit := map[string]time.Duration{
		"": time.Second, "s": time.Second, "sec": time.Second, "ms": time.Millisecond, "msec": time.Millisecond,
		"us": time.Microsecond, "usec": time.Microsecond, "m": time.Minute, "min": time.Minute, "h": time.Hour, "hr": time.Hour,
	}[strings.TrimSpace(text[digits:])]
	return time.Duration(n) * unit
}

// Judge says everything that is wrong with a set of parameters: unknown names,
// missing ones, values of the wrong type. Those of the environment that Holdfast
// sets itself cannot be given.
func (m Metadata) Judge(with map[string]string) error {
	var wrong []error
	var names []string
	for _, p := range m.Parameters {
		names = append(names, p.Name)
		value, given := with[p.Name]
		switch {
		case !given && yes(p.Required) && p.Content.Default == nil:
			wrong = append(wrong, fmt.Errorf("parameter %s is missing; add it under with", p.Name))
		case given:
			if text := p.wrong(value); text != "" {
				wrong = append(wrong, fmt.Errorf("parameter %s: %q is %s", p.Name, value, text))
			}
		}
	}
	slices.Sort(names)
	for _, name := range sorted(with) {
		if !slices.Contains(names, name) {
			wrong = append(wrong, fmt.Errorf("parameter %s is not known to the agent; it has %s", name, strings.Join(names, ", ")))
		}
	}
	return errors.Join(wrong...)
}

// wrong says what is wrong with a value, "" if nothing is.
func (p Parameter) wrong(value string) string {
	switch p.Content.Type {
	case "integer":
		// Agents take INFINITY, and time spans where they declare integers.
		if _, err := strconv.ParseInt(value, 10, 64); err != nil && span(value) == 0 && strings.TrimLeft(value, "+-") != "INFINITY" {
			return "no whole number"
		}
	case "boolean":
		if !slices.Contains([]string{"yes", "true", "1", "on", "ja", "y", "no", "false", "0", "off", "nein", "n"}, strings.ToLower(value)) {
			return "neither true nor false"
		}
	case "select":
		var known []string
		for _, o := range p.Content.Options {
			known = append(known, o.Value)
		}
		if len(known) > 0 && !slices.Contains(known, value) {
			return "none of " + strings.Join(known, ", ")
		}
	}
	return ""
}

// Reloadable says whether all the parameters that differ can change while the
// resource runs, and by which action; "" means that it has to be restarted.
// reload-agent is API 1.1; reload in the sense of 1.0 did the same, with
// parameters that are not unique.
func (m Metadata) Reloadable(was, is map[string]string) string {
	action, old := "reload-agent", false
	if !m.Has(action) {
		if action, old = "reload", true; !m.Has(action) {
			return ""
		}
	}
	for _, p := range m.Parameters {
		if was[p.Name] == is[p.Name] {
			continue
		}
		if old && (yes(p.Unique) || p.Group != "") || !old && !yes(p.Reloadable) {
			return ""
		}
	}
	return action
}

// Identity is what no two resources may share: for each group of unique
// parameters, their values, as texts that are equal if and only if they are the
// same.
func (m Metadata) Identity(with map[string]string) []string {
	values := map[string][]string{}
	for _, p := range m.Parameters {
		group := p.Group
		if group == "" && yes(p.Unique) {
			group = p.Name
		}
		if value, given := with[p.Name]; given && group != "" {
			values[group] = append(values[group], p.Name+"="+strconv.Quote(value))
		}
	}
	var list []string
	for _, group := range sorted(values) {
		list = append(list, strings.Join(values[group], " "))
	}
	return list
}

func yes(s string) bool {
	return s == "1" || strings.EqualFold(s, "true") || strings.EqualFold(s, "yes")
}

func sorted[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// metadata asks the agent, which answers without touching anything, or remembers what it
// has said.
func (s Spec) metadata(ctx context.Context, req resources.Request) (Metadata, error) {
	file := filepath.Join(filepath.Dir(filepath.Dir(notePath(req))), "ocf-metadata", strings.ReplaceAll(s.Agent, "/", "_"))
	text, now := recall(file, s.path())
	if m, err := ParseMetadata(text); text != "" && err == nil {
		return m, nil
	}
	ctx, cancel := context.WithTimeout(ctx, metadataWithin)
	defer cancel()
	res, err := s.call(ctx, req, "meta-data", -1)
	switch {
	case err != nil:
		return Metadata{}, err
	case res.Code != 0:
		return Metadata{}, fmt.Errorf("%s meta-data exits with %d: %s", s.path(), res.Code, res.Said())
	}
	m, err := ParseMetadata(res.Stdout)
	if err != nil {
		return m, fmt.Errorf("%s: %w", s.path(), err)
	}
	keep(file, now, res.Stdout)
	return m, nil
}
