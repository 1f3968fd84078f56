package daemon

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"time"

	"github.com/holdfast-ha/holdfast/heartbeat"
	"github.com/holdfast-ha/holdfast/internal/api"
	"github.com/holdfast-ha/holdfast/internal/daemon/keyring"
	"github.com/holdfast-ha/holdfast/internal/guardwire"
	"github.com/holdfast-ha/holdfast/quorumdisk"
	"github.com/holdfast-ha/holdfast/quorumdisk/volume"
)

// rekeyWithin bounds the wait for the guard and for every disk's task to use other keys.
const rekeyWithin = 20 * time.Second

// exchange leads this node's part in exchanges of keys, and those of the cluster.
func (d *Daemon) exchange(post func(context.Context, []netip.AddrPort, string, []byte) (*http.Response, error)) *keyring.Exchange {
	all := &keyring.Daemon{Self: d.deps.Node.ID, State: joining{d}.State, Post: post, Disks: d.keyDisks}
	d.others.ring.Serve(keyring.Parts{
		Use: d.useKeys, Reseal: all.ResealOwn, Unsettled: all.Unsettled, Leader: all.Leader,
		Note: func(what string) {
			d.events.Add(api.Event{At: int64(d.watch.instant()), Kind: "key", Level: "info", Node: d.deps.Node.Name, Text: what})
		},
	})
	return keyring.NewExchange(d.others.ring, all, all.Forward)
}

// keyDisks are all disks that are open.
func (d *Daemon) keyDisks() (list []keyring.Disk) {
	for _, k := range d.disks.all() {
		list = append(list, keyring.Disk{ID: k.want.Disk, Number: k.index + 1, Path: d.roster.Path(k.want.Disk), Do: k.do, Landing: &k.land})
	}
	return list
}

// useKeys has everything in this node use other keys: what it does on the network and
// the disks, and the guard.
func (d *Daemon) useKeys(ctx context.Context, k quorumdisk.Keys) error {
	ctx, cancel := context.WithTimeout(ctx, rekeyWithin)
	defer cancel()
	if k.Previous.IsZero() { // which is no key, and must not open anything
		d.links.SetKeys(heartbeat.Key(k.Current))
	} else {
		d.links.SetKeys(heartbeat.Key(k.Current), heartbeat.Key(k.Previous))
	}
	if err := d.others.id.Set(k.Current, k.Previous); err != nil {
		return err
	}
	for _, q := range d.disks.all() { // its task opens with them from its next job on
		err := q.do(ctx, func(*volume.Volume, time.Duration) error { return nil })
		if err != nil && ctx.Err() != nil {
			return err
		}
	}
	return d.guard.rekey(ctx)
}

// rekey has the guard read the key file, and waits until it has.
func (g *guardLink) rekey(ctx context.Context) error {
	answer := make(chan error, 1)
	g.mu.Lock()
	err := errors.New(g.problem)
	if g.client != nil {
		var seq uint64
		if seq, err = g.client.Send(&guardwire.Rekey{}); err == nil {
			g.keys[seq] = answer
		}
	}
	g.mu.Unlock()
	if err == nil {
		select {
		case err = <-answer:
		case <-ctx.Done():
			err = ctx.Err()
		}
	}
	if err != nil {
		return fmt.Errorf("the guard does not use the keys of the file: %w", err)
	}
	return nil
}
