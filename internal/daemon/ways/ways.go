// Package ways carries out the attempts to fence a node that the core asks for:
// it finds the node's power switch in node.yaml or in the cluster's
// configuration, uses it through package bmc, and says what was shown as
// proven, failed or unknown. It decides nothing: when to try, and what counts,
// is the core's.
package ways

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/holdfast-ha/holdfast/bmc"
	"github.com/holdfast-ha/holdfast/cluster"
	"github.com/holdfast-ha/holdfast/cluster/ident"
	"github.com/holdfast-ha/holdfast/internal/config"
)

// Open makes a power switch; drivers.Open does.
type Open func(bmc.Reference, bmc.Options) (bmc.Switch, error)

// Settings is what the attempts need.
type Settings struct {
	Controllers map[string]config.Controller // management controllers by node, of node.yaml
	Open        Open
	Now         func() ident.Instant // the interval clock
	Hold        time.Duration        // between two readings; 0: bmc.Hold
	// Secrets is the folder with the passwords of controllers that node.yaml does not
	// name: bmc/NODE.secret, or bmc.secret for all.
	Secrets string
}

// Ways carries out attempts. It may be used by several goroutines.
type Ways struct {
	set Settings

	mu       sync.Mutex
	cancels  map[uint64]context.CancelFunc // of the attempts under way
	switches map[string]opened             // by reference and machine
}

type opened struct {
	bmc.Switch
	secret string // all of them
}

// New returns what carries out attempts.
func New(set Settings) *Ways {
	if set.Hold == 0 {
		set.Hold = bmc.Hold
	}
	return &Ways{set: set, cancels: map[uint64]context.CancelFunc{}, switches: map[string]opened{}}
}

// Begin takes note of an attempt, so that Stop finds it, and returns what
// carries it out: that returns soon after f.Within, after Stop, or when ctx ends,
// whatever the switch does.
func (w *Ways) Begin(ctx context.Context, f cluster.Fence) func() cluster.FenceDone {
	ctx, cancel := context.WithTimeout(ctx, f.Within)
	w.mu.Lock()
	w.cancels[f.Op] = cancel
	w.mu.Unlock()
	return func() cluster.FenceDone {
		defer func() {
			cancel()
			w.mu.Lock()
			delete(w.cancels, f.Op)
			w.mu.Unlock()
		}()
		done := w.carryOut(ctx, &f)
		done.Op, done.Text = f.Op, cluster.Limit(done.Text, 300)
		return done
	}
}

// Stop calls an attempt off; it still ends in its result.
func (w *Ways) Stop(op uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if cancel := w.cancels[op]; cancel != nil {
		cancel()
	}
}

func (w *Ways) carryOut(ctx context.Context, f *cluster.Fence) cluster.FenceDone {
	var parts []bmc.Switch
	for _, way := range f.Way.Parts() {
		part := *f
		part.Way = way
		s, err := w.find(&part)
		if err != nil {
			return cluster.FenceDone{Outcome: cluster.FenceFailed, Text: err.Error()}
		}
		parts = append(parts, s)
	}
	switch f.Kind {
	case cluster.FenceOff:
		return w.off(ctx, bmc.All(parts...))
	case cluster.FenceOn:
		return on(ctx, bmc.All(parts...))
	case cluster.FenceCheck:
		return w.look(ctx, parts)
	}
	return cluster.FenceDone{Outcome: cluster.FenceFailed, Text: fmt.Sprintf("an attempt of kind %d is not known", f.Kind)}
}

// look asks every switch of a way for its state. Where several belong together, one
// that says off of a node that runs makes the way say off: either the machine has
// lost a supply, or that switch is another machine's, and then the machine would run
// on when all of them are off.
func (w *Ways) look(ctx context.Context, parts []bmc.Switch) cluster.FenceDone {
	done := cluster.FenceDone{Outcome: cluster.FenceProven}
	var texts []string
	for _, s := range parts {
		r := s.State(ctx)
		switch r.State {
		case bmc.Unknown:
			return cluster.FenceDone{Text: s.String() + ": " + r.Text}
		case bmc.Off:
			done.First = w.set.Now()
		}
		texts = append(texts, fmt.Sprintf("%s answers: %v, %v", s, r.State, r.Identity))
	}
	done.Text = strings.Join(texts, "; ")
	return done
}

// off cuts the power and makes sure.
func (w *Ways) off(ctx context.Context, s bmc.Switch) cluster.FenceDone {
	clocked := &clocked{Switch: s, now: w.set.Now, at: map[time.Time]ident.Instant{}}
	r := bmc.Confirm(ctx, clocked, w.set.Hold)
	switch r.State {
	case bmc.Off:
		return cluster.FenceDone{
			Outcome: cluster.FenceProven, First: clocked.at[r.First], Second: clocked.at[r.Second],
			Text: fmt.Sprintf("%s, machine %v", r.Text, r.Identity),
		}
	case bmc.On:
		return cluster.FenceDone{Outcome: cluster.FenceFailed, Text: r.Text}
	}
	return cluster.FenceDone{Text: r.Text}
}

// clocked notes, on the interval clock, when each reading was complete: never
// earlier than that.
type clocked struct {
	bmc.Switch
	now func() ident.Instant
	at  map[time.Time]ident.Instant
}

// State implements bmc.Switch.
func (c *clocked) State(ctx context.Context) bmc.Reading {
	r := c.Switch.State(ctx)
	c.at[r.At] = c.now()
	return r
}

func on(ctx context.Context, s bmc.Switch) cluster.FenceDone {
	err := s.On(ctx)
	r := s.State(ctx)
	if r.State == bmc.On {
		return cluster.FenceDone{Outcome: cluster.FenceProven, Text: s.String() + ": on"}
	}
	return cluster.FenceDone{Text: fmt.Sprintf("%s: asked to switch on: %v; now %v %s", s, err, r.State, r.Text)}
}

// find opens the switch of an attempt. One that is open already is used again,
// so that no more than one call at a time reaches a controller.
func (w *Ways) find(f *cluster.Fence) (bmc.Switch, error) {
	ref, options, err := w.reference(f)
	if err != nil {
		return nil, err
	}
	key := fmt.Sprint(ref, options.Expect)
	w.mu.Lock()
	defer w.mu.Unlock()
	if s, ok := w.switches[key]; ok && s.secret == secretsOf(&options) {
		return s.Switch, nil
	}
	s, err := w.set.Open(ref, options)
	if err != nil {
		return nil, err
	}
	w.switches[key] = opened{s, secretsOf(&options)}
	return s, nil
}

// secretsOf tells whether the secrets are still the same.
func secretsOf(o *bmc.Options) string {
	var all strings.Builder
	for _, name := range slices.Sorted(maps.Keys(o.Secrets)) {
		fmt.Fprintf(&all, "%s=%s\n", name, o.Secrets[name].Reveal())
	}
	return all.String() + o.Password.Reveal()
}

// reference says where the switch is, with which password, and which machine
// has to answer: the one that has claimed the node's slot, unless node.yaml
// names others. An agent names no machine, so nothing can be expected of it.
func (w *Ways) reference(f *cluster.Fence) (bmc.Reference, bmc.Options, error) {
	var ref bmc.Reference
	options := bmc.Options{Node: f.Name}
	place := ""
	switch f.Way.Kind {
	case cluster.WayBMC:
		c, err := w.controller(f)
		if err != nil {
			return ref, options, err
		}
		if ref, err = bmc.Parse(c.URL); err != nil {
			return ref, options, err
		}
		place = c.PasswordFile
		for _, g := range c.GUIDs {
			guid, err := bmc.ParseGUID(g)
			if err != nil {
				return ref, options, err
			}
			options.Expect = append(options.Expect, guid)
		}
		switch {
		case ref.Way == bmc.WayAgent || len(options.Expect) > 0:
		case f.Host.IsZero():
			return ref, options, fmt.Errorf("which machine %s is, is not known: give its guid under controllers in node.yaml", f.Name)
		default:
			options.Expect = []bmc.GUID{bmc.GUID(f.Host)}
		}
	case cluster.WayAgent:
		made := bmc.Reference{Way: bmc.WayAgent, Agent: f.Way.Agent, Options: f.Way.With}
		var err error
		if ref, err = bmc.Parse(made.String()); err != nil {
			return ref, options, err
		}
	default:
		return ref, options, errors.New("no power switch: the way is " + f.Way.Name())
	}
	places := map[string]string{}
	if ref.Way == bmc.WayAgent {
		ref.Options, places = bmc.SecretPlaces(ref.Options)
	}
	if place != "" {
		places["password"] = place
	}
	return ref, options, readSecrets(&options, places)
}

// controller says how a node's controller is reached: as node.yaml has it, else as
// the node itself has said when it joined, with a password that stands here.
func (w *Ways) controller(f *cluster.Fence) (config.Controller, error) {
	if c, ok := w.set.Controllers[f.Name]; ok {
		return c, nil
	}
	if f.Switch == "" {
		return config.Controller{}, fmt.Errorf("node.yaml of this node has no controller of %s: add it under controllers, with url and password_file", f.Name)
	}
	url, guid, _ := strings.Cut(f.Switch, "#")
	c := config.Controller{URL: url}
	if guid != "" {
		c.GUIDs = []string{guid}
	}
	own, all := filepath.Join(w.set.Secrets, "bmc", f.Name+".secret"), filepath.Join(w.set.Secrets, "bmc.secret")
	for _, place := range []string{own, all} {
		if _, err := os.Lstat(place); err == nil {
			c.PasswordFile = place
			return c, nil
		}
	}
	return c, fmt.Errorf("the controller of %s is %s, as it said when it joined, but its password is not here: write it into %s, or %s for all, with mode 0600", f.Name, url, own, all)
}

// readSecrets reads the secrets of a switch from their places, by the option that
// each is for.
func readSecrets(options *bmc.Options, places map[string]string) error {
	for name, place := range places {
		secret, err := bmc.ReadSecret(place)
		if err != nil {
			return err
		}
		if name == "password" {
			options.Password = secret
			continue
		}
		if options.Secrets == nil {
			options.Secrets = map[string]bmc.Secret{}
		}
		options.Secrets[name] = secret
	}
	return nil
}
