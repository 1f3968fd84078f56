package ctl

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/holdfast-ha/holdfast/internal/api"
	"github.com/holdfast-ha/holdfast/internal/ctl/diskcmd"
	"github.com/holdfast-ha/holdfast/internal/ctl/enrol"
	"github.com/holdfast-ha/holdfast/internal/ctl/shell"
)

// setPause is how often a change of the disks is looked at, and offerFor how
// long every member has to show that it sees the new one.
const (
	setPause = 250 * time.Millisecond
	offerFor = 30 * time.Second
)

// setFlags are those of a change of the set of quorum disks.
type setFlags struct {
	add   []string // paths of the disks that come
	force []string
	yes   bool
	dry   bool
	wait  time.Duration
}

func (f *setFlags) on(c *cobra.Command) {
	c.Flags().StringArrayVar(&f.force, "force-wipe", nil, "erase what the disk with this `identity` carries; the refusal prints it")
	c.Flags().BoolVarP(&f.yes, "yes", "y", false, "do not ask")
	c.Flags().BoolVar(&f.dry, "dry-run", false, "say what would be done, and do nothing")
	c.Flags().DurationVar(&f.wait, "wait", time.Minute, "wait up to this `time` until the new set counts alone; exit status 4 if it does not")
}

// diskReplace exchanges one of three disks on the running cluster.
func (a *app) diskReplace() *cobra.Command {
	var f setFlags
	c := a.PrintsJSON(shell.Command("replace OLD NEW", cobra.ExactArgs(2), func(c *cobra.Command, args []string) error {
		f.add = args[1:]
		return a.changeDisks(c.Context(), &f, func(s *api.Status) ([]string, error) {
			i := slices.IndexFunc(s.Disks, func(d api.Disk) bool {
				return d.Path == args[0] || d.ID == args[0] || enrol.StableName(args[0]) == d.Path
			})
			if i < 0 {
				return nil, fmt.Errorf("%s is not a quorum disk of this cluster; those are: %s", args[0], diskNames(s))
			}
			return []string{s.Disks[i].ID}, nil
		})
	}))
	f.on(c)
	return c
}

// diskGrow makes three disks of one on the running cluster.
func (a *app) diskGrow() *cobra.Command {
	var f setFlags
	c := a.PrintsJSON(shell.Command("grow", cobra.NoArgs, func(c *cobra.Command, _ []string) error {
		if len(f.add) != 2 {
			return shell.Usage(errors.New("grow goes from one quorum disk to three: give the two others, --disk PATH --disk PATH"))
		}
		return a.changeDisks(c.Context(), &f, func(s *api.Status) ([]string, error) {
			if len(s.Disks) != 1 {
				return nil, fmt.Errorf("the cluster has %d quorum disks already: %s", len(s.Disks), diskNames(s))
			}
			return nil, nil
		})
	}))
	c.Flags().StringArrayVar(&f.add, "disk", nil, "`path` of a disk that comes, twice")
	f.on(c)
	return c
}

func diskNames(s *api.Status) string {
	var names []string
	for _, d := range s.Disks {
		names = append(names, d.Path+" ("+d.ID+")")
	}
	return strings.Join(names, ", ")
}

// changeDisks makes the new disks, offers the set with them, and waits until it
// counts alone. goes says which disks leave the set.
func (a *app) changeDisks(ctx context.Context, f *setFlags, goes func(*api.Status) ([]string, error)) error {
	client, err := a.dial()
	if err != nil {
		return err
	}
	defer client.Close()
	s, err := client.Status(ctx)
	if err != nil {
		return err
	}
	gone, err := goes(s)
	if err == nil {
		err = mayChange(s)
	}
	if err != nil {
		return err
	}
	r := api.DisksRequest{}
	for _, d := range s.Disks {
		r.From = append(r.From, d.ID)
		if !slices.Contains(gone, d.ID) {
			r.To, r.Paths = append(r.To, d.ID), append(r.Paths, d.Path)
		}
	}
	making := a.Shell
	if a.JSON && !f.dry { // the result is the document
		making.Out = io.Discard
	}
	for i, path := range f.add {
		id, made, err := diskcmd.Make(&making, enrol.StableName(path), diskcmd.Wish{Index: len(r.To), Force: f.force, Yes: f.yes, Dry: f.dry})
		if err != nil || !made && f.dry {
			return err
		}
		if f.dry && i == len(f.add)-1 {
			return nil
		}
		r.To, r.Paths = append(r.To, id), append(r.Paths, enrol.StableName(path))
	}
	if f.dry {
		return nil
	}
	if _, err := client.Disks(ctx, api.DisksChange, r); err != nil {
		return err
	}
	return a.followChange(ctx, client, s.DiskSet.Generation, f.wait)
}

// mayChange refuses before anything is written what the cluster would refuse.
func mayChange(s *api.Status) error {
	if s.DiskSet.Stage != api.DisksSettled {
		return fmt.Errorf("the set of quorum disks is being changed already (%s, waits for %s)", s.DiskSet.Stage, strings.Join(s.DiskSet.Waits, ", "))
	}
	for _, n := range s.Nodes {
		if n.Fencing || n.Phase != "member" && n.Phase != "out" {
			return fmt.Errorf("%s is not there as a member (%s): every member must open the new disk first; let it come back, or take it out (holdfast node leave, or fence)", n.Name, n.Phase)
		}
	}
	return nil
}

// followChange tells how far the change is, and withdraws an offer that a member
// cannot take up.
func (a *app) followChange(ctx context.Context, client *api.Client, before uint32, wait time.Duration) error {
	start, said := time.Now(), ""
	for {
		s, err := client.Status(ctx)
		if err != nil {
			return err
		}
		set := s.DiskSet
		if now := set.Stage + strings.Join(set.Waits, ", "); now != said && !a.JSON && set.Stage != api.DisksSettled {
			said = now
			a.Say("%s: waiting for %s", set.Stage, waitsFor(&set))
		}
		switch {
		case set.Generation > before && set.Stage == api.DisksSettled:
			return a.showResult(&api.Result{Version: api.Version, State: s.Cluster.State, Text: fmt.Sprintf("%d quorum disks count, generation %d: %s", len(s.Disks), set.Generation, diskNames(s))}, "")
		case set.Generation == before && set.Stage == api.DisksSettled && set.Text != "":
			return fmt.Errorf("the set of quorum disks stays as it was: %s", set.Text)
		case set.Stage == api.DisksOffered && time.Since(start) > min(offerFor, wait):
			why := fmt.Sprintf("%s did not show that it sees the new disk: is the LUN mapped there?", strings.Join(set.Waits, ", "))
			_, err := client.Disks(ctx, api.DisksKeep, api.DisksRequest{Why: why})
			return errors.Join(fmt.Errorf("the set of quorum disks stays as it was: %s", why), err)
		case time.Since(start) > wait:
			return fmt.Errorf("after %v both sets still count, which is safe: waiting for %s; the change ends by itself (holdfast status): %w", wait, strings.Join(set.Waits, ", "), errWaited)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(setPause):
		}
	}
}

// waitsFor names the nodes that a change waits for; none: for the next commit.
func waitsFor(s *api.DiskSet) string {
	if len(s.Waits) == 0 {
		return "the next decision"
	}
	return strings.Join(s.Waits, ", ")
}
