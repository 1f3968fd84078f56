// Package vet says whether a device may become a quorum disk: what it is made of,
// who uses it, what it carries and where, and how large it is. It changes nothing;
// what may go is the administrator's to say, by the identity that a refusal
// prints.
package vet

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/holdfast-ha/holdfast/quorumdisk"
	"github.com/holdfast-ha/holdfast/quorumdisk/label"
	"github.com/holdfast-ha/holdfast/quorumdisk/place"
	"github.com/holdfast-ha/holdfast/quorumdisk/volume"
	"github.com/holdfast-ha/holdfast/sbd"
	"github.com/holdfast-ha/holdfast/storage"
	"github.com/holdfast-ha/holdfast/storage/kind"
	"github.com/holdfast-ha/holdfast/storage/signature"
)

// Within waits so long for do, and leaves it alone then: opening a device, or
// asking the kernel about it, hangs on a path that is dead. What hangs ends with
// the device's answer, or with this process.
func Within[T any](patience time.Duration, what string, do func() (T, error)) (T, error) {
	type result struct {
		value T
		err   error
	}
	done := make(chan result, 1)
	go func() {
		value, err := do()
		done <- result{value, err}
	}()
	limit := time.NewTimer(patience)
	defer limit.Stop()
	select {
	case r := <-done:
		return r.value, r.err
	case <-limit.C:
		var none T
		return none, fmt.Errorf("%s: %w (%v)", what, storage.ErrTimeout, patience)
	}
}

// Open opens the quorum disk at path, wherever on the device it stands. Opening
// and each request may take patience.
func Open(path string, opts storage.Options, patience time.Duration) (storage.Disk, error) {
	return Within(2*patience, "open "+path, func() (storage.Disk, error) { return place.Handle(path, opts, patience) })
}

// Suitable refuses a device that no quorum disk may stand on. On an emulated node
// what only this host sees is right, and every device that a real cluster could
// live on is refused. The notes say what could be better.
func Suitable(path string, emulated bool) (notes []string, err error) {
	v, err := kind.Of(path)
	if err != nil {
		return nil, fmt.Errorf("%w; a quorum disk is a block device that all nodes see, by a name of /dev/disk/by-id", err)
	}
	switch {
	case emulated && v.Kind != kind.File && v.Kind != kind.Loop:
		return nil, fmt.Errorf("%s is a block device of this machine (%s), but the node is emulated: use a file or a loop device", path, v.Kind)
	case v.Refused != "" && (!v.Local || !emulated):
		return nil, fmt.Errorf("%s cannot be a quorum disk: %s", path, v.Refused)
	}
	return v.Notes, nil
}

// Free refuses a device that somebody on this host uses. Nothing overrides that.
func Free(path string, patience time.Duration) error {
	users, err := Within(patience, "look who uses "+path, func() ([]string, error) { return storage.InUse(path) })
	if err != nil {
		return err
	}
	if len(users) > 0 {
		return fmt.Errorf("%s is in use: %s; end that first, no option overrides it", path, strings.Join(users, "; "))
	}
	return nil
}

// Carries says what is on the device behind an open handle, in one phrase for
// each finding, with its place; none if there is nothing. It asks blkid too,
// which knows more formats than package signature; a device that neither knows
// is refused if its first MiB is not empty.
func Carries(whole storage.Disk, patience time.Duration) ([]string, error) {
	path := whole.Info().Path
	found, err := signature.Find(whole, patience)
	if err != nil {
		return nil, err
	}
	var all []string
	for _, f := range found {
		all = append(all, f.String())
	}
	ours, err := QuorumDisk(whole, patience)
	if err != nil {
		return nil, err
	}
	if ours != "" {
		all = append([]string{ours}, all...)
	}
	if h, err := sbd.ReadHeader(whole, patience); err == nil && ours == "" {
		all = append(all, fmt.Sprintf("an SBD device (%v; see: holdfast sbd -d %s list; if its SBD cluster is stopped for good, --adopt-sbd keeps its slots and timeouts)", h.UUID, path))
	}
	ctx, cancel := context.WithTimeout(context.Background(), 4*patience)
	defer cancel()
	known, err := storage.Signatures(ctx, path)
	if err != nil {
		return nil, err
	}
	if len(all) > 0 { // "unknown data" says less
		known = slices.DeleteFunc(known, func(s string) bool { return strings.HasPrefix(s, "unknown data") })
	}
	return append(all, known...), nil
}

// QuorumDisk describes the quorum disk of Holdfast on the device, or in a
// partition of it; empty if there is none.
func QuorumDisk(whole storage.Disk, patience time.Duration) (string, error) {
	d, _, _, err := place.On(whole, patience)
	if errors.Is(err, place.ErrDamaged) || errors.Is(err, place.ErrSeveral) {
		return err.Error(), nil
	}
	if err != nil {
		return "", err
	}
	s, _, err := volume.ReadSuperblock(d, patience)
	switch {
	case err == nil:
		return fmt.Sprintf("it is quorum disk %v of the Holdfast cluster %v, made %s", s.Disk, s.Cluster, s.Created.Format(time.DateOnly)), nil
	case errors.Is(err, volume.ErrUnformatted):
		return "", nil
	case errors.Is(err, quorumdisk.ErrFormat), errors.Is(err, volume.ErrDamaged):
		return fmt.Sprintf("a Holdfast quorum disk, but %v", err), nil
	}
	return "", err
}

// Room refuses a device that is too small for a quorum disk of this layout; with
// gpt the table's place is taken off.
func Room(info storage.Info, l quorumdisk.Layout, gpt bool) error {
	if err := l.Check(); err != nil {
		return err
	}
	need, have := l.MinSize(), info.Size
	if gpt {
		have -= 2 * label.Start
	}
	if have < need {
		return fmt.Errorf("%s is too small: it has %d MiB, %d nodes need %d MiB (recommended: 1024 MiB); fewer nodes need less: --nmax", info.Path, info.Size>>20, l.Nmax, (info.Size-have+need)>>20)
	}
	return nil
}

// Label puts a partition table for a quorum disk on the device behind an open
// handle, which it closes, and opens the partition. udev makes the stable names
// of the partition from its table; Holdfast is given the device's.
func Label(whole storage.Disk, cluster string, opts storage.Options, patience time.Duration) (storage.Disk, []string, error) {
	path := whole.Info().Path
	if err := whole.Close(); err != nil {
		return nil, nil, err
	}
	p, err := label.Create(path, label.Options{Cluster: cluster, Timeout: patience})
	if err != nil {
		return nil, nil, err
	}
	d, err := Open(path, opts, patience)
	return d, p.Notes, err
}

// Blank erases the device behind an open handle: the quorum disk on it, and the
// partition table around that; of anything else the marks. The handle stays the
// caller's.
func Blank(whole storage.Disk, patience time.Duration) error {
	p, err := place.Read(whole, patience)
	var failed *storage.OpError
	switch {
	case err == nil:
		part, err := storage.Section(whole, p.Offset, p.Size) // closing it would close the device
		if err == nil {
			err = volume.Erase(part, patience)
		}
		if err != nil {
			return err
		}
		if err := label.Forget(whole.Info().Path); err != nil {
			return err
		}
	case errors.As(err, &failed):
		return err
	}
	return volume.Erase(whole, patience)
}
