package drivers

import (
	"context"
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
	node    string
	options map[string]string
	secrets map[string]bmc.Secret // by the option that each is told as

	asked   bool              // for its metadata; one call at a time is inside a driver
	refused error             // the metadata do not fit the options
	added   map[string]string // options that follow from the metadata
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
		program: program{path: path, env: agentEnvironment()},
		name:    r.Agent, plug: r.Options["plug"], node: o.Node, options: r.Options, secrets: secrets,
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

// act runs one action. Before the first one the agent is asked for its metadata;
// an agent that has none is used as it is.
func (a *agent) act(ctx context.Context, action string) (status int, output, complaints string, err error) {
	if !a.asked {
		a.asked = true
		if m, err := readMetadata(ctx, a.program); err == nil {
			a.refused, a.added = m.check(a.options), m.additions(a.options, a.node)
		}
	}
	if a.refused != nil {
		return 0, "", "", a.refused
	}
	if a.plug == "" {
		a.plug = a.added["plug"] + a.added["port"]
	}
	p := a.program
	p.input = "action=" + action + "\n"
	if a.node != "" {
		p.input += "nodename=" + a.node + "\n"
	}
	for _, options := range []map[string]string{a.added, a.options} {
		for _, name := range slices.Sorted(maps.Keys(options)) {
			p.input += name + "=" + options[name] + "\n"
		}
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

// agentEnvironment is what an agent's process finds around it: no secrets, no
// proxies, and no warnings of its interpreter in front of what is wrong.
func agentEnvironment() []string {
	return []string{searchPath, "LANG=C.UTF-8", "HOME=/", "PYTHONWARNINGS=ignore"}
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
