// Package diskcmd holds the commands holdfast disk ...: what an administrator
// does with quorum disks by hand, without a daemon. They look by default; those
// that write say before what they will write, and ask.
package diskcmd

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/holdfast-ha/holdfast/internal/config"
	"github.com/holdfast-ha/holdfast/internal/ctl/enrol"
	"github.com/holdfast-ha/holdfast/internal/ctl/screen"
	"github.com/holdfast-ha/holdfast/internal/ctl/shell"
	"github.com/holdfast-ha/holdfast/internal/ctl/vet"
	"github.com/holdfast-ha/holdfast/quorumdisk"
	"github.com/holdfast-ha/holdfast/quorumdisk/place"
	"github.com/holdfast-ha/holdfast/quorumdisk/volume"
	"github.com/holdfast-ha/holdfast/storage"
)

// app is what every command here has.
type app struct{ *shell.Shell }

// Command is holdfast disk, with more below it that other packages make.
func Command(s *shell.Shell, more ...*cobra.Command) *cobra.Command {
	a := &app{s}
	c := shell.Group("disk", a.diskShow(), a.diskDump(), a.diskVerify(), a.diskRepair(), a.diskAdopt(), a.diskWipe())
	c.AddCommand(more...)
	return c
}

// keyFlag lets a disk be looked at where there is no node.yaml.
func keyFlag(c *cobra.Command, key *string) *cobra.Command {
	c.Flags().StringVar(key, "key", "", "`file` with the cluster key (default: what node.yaml says)")
	return c
}

// target is a quorum disk to look at.
type target struct {
	path string
	keys quorumdisk.Keys
	want volume.Expect
}

// targets are the given disks, or those of node.yaml.
func (a *app) targets(paths []string, key string) ([]target, error) {
	n, err := a.Node()
	switch {
	case err != nil && len(paths) == 0:
		return nil, err
	case err != nil && key == "":
		return nil, fmt.Errorf("%s cannot be read without the key of its cluster: name it with --key FILE; %w", paths[0], err)
	}
	var list []target
	if key == "" {
		key = n.Key
	}
	keys, err := quorumdisk.LoadKeys(key)
	if err != nil {
		return nil, err
	}
	for _, p := range paths {
		list = append(list, target{path: p, keys: keys})
	}
	if len(paths) == 0 {
		for _, d := range n.Disks {
			list = append(list, target{d.Path, keys, volume.Expect{Cluster: n.Cluster.ID, Disk: d.UUID}})
		}
	}
	return list, nil
}

// on opens a disk, does something with it and closes it.
func (t target) on(opts storage.Options, do func(*volume.Volume) error) error {
	v, err := enrol.OpenVolume(t.path, t.keys, t.want, opts)
	if err != nil {
		return err
	}
	if err := do(v); err != nil {
		return errors.Join(fmt.Errorf("%s: %w", t.path, err), v.Disk().Close())
	}
	return v.Disk().Close()
}

// shown is a report and what reading the disk took.
type shown struct {
	*volume.Report
	Read float64 `json:"read_seconds"` // one read of the beat table
}

func (a *app) diskShow() *cobra.Command {
	var key string
	var watch time.Duration
	c := a.PrintsJSON(shell.Command("show [PATH...]", cobra.ArbitraryArgs, func(_ *cobra.Command, args []string) error {
		list, err := a.targets(args, key)
		if err != nil {
			return err
		}
		var all []shown
		var failed error
		for _, t := range list {
			t.want.AnyDevice = true // it is only looked at; a clone shows as a note
			failed = errors.Join(failed, t.on(storage.Options{ReadOnly: true}, func(v *volume.Volume) error {
				s, err := lookTwice(v, watch)
				all = append(all, s)
				return err
			}))
		}
		if a.JSON {
			return errors.Join(a.PrintJSON(all), failed)
		}
		for _, s := range all {
			if s.Report != nil {
				a.showDisk(s)
			}
		}
		return failed
	}))
	c.Flags().DurationVar(&watch, "for", 2500*time.Millisecond, "`time` between two looks, which show who beats; 0: one look")
	return keyFlag(c, &key)
}

// lookTwice reports on a disk: a beat carries no time that another host could
// judge, so that whether a node beats is seen by looking twice.
func lookTwice(v *volume.Volume, between time.Duration) (shown, error) {
	var s shown
	var first *volume.Snapshot
	var err error
	if between > 0 {
		if first, err = v.Snapshot(enrol.Patience); err != nil {
			return s, err
		}
		time.Sleep(between)
	}
	table := make([]byte, v.Layout().TableSize())
	start := time.Now()
	if err := v.ReadTable(table, enrol.Patience); err != nil {
		return s, err
	}
	s.Read = time.Since(start).Seconds()
	s.Report, err = v.Report(first, between, enrol.Patience)
	return s, err
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

func (a *app) diskDump() *cobra.Command {
	var key string
	return keyFlag(shell.Command("dump PATH", cobra.ExactArgs(1), func(_ *cobra.Command, args []string) error {
		list, err := a.targets(args, key)
		if err != nil {
			return errors.Join(err, a.dumpWithoutKey(args[0]))
		}
		list[0].want.AnyDevice = true
		return list[0].on(storage.Options{ReadOnly: true}, func(v *volume.Volume) error { return v.Dump(a.Out, enrol.Patience) })
	}), &key)
}

// dumpWithoutKey shows what the superblock says, which needs no key.
func (a *app) dumpWithoutKey(path string) error {
	disk, err := storage.Open(path, storage.Options{ReadOnly: true})
	if err != nil {
		return err
	}
	s, notes, err := volume.ReadSuperblock(disk, enrol.Patience)
	if err == nil {
		volume.DumpSuperblock(a.Out, s, disk.Info().Size)
		for _, n := range notes {
			a.Say("note: %s", n)
		}
		a.Say("without the cluster's key nothing else can be read, nor whether this is genuine")
	} else {
		err = fmt.Errorf("%s: %w", path, err)
	}
	return errors.Join(err, disk.Close())
}

// finding is one line of disk verify.
type finding struct {
	Path    string `json:"path"`
	Serious bool   `json:"serious"`
	Where   string `json:"where"`
	Error   string `json:"error"`
	Remedy  string `json:"remedy"`
}

func (a *app) diskVerify() *cobra.Command {
	var key string
	return keyFlag(a.PrintsJSON(shell.Command("verify [PATH...]", cobra.ArbitraryArgs, func(_ *cobra.Command, args []string) error {
		list, err := a.targets(args, key)
		if err != nil {
			return err
		}
		found := []finding{}
		var failed error
		for _, t := range list {
			failed = errors.Join(failed, t.on(storage.Options{ReadOnly: true}, func(v *volume.Volume) error {
				some, err := v.Verify(enrol.Patience)
				for _, f := range some {
					found = append(found, finding{t.path, f.Serious, f.Where, f.Err.Error(), f.Remedy})
				}
				if err == nil && len(some) == 0 && !a.JSON {
					a.Say("%s: everything on it checks", t.path)
				}
				return err
			}))
		}
		serious := 0
		for _, f := range found {
			word := "note"
			if f.Serious {
				serious++
				word = "BAD"
			}
			if !a.JSON {
				a.Say("%s: %s:\n    %s", f.Path, word, screen.Wrap(f.Where+": "+f.Error+"; "+f.Remedy, screen.Width-4, "    "))
			}
		}
		if a.JSON {
			failed = errors.Join(a.PrintJSON(found), failed)
		}
		if failed == nil && serious > 0 {
			failed = fmt.Errorf("%s", screen.Plural(serious, "serious finding"))
		}
		return failed
	})), &key)
}

func (a *app) diskRepair() *cobra.Command {
	var key string
	return keyFlag(shell.Command("repair PATH", cobra.ExactArgs(1), func(_ *cobra.Command, args []string) error {
		list, err := a.targets(args, key)
		if err != nil {
			return err
		}
		return list[0].on(storage.Options{Sync: true}, func(v *volume.Volume) error {
			notes := v.Notes()
			if err := v.Repair(enrol.Patience); err != nil {
				return err
			}
			if len(notes) == 0 {
				a.Say("%s: nothing was wrong; both superblocks were written again as they were", args[0])
			}
			for _, n := range notes {
				a.Say("%s: repaired: %s", args[0], n)
			}
			return nil
		})
	}), &key)
}

func (a *app) diskAdopt() *cobra.Command {
	var key string
	var yes bool
	c := shell.Command("adopt-clone PATH", cobra.ExactArgs(1), func(_ *cobra.Command, args []string) error {
		list, err := a.targets(args, key)
		if err != nil {
			return err
		}
		disk, err := storage.Open(args[0], storage.Options{Sync: true})
		if err != nil {
			return err
		}
		defer func() { _ = disk.Close() }() // every write was answered, or the error says so
		if !yes {
			a.Say("The device that %s is a copy of must never be seen by the cluster again.", args[0])
			if err := a.Confirm("Is that one gone for good", "yes"); err != nil {
				return err
			}
		}
		s, err := volume.AdoptClone(disk, list[0].keys, list[0].want, enrol.Patience)
		if err != nil {
			return fmt.Errorf("%s: %w", args[0], err)
		}
		a.Say("%s: is quorum disk %v of cluster %v now, as device %v", args[0], s.Disk, s.Cluster, s.Identity)
		return nil
	})
	c.Flags().BoolVarP(&yes, "yes", "y", false, "do not ask")
	return keyFlag(c, &key)
}

func (a *app) diskWipe() *cobra.Command {
	var yes string
	c := shell.Command("wipe PATH", cobra.ExactArgs(1), func(_ *cobra.Command, args []string) error {
		users, err := storage.InUse(args[0])
		if err != nil {
			return err
		}
		if len(users) > 0 {
			return fmt.Errorf("%s is in use: %s; end that first", args[0], strings.Join(users, "; "))
		}
		disk, err := storage.Open(args[0], storage.Options{Sync: true})
		if err != nil {
			return err
		}
		defer func() { _ = disk.Close() }() // every write was answered, or the error says so
		part, _, _, err := place.On(disk, enrol.Patience)
		if err != nil {
			return err
		}
		s, _, err := volume.ReadSuperblock(part, enrol.Patience)
		if errors.Is(err, volume.ErrUnformatted) {
			return fmt.Errorf("%s is no Holdfast quorum disk: nothing to wipe", args[0])
		}
		if n, bad := a.Node(); bad == nil && err == nil && n.Cluster.ID == s.Cluster && slices.ContainsFunc(n.Disks, func(d config.QuorumDisk) bool { return d.UUID == s.Disk }) {
			return fmt.Errorf("%s is a quorum disk of this node's cluster %s: remove it from %s first", args[0], n.Cluster.Name, a.Config)
		}
		id := disk.Info().Identity.String()
		if yes == "" {
			a.Say("%s: quorum disk %v of cluster %v", args[0], s.Disk, s.Cluster)
			if err := a.Confirm("Erase what the cluster knows from it", id); err != nil {
				return err
			}
		} else if yes != id {
			return fmt.Errorf("--force-wipe=%s: %s is %s", yes, args[0], id)
		}
		if err := vet.Blank(disk, enrol.Patience); err != nil {
			return fmt.Errorf("%s: %w", args[0], err)
		}
		a.Say("%s: wiped", args[0])
		return nil
	})
	c.Flags().StringVar(&yes, "force-wipe", "", "do not ask: the `identity` of the disk, as the question shows it")
	return c
}
