package drivers

import (
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/holdfast-ha/holdfast/bmc"
)

// agent runs an external fence agent: a program that reads its options from
// standard input, one NAME=VALUE per line, and answers with its exit status
// (FenceAgentAPI, https://github.com/ClusterLabs/fence-agents/blob/main/doc/FenceAgentAPI.md).
type agent struct {
	program program
	name    string
	plug    string
	options map[string]string
	secrets map[string]bmc.Secret // by the option that each is told as
}

// Exit statuses of a fence agent. 1 is any failure.
const (
	agentDone = 0 // the action succeeded; status: on
	agentOff  = 2 // status: off
)

func openAgent(r bmc.Reference, o bmc.Options) (bmc.Driver, error) {
	if len(o.Expect) > 0 {
		return nil, errors.New("fence agents do not name the machine that they switch: no GUID can be expected of one")
	}
	secrets := map[string]bmc.Secret{}
	maps.Copy(secrets, o.Secrets)
	if o.Password.Reveal() != "" {
		secrets["password"] = o.Password
	}
	for name, s := range secrets {
		if strings.ContainsAny(s.Reveal(), "\n\r") {
			return nil, fmt.Errorf("has a %s with a line break, which an agent cannot be told", name)
		}
	}
	path, err := findAgent(r.Agent)
	if err != nil {
		return nil, err
	}
	a := &agent{
		program: program{path: path, env: []string{searchPath, "LANG=C.UTF-8", "HOME=/", "PYTHONWARNINGS=ignore"}},
		name:    r.Agent, plug: r.Options["plug"], options: r.Options, secrets: secrets,
	}
	if a.plug == "" {
		a.plug = r.Options["port"] // the name before fence-agents 4
	}
	return a, nil
}

// State runs the action status.
func (a *agent) State(ctx context.Context) (bmc.State, bmc.Identity, error) {
	who := bmc.Identity{Name: a.plug}
	status, output, complaints, err := a.act(ctx, "status")
	if err != nil {
		return bmc.Unknown, who, err
	}
	on, off := said(output, "on"), said(output, "off")
	switch {
	case status == agentDone && !off:
		return bmc.On, who, nil
	case status == agentOff && off && !on:
		return a.confirmed(ctx, who)
	case status == agentOff:
		// Shells and option parsers also exit with 2, when the agent did not
		// even begin.
		return bmc.Unknown, who, fmt.Errorf("%s exited with 2, but did not print \"Status: OFF\": %s", a.name, bmc.OneLine(output+" "+complaints))
	}
	return bmc.Unknown, who, fmt.Errorf("%s exited with %d: %s", a.name, status, bmc.OneLine(output+" "+complaints))
}

// confirmed asks for the list of machines before it passes on that an agent said
// off, for agents that say so of everything that is not a word for on, such as the
// message of a shell that does not find a program.
func (a *agent) confirmed(ctx context.Context, who bmc.Identity) (bmc.State, bmc.Identity, error) {
	if filepath.Base(a.name) != "fence_virsh" {
		return bmc.Off, who, nil
	}
	status, output, complaints, err := a.act(ctx, "list-status")
	if err != nil {
		return bmc.Unknown, who, err
	}
	for line := range strings.Lines(output) {
		fields := strings.Split(strings.TrimSpace(line), ",") // plug, alias, status
		if len(fields) == 3 && fields[0] == a.plug && strings.EqualFold(fields[2], "off") && status == agentDone {
			return bmc.Off, who, nil
		}
	}
	return bmc.Unknown, who, fmt.Errorf("%s said off, but its list of machines does not show %q as off: %s", a.name, a.plug, bmc.OneLine(output+" "+complaints))
}

// Set runs the action off or on.
func (a *agent) Set(ctx context.Context, on bool) error {
	action := "off"
	if on {
		action = "on"
	}
	status, output, complaints, err := a.act(ctx, action)
	if err != nil {
		return err
	}
	if status != agentDone {
		return fmt.Errorf("%s exited with %d: %s", a.name, status, bmc.OneLine(output+" "+complaints))
	}
	return nil
}

func (a *agent) act(ctx context.Context, action string) (status int, output, complaints string, err error) {
	p := a.program
	p.input = "action=" + action + "\n"
	for _, name := range slices.Sorted(maps.Keys(a.options)) {
		p.input += name + "=" + a.options[name] + "\n"
	}
	for _, name := range slices.Sorted(maps.Keys(a.secrets)) {
		p.input += name + "=" + a.secrets[name].Reveal() + "\n"
	}
	return p.run(ctx)
}

// said says whether one line of a status is "Status: WORD" or WORD alone.
func said(output, word string) bool {
	for line := range strings.Lines(strings.ToLower(output)) {
		line = strings.TrimSpace(strings.TrimPrefix(strings.TrimSpace(line), "status:"))
		if line == word {
			return true
		}
	}
	return false
}

// findAgent gives the path of an agent that nobody but root and its owner can
// change: what it says decides over data.
func findAgent(name string) (string, error) {
	places := []string{name}
	if !filepath.IsAbs(name) {
		places = nil
		for _, dir := range []string{"/usr/sbin", "/usr/local/sbin", "/sbin", "/usr/bin"} {
			places = append(places, filepath.Join(dir, name))
		}
	}
	for _, p := range places {
		info, err := os.Stat(p)
		if err != nil {
			continue
		}
		if !info.Mode().IsRegular() || info.Mode().Perm()&0o111 == 0 {
			return "", fmt.Errorf("%s is no program", p)
		}
		if info.Mode().Perm()&0o022 != 0 {
			return "", fmt.Errorf("%s can be changed by others than its owner: chmod go-w %s", p, p)
		}
		return p, nil
	}
	return "", fmt.Errorf("there is no %s: install the package of the fence agent (fence-agents or one of its parts)", strings.Join(places, " nor "))
}

// CheckAgent asks a fence agent for its metadata and compares them with a
// reference: agents ignore options that they do not know, so that a slip in one
// means another machine, or none. It also refuses agents that are no power
// switch by their own account. It contacts no controller.
func CheckAgent(ctx context.Context, r bmc.Reference) error {
	path, err := findAgent(r.Agent)
	if err == nil {
		err = checkMetadata(ctx, program{path: path, env: []string{searchPath, "LANG=C.UTF-8", "HOME=/", "PYTHONWARNINGS=ignore"}, input: "action=metadata\n"}, r.Options)
	}
	if err != nil {
		return fmt.Errorf("power switch %s: %w", r, err)
	}
	return nil
}

// metadata is the part of an agent's self-description that is used here
// (fence-agents, lib/metadata.rng).
type metadata struct {
	Parameters []struct {
		Name string `xml:"name,attr"`
	} `xml:"parameters>parameter"`
	Actions []struct {
		Name      string `xml:"name,attr"`
		Automatic string `xml:"automatic,attr"`
	} `xml:"actions>action"`
}

func checkMetadata(ctx context.Context, p program, options map[string]string) error {
	status, output, complaints, err := p.run(ctx)
	if err != nil {
		return err
	}
	if status != 0 {
		return fmt.Errorf("metadata: exited with %d: %s", status, bmc.OneLine(complaints))
	}
	var m metadata
	if err := xml.Unmarshal([]byte(output), &m); err != nil {
		return fmt.Errorf("metadata: %w", err)
	}
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
	var names []string
	for _, q := range m.Parameters {
		names = append(names, strings.ReplaceAll(q.Name, "-", "_"))
	}
	for _, name := range slices.Sorted(maps.Keys(options)) {
		if !slices.Contains(names, strings.ReplaceAll(name, "-", "_")) {
			return fmt.Errorf("the agent does not know the option %q and would ignore it; it knows %s", name, strings.Join(names, ", "))
		}
	}
	return nil
}
