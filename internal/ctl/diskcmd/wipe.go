package diskcmd

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/holdfast-ha/holdfast/cluster/ident"
	"github.com/holdfast-ha/holdfast/internal/ctl/screen"
	"github.com/holdfast-ha/holdfast/internal/ctl/vet"
	"github.com/holdfast-ha/holdfast/quorumdisk"
	"github.com/holdfast-ha/holdfast/quorumdisk/place"
	"github.com/holdfast-ha/holdfast/quorumdisk/volume"
	"github.com/holdfast-ha/holdfast/storage"
)

func (a *app) wipe() *cobra.Command {
	var force string
	var watched time.Duration
	c := a.looks("wipe PATH", cobra.ExactArgs(1), func(args []string) error { return a.wipeDisk(args[0], force, watched) })
	c.Flags().BoolVar(&a.dry, "dry-run", false, "say what would be erased, and erase nothing")
	c.Flags().StringVar(&force, "force-wipe", "", "do not ask: the `identity` of the disk, as the question shows it")
	c.Flags().DurationVar(&watched, "for", 5*time.Second, "`time` in which no node may beat on it")
	return c
}

// wiped is what wipe --json prints.
type wiped struct {
	Path     string `json:"path"`
	Identity string `json:"identity"`
	Cluster  string `json:"cluster,omitempty"`
	Disk     string `json:"disk,omitempty"`
	Wiped    bool   `json:"wiped"`
}

func (a *app) wipeDisk(path, force string, watched time.Duration) (err error) {
	if err := vet.Free(path, a.patience); err != nil {
		return err
	}
	whole, err := a.device(path, storage.Options{Sync: true, ReadOnly: a.dry})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, whole.Close()) }()
	part, _, _, err := place.On(whole, a.patience)
	if err != nil {
		return err
	}
	s, _, bad := volume.ReadSuperblock(part, a.patience)
	var failed *storage.OpError
	switch {
	case errors.As(bad, &failed):
		return bad
	case errors.Is(bad, volume.ErrUnformatted):
		return fmt.Errorf("%s is no Holdfast quorum disk: nothing to wipe", path)
	case bad == nil && a.ours(s):
		return fmt.Errorf("%s is a quorum disk of this node's cluster: remove it from %s first", path, a.Config)
	}
	if err := a.silent(part, s, watched); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	id := whole.Info().Identity.String()
	result := wiped{Path: path, Identity: id}
	if bad == nil {
		result.Cluster, result.Disk = s.Cluster.String(), s.Disk.String()
	}
	if !a.JSON {
		a.Say("%s: quorum disk %v of cluster %v", path, s.Disk, s.Cluster)
		if bad != nil {
			a.Say("    %v", bad)
		}
	}
	switch {
	case a.dry && a.JSON:
		return a.PrintJSON(result)
	case a.dry:
		a.Say("%s: would be erased with --force-wipe=%s", path, id)
		return nil
	case force == "":
		if err := a.Confirm("Erase what the cluster knows from it", id); err != nil {
			return err
		}
	case force != id:
		return fmt.Errorf("--force-wipe=%s: %s is %s", force, path, id)
	}
	if err := vet.Blank(whole, a.patience); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	if result.Wiped = true; a.JSON {
		return a.PrintJSON(result)
	}
	a.Say("%s: wiped", path)
	return nil
}

// ours says whether the disk is one of this node's.
func (a *app) ours(s quorumdisk.Superblock) bool {
	n, err := a.Node()
	if err != nil || n.Cluster.ID != s.Cluster {
		return false
	}
	var ids []ident.UUID
	for _, d := range n.Disks {
		ids = append(ids, d.UUID)
	}
	return slices.Contains(ids, s.Disk)
}

// silent refuses a disk on which a beat changes between two looks. No key is
// needed: any changed byte is a sign of life. Without a whole superblock the
// largest table is watched.
func (a *app) silent(part storage.Disk, s quorumdisk.Superblock, watched time.Duration) error {
	l := s.Layout
	if l.Nmax == 0 {
		l = quorumdisk.Layout{SectorSize: quorumdisk.LargeSector, Nmax: ident.MaxNodes}
	}
	n := min(int64(l.TableSize()), part.Info().Size-quorumdisk.SuperOffset)
	if n <= 0 || watched <= 0 {
		return nil
	}
	first, second := make([]byte, n), make([]byte, n)
	if err := part.Read(first, quorumdisk.SuperOffset, a.patience); err != nil {
		return err
	}
	time.Sleep(watched)
	if err := part.Read(second, quorumdisk.SuperOffset, a.patience); err != nil {
		return err
	}
	for at := 0; at < len(first); at += l.SectorSize {
		end := min(at+l.SectorSize, len(first))
		if !bytes.Equal(first[at:end], second[at:end]) {
			return fmt.Errorf("somebody writes to it: slot %d changed within %s; stop that node first (systemctl stop holdfastd holdfast-guard), no option overrides this", at/l.SectorSize, screen.Seconds(watched))
		}
	}
	return nil
}
