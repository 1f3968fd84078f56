// Package keyring exchanges the cluster's key while the cluster runs.
//
// A Ring is one node's: the key file, and everything in this node that uses its keys.
// An Exchange is the leader's: the daemon of the node with the lowest number, so that
// there is one, has every member go the same three ways, one after the other:
//
//	every member opens what is sealed with the old key K and with the new key N, and seals with K
//	every member seals with N
//	every record on every disk is sealed with N; then every member forgets K
//
// None of them begins before every member has confirmed the one before: two members
// are never further apart than one step, and each reads what the other has sealed. What
// was done stands in the members' files and on the disks, and nowhere else: an exchange
// that was cut short goes on from there. Nothing is decided by it. Whoever cannot read
// a beat knows nothing by it, and that is no proof of anything.
package keyring

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/holdfast-ha/holdfast/internal/api"
	"github.com/holdfast-ha/holdfast/quorumdisk"
)

// markSuffix is added to the key file's name for the file that says which of two keys
// is the new one: it is not to be seen from their order.
const markSuffix = ".new"

// Parts are what uses the keys in a node.
type Parts struct {
	// Use has the daemon and the guard use the keys, and returns when both do. It may be repeated.
	Use func(context.Context, quorumdisk.Keys) error
	// Reseal seals what this node has on the disks anew.
	Reseal func(context.Context) error
	// Unsettled is for how long yet a write that was issued before may land.
	Unsettled func() time.Duration
	// Leader is the node that may lead an exchange, as far as this node knows.
	Leader func(context.Context) (string, error)
	// Note tells people what has happened.
	Note func(string)
}

// Ring is the keys of one node. It may be used by several goroutines.
type Ring struct {
	name, file string
	parts      Parts

	// joining is held by those who let a node in, with the key that it gets, and by
	// whoever changes the keys.
	joining sync.RWMutex

	mu      sync.Mutex
	keys    quorumdisk.Keys // under mu: those of the file
	applied bool            // under mu: daemon and guard use them
}

// New is the ring of a node whose daemon has begun with the keys of its file.
func New(name, file string, keys quorumdisk.Keys) *Ring {
	return &Ring{name: name, file: file, keys: keys}
}

// Serve gives the ring what uses its keys; it is called before all else but Keys.
func (r *Ring) Serve(p Parts) { r.parts = p }

// Keys are the keys that the node uses, or is about to.
func (r *Ring) Keys() quorumdisk.Keys {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.keys
}

// Begin has everything use the keys of the file once, at the start of a life: a guard
// that runs for longer may have missed what the former life wrote there. Where it
// fails people are told: an exchange tries it again, and nothing else needs it. It is
// a task, and never fails as one.
func (r *Ring) Begin(ctx context.Context) error {
	r.joining.Lock()
	defer r.joining.Unlock()
	if err := r.change(ctx, r.Keys(), ""); err != nil && ctx.Err() == nil {
		r.parts.Note(err.Error())
	}
	return nil
}

// ErrExchanging says that a node cannot be let in: which key it needs is about to change.
var ErrExchanging = errors.New("the cluster's key is being exchanged, and no node can join meanwhile: holdfast key rotate goes on with it; then join again")

// Hold keeps the keys as they are until the caller lets go. It fails while they are exchanged.
func (r *Ring) Hold() (release func(), err error) {
	r.joining.RLock()
	if !r.Keys().Previous.IsZero() {
		r.joining.RUnlock()
		return nil, ErrExchanging
	}
	return r.joining.RUnlock, nil
}

// Exchanging says that the node has two keys.
func (r *Ring) Exchanging() bool { return !r.Keys().Previous.IsZero() }

// tell is how the node stands.
func (r *Ring) tell() api.KeyNode {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := api.KeyNode{Node: r.name, Seals: r.keys.Current.Fingerprint(), Accepts: r.keys.Previous.Fingerprint(), Applied: r.applied || r.keys.Previous.IsZero()}
	if n.Accepts != "" {
		n.New = n.Accepts // a second key that somebody has written there by hand
		if text, err := os.ReadFile(r.file + markSuffix); err == nil && strings.TrimSpace(string(text)) == n.Seals {
			n.New = n.Seals
		}
		n.Wait = api.Of(r.parts.Unsettled())
	}
	if info, err := os.Stat(r.file); err == nil {
		n.Since = info.ModTime().UTC().Truncate(time.Second)
	}
	return n
}

// Step does one step, and says how the node stands then. What was done before is not
// done again. An error means that the node has not confirmed.
func (r *Ring) Step(ctx context.Context, s api.KeyStep) (api.KeyNode, error) {
	if s.Do == api.KeyTell {
		return r.tell(), nil
	}
	if leader, err := r.parts.Leader(ctx); err != nil || leader != s.Leader {
		return r.tell(), errors.Join(err, fmt.Errorf("%s does not lead an exchange of keys here, %s does", s.Leader, leader))
	}
	r.joining.Lock()
	defer r.joining.Unlock()
	next, said, err := r.after(s)
	if err == nil {
		err = r.change(ctx, next, s.New)
	}
	if err == nil && s.Do == api.KeyReseal {
		err = r.parts.Reseal(ctx)
	}
	if err == nil && said != "" {
		r.parts.Note(said)
	}
	return r.tell(), err
}

// after is what the keys are after a step, and what is to be said of it.
func (r *Ring) after(s api.KeyStep) (next quorumdisk.Keys, said string, err error) {
	have := r.Keys()
	seals, accepts := have.Current.Fingerprint(), have.Previous.Fingerprint()
	refuse := func(why string) (quorumdisk.Keys, string, error) {
		return have, "", fmt.Errorf("%s: %s: it seals with %s and accepts %s", s.Do, why, seals, orNone(accepts))
	}
	switch s.Do {
	case api.KeyApply:
		return have, "", nil
	case api.KeyAccept:
		key, err := quorumdisk.ParseKey(s.Secret)
		switch {
		case err != nil || key.Fingerprint() != s.New:
			return refuse("not the key that was spoken of")
		case seals == s.New || accepts == s.New:
			return have, "", nil
		case accepts != "":
			return refuse("another exchange is under way")
		}
		return quorumdisk.Keys{Current: have.Current, Previous: key}, fmt.Sprintf("the cluster key %s is accepted beside %s", s.New, seals), nil
	case api.KeyWithdraw:
		if seals == s.New {
			return refuse("it is in use")
		}
		if accepts != s.New {
			return have, "", nil
		}
		return quorumdisk.Keys{Current: have.Current}, fmt.Sprintf("the cluster key %s, which was never used, is forgotten", s.New), nil
	case api.KeyUse:
		switch {
		case seals == s.New:
			return have, "", nil
		case accepts != s.New:
			return refuse("it does not have the new key")
		}
		return quorumdisk.Keys{Current: have.Previous, Previous: have.Current}, fmt.Sprintf("everything is sealed with the cluster key %s from now on; %s is accepted", s.New, seals), nil
	case api.KeyReseal, api.KeyForget:
		switch {
		case seals != s.New:
			return refuse("it does not seal with the new key")
		case s.Do == api.KeyReseal || accepts == "":
			return have, "", nil
		case r.parts.Unsettled() > 0:
			return refuse("what was sealed with the old key may still land on a disk")
		}
		return quorumdisk.Keys{Current: have.Current}, fmt.Sprintf("the cluster key %s is forgotten; %s is the only one", accepts, seals), nil
	}
	return refuse("no such step")
}

// change makes the keys those of this node: in the file first, so that a crash at any
// point is followed by a life with them.
func (r *Ring) change(ctx context.Context, next quorumdisk.Keys, fresh string) error {
	r.mu.Lock()
	have, applied := r.keys, r.applied
	r.mu.Unlock()
	if have == next && applied {
		return nil
	}
	if have != next {
		if !next.Previous.IsZero() {
			if err := mark(r.file+markSuffix, fresh); err != nil {
				return fmt.Errorf("the mark of the new key: %w", err)
			}
		}
		if err := next.Save(r.file); err != nil {
			return fmt.Errorf("the key file: %w", err)
		}
		if next.Previous.IsZero() {
			_ = os.Remove(r.file + markSuffix) // with one key it means nothing
		}
	}
	r.mu.Lock()
	r.keys, r.applied = next, false
	r.mu.Unlock()
	if err := r.parts.Use(ctx, next); err != nil {
		return fmt.Errorf("the keys stand in the file, and are not used everywhere yet: %w", err)
	}
	r.mu.Lock()
	r.applied = true
	r.mu.Unlock()
	return nil
}

// mark writes which of two keys is the new one, as a whole and durably.
func mark(file, fingerprint string) error {
	if text, err := os.ReadFile(file); err == nil && strings.TrimSpace(string(text)) == fingerprint {
		return nil
	}
	f, err := os.CreateTemp(filepath.Dir(file), ".new-*")
	if err != nil {
		return err
	}
	_, err = f.WriteString(fingerprint + "\n")
	if err = errors.Join(err, f.Sync(), f.Close()); err == nil {
		err = os.Rename(f.Name(), file) // Save makes the folder durable right after
	}
	if err != nil {
		_ = os.Remove(f.Name())
	}
	return err
}

func orNone(s string) string {
	if s == "" {
		return "no other"
	}
	return s
}
