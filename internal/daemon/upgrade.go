package daemon

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/holdfast-ha/holdfast/internal/daemon/upgrade"
	"github.com/holdfast-ha/holdfast/internal/guardwire"
)

// upgradeWithin is how long a guard may take to be another program: it waits for
// its disk requests first.
const upgradeWithin = 15 * time.Second

// upgrade has the guard, and then this process, execute the programs that a
// package has put in place. It returns as soon as the guard is the newer one; the
// daemon ends its life then, and its process begins the next one in the newer
// program. With dry it only asks whether they could.
func (d *Daemon) upgrade(ctx context.Context, dry bool) (string, error) {
	p, err := upgrade.Find(d.deps.Disks.File)
	if err != nil {
		return "", err
	}
	if err := p.Vet(ctx); err != nil {
		return "", err
	}
	text := fmt.Sprintf("%s; %s", p.GuardVersion, p.DaemonSays)
	if dry {
		return "these programs can take over: " + text, nil
	}
	if err := d.guard.upgrade(ctx, p.Guard); err != nil {
		return "", fmt.Errorf("the guard was not replaced, and everything goes on as before: %w", err)
	}
	d.deps.Log.Info().Str("programs", text).Msg("the guard runs the newer program; the daemon follows")
	return "the guard runs the newer program, and the daemon follows: " + text, nil
}

// follow is the task that ends this life once the guard is upgraded.
func (g *guardLink) follow(ctx context.Context) error {
	select {
	case <-g.next.newer:
		return upgrade.ErrUpgraded
	case <-ctx.Done():
		return nil
	}
}

// successor is the upgrade of the guard that is under way, if any.
type successor struct {
	asked chan<- error  // who waits for it; nil: nobody
	order uint64        // its number on the wire
	newer chan struct{} // the guard is another program: follow it
}

// upgrade asks the guard to become the program at path, and waits until it has
// connected again as that, or has said why not.
func (g *guardLink) upgrade(ctx context.Context, path string) error {
	g.mu.Lock()
	client := g.client
	if client == nil {
		defer g.mu.Unlock()
		return fmt.Errorf("there is no connection to the guard: %s", g.problem)
	}
	if g.next.asked != nil {
		g.mu.Unlock()
		return errors.New("an upgrade is under way")
	}
	answer := make(chan error, 1)
	seq, err := client.Send(&guardwire.Upgrade{Path: path})
	if err == nil {
		g.next.asked, g.next.order = answer, seq
	}
	g.mu.Unlock()
	if err != nil {
		return err
	}
	defer func() {
		g.mu.Lock()
		g.next.asked = nil
		g.mu.Unlock()
	}()
	select {
	case err := <-answer:
		if err == nil {
			select {
			case g.next.newer <- struct{}{}:
			default: // asked twice: it is said already
			}
		}
		return err
	case <-time.After(upgradeWithin):
		return fmt.Errorf("it has not answered for %v; holdfast status tells whether it is there", upgradeWithin)
	case <-ctx.Done():
		return ctx.Err()
	}
}

// answered is called under mu: the guard has said what became of the upgrade,
// or has connected again, which it does as the newer program.
func (g *guardLink) answered(err error) {
	if g.next.asked != nil {
		g.next.asked <- err
		g.next.asked = nil
	}
}
