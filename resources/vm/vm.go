// Package vm runs a virtual machine of libvirt as a member of a service, through
// virsh.
//
//	vm: {domain: shop, xml: /srv/shop/shop.xml}
//
// With xml the machine is a transient one: libvirt forgets it with its end, and no
// node has a definition that could be started by hand beside the owner's. Without,
// it must be defined on every node, and its autostart must be off. A stop asks the
// guest to shut down, and destroys it after the grace; it counts when libvirt says
// that the machine is shut off, or knows it no more.
//
// A move is a stop and a start, or, with migrate, a hand-over of the running guest:
//
//	vm: {domain: shop, migrate: {to: "qemu+ssh://{node}/system"}}
//
// The owner's stop then has libvirt migrate the guest so that it arrives paused, and no
// processor of it runs on the other node. Once the owner's own libvirt says that the
// guest is gone here, the owner marks the paused copy, and its stop is done: it releases
// its term as after any stop. The next owner's start resumes the copy instead of booting,
// if the mark is of exactly the term before its own. So the guest never runs on two
// nodes, and never on one to which nothing was granted; it is paused for as long as
// release and grant take. What is not marked so is destroyed, and never resumed. If a
// migration does not work, the guest is shut down as without it. See
// docs/decisions/0032 for why that is safe wherever it is cut off.
package vm

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/holdfast-ha/holdfast/resources"
	"github.com/holdfast-ha/holdfast/storage/program"
)

// Spec is what the configuration says of a vm member.
type Spec struct {
	Domain  string `json:"domain"`
	XML     string `json:"xml,omitempty"`     // file with its definition; then it is transient
	Connect string `json:"connect,omitempty"` // default qemu:///system
	// Grace is how long the guest has to shut down, default 60 s and never more than
	// two thirds of the stop's limit.
	Grace   resources.Duration `json:"grace,omitempty"`
	Migrate *Migrate           `json:"migrate,omitempty"` // nil: a move shuts it down, and boots it
}

const (
	defaultGrace = 60 * time.Second
	pollEvery    = 200 * time.Millisecond
	usualConnect = "qemu:///system"
)

// Agent is the kind "vm". Its zero value is what a node uses.
type Agent struct {
	Virsh program.Runner // calls virsh; nil: program.Run
	Dir   string         // what a boot forgets is kept below it; empty: $HOLDFAST_RUN, or /run/holdfast
}

// guest is a machine and its libvirt on this node.
type guest struct {
	Spec
	host
	path string // of its note
}

var (
	_ resources.Agent    = Agent{}
	_ resources.Fitter   = Agent{}
	_ resources.Reloader = Agent{}
)

// Start implements resources.Agent.
func (a Agent) Start(ctx context.Context, req resources.Request) resources.Report {
	g, err := a.guest(req)
	if err != nil {
		return fatal(err)
	}
	if report, ok := g.takenBack(ctx, req); !ok {
		return report
	}
	state, reason, err := g.stateAndReason(ctx, g.Domain)
	if err != nil {
		return resources.Unsure("%v", err)
	}
	told := ""
	if state == "paused" && g.Migrate != nil {
		report, stale := g.arrived(ctx, req, reason)
		if !stale {
			return report
		}
		told = report.Text
		if state, err = g.state(ctx, g.Domain); err != nil {
			return resources.Unsure("%v", err)
		}
	}
	report := g.boot(ctx, state)
	if told != "" {
		report.Text, report.Notable = report.Text+"; "+told, true
	}
	return report
}

// boot starts a machine that is down.
func (g guest) boot(ctx context.Context, state string) resources.Report {
	var res program.Result
	var err error
	switch state {
	case "running", "idle":
		return resources.Done("%s was running already", g.Domain)
	case "paused", "pmsuspended", "in shutdown":
		return resources.Failure("%s is %s; it has to be stopped first", g.Domain, state)
	case "":
		if g.XML == "" {
			return g.undefined()
		}
		res, err = g.call(ctx, "create", g.XML)
	default: // shut off, crashed
		if report, ok := g.manual(ctx); !ok {
			return report
		}
		res, err = g.call(ctx, "start", g.Domain)
	}
	switch {
	case err != nil:
		return resources.Unsure("%v", err)
	case res.Code != 0:
		return resources.Failure("start of %s: %s", g.Domain, res.Said())
	}
	if state, err = g.state(ctx, g.Domain); err != nil {
		return resources.Unsure("%v", err)
	} else if !runs(state) {
		return resources.Failure("%s was started, and is %s", g.Domain, word(state))
	}
	return resources.Done("%s runs", g.Domain)
}

// Stop implements resources.Agent.
func (a Agent) Stop(ctx context.Context, req resources.Request) resources.Report {
	g, err := a.guest(req)
	if err != nil {
		return fatal(err)
	}
	if report, ok := g.ranOn(ctx, req); !ok {
		return report
	}
	why := ""
	if req.Goal != "" && g.Migrate != nil && !req.Emergency {
		report, over := g.handOver(ctx, req)
		if over {
			return report
		}
		why = report.Text
	}
	report := g.shutDown(ctx, req)
	if why != "" {
		report.Text, report.Notable = fmt.Sprintf("%s; it was not handed to %s as it ran: %s", report.Text, req.Goal, why), true
	}
	return report
}

// shutDown asks the guest to shut down, and destroys it when its grace is over.
func (g guest) shutDown(ctx context.Context, req resources.Request) resources.Report {
	left := req.Timeout
	if end, ok := ctx.Deadline(); ok {
		left = min(left, time.Until(end))
	}
	grace := min(g.Grace.Or(defaultGrace), left*2/3)
	if req.Emergency {
		grace = 0
	}
	destroyAt, asked := time.Now().Add(grace), false
	for {
		state, err := g.state(ctx, g.Domain)
		switch {
		case err != nil:
			return resources.Unsure("%v", err)
		case down(state):
			return resources.Done("%s is %s", g.Domain, word(state))
		}
		switch {
		case !time.Now().Before(destroyAt):
			if res, err := g.call(ctx, "destroy", g.Domain); err != nil {
				return resources.Unsure("%v", err)
			} else if still, err := g.state(ctx, g.Domain); res.Code != 0 && (err != nil || !down(still)) {
				return resources.Failure("destroy %s: %s", g.Domain, res.Said())
			}
			continue
		case !asked:
			asked = true
			if res, err := g.call(ctx, "shutdown", g.Domain); err != nil || res.Code != 0 {
				destroyAt = time.Now() // it cannot be asked, as when it is paused
				continue
			}
		}
		select {
		case <-ctx.Done():
			return resources.Failure("%s is still %s", g.Domain, state)
		case <-time.After(pollEvery):
		}
	}
}

// Check implements resources.Agent.
func (a Agent) Check(ctx context.Context, req resources.Request) resources.Report {
	g, err := a.guest(req)
	if err != nil {
		return fatal(err)
	}
	state, reason, err := g.stateAndReason(ctx, g.Domain)
	switch {
	case err != nil:
		return resources.Unsure("%v", err)
	case runs(state):
		return resources.Done("%s runs", g.Domain)
	case down(state):
		return resources.Absent("%s is %s", g.Domain, word(state))
	}
	return resources.Failure("%s is %s (%s); a guest that is paused mostly waits for a disk: virsh domblkerror %s", g.Domain, state, reason, g.Domain)
}

// Probe implements resources.Agent. A copy that has arrived here and never ran is not
// one that runs here.
func (a Agent) Probe(ctx context.Context, req resources.Request) resources.Report {
	g, err := a.guest(req)
	if err != nil {
		return resources.Unsure("%v", err)
	}
	state, reason, err := g.stateAndReason(ctx, g.Domain)
	switch {
	case err != nil:
		return resources.Unsure("%v", err)
	case down(state):
		return resources.Absent("%s is %s", g.Domain, word(state))
	case state == "paused" && g.Migrate != nil:
		return g.probePaused(ctx, reason)
	}
	return resources.Done("%s is %s", g.Domain, state)
}

// Fit implements resources.Fitter.
func (a Agent) Fit(ctx context.Context, req resources.Request) resources.Report {
	g, err := a.guest(req)
	if err != nil {
		return fatal(err)
	}
	if _, err := exec.LookPath("virsh"); err != nil && a.Virsh == nil {
		return resources.Missing("virsh is not installed on this node; apt-get install libvirt-clients")
	}
	state, err := g.state(ctx, g.Domain)
	switch {
	case err != nil:
		return resources.Missing("%v", err)
	case state == "" && g.XML == "":
		return g.undefined()
	case state != "":
		if report, ok := g.manual(ctx); !ok {
			return report
		}
	}
	if _, err := os.Stat(g.XML); g.Migrate != nil && g.XML != "" && err != nil {
		return resources.Missing("the definition of %s is not on this node: %v", g.Domain, err)
	}
	return resources.Done("libvirt is here")
}

func (g guest) undefined() resources.Report {
	return resources.Missing("libvirt knows no domain %s on this node; virsh define its XML here, or name the file under xml", g.Domain)
}

// Reload implements resources.Reloader: its patience may change, and how it moves.
func (Agent) Reload(_ context.Context, req resources.Request) resources.Report {
	return resources.TakesOver(req, func(s *Spec) { s.Grace, s.Migrate = 0, nil })
}

func fatal(err error) resources.Report {
	return resources.Report{Outcome: resources.Failed, Severity: resources.Fatal, Text: err.Error()}
}

func (a Agent) guest(req resources.Request) (guest, error) {
	s, err := parse(req)
	call := a.Virsh
	if call == nil {
		call = program.Run
	}
	return guest{Spec: s, host: host{virsh: call, at: s.Connect}, path: a.notePath(req)}, err
}

func parse(req resources.Request) (Spec, error) {
	s := Spec{Connect: usualConnect}
	if err := resources.DecodeSpec(req.Spec, &s); err != nil {
		return s, err
	}
	switch {
	case !regexp.MustCompile(`^[A-Za-z0-9_+][A-Za-z0-9_.+:@ -]*$`).MatchString(s.Domain):
		return s, fmt.Errorf("vm needs domain, the name of a virtual machine (have %q)", s.Domain)
	case s.XML != "" && !filepath.IsAbs(s.XML):
		return s, errors.New("vm: xml is no absolute path")
	case strings.HasPrefix(s.Connect, "-"):
		return s, fmt.Errorf("vm: connect %q is no address of a hypervisor", s.Connect)
	case s.Migrate != nil:
		return s, s.Migrate.validate()
	}
	return s, nil
}

// manual refuses a machine that libvirt starts by itself when its node boots.
func (g guest) manual(ctx context.Context) (resources.Report, bool) {
	res, err := g.call(ctx, "dominfo", g.Domain)
	switch {
	case err != nil:
		return resources.Unsure("%v", err), false
	case res.Code != 0:
		return resources.Failure("dominfo %s: %s", g.Domain, res.Said()), false
	}
	for line := range strings.Lines(res.Stdout) {
		if name, value, _ := strings.Cut(line, ":"); name == "Autostart" && strings.TrimSpace(value) != "disable" {
			return resources.Missing("%s starts by itself when this node boots, without being granted; virsh autostart --disable %s", g.Domain, g.Domain), false
		}
	}
	return resources.Report{}, true
}
