package play

import (
	"context"
	"fmt"
	"time"

	"github.com/holdfast-ha/holdfast/test/demo/ledger"
)

// fault is one of the things that DEMO_FAULT names.
type fault struct {
	root   bool // it needs links or disks of a node's own
	three  bool // it needs three quorum disks
	silent bool // the node falls silent, and its death has to be proven
	strike func(ctx context.Context, p *scene) error
	after  func(ctx context.Context, p *scene) error // once the service answers elsewhere
	// stays says that the service stays where it is: strike does everything.
	stays bool
}

func faults() map[string]fault {
	return map[string]fault{
		"kill":        {silent: true, strike: kill},
		"freeze":      {silent: true, strike: freeze, after: thaw},
		"cut-disk":    {root: true, strike: cutDisk},
		"cut-network": {root: true, strike: cutNetwork, after: mendNetwork},
		"lose-disk":   {root: true, three: true, stays: true, strike: loseDisk},
		"move":        {strike: move},
	}
}

// kill cuts the power of the active node.
func kill(_ context.Context, p *scene) error {
	p.hit("%s loses its power", p.owner.Name)
	return p.stage.Power.PowerOff(p.owner.Name, "the demo pulls the plug")
}

// freeze stops the active node where it is; its watchdogs do the rest.
func freeze(_ context.Context, p *scene) error {
	p.hit("%s freezes: nothing on it runs any more, and its file system stays mounted", p.owner.Name)
	return p.owner.Freeze()
}

func thaw(_ context.Context, p *scene) error {
	left := len(p.owner.PIDs())
	p.show.say("%s thaws: %d of its processes outlived the reset by its watchdogs", p.owner.Name, left)
	return p.owner.Thaw()
}

// cutDisk takes the disks from the active node; its processes and links live on.
func cutDisk(_ context.Context, p *scene) error {
	p.hit("%s loses its disks: every request fails", p.owner.Name)
	return p.owner.CutDisks()
}

// cutNetwork pulls all heartbeat cables. Nothing may happen, for the disks are
// there; then the active node dies, and only the disks can tell.
func cutNetwork(ctx context.Context, p *scene) error {
	cut := ledger.Now()
	p.show.say("\n*** every heartbeat cable is pulled, for %.0f s: nothing may happen ***\n", p.set.cut.Seconds())
	if err := p.stage.CutHeartbeats(); err != nil {
		return err
	}
	end := time.Now().Add(p.set.cut)
	wait, cancel := context.WithDeadline(ctx, end.Add(patience))
	defer cancel()
	err := p.show.watch(wait, p.stage.Nodes, "without heartbeat networks", func() error {
		if r, ok := p.client.First(cut, func(r ledger.Record) bool { return r.Node != p.owner.Name }); ok {
			return fmt.Errorf("%s answers from %s", p.service.Name, r.Node)
		}
		if left := time.Until(end); left > 0 {
			return fmt.Errorf("%.0f s to go", left.Seconds())
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("while the cables are out: %w", err)
	}
	for _, e := range p.stage.Story(ctx, cut) {
		if e.Kind == "fencing" || e.Kind == "proof" || e.Kind == "grant" {
			return fmt.Errorf("although only cables were out, %s noted: %s %s", e.Observer, e.Kind, e.Text)
		}
	}
	p.show.say("\n%s kept the service for %.0f s; longest time without an answer %.2f s", p.owner.Name,
		p.set.cut.Seconds(), p.client.LongestGap(cut).Length().Seconds())
	p.hit("%s loses its power, and the cables are still out: only the disks can tell", p.owner.Name)
	return p.stage.Power.PowerOff(p.owner.Name, "the demo pulls the plug")
}

func mendNetwork(_ context.Context, p *scene) error { return p.stage.MendHeartbeats() }

// move is the planned case: no fault, no wait.
func move(ctx context.Context, p *scene) error {
	p.hit("%s# holdfast service move %s", p.owner.Name, p.service.Name)
	_, err := p.owner.Holdfast(ctx, "service", "move", p.service.Name, "--wait", "30s")
	return err
}
