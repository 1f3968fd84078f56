package diskcmd

import (
	"encoding/hex"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/holdfast-ha/holdfast/internal/ctl/screen"
	"github.com/holdfast-ha/holdfast/quorumdisk/label"
	"github.com/holdfast-ha/holdfast/quorumdisk/volume"
	"github.com/holdfast-ha/holdfast/storage"
)

// planned is a write of a plan as it is shown.
type planned struct {
	Where string `json:"where"`
	Off   int64  `json:"offset"` // bytes from the start of the device
	Len   int    `json:"length"`
	Why   string `json:"why"`
	Old   string `json:"old"` // hex
	New   string `json:"new"` // hex
}

// plans are the writes of a repair, each list on the handle that it is for.
type plans struct {
	table []volume.Write // on the whole device
	disk  []volume.Write // on the quorum disk
	base  int64          // of the quorum disk
}

func (p plans) shown() []planned {
	out := []planned{}
	for i, list := range [][]volume.Write{p.table, p.disk} {
		for _, w := range list {
			out = append(out, planned{w.Where, w.Off + int64(i)*p.base, len(w.Old), w.Why, hex.EncodeToString(w.Old), hex.EncodeToString(w.New)})
		}
	}
	return out
}

// maxDiff bounds how many lines of differing bytes are shown of one write.
const maxDiff = 24

// sayPlan prints each write, and what it changes in 16 bytes a line.
func (a *app) sayPlan(path string, p plans) {
	for i, list := range [][]volume.Write{p.table, p.disk} {
		for _, w := range list {
			off := w.Off + int64(i)*p.base
			a.Say("%s: %s, %d bytes at %d:\n    %s", path, w.Where, len(w.Old), off, screen.Wrap(w.Why, screen.Width-4, "    "))
			lines, more := 0, 0
			for at := 0; at < len(w.Old); at += 16 {
				old, now := w.Old[at:min(at+16, len(w.Old))], w.New[at:min(at+16, len(w.New))]
				switch {
				case string(old) == string(now):
				case lines < maxDiff:
					lines++
					a.Say("    %10d  old %x\n                new %x", off+int64(at), old, now)
				default:
					more++
				}
			}
			if more > 0 {
				a.Say("    and %s more (all with --json)", screen.Plural(more, "line"))
			}
		}
	}
}

// carryOut shows a plan, asks, and writes it, unless the disk has changed since.
// done tells what was done.
func (a *app) carryOut(v *opened, p plans, question, done string) error {
	n := len(p.table) + len(p.disk)
	result := struct {
		Path    string    `json:"path"`
		Writes  []planned `json:"writes"`
		Written bool      `json:"written"`
	}{v.path, p.shown(), false}
	if !a.JSON {
		a.sayPlan(v.path, p)
	}
	switch {
	case n == 0:
		if a.JSON {
			return a.PrintJSON(result)
		}
		a.Say("%s: nothing was wrong, and nothing is written", v.path)
		return nil
	case a.dry:
		if a.JSON {
			return a.PrintJSON(result)
		}
		a.Say("%s: %s planned, none done (--dry-run)", v.path, screen.Plural(n, "write"))
		return nil
	case !a.yes:
		if err := a.Confirm(question, "yes"); err != nil {
			return err
		}
	}
	err := errors.Join(volume.CheckPlan(v.whole, p.table, a.patience), volume.CheckPlan(v.Disk(), p.disk, a.patience))
	if err == nil {
		err = volume.Apply(v.whole, p.table, a.patience)
	}
	if err == nil {
		err = volume.Apply(v.Disk(), p.disk, a.patience)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", v.path, err)
	}
	if result.Written = true; a.JSON {
		return a.PrintJSON(result)
	}
	a.Say("%s: %s", v.path, done)
	return nil
}

func (a *app) repair() *cobra.Command {
	return a.writes("repair PATH", cobra.ExactArgs(1), func(args []string) error {
		return a.mend(args, false, func(v *opened) (p plans, err error) {
			p.base = v.base
			if v.base > 0 {
				if p.table, err = label.PlanRepair(v.whole, a.patience); err != nil {
					return p, err
				}
			}
			p.disk, err = v.PlanRepair(a.patience)
			return p, err
		})
	})
}

// mend opens one disk for writing, plans and carries out. A clone may be opened
// for its adoption only.
func (a *app) mend(args []string, clone bool, plan func(*opened) (plans, error)) error {
	list, err := a.targets(args)
	if err != nil {
		return err
	}
	t := list[0]
	t.want.AnyDevice = clone
	if n, err := a.Node(); err == nil && a.key == "" {
		t.want.Cluster = n.Cluster.ID // with this node's key and no other
	}
	v, err := a.open(t, storage.Options{Sync: true, ReadOnly: a.dry})
	if err != nil {
		return err
	}
	p, err := plan(v)
	if err != nil {
		err = fmt.Errorf("%s: %w", t.path, err)
	} else if clone {
		s := v.Superblock()
		err = a.carryOut(v, p, "Is the device that this is a copy of gone for good", fmt.Sprintf("is quorum disk %v of cluster %v now, as device %v", s.Disk, s.Cluster, v.whole.Info().Identity))
	} else {
		err = a.carryOut(v, p, "Write that", "repaired")
	}
	return errors.Join(err, v.whole.Close())
}

func (a *app) adopt() *cobra.Command {
	return a.writes("adopt-clone PATH", cobra.ExactArgs(1), func(args []string) error {
		if !a.yes && !a.dry && !a.JSON {
			a.Say("The device that %s is a copy of must never be seen by the cluster again.", args[0])
		}
		return a.mend(args, true, func(v *opened) (p plans, err error) {
			p.base = v.base
			p.disk, err = v.PlanAdopt(a.patience)
			return p, err
		})
	})
}
