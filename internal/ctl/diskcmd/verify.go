package diskcmd

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/holdfast-ha/holdfast/internal/ctl/screen"
	"github.com/holdfast-ha/holdfast/internal/ctl/shell"
	"github.com/holdfast-ha/holdfast/quorumdisk"
	"github.com/holdfast-ha/holdfast/quorumdisk/label"
	"github.com/holdfast-ha/holdfast/quorumdisk/volume"
	"github.com/holdfast-ha/holdfast/sbd"
	"github.com/holdfast-ha/holdfast/storage"
)

// finding is one line of disk verify.
type finding struct {
	Path    string `json:"path"`
	Serious bool   `json:"serious"`
	Where   string `json:"where"`
	Off     int64  `json:"offset"` // bytes from the start of the device
	Error   string `json:"error"`
	Remedy  string `json:"remedy"`
}

// exitUnread is the exit code of a verify that could not read a disk, and found
// nothing serious on those that it could.
const exitUnread = 3

func (a *app) verify() *cobra.Command {
	return a.looks("verify [PATH...]", cobra.ArbitraryArgs, func(args []string) error {
		list, err := a.targets(args)
		if err != nil {
			return err
		}
		wanted := make([]volume.Expect, len(list))
		for i := range list { // what is wrong with the identity is found below, with the rest
			wanted[i] = list[i].want
			list[i].want = volume.Expect{Cluster: list[i].want.Cluster, Epoch: list[i].want.Epoch, AnyDevice: true}
		}
		all := visit(a, list, a.examine)
		found, seen := []finding{}, []*sight{}
		for i, v := range all {
			if v.value == nil {
				continue
			}
			v.value.want = wanted[i].Disk
			seen = append(seen, v.value)
			found = append(found, v.value.found...)
		}
		found = append(found, compare(seen)...)
		return a.verdict(all, found)
	})
}

// verdict prints the findings and turns them into an exit code: 1 for a serious
// one or a disk that is no quorum disk, 3 for one that could not be read.
func (a *app) verdict(all []visited[*sight], found []finding) error {
	serious, bad := 0, map[string]bool{}
	for _, f := range found {
		word := "note"
		if bad[f.Path] = true; f.Serious {
			serious++
			word = "BAD"
		}
		if !a.JSON {
			a.Say("%s: %s:\n    %s", f.Path, word, screen.Wrap(fmt.Sprintf("%s at %d: %s; %s", f.Where, f.Off, f.Error, f.Remedy), screen.Width-4, "    "))
		}
	}
	unread := false
	for _, v := range all {
		var failed *storage.OpError
		unread = unread || errors.As(v.err, &failed) || errors.Is(v.err, storage.ErrTimeout)
		if v.err == nil && !bad[v.path] && !a.JSON {
			a.Say("%s: everything on it checks", v.path)
		}
	}
	err := joined(all)
	if a.JSON {
		err = errors.Join(a.PrintJSON(found), err)
	}
	switch {
	case serious > 0:
		return errors.Join(err, fmt.Errorf("%s", screen.Plural(serious, "serious finding")))
	case unread:
		fmt.Fprintln(a.Err, "holdfast:", err)
		return shell.Code(exitUnread)
	}
	return err
}

// sight is what verify keeps of one disk for the comparison with the others.
type sight struct {
	path     string
	super    quorumdisk.Superblock
	want     [16]byte // the disk that node.yaml says stands here; zero: any
	device   storage.Identity
	snapshot *volume.Snapshot
	state    *volume.ReportState
	member   func(id [16]byte) (member, known bool) // of the set that the newest state here describes
	diskGen  uint32
	found    []finding
}

// examine checks everything on one disk.
func (a *app) examine(v *opened) (*sight, error) {
	s := &sight{path: v.path, super: v.Superblock(), device: v.whole.Info().Identity}
	add := func(f finding) { f.Path = v.path; s.found = append(s.found, f) }
	some, err := v.Verify(a.patience)
	for _, f := range some {
		if strings.Contains(f.Err.Error(), volume.ErrIdentity.Error()) {
			continue // compare says it, with what to do about it
		}
		add(finding{Serious: f.Serious, Where: f.Where, Off: f.Off + v.base, Error: f.Err.Error(), Remedy: f.Remedy})
	}
	if err != nil {
		return s, err
	}
	if v.base > 0 {
		plan, err := label.PlanRepair(v.whole, a.patience)
		if err != nil {
			return s, err
		}
		for _, w := range plan {
			add(finding{Serious: true, Where: w.Where, Off: w.Off, Error: w.Why, Remedy: "holdfast disk repair " + v.path})
		}
	}
	if err := a.examineSBD(v, add); err != nil {
		return s, err
	}
	if s.snapshot, err = v.Snapshot(a.patience); err != nil {
		return s, err
	}
	state, _, err := v.NewestState(a.patience)
	if err == nil && state != nil {
		s.diskGen = state.DiskGen
		s.state = &volume.ReportState{Version: state.Ver}
		s.member = func(id [16]byte) (bool, bool) {
			for _, d := range state.Disks {
				if d == id {
					return true, true
				}
			}
			return false, len(state.Disks) > 0
		}
	}
	return s, nil
}

// examineSBD checks the SBD area: it is an input only, so that nothing in it is
// serious, but messages do not arrive through one that is damaged.
func (a *app) examineSBD(v *opened, add func(finding)) error {
	const remedy = "messages of sbd(8) do not arrive; the cluster does not depend on it"
	d := v.Disk()
	area, err := sbd.Open(d, a.patience)
	var failed *storage.OpError
	switch {
	case errors.As(err, &failed):
		return err
	case errors.Is(err, sbd.ErrMagic):
		add(finding{Where: "SBD area", Off: v.base, Error: "it has no header", Remedy: remedy})
		return nil
	case err != nil:
		add(finding{Where: "SBD area", Off: v.base, Error: err.Error(), Remedy: remedy})
		return nil
	case area.Header().SectorSize%d.Info().SectorSize != 0:
		return nil // its slots are smaller than what this handle reads: holdfast sbd list shows them
	}
	if _, err := area.List(a.patience); errors.As(err, &failed) {
		return err
	} else if err != nil {
		add(finding{Where: "SBD area", Off: v.base, Error: err.Error(), Remedy: remedy})
	}
	return nil
}
