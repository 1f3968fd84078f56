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
// A move is a stop and a start. A machine is not migrated while it runs: between
// the two ends of a migration it would run on a node to which nothing was granted,
// and if the former one failed meanwhile, a third could be given it as well.
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
	Grace resources.Duration `json:"grace,omitempty"`
}

const (
	defaultGrace = 60 * time.Second
	pollEvery    = 200 * time.Millisecond
	usualConnect = "qemu:///system"
)

// Agent is the kind "vm".
type Agent struct{}

var (
	_ resources.Agent    = Agent{}
	_ resources.Fitter   = Agent{}
	_ resources.Reloader = Agent{}
)

// Start implements resources.Agent.
func (Agent) Start(ctx context.Context, req resources.Request) resources.Report {
	s, err := parse(req)
	if err != nil {
		return fatal(err)
	}
	state, err := s.state(ctx)
	if err != nil {
		return resources.Unsure("%v", err)
	}
	var res program.Result
	switch state {
	case "running", "idle":
		return resources.Done("%s was running already", s.Domain)
	case "paused", "pmsuspended", "in shutdown":
		return resources.Failure("%s is %s; it has to be stopped first", s.Domain, state)
	case "":
		if s.XML == "" {
			return resources.Missing("libvirt knows no domain %s on this node; virsh define its XML here, or name the file under xml", s.Domain)
		}
		res, err = s.virsh(ctx, "create", s.XML)
	default: // shut off, crashed
		if report, ok := s.manual(ctx); !ok {
			return report
		}
		res, err = s.virsh(ctx, "start", s.Domain)
	}
	switch {
	case err != nil:
		return resources.Unsure("%v", err)
	case res.Code != 0:
		return resources.Failure("start of %s: %s", s.Domain, res.Said())
	}
	if state, err = s.state(ctx); err != nil {
		return resources.Unsure("%v", err)
	} else if state != "running" && state != "idle" {
		return resources.Failure("%s was started, and is %s", s.Domain, word(state))
	}
	return resources.Done("%s runs", s.Domain)
}

// Stop implements resources.Agent.
func (Agent) Stop(ctx context.Context, req resources.Request) resources.Report {
	s, err := parse(req)
	if err != nil {
		return fatal(err)
	}
	grace := min(s.Grace.Or(defaultGrace), req.Timeout*2/3)
	if req.Emergency {
		grace = 0
	}
	destroyAt, asked := time.Now().Add(grace), false
	for {
		state, err := s.state(ctx)
		switch {
		case err != nil:
			return resources.Unsure("%v", err)
		case down(state):
			return resources.Done("%s is %s", s.Domain, word(state))
		}
		switch {
		case !time.Now().Before(destroyAt):
			if res, err := s.virsh(ctx, "destroy", s.Domain); err != nil {
				return resources.Unsure("%v", err)
			} else if still, err := s.state(ctx); res.Code != 0 && (err != nil || !down(still)) {
				return resources.Failure("destroy %s: %s", s.Domain, res.Said())
			}
			continue
		case !asked:
			asked = true
			if res, err := s.virsh(ctx, "shutdown", s.Domain); err != nil || res.Code != 0 {
				destroyAt = time.Now() // it cannot be asked, as when it is paused
				continue
			}
		}
		select {
		case <-ctx.Done():
			return resources.Failure("%s is still %s", s.Domain, state)
		case <-time.After(pollEvery):
		}
	}
}

// Check implements resources.Agent.
func (Agent) Check(ctx context.Context, req resources.Request) resources.Report {
	s, err := parse(req)
	if err != nil {
		return fatal(err)
	}
	state, err := s.state(ctx)
	switch {
	case err != nil:
		return resources.Unsure("%v", err)
	case state == "running" || state == "idle":
		return resources.Done("%s runs", s.Domain)
	case down(state):
		return resources.Absent("%s is %s", s.Domain, word(state))
	}
	res, _ := s.virsh(ctx, "domstate", s.Domain, "--reason")
	return resources.Failure("%s is %s; a guest that is paused mostly waits for a disk: virsh domblkerror %s", s.Domain, strings.TrimSpace(res.Stdout), s.Domain)
}

// Probe implements resources.Agent.
func (Agent) Probe(ctx context.Context, req resources.Request) resources.Report {
	s, err := parse(req)
	if err != nil {
		return resources.Unsure("%v", err)
	}
	state, err := s.state(ctx)
	switch {
	case err != nil:
		return resources.Unsure("%v", err)
	case down(state):
		return resources.Absent("%s is %s", s.Domain, word(state))
	}
	return resources.Done("%s is %s", s.Domain, state)
}

// Fit implements resources.Fitter.
func (Agent) Fit(ctx context.Context, req resources.Request) resources.Report {
	s, err := parse(req)
	if err != nil {
		return fatal(err)
	}
	if _, err := exec.LookPath("virsh"); err != nil {
		return resources.Missing("virsh is not installed on this node; apt-get install libvirt-clients")
	}
	state, err := s.state(ctx)
	switch {
	case err != nil:
		return resources.Missing("%v", err)
	case state == "" && s.XML == "":
		return resources.Missing("libvirt knows no domain %s on this node; virsh define its XML here, or name the file under xml", s.Domain)
	case state != "":
		if report, ok := s.manual(ctx); !ok {
			return report
		}
	}
	return resources.Done("libvirt is here")
}

// Reload implements resources.Reloader: its patience may change.
func (Agent) Reload(_ context.Context, req resources.Request) resources.Report {
	return resources.TakesOver(req, func(s *Spec) { s.Grace = 0 })
}

func fatal(err error) resources.Report {
	return resources.Report{Outcome: resources.Failed, Severity: resources.Fatal, Text: err.Error()}
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
	}
	return s, nil
}

func (s Spec) virsh(ctx context.Context, args ...string) (program.Result, error) {
	return program.Run(ctx, program.Command{Argv: append([]string{"virsh", "--quiet", "--connect", s.Connect}, args...), Env: []string{"HOME=" + os.TempDir()}})
}

// state is what virsh calls it: running, idle, paused, in shutdown, shut off,
// crashed, pmsuspended, no state; empty if there is no such machine.
func (s Spec) state(ctx context.Context) (string, error) {
	res, err := s.virsh(ctx, "domstate", s.Domain)
	switch {
	case err != nil:
		return "", err
	case res.Code == 0:
		return strings.TrimSpace(res.Stdout), nil
	case strings.Contains(res.Stderr, "failed to get domain"):
		return "", nil
	}
	return "", fmt.Errorf("libvirt (%s) does not answer: %s", s.Connect, res.Said())
}

// manual refuses a machine that libvirt starts by itself when its node boots.
func (s Spec) manual(ctx context.Context) (resources.Report, bool) {
	res, err := s.virsh(ctx, "dominfo", s.Domain)
	switch {
	case err != nil:
		return resources.Unsure("%v", err), false
	case res.Code != 0:
		return resources.Failure("dominfo %s: %s", s.Domain, res.Said()), false
	}
	for line := range strings.Lines(res.Stdout) {
		if name, value, _ := strings.Cut(line, ":"); name == "Autostart" && strings.TrimSpace(value) != "disable" {
			return resources.Missing("%s starts by itself when this node boots, without being granted; virsh autostart --disable %s", s.Domain, s.Domain), false
		}
	}
	return resources.Report{}, true
}

// down says that nothing of the machine runs. A crashed one may be kept, with its
// disks open, and has to be destroyed.
func down(state string) bool { return state == "" || state == "shut off" }

func word(state string) string {
	if state == "" {
		return "not known to libvirt"
	}
	return state
}
