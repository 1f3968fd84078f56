// Package diskcmd holds the commands holdfast disk ...: what an administrator
// does with quorum disks by hand, without a daemon. They look by default; those
// that write say before what they will write, ask, and write nothing else.
//
// Disks are visited side by side, and every wait is bounded: one that does not
// answer is named, and the others are shown all the same.
package diskcmd

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/holdfast-ha/holdfast/internal/ctl/shell"
	"github.com/holdfast-ha/holdfast/internal/ctl/vet"
	"github.com/holdfast-ha/holdfast/quorumdisk"
	"github.com/holdfast-ha/holdfast/quorumdisk/place"
	"github.com/holdfast-ha/holdfast/quorumdisk/volume"
	"github.com/holdfast-ha/holdfast/storage"
)

// app is what every command here has.
type app struct {
	*shell.Shell
	key      string        // file with the cluster's key; empty: what node.yaml says
	patience time.Duration // for one request to a disk
	yes      bool          // do not ask
	dry      bool          // say what would be written, and end
}

// Command is holdfast disk, with more below it that other packages make.
func Command(s *shell.Shell, more ...*cobra.Command) *cobra.Command {
	a := &app{Shell: s}
	c := shell.Group("disk", a.show(), a.dump(), a.verify(), a.watch(), a.export(), a.create(), a.repair(), a.adopt(), a.wipe())
	c.PersistentFlags().DurationVar(&a.patience, "timeout", 5*time.Second, "how long one request to a disk may take, a `time`")
	c.AddCommand(more...)
	return c
}

// looks makes a command that only looks.
func (a *app) looks(use string, args cobra.PositionalArgs, run func(args []string) error) *cobra.Command {
	c := shell.Command(use, args, func(_ *cobra.Command, args []string) error { return run(args) })
	c.Flags().StringVar(&a.key, "key", "", "`file` with the cluster key (default: what node.yaml says)")
	return a.PrintsJSON(c)
}

// writes makes a command that writes what it has shown.
func (a *app) writes(use string, args cobra.PositionalArgs, run func(args []string) error) *cobra.Command {
	c := a.looks(use, args, run)
	c.Flags().BoolVarP(&a.yes, "yes", "y", false, "do not ask")
	c.Flags().BoolVar(&a.dry, "dry-run", false, "say what would be written, and write nothing")
	return c
}

// target is a quorum disk to look at.
type target struct {
	path string
	keys quorumdisk.Keys
	want volume.Expect
}

// targets are the given disks, or those of node.yaml.
func (a *app) targets(paths []string) ([]target, error) {
	n, err := a.Node()
	switch {
	case err != nil && len(paths) == 0:
		return nil, err
	case err != nil && a.key == "":
		return nil, fmt.Errorf("%s cannot be read without the key of its cluster: name it with --key FILE; %w", paths[0], err)
	}
	key := a.key
	if key == "" {
		key = n.Key
	}
	keys, err := quorumdisk.LoadKeys(key)
	if err != nil {
		return nil, err
	}
	var list []target
	for _, p := range paths {
		list = append(list, target{path: p, keys: keys})
	}
	if len(paths) == 0 {
		for _, d := range n.Disks {
			list = append(list, target{d.Path, keys, volume.Expect{Cluster: n.Cluster.ID, Epoch: n.Cluster.Epoch, Disk: d.UUID}})
		}
	}
	return list, nil
}

// opened is a quorum disk behind a handle that gives up after the first request
// without an answer.
type opened struct {
	*volume.Volume
	target
	whole storage.Disk    // the device, which the volume's handle is on, or on a part of
	base  int64           // bytes from the start of the device to the quorum disk
	table place.Partition // the partition, where there is one
}

// open opens a disk with every check of identity. Errors name the path.
func (a *app) open(t target, opts storage.Options) (*opened, error) {
	v, err := a.openWith(t, opts)
	if errors.Is(err, quorumdisk.ErrSectorSize) && opts.SectorSize == 0 {
		opts.SectorSize = quorumdisk.SmallSector // it was laid out where blocks were smaller
		v, err = a.openWith(t, opts)
	}
	return v, err
}

func (a *app) openWith(t target, opts storage.Options) (*opened, error) {
	d, err := a.device(t.path, opts)
	if err != nil {
		return nil, err
	}
	o := &opened{target: t, whole: d}
	part, p, found, err := place.On(d, a.patience)
	if err == nil {
		if found {
			o.table, o.base = p, p.Offset
		}
		o.Volume, err = volume.Open(part, t.keys, t.want, a.patience)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", t.path, err), d.Close())
	}
	return o, nil
}

// device opens a device, not what stands on it.
func (a *app) device(path string, opts storage.Options) (storage.Disk, error) {
	d, err := vet.Within(a.patience, "open "+path, func() (storage.Disk, error) { return storage.Open(path, opts) })
	if err != nil {
		return nil, err
	}
	return &impatient{Disk: d}, nil
}

// impatient is a disk that is not asked again once it has not answered: the
// kernel has the request still, and every further one would wait as long.
type impatient struct {
	storage.Disk
	hung error
}

// Read implements storage.Disk.
func (d *impatient) Read(b []byte, off int64, timeout time.Duration) error {
	return d.ask(func() error { return d.Disk.Read(b, off, timeout) })
}

// Write implements storage.Disk.
func (d *impatient) Write(b []byte, off int64, timeout time.Duration) error {
	return d.ask(func() error { return d.Disk.Write(b, off, timeout) })
}

func (d *impatient) ask(do func() error) error {
	if d.hung != nil {
		return d.hung
	}
	err := do()
	if errors.Is(err, storage.ErrTimeout) || errors.Is(err, storage.ErrBusy) {
		d.hung = err
	}
	return err
}

// Close leaves a handle with a request in flight to the end of this process.
func (d *impatient) Close() error {
	if err := d.Disk.Close(); !errors.Is(err, storage.ErrBusy) {
		return err
	}
	return nil
}

// visited is what became of one disk.
type visited[T any] struct {
	target
	value T
	err   error
}

// visit does something with all disks, side by side, and waits for all: each ends
// at its first request without an answer.
func visit[T any](a *app, list []target, do func(*opened) (T, error)) []visited[T] {
	all := make([]visited[T], len(list))
	var wg sync.WaitGroup
	for i, t := range list {
		wg.Go(func() {
			all[i].target = t
			v, err := a.open(t, storage.Options{ReadOnly: true})
			if err == nil {
				all[i].value, err = do(v)
				if err != nil {
					err = fmt.Errorf("%s: %w", t.path, err)
				}
				err = errors.Join(err, v.whole.Close())
			}
			all[i].err = err
		})
	}
	wg.Wait()
	return all
}

// joined are the errors of a visit.
func joined[T any](all []visited[T]) error {
	var errs []error
	for _, v := range all {
		errs = append(errs, v.err)
	}
	return errors.Join(errs...)
}
