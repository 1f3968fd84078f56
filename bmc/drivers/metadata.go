package drivers

import (
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/holdfast-ha/holdfast/bmc"
)

// CheckAgent asks a fence agent for its metadata and compares them with a
// reference: agents ignore options that they do not know, so that a slip in one
// means another machine, or none. It also refuses agents that are no power
// switch by their own account. It contacts no controller.
func CheckAgent(ctx context.Context, r bmc.Reference) error {
	path, err := findAgent(r.Agent)
	if err == nil {
		var m *metadata
		if m, err = readMetadata(ctx, program{path: path, env: agentEnvironment()}); err == nil {
			options, _ := bmc.SecretPlaces(r.Options)
			err = m.check(options)
		}
	}
	if err != nil {
		return fmt.Errorf("power switch %s: %w", r.Title(), err)
	}
	return nil
}

// metadata is the part of an agent's self-description that is used here
// (fence-agents, lib/metadata.rng).
type metadata struct {
	Parameters []parameter `xml:"parameters>parameter"`
	Actions    []struct {
		Name      string `xml:"name,attr"`
		Automatic string `xml:"automatic,attr"`
	} `xml:"actions>action"`
}

type parameter struct {
	Name     string `xml:"name,attr"`
	Required string `xml:"required,attr"`
	Content  struct {
		Default string `xml:"default,attr"`
	} `xml:"content"`
}

func readMetadata(ctx context.Context, p program) (*metadata, error) {
	p.input = "action=metadata\n"
	status, output, complaints, err := p.run(ctx)
	if err != nil {
		return nil, err
	}
	if status != 0 {
		return nil, fmt.Errorf("metadata: exited with %d: %s", status, bmc.OneLine(complaints))
	}
	var m metadata
	if err := xml.Unmarshal([]byte(output), &m); err != nil {
		return nil, fmt.Errorf("metadata: %w", err)
	}
	return &m, nil
}

// check says why an agent cannot be used with the options.
func (m *metadata) check(options map[string]string) error {
	actions := map[string]bool{}
	for _, a := range m.Actions {
		actions[a.Name] = true
		if a.Name == "on" && a.Automatic == "1" {
			return errors.New("the agent admits machines to storage or network, it does not switch their power")
		}
	}
	if !actions["off"] || !actions["status"] {
		return errors.New("the agent has no action off or no action status, so that nothing it does can be confirmed")
	}
	for _, name := range slices.Sorted(maps.Keys(options)) {
		if m.parameter(name) == nil {
			return fmt.Errorf("the agent does not know the option %q and would ignore it; it knows %s", name, strings.Join(m.names(), ", "))
		}
	}
	return nil
}

// longPoll is how long an agent may wait by itself for a machine to go off, in
// seconds: whoever asks it reads the state itself, again and again, and wants to
// hear from the agent meanwhile.
const longPoll = 20

// additions are the options that an agent is told though the admin has not: which
// plug is meant, by the name of the node, and not to wait for longer than longPoll.
func (m *metadata) additions(options map[string]string, node string) map[string]string {
	added := map[string]string{}
	given := func(name string) bool {
		return options[name] != "" || options[strings.ReplaceAll(name, "_", "-")] != ""
	}
	if node != "" && !given("plug") && !given("port") && !given("uuid") {
		for _, name := range []string{"plug", "port"} {
			if p := m.parameter(name); p != nil && p.Required == "1" {
				added[name] = node
				break
			}
		}
	}
	if p := m.parameter("power_timeout"); p != nil && !given("power_timeout") {
		if n, err := strconv.Atoi(p.Content.Default); err == nil && n > longPoll {
			added["power_timeout"] = strconv.Itoa(longPoll)
		}
	}
	return added
}

// parameter finds one by its name, in which _ and - are the same.
func (m *metadata) parameter(name string) *parameter {
	for i := range m.Parameters {
		if strings.ReplaceAll(m.Parameters[i].Name, "-", "_") == strings.ReplaceAll(name, "-", "_") {
			return &m.Parameters[i]
		}
	}
	return nil
}

func (m *metadata) names() []string {
	var names []string
	for _, p := range m.Parameters {
		names = append(names, strings.ReplaceAll(p.Name, "-", "_"))
	}
	return names
}
