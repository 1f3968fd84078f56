package diskcmd

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/holdfast-ha/holdfast/cluster/ident"
	"github.com/holdfast-ha/holdfast/internal/config"
	"github.com/holdfast-ha/holdfast/internal/ctl/screen"
	"github.com/holdfast-ha/holdfast/internal/ctl/shell"
	"github.com/holdfast-ha/holdfast/internal/ctl/vet"
	"github.com/holdfast-ha/holdfast/quorumdisk"
	"github.com/holdfast-ha/holdfast/quorumdisk/volume"
	"github.com/holdfast-ha/holdfast/sbd"
	"github.com/holdfast-ha/holdfast/storage"
)

// made is a quorum disk that create makes, as it is shown.
type made struct {
	Path     string     `json:"path"`
	Identity string     `json:"identity"`
	Disk     ident.UUID `json:"disk"`
	Nodes    int        `json:"room_for_nodes"`
	Sector   int        `json:"sector_size"`
	Index    int        `json:"index"`
	GPT      bool       `json:"gpt"`
	Carries  []string   `json:"carries,omitempty"` // what is erased
	Notes    []string   `json:"notes,omitempty"`
	Written  bool       `json:"written"`
}

// wish is what create was asked for.
type wish struct {
	gpt   bool
	index int
	force string
	quiet *made // where to put it, instead of saying what comes next; nil: nowhere
}

func (a *app) create() *cobra.Command {
	var w wish
	c := a.writes("create PATH", cobra.ExactArgs(1), func(args []string) error { return a.createDisk(args[0], w) })
	c.Flags().BoolVar(&w.gpt, "gpt", false, "put a partition table on the disk, and the quorum disk in a partition of its own")
	c.Flags().IntVar(&w.index, "index", 0, "place in the set of disks, 0 to 2")
	c.Flags().StringVar(&w.force, "force-wipe", "", "erase what the disk with this `identity` carries; the refusal prints it")
	return c
}

// createDisk makes a quorum disk of this node's cluster that is no member of its
// set: the layout is that of the disks in use.
func (a *app) createDisk(path string, w wish) (err error) {
	n, err := a.Node()
	if err != nil {
		return err
	}
	if w.index < 0 || w.index > 2 {
		return fmt.Errorf("--index=%d: the places in a set are 0, 1 and 2", w.index)
	}
	model, err := a.model()
	if err != nil {
		return err
	}
	m := made{Path: path, Disk: quorumdisk.NewUUID(), Nodes: model.super.Layout.Nmax, Sector: model.super.Layout.SectorSize, Index: w.index, GPT: w.gpt}
	if m.Notes, err = vet.Suitable(path, n.Platform.Emulated); err != nil {
		return err
	}
	if err := vet.Free(path, a.patience); err != nil {
		return err
	}
	whole, err := a.device(path, storage.Options{Sync: true, SectorSize: m.Sector})
	if err != nil {
		return err
	}
	defer func() {
		if whole != nil {
			err = errors.Join(err, whole.Close())
		}
	}()
	id := whole.Info().Identity
	m.Identity = id.String()
	if err := vet.Room(whole.Info(), model.super.Layout, w.gpt); err != nil {
		return err
	}
	if m.Carries, err = vet.Carries(whole, a.patience); err != nil {
		return err
	}
	if len(m.Carries) > 0 && w.force != m.Identity {
		return fmt.Errorf("%s carries something: %s. If nobody needs that: --force-wipe=%s", path, strings.Join(m.Carries, "; "), id)
	}
	if proceed, err := a.agree(m); !proceed {
		return err
	}
	if len(m.Carries) > 0 {
		if err := vet.Blank(whole, a.patience); err != nil {
			return err
		}
	}
	part := whole
	if w.gpt {
		whole = nil // the labelling closes it
		var notes []string
		if part, notes, err = vet.Label(part, n.Cluster.Name, storage.Options{Sync: true, SectorSize: m.Sector}, a.patience); err != nil {
			return err
		}
		whole, m.Notes = part, append(m.Notes, notes...)
	}
	if err := a.format(part, n, model, m); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	m.Written = true
	if w.quiet != nil {
		*w.quiet = m
		return nil
	}
	if a.JSON {
		return a.PrintJSON(m)
	}
	a.Say("%s: is quorum disk %v of cluster %s now, and no member of its set of disks", path, m.Disk, n.Cluster.Name)
	return nil
}

// Wish is how a disk that is to be taken into the set is made.
type Wish struct {
	Index int
	Force []string // identities of disks whose content may go
	Yes   bool
	Dry   bool
}

// Make makes a quorum disk for the set, as create does; one that create has made
// already and that is in no set is taken as it is. It returns false if nothing
// was, or would be, made.
func Make(s *shell.Shell, path string, w Wish) (string, bool, error) {
	a := &app{Shell: s, patience: 5 * time.Second, yes: w.Yes, dry: w.Dry}
	n, err := a.Node()
	if err != nil {
		return "", false, err
	}
	if id, ok := a.spare(path, n); ok {
		return id.String(), true, nil
	}
	var m made
	ask := wish{index: min(w.Index, 2), quiet: &m}
	if id, err := storage.Identify(path); err == nil && slices.Contains(w.Force, id.String()) {
		ask.force = id.String()
	}
	if err := a.createDisk(path, ask); err != nil {
		return "", false, err
	}
	return m.Disk.String(), m.Written, nil
}

// spare says whether a disk is one of this cluster that is in no set.
func (a *app) spare(path string, n *config.Node) (ident.UUID, bool) {
	d, err := a.device(path, storage.Options{ReadOnly: true})
	if err != nil {
		return ident.UUID{}, false
	}
	s, _, err := volume.ReadSuperblock(d, a.patience)
	if err := errors.Join(err, d.Close()); err != nil || s.Cluster != n.Cluster.ID || s.OfEpoch(n.Cluster.Epoch) != nil {
		return ident.UUID{}, false
	}
	used := slices.ContainsFunc(n.Disks, func(q config.QuorumDisk) bool { return q.UUID == s.Disk })
	return s.Disk, !used
}

// agree shows what is made, and asks.
func (a *app) agree(m made) (bool, error) {
	if !a.JSON {
		a.Say("%s (%s): a quorum disk with room for %d nodes, sectors of %d bytes, number %d of the set", m.Path, m.Identity, m.Nodes, m.Sector, m.Index)
		for _, c := range m.Carries {
			a.Say("    erased: %s", screen.Wrap(c, screen.Width-12, "    "))
		}
		for _, n := range m.Notes {
			a.Say("    note: %s", screen.Wrap(n, screen.Width-10, "    "))
		}
	}
	switch {
	case a.dry && a.JSON:
		return false, a.PrintJSON(m)
	case a.dry:
		a.Say("%s: nothing was written (--dry-run)", m.Path)
		return false, nil
	case a.yes:
		return true, nil
	}
	err := a.Confirm("Make it", "yes")
	return err == nil, err
}

// pattern is what a new disk takes from one in use.
type pattern struct {
	super   quorumdisk.Superblock
	diskGen uint32
	keys    quorumdisk.Keys
	sbd     *sbd.Header
}

// model reads the disks in use until one answers.
func (a *app) model() (pattern, error) {
	list, err := a.targets(nil)
	if err != nil {
		return pattern{}, err
	}
	all := visit(a, list, func(v *opened) (pattern, error) {
		p := pattern{super: v.Superblock(), keys: v.keys}
		p.diskGen = p.super.DiskGen
		if s, _, err := v.NewestState(a.patience); err == nil && s != nil {
			p.diskGen = s.DiskGen
		}
		h, err := sbd.ReadHeader(v.Disk(), a.patience)
		var failed *storage.OpError
		if err == nil {
			p.sbd = &h
		} else if errors.As(err, &failed) {
			return p, err
		}
		return p, nil
	})
	i := slices.IndexFunc(all, func(v visited[pattern]) bool { return v.err == nil })
	if i < 0 {
		return pattern{}, fmt.Errorf("no quorum disk in use can be read, and a new one has to be like them: %w", joined(all))
	}
	return all[i].value, nil
}

func (a *app) format(d storage.Disk, n *config.Node, p pattern, m made) error {
	var area []byte
	if p.sbd != nil {
		h := *p.sbd
		h.UUID = m.Disk
		var err error
		if area, err = sbd.Image(h); err != nil {
			return err
		}
	}
	_, err := volume.Create(d, volume.Options{
		Keys: p.keys, Cluster: n.Cluster.ID, Disk: m.Disk, Index: uint8(m.Index), DiskGen: p.diskGen,
		Nmax: m.Nodes, Created: time.Now(), SBD: area, Timeout: a.patience,
	})
	return err
}
