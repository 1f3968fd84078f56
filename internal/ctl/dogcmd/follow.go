package dogcmd

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/holdfast-ha/holdfast/cluster/ident"
	"github.com/holdfast-ha/holdfast/internal/clock"
	"github.com/holdfast-ha/holdfast/internal/ctl/screen"
	"github.com/holdfast-ha/holdfast/internal/ctl/shell"
	"github.com/holdfast-ha/holdfast/sbd/watchdog/beacon"
	"github.com/holdfast-ha/holdfast/storage"
)

// look is how often the sector is read while one looks on.
const look = 5 * time.Millisecond

// silence is after how many of the longest distances between beacons they count as
// ended, at least quiet.
const (
	silence = 20
	quiet   = 2 * time.Second
)

// sight is what beacons look like from here, as --json prints it.
type sight struct {
	Beacons  string  `json:"beacons"`
	Node     string  `json:"node"`
	Identity string  `json:"identity"`
	Timeout  float64 `json:"timeout_seconds"`
	Kind     string  `json:"kind"`  // of the present run
	Phase    string  `json:"phase"` // of its last beacon
	Elapsed  float64 `json:"elapsed_seconds"`
	Margin   float64 `json:"margin_seconds"`
	Finished int     `json:"finished_runs"`
	// Seen is from the last feed to the last beacon by this machine's clock; the
	// end of the beacons is at most SeenMargin later. Both are missing unless the
	// whole run was looked on.
	Seen       float64 `json:"seen_seconds,omitempty"`
	SeenMargin float64 `json:"seen_margin_seconds,omitempty"`
}

// lookOn makes the command that reads the beacons of another node, or one's own.
func (a *app) lookOn() *cobra.Command {
	c := a.PrintsJSON(shell.Command("beacons [NUMBER]", cobra.MaximumNArgs(1), func(c *cobra.Command, args []string) error {
		p, where, err := a.sector(args)
		if err != nil {
			return err
		}
		last, err := p.Read()
		if errors.Is(err, beacon.ErrNone) && a.follow {
			err = nil // they may come
		}
		if err != nil {
			return fmt.Errorf("%s: %w", where, err)
		}
		v := sight{Beacons: where}
		if a.follow {
			if last, err = v.await(c.Context(), p, last); err != nil {
				return err
			}
		}
		return a.showSight(v, last)
	}))
	c.Flags().StringVar(&a.beacons, "beacons", "", "`file` or device with the beacons (default: the first quorum disk)")
	c.Flags().BoolVarP(&a.follow, "follow", "f", false, "look on until a run ends, and measure it by this machine's clock")
	return c
}

// sector opens a node's beacon sector for reading: this node's, unless the number
// of another one is given.
func (a *app) sector(args []string) (beacon.Place, string, error) {
	opts := storage.Options{ReadOnly: true}
	if a.beacons != "" {
		return a.place(nil, 0, opts)
	}
	n, err := a.Node()
	if err != nil {
		return beacon.Place{}, "", fmt.Errorf("%w; or name the file or device with --beacons", err)
	}
	id := n.ID
	if len(args) > 0 {
		number, err := strconv.ParseUint(args[0], 10, 8)
		if err != nil || number == 0 {
			return beacon.Place{}, "", shell.Usage(fmt.Errorf("%q is no node's number; holdfast status shows them", args[0]))
		}
		id = ident.NodeID(number)
	}
	return quorumPlace(n, id, opts)
}

// await looks on until a run ends that begins after last, and returns its last
// beacon. The time of every change is that before the read that showed it, so what
// was seen is never longer than it was.
func (v *sight) await(ctx context.Context, p beacon.Place, last *beacon.Beacon) (*beacon.Beacon, error) {
	c, err := clock.NewInterval()
	if err != nil {
		return nil, err
	}
	now := func() time.Duration {
		at, _ := c.Now() // a noisy sample is off by milliseconds
		return time.Duration(at)
	}
	var fed, changed, gap time.Duration
	begun := false
	tick := time.NewTicker(look)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-tick.C:
		}
		at := now()
		b, err := p.Read()
		if err != nil && !errors.Is(err, beacon.ErrNone) && !errors.Is(err, beacon.ErrDamaged) {
			return nil, err
		}
		fresh := err == nil && (last == nil || b.Seq != last.Seq || b.Series != last.Series || b.Boot != last.Boot)
		switch {
		case fresh:
			if begun {
				gap = max(gap, at-changed)
			}
			if b.Run.Phase == beacon.Fed {
				fed, begun, gap = at-b.Run.Elapsed, true, 0
			}
			changed, last = at, b
		case begun && at-changed > max(quiet, silence*max(gap, last.Run.Gap)):
			v.Seen, v.SeenMargin = (changed - fed).Seconds(), max(gap, last.Run.Gap+last.Run.Write).Seconds()
			return last, nil
		}
	}
}

func (a *app) showSight(v sight, b *beacon.Beacon) error {
	v.Node, v.Identity, v.Timeout, v.Finished = b.Device.Node, b.Device.Identity, b.Device.Timeout.Seconds(), len(b.Done)
	v.Kind, v.Phase = string(b.Run.Kind), b.Run.Phase.String()
	v.Elapsed, v.Margin = b.Run.Elapsed.Seconds(), (b.Run.Gap + b.Run.Write).Seconds()
	if a.JSON {
		return a.PrintJSON(v)
	}
	a.Say("%s: %s of %s, timeout %s; %d finished runs", v.Beacons, v.Identity, v.Node, screen.Seconds(b.Device.Timeout), v.Finished)
	a.Say("  last beacon of the %s run: %s, %.3f s after the last feed; the next would have come within %.3f s", v.Kind, v.Phase, v.Elapsed, v.Margin)
	if v.Seen > 0 {
		a.Say("  by this machine's clock: %.3f s, and at most %.3f s more", v.Seen, v.SeenMargin)
	}
	return nil
}
