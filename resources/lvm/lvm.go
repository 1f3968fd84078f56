// Package lvm activates a volume group on a shared disk as a member of a service,
// and deactivates it so that another node may have it.
//
//	lvm: vg_orders
//
// Whose the group is stands on its disks: as the system ID of a machine (the
// default; lvm.conf needs system_id_source), or, with owner: tag, as a tag, for
// which lvm.conf needs a volume_list without the group. A start takes it over; that
// is safe because a start comes only after the former owner's end is proven. A group
// that every machine activates which sees it is refused, with the command that ends
// that.
//
// A stop counts when no logical volume of the group is left in this machine's
// device mapper.
package lvm

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/holdfast-ha/holdfast/resources"
	"github.com/holdfast-ha/holdfast/storage/lvm"
	"github.com/holdfast-ha/holdfast/storage/program"
)

// Spec is what the configuration says of an lvm member.
type Spec struct {
	Group string `json:"group"`
	// Owner is how it is told whose the group is: "system-id" (default) or "tag".
	Owner string `json:"owner,omitempty"`
	// Devices are the disks below it, for a guard by reservations; the agent itself
	// takes what lvm finds.
	Devices []string `json:"devices,omitempty"`
}

// tag marks a group that is in use by a service.
const tag = "holdfast"

const pollEvery = 100 * time.Millisecond

// Agent is the kind "lvm".
type Agent struct{}

var (
	_ resources.Agent  = Agent{}
	_ resources.Fitter = Agent{}
)

func tool() lvm.Tool {
	sysfs := "/sys"
	if d := os.Getenv("HOLDFAST_SYSFS"); d != "" {
		sysfs = d
	}
	return lvm.Tool{Run: program.Run, Sysfs: sysfs}
}

// Start implements resources.Agent.
func (Agent) Start(ctx context.Context, req resources.Request) resources.Report {
	s, err := parse(req)
	if err != nil {
		return fatal(err)
	}
	t := tool()
	g, report, ok := s.usable(ctx, t)
	if !ok {
		return report
	}
	if err := s.take(ctx, t, g); err != nil {
		return resources.Failure("%v", err)
	}
	if g, _, err = t.Find(ctx, s.Group); err != nil {
		return resources.Failure("%v", err)
	}
	with := ""
	if s.Owner == "tag" {
		with = tag
	}
	if err := t.Activate(ctx, g, with); err != nil {
		return resources.Failure("%v", err)
	}
	active, err := t.Active(s.Group)
	switch {
	case err != nil:
		return resources.Unsure("%v", err)
	case len(active) == 0 && g.Volumes > 0:
		return resources.Failure("%s: vgchange says that it is active, but none of its %d volumes is; lvm.conf may forbid it: lvmconfig activation/volume_list", s.Group, g.Volumes)
	}
	return resources.Done("%s is active, with %d volumes", s.Group, len(active))
}

// take makes the group ours on its disks.
func (s Spec) take(ctx context.Context, t lvm.Tool, g lvm.Group) error {
	if s.Owner == "tag" {
		return t.Tag(ctx, g, tag)
	}
	own, err := t.SystemID(ctx)
	if err != nil || g.SystemID == own {
		return err
	}
	if active, err := t.Active(s.Group); err != nil || len(active) > 0 {
		return fmt.Errorf("%s belongs to the system %q and is active here (%v, %w)", s.Group, g.SystemID, active, err)
	}
	return t.Take(ctx, g, own)
}

// Stop implements resources.Agent.
func (Agent) Stop(ctx context.Context, req resources.Request) resources.Report {
	s, err := parse(req)
	if err != nil {
		return fatal(err)
	}
	t := tool()
	g, found, err := t.Find(ctx, s.Group)
	if err != nil || !found {
		g = lvm.Group{Name: s.Group}
	}
	gone := err == nil && !found // its disks are; what is active here is not
	var failed error
	for {
		active, seen := t.Active(s.Group)
		if seen == nil && len(active) == 0 {
			break
		}
		if err := end(ctx, t, g, gone, active); ctx.Err() == nil || failed == nil {
			failed = err // of an attempt that the deadline cuts off nothing is learned but that
		}
		if active, seen = t.Active(s.Group); seen == nil && len(active) == 0 {
			break
		}
		select {
		case <-ctx.Done():
			r := resources.Failure("%s is still active: %v", s.Group, errors.Join(failed, seen))
			for _, v := range active {
				r.Holders = append(r.Holders, v.Name+" ("+v.Device+") below "+strings.Join(v.Holders, ", "))
			}
			return r
		case <-time.After(pollEvery):
		}
	}
	if s.Owner == "tag" && found {
		if err := t.Tag(ctx, g, "", tag); err != nil {
			return resources.Failure("%s is inactive, but still tagged: %v", s.Group, err)
		}
	}
	return resources.Done("no volume of %s is active", s.Group)
}

// end deactivates the group. One that lvm does not find any more, because its disks are
// gone, lvm cannot end: the device mapper can.
func end(ctx context.Context, t lvm.Tool, g lvm.Group, gone bool, active []lvm.Volume) error {
	if gone {
		return t.Remove(ctx, active...)
	}
	return t.Deactivate(ctx, g)
}

// Check implements resources.Agent.
func (Agent) Check(ctx context.Context, req resources.Request) resources.Report {
	s, err := parse(req)
	if err != nil {
		return fatal(err)
	}
	t := tool()
	active, err := t.Active(s.Group)
	switch {
	case err != nil:
		return resources.Unsure("%v", err)
	case len(active) == 0:
		return resources.Absent("no volume of %s is active", s.Group)
	}
	g, found, err := t.Find(ctx, s.Group)
	switch {
	case err != nil:
		return resources.Unsure("%v", err)
	case !found:
		return resources.Failure("%s is active, but its disks are gone", s.Group)
	case g.Missing > 0:
		return resources.Failure("%s misses %d of its physical volumes; pvs", s.Group, g.Missing)
	}
	if own, err := t.SystemID(ctx); s.Owner == "system-id" && err == nil && own != g.SystemID {
		return resources.Failure("%s is active here, but belongs to the system %q now", s.Group, g.SystemID)
	}
	if s.Owner == "tag" && !slices.Contains(g.Tags, tag) {
		return resources.Failure("%s is active here, but its tag %s is gone", s.Group, tag)
	}
	return resources.Done("%s is active, with %d volumes", s.Group, len(active))
}

// Probe implements resources.Agent. It reads no disk.
func (Agent) Probe(_ context.Context, req resources.Request) resources.Report {
	s, err := parse(req)
	if err != nil {
		return resources.Unsure("%v", err)
	}
	active, err := tool().Active(s.Group)
	switch {
	case err != nil:
		return resources.Unsure("%v", err)
	case len(active) == 0:
		return resources.Absent("no volume of %s is active", s.Group)
	}
	return resources.Done("%s is active, with %d volumes", s.Group, len(active))
}

// Fit implements resources.Fitter.
func (Agent) Fit(ctx context.Context, req resources.Request) resources.Report {
	s, err := parse(req)
	if err != nil {
		return fatal(err)
	}
	g, report, ok := s.usable(ctx, tool())
	switch {
	case ok:
		return resources.Done("%s is on %s", s.Group, strings.Join(g.Devices, ", "))
	case g.Name == "" && slices.Contains(req.Above, "iscsi") && report.Severity == resources.Hard && installed():
		return resources.Done("its disks come with the iscsi member above it")
	}
	return report
}

func installed() bool {
	_, err := exec.LookPath("lvm")
	return err == nil
}

// usable finds the group and refuses one that cannot be owned by one node alone.
func (s Spec) usable(ctx context.Context, t lvm.Tool) (lvm.Group, resources.Report, bool) {
	g, found, err := t.Find(ctx, s.Group)
	switch {
	case errors.Is(err, exec.ErrNotFound):
		return g, resources.Missing("lvm is not installed on this node; apt-get install lvm2"), false
	case err != nil:
		return g, resources.Unsure("%v", err), false
	case !found:
		return lvm.Group{}, resources.Missing("volume group %s is not seen on this node; check its disks (pvs --foreign) and the filter or devices file of lvm", s.Group), false
	case g.Missing > 0:
		return g, resources.Failure("%s misses %d of its physical volumes on this node; pvs", s.Group, g.Missing), false
	case g.Auto && !t.Excluded(ctx, s.Group):
		return g, resources.Missing("%s is activated by every machine that sees it boot; vgchange --setautoactivation n %s", s.Group, s.Group), false
	}
	if s.Owner != "system-id" {
		return g, resources.Report{}, true
	}
	switch own, err := t.SystemID(ctx); {
	case err != nil:
		return g, resources.Failure("%v", err), false
	case own == "":
		return g, resources.Missing("this node has no system ID: set global/system_id_source = \"uname\" in /etc/lvm/lvm.conf, or say owner: tag"), false
	}
	return g, resources.Report{}, true
}

func fatal(err error) resources.Report {
	return resources.Report{Outcome: resources.Failed, Severity: resources.Fatal, Text: err.Error()}
}

func parse(req resources.Request) (Spec, error) {
	s := Spec{Owner: "system-id"}
	if err := resources.DecodeSpec(req.Spec, &s); err != nil {
		return s, err
	}
	switch {
	case !regexp.MustCompile(`^[A-Za-z0-9_+.][A-Za-z0-9_+.-]*$`).MatchString(s.Group):
		return s, fmt.Errorf("lvm needs group, the name of a volume group (have %q)", s.Group)
	case s.Owner != "system-id" && s.Owner != "tag":
		return s, fmt.Errorf("lvm: owner %q: want system-id or tag", s.Owner)
	}
	return s, nil
}
