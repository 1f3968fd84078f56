package diskcmd

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/holdfast-ha/holdfast/internal/ctl/screen"
	"github.com/holdfast-ha/holdfast/internal/ctl/vet"
	"github.com/holdfast-ha/holdfast/quorumdisk/place"
	"github.com/holdfast-ha/holdfast/quorumdisk/volume"
	"github.com/holdfast-ha/holdfast/storage"
)

// shown is a report and what reading the disk took.
type shown struct {
	*volume.Report
	Partition *place.Partition `json:"partition,omitempty"`
	Read      float64          `json:"read_seconds"` // one read of the beat table
	Failed    string           `json:"error,omitempty"`
}

func (a *app) show() *cobra.Command {
	var between time.Duration
	c := a.looks("show [PATH...]", cobra.ArbitraryArgs, func(args []string) error {
		list, err := a.targets(args)
		if err != nil {
			return err
		}
		for i := range list {
			list[i].want.AnyDevice = true // it is only looked at; a clone shows as a note
		}
		all := visit(a, list, func(v *opened) (shown, error) { return a.lookTwice(v, between) })
		if a.JSON {
			var out []shown
			for _, v := range all {
				if v.err != nil {
					v.value = shown{Report: &volume.Report{Path: v.path}, Failed: v.err.Error()}
				}
				out = append(out, v.value)
			}
			return errors.Join(a.PrintJSON(out), joined(all))
		}
		for _, v := range all {
			if v.err == nil {
				a.showDisk(v.value)
			}
		}
		return joined(all)
	})
	c.Flags().DurationVar(&between, "for", 2500*time.Millisecond, "`time` between two looks, which show who beats; 0: one look")
	return c
}

// lookTwice reports on a disk: a beat carries no time that another host could
// judge, so that whether a node beats is seen by looking twice.
func (a *app) lookTwice(v *opened, between time.Duration) (shown, error) {
	var s shown
	var first *volume.Snapshot
	var err error
	if between > 0 {
		if first, err = v.Snapshot(a.patience); err != nil {
			return s, err
		}
		time.Sleep(between)
	}
	table := make([]byte, v.Layout().TableSize())
	start := time.Now()
	if err := v.ReadTable(table, a.patience); err != nil {
		return s, err
	}
	s.Read = time.Since(start).Seconds()
	if s.Report, err = v.Report(first, between, a.patience); err != nil {
		return s, err
	}
	if v.base > 0 {
		s.Partition = &v.table
		s.Notes = append(s.Notes, v.table.Notes...)
	}
	return s, nil
}

func (a *app) showDisk(s shown) {
	u := s.Super
	a.Say("%s", s.Path)
	a.Say("  cluster    %s", u.Cluster)
	a.Say("  disk       %s, number %d of the set, generation %d of the set", u.Disk, u.Index, u.DiskGen)
	a.Say("  device     %s", s.Device)
	if s.Device != u.Device {
		a.Say("             NOT the device that was formatted, %s: a clone?", u.Device)
	}
	if p := s.Partition; p != nil {
		a.Say("  partition  %q, from %d on, %s", p.Name, p.Offset, screen.Size(p.Size))
	}
	a.Say("  format     %d, sectors of %d bytes, room for %d nodes, %s, made %s", u.Format, u.SectorSize, u.Nodes, screen.Size(u.Size), u.Created)
	a.Say("  read       %s for superblock and beats", screen.Seconds(time.Duration(s.Read*float64(time.Second))))
	if st := s.Newest; st != nil {
		a.Say("  state      %d (configuration %d), accepted: %s", st.Version, st.ConfigRev, pairs(st.Members))
		if len(st.Owners) > 0 {
			a.Say("  services   %s", pairs(st.Owners))
		}
	}
	for _, n := range append(s.Notes, s.StateErr) {
		if n != "" {
			a.Say("  NOTE       %s", screen.Wrap(n, screen.Width-13, "             "))
		}
	}
	if len(s.Damaged) > 0 {
		a.Say("  DAMAGED    %s of the register; see: holdfast disk verify", screen.Plural(len(s.Damaged), "header"))
	}
	if len(s.Nodes) == 0 {
		a.Say("  no node has written a beat yet")
		return
	}
	t := screen.NewTable(a.Out)
	t.Row("  NODE", "BEATS", "GUARD", "PHASE", "INCARNATION", "LEASE", "WATCHDOG", "COMMITTED", "ACCEPTED")
	for _, n := range s.Nodes {
		beats := "?"
		if n.Beating != nil {
			beats = map[bool]string{true: "yes", false: "no, for " + screen.Seconds(time.Duration(s.Watched*float64(time.Second)))}[*n.Beating]
		}
		t.Row("  "+strconv.Itoa(n.Node), beats, screen.OrDash(n.State), screen.OrDash(n.Phase), screen.OrDash(screen.Clip(n.Inc, 14)),
			fmt.Sprintf("%.1f s", n.F), fmt.Sprintf("%.1f s", n.TMax), strconv.FormatUint(n.Committed, 10), strconv.FormatUint(n.Version, 10))
	}
	t.Done()
	for _, n := range s.Nodes {
		for _, text := range n.Complaints {
			a.Say("  node %d: %s", n.Node, screen.Wrap(text, screen.Width-10, "    "))
		}
	}
}

// pairs is "alpha member, beta out", sorted.
func pairs(m map[string]string) string {
	var list []string
	for k, v := range m {
		list = append(list, k+" "+screen.OrDash(v))
	}
	slices.Sort(list)
	return strings.Join(list, ", ")
}

func (a *app) dump() *cobra.Command {
	return a.looks("dump PATH", cobra.ExactArgs(1), func(args []string) error {
		e, err := vet.Within(a.patience, "read "+args[0], func() (*exported, error) { return readExport(args[0]) })
		switch {
		case err != nil:
			return err
		case e != nil:
			return a.dumpExport(e)
		}
		list, err := a.targets(args)
		if err != nil {
			return errors.Join(err, a.dumpWithoutKey(args[0]))
		}
		list[0].want.AnyDevice = true
		all := visit(a, list, func(v *opened) (string, error) {
			var b strings.Builder
			if v.base > 0 {
				fmt.Fprintf(&b, "partition %q at %d, %d bytes; offsets below are from there on\n", v.table.Name, v.table.Offset, v.table.Size)
			}
			err := v.Dump(&b, a.patience)
			return b.String(), err
		})
		if a.JSON {
			return errors.Join(joined(all), a.PrintJSON(map[string]string{"path": args[0], "dump": all[0].value}))
		}
		fmt.Fprint(a.Out, all[0].value)
		return joined(all)
	})
}

// dumpWithoutKey shows what the superblock says, which needs no key.
func (a *app) dumpWithoutKey(path string) error {
	d, err := a.device(path, storage.Options{ReadOnly: true})
	if err != nil {
		return err
	}
	part, _, _, err := place.On(d, a.patience)
	if err != nil {
		return errors.Join(err, d.Close())
	}
	s, notes, err := volume.ReadSuperblock(part, a.patience)
	switch {
	case err != nil:
		err = fmt.Errorf("%s: %w", path, err)
	case a.JSON:
		err = a.PrintJSON(map[string]any{"path": path, "superblock": s, "notes": notes})
	default:
		volume.DumpSuperblock(a.Out, s, part.Info().Size)
		for _, n := range notes {
			a.Say("note: %s", n)
		}
		a.Say("without the cluster's key nothing else can be read, nor whether this is genuine")
	}
	return errors.Join(err, d.Close())
}
