// Package iscsi logs in to an iSCSI target as a member of a service, and out, so
// that no I/O of a former owner is left on its way when another node has it.
//
//	iscsi: {target: iqn.2026-11.example:orders, portal: 10.1.0.5}
//
// With several portals there is a session over each, for multipath, and one that
// works is enough. The record is for logins by hand, so that the system's boot makes
// no session; the timeouts are short enough for a service to move on: recovery is
// how long the kernel holds back I/O when a session is lost. A stop counts when no
// session with the target and none of its disks is left in the kernel.
//
// Where reservations guard the disks (guard: reservation), the sessions are the
// node's, not the service's: every node that may run the service has them, for a
// node registers its key before it owns anything, and takes the keys of others away
// through sessions of its own. Hold makes them. The member then only waits for them
// at its start, and a stop counts when nothing on this node uses the disks.
package iscsi

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/holdfast-ha/holdfast/iscsi"
	"github.com/holdfast-ha/holdfast/resources"
	"github.com/holdfast-ha/holdfast/storage/program"
)

// Spec is what the configuration says of an iscsi member.
type Spec struct {
	Target  string   `json:"target"`
	Portal  string   `json:"portal,omitempty"`  // address, or address:port
	Portals []string `json:"portals,omitempty"` // several, in place of portal
	// User and PasswordFile are for CHAP. The file has mode 0600 and the password on
	// its first line; it is the same on every node.
	User         string `json:"user,omitempty"`
	PasswordFile string `json:"password_file,omitempty"`
	// Discover asks the portals for the target first, which some want.
	Discover bool `json:"discover,omitempty"`
	// Devices are the disks that it brings, by names that are the same on all nodes:
	// those that reservations guard. The agent itself does not need them.
	Devices []string `json:"devices,omitempty"`
	// Recovery is how long the kernel holds back I/O when a session is lost; default
	// 15 s, with several portals 5 s.
	Recovery resources.Duration `json:"recovery,omitempty"`
}

const (
	usualPort = "3260"
	pollEvery = 100 * time.Millisecond
	// again is the pause before a login that nobody has answered is repeated.
	again = 250 * time.Millisecond
	// reachWithin bounds the question whether a portal answers at all.
	reachWithin = 2 * time.Second
)

// Agent is the kind "iscsi".
type Agent struct{}

var (
	_ resources.Agent  = Agent{}
	_ resources.Fitter = Agent{}
)

func initiator() iscsi.Initiator {
	sysfs := "/sys"
	if d := os.Getenv("HOLDFAST_SYSFS"); d != "" {
		sysfs = d
	}
	return iscsi.Initiator{Run: program.Run, Sysfs: sysfs}
}

// Start implements resources.Agent.
func (Agent) Start(ctx context.Context, req resources.Request) resources.Report {
	s, err := parse(req)
	if err != nil {
		return fatal(err)
	}
	if req.Guarded {
		return s.take(ctx, req)
	}
	settings, err := s.settings()
	if err != nil {
		return resources.Missing("%v", err)
	}
	i := initiator()
	if report, refused := s.refused(i); refused {
		return report
	}
	failed := s.insist(ctx, i, settings, s.Portals)
	if len(failed) == len(s.Portals) {
		text := oneLine(failed)
		if ctx.Err() != nil {
			return resources.Unsure("%s", text)
		}
		return resources.Failure("%s", text)
	}
	up, disks, err := s.await(ctx, i)
	if err != nil {
		return resources.Failure("logged in to %s, but %v", s.Target, err)
	}
	return resources.Done("%s", s.summary(up, disks, failed))
}

// refused says why sessions with the target cannot be a service's.
func (s Spec) refused(i iscsi.Initiator) (resources.Report, bool) {
	sessions, _ := i.Sessions(s.Target) // who cannot read them here is told so later
	if disk := ofQuorum(sessions); disk != "" {
		return resources.Missing("%s carries a quorum disk too, %s, which a stop of the service would take from this node: give one of the two a target of its own, or add guard: reservation, which leaves the sessions to the node", s.Target, disk), true
	}
	return resources.Report{}, false
}

// logins logs in at portals, one after the other.
func (s Spec) logins(ctx context.Context, i iscsi.Initiator, settings iscsi.Settings, portals []string) (failed []error) {
	for _, portal := range portals {
		if err := s.login(ctx, i, portal, settings); err != nil {
			failed = append(failed, err)
		}
	}
	return failed
}

// insist logs in, and again for as long as there is time, where all that was wrong with
// every one of the portals is that no answer came in time: iscsiadm waits for some 15 s,
// and a target that has just come up, or a network that is just learning where things are,
// may take longer. What was answered with a refusal is not asked again.
func (s Spec) insist(ctx context.Context, i iscsi.Initiator, settings iscsi.Settings, portals []string) []error {
	for {
		failed := s.logins(ctx, i, settings, portals)
		if len(failed) == 0 || len(failed) < len(portals) || slices.ContainsFunc(failed, func(err error) bool { return !iscsi.Timeout(err) }) {
			return failed
		}
		select {
		case <-ctx.Done():
			return failed
		case <-time.After(again):
		}
	}
}

// await waits for a session that works and a disk of it.
func (s Spec) await(ctx context.Context, i iscsi.Initiator) (up, disks int, err error) {
	for {
		sessions, err := i.Sessions(s.Target)
		up, disks = count(sessions)
		switch {
		case err == nil && up > 0 && disks > 0:
			return up, disks, nil
		case ctx.Err() != nil && err != nil:
			return up, disks, err
		case ctx.Err() != nil:
			return up, disks, fmt.Errorf("the kernel has %d sessions and %d disks of it; does the target give LUNs to this initiator? /etc/iscsi/initiatorname.iscsi", up, disks)
		}
		select {
		case <-ctx.Done():
		case <-time.After(pollEvery):
		}
	}
}

func oneLine(list []error) string {
	return strings.ReplaceAll(errors.Join(list...).Error(), "\n", "; ")
}

func (s Spec) login(ctx context.Context, i iscsi.Initiator, portal string, settings iscsi.Settings) error {
	if s.Discover {
		found, err := i.Discover(ctx, portal, settings)
		if err != nil {
			return err
		}
		here := false
		for _, f := range found {
			here = here || f.Target == s.Target
		}
		if !here {
			return fmt.Errorf("the portal %s has no target %s; it has %v", portal, s.Target, found)
		}
	}
	if err := i.Configure(ctx, s.Target, portal, settings); err != nil {
		return err
	}
	return i.Login(ctx, s.Target, portal)
}

// recovers says of a lost session that the kernel has not given it up: it holds I/O back, for as long as recovery says, and who
// uses the disk notices nothing if the array is back by then. Behind that the state is FREE, and the I/O fails.
func recovers(s iscsi.Session) bool { return s.State == "FAILED" }

// count says how many sessions work, and how many disks there are.
func count(sessions []iscsi.Session) (up, disks int) {
	for _, s := range sessions {
		if s.State == "LOGGED_IN" {
			up++
		}
		disks += len(s.Disks)
	}
	return up, disks
}

func (s Spec) summary(up, disks int, failed []error) string {
	text := fmt.Sprintf("%d of %d sessions with %s, %d disks", up, len(s.Portals), s.Target, disks)
	if len(failed) > 0 {
		text += "; degraded: " + oneLine(failed)
	}
	return text
}

// Stop implements resources.Agent.
func (Agent) Stop(ctx context.Context, req resources.Request) resources.Report {
	s, err := parse(req)
	if err != nil {
		return fatal(err)
	}
	i := initiator()
	if req.Guarded {
		return s.leave(ctx, req, i)
	}
	for asked := false; ; asked = true {
		sessions, err := i.Sessions(s.Target)
		if err == nil && len(sessions) == 0 {
			return resources.Done("no session with %s is left", s.Target)
		}
		var failed error
		if !asked {
			failed = i.Logout(ctx, s.Target)
		}
		select {
		case <-ctx.Done():
			r := resources.Failure("sessions with %s are left: %v", s.Target, errors.Join(err, failed))
			for _, left := range sessions {
				for _, d := range left.Disks {
					r.Holders = append(r.Holders, fmt.Sprintf("%s of %s, below %v", d.Name, left.ID, d.Holders))
				}
			}
			return r
		case <-time.After(pollEvery):
		}
	}
}

// Check implements resources.Agent.
func (Agent) Check(_ context.Context, req resources.Request) resources.Report {
	s, err := parse(req)
	if err != nil {
		return fatal(err)
	}
	sessions, err := initiator().Sessions(s.Target)
	up, disks := count(sessions)
	switch {
	case err != nil:
		return resources.Unsure("%v", err)
	case len(sessions) == 0:
		return resources.Absent("there is no session with %s", s.Target)
	case req.Guarded && !taken(req):
		return resources.Absent("the node's sessions with %s are not used by the service", s.Target)
	case up == 0 && slices.ContainsFunc(sessions, recovers):
		return resources.Done("degraded: no session with %s works; I/O is held back for up to recovery while the node logs in again", s.Target)
	case up == 0:
		return resources.Failure("no session with %s works: %s is %s; the portal or the network to it is down", s.Target, sessions[0].ID, sessions[0].State)
	case disks == 0:
		return resources.Failure("%s has no disks for this node any more", s.Target)
	}
	for _, session := range sessions {
		for _, d := range session.Disks {
			if session.State == "LOGGED_IN" && d.State == "offline" {
				return resources.Failure("%s (LUN %s) of %s is offline: the kernel has given it up; a new session brings it back, with a restart of this member", d.Name, d.LUN, s.Target)
			}
		}
	}
	return resources.Done("%s", s.summary(up, disks, nil))
}

// Probe implements resources.Agent.
func (Agent) Probe(_ context.Context, req resources.Request) resources.Report {
	s, err := parse(req)
	if err != nil {
		return resources.Unsure("%v", err)
	}
	if req.Guarded {
		return s.probe(req)
	}
	sessions, err := initiator().Sessions(s.Target)
	switch {
	case err != nil:
		return resources.Unsure("%v", err)
	case len(sessions) == 0:
		return resources.Absent("there is no session with %s", s.Target)
	}
	return resources.Done("%d sessions with %s", len(sessions), s.Target)
}

// Fit implements resources.Fitter.
func (Agent) Fit(ctx context.Context, req resources.Request) resources.Report {
	s, err := parse(req)
	if err != nil {
		return fatal(err)
	}
	if _, err := exec.LookPath("iscsiadm"); err != nil {
		return resources.Missing("iscsiadm is not installed on this node; apt-get install open-iscsi")
	}
	if _, err := s.settings(); err != nil {
		return resources.Missing("%v", err)
	}
	if _, works, err := Held(req.Spec); req.Guarded && works && err == nil {
		return resources.Done("the node has a session with %s", s.Target)
	}
	if report, refused := s.refused(initiator()); refused && !req.Guarded {
		return report
	}
	var failed []error
	for _, portal := range s.Portals {
		d := net.Dialer{Timeout: reachWithin}
		c, err := d.DialContext(ctx, "tcp", portal)
		if err == nil {
			c.Close()
			return resources.Done("the portal %s answers", portal)
		}
		failed = append(failed, err)
	}
	return resources.Failure("no portal of %s answers: %s", s.Target, oneLine(failed))
}

func fatal(err error) resources.Report {
	return resources.Report{Outcome: resources.Failed, Severity: resources.Fatal, Text: err.Error()}
}

func parse(req resources.Request) (Spec, error) {
	var s Spec
	if err := resources.DecodeSpec(req.Spec, &s); err != nil {
		return s, err
	}
	if s.Portal != "" {
		s.Portals = append([]string{s.Portal}, s.Portals...)
	}
	switch {
	case !regexp.MustCompile(`^(iqn|eui|naa)\.[A-Za-z0-9.:-]+$`).MatchString(s.Target):
		return s, fmt.Errorf("iscsi needs target, the name of one, such as iqn.2026-11.example:orders (have %q)", s.Target)
	case len(s.Portals) == 0:
		return s, errors.New("iscsi needs portal, the address of the target")
	case (s.User == "") != (s.PasswordFile == ""):
		return s, errors.New("iscsi: user and password_file go together")
	case s.PasswordFile != "" && !filepath.IsAbs(s.PasswordFile):
		return s, fmt.Errorf("iscsi: password_file %s is no absolute path", s.PasswordFile)
	}
	for n, p := range s.Portals {
		if _, _, err := net.SplitHostPort(p); err != nil {
			s.Portals[n] = net.JoinHostPort(strings.Trim(p, "[]"), usualPort)
		}
	}
	return s, nil
}

// settings reads the password.
func (s Spec) settings() (iscsi.Settings, error) {
	usual := 15 * time.Second
	if len(s.Portals) > 1 {
		usual = 5 * time.Second // another path takes over
	}
	set := iscsi.Settings{User: s.User, Recovery: s.Recovery.Or(usual)}
	if s.PasswordFile == "" {
		return set, nil
	}
	info, err := os.Stat(s.PasswordFile)
	if err != nil {
		return set, fmt.Errorf("password: %w", err)
	}
	if info.Mode().Perm()&0o077 != 0 {
		return set, fmt.Errorf("password: others may read %s; chmod 600 %s", s.PasswordFile, s.PasswordFile)
	}
	text, err := os.ReadFile(s.PasswordFile)
	if err != nil {
		return set, fmt.Errorf("password: %w", err)
	}
	line, _, _ := strings.Cut(string(text), "\n")
	set.Password = strings.TrimRight(line, "\r")
	return set, nil
}
