package play

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/holdfast-ha/holdfast/internal/api"
	"github.com/holdfast-ha/holdfast/test/demo/controllers"
	"github.com/holdfast-ha/holdfast/test/demo/ledger"
	"github.com/holdfast-ha/holdfast/test/demo/stage"
)

// Times of the play.
const (
	calm       = 2 * time.Second // before the fault
	writeEvery = 50 * time.Millisecond
	patience   = 30 * time.Second // with a takeover, beside failover_within
)

// scene is one fault and what came of it.
type scene struct {
	stage   *stage.Stage
	set     settings
	show    *screen
	clients []*ledger.Client // one for each service of the stage
	bmcs    *controllers.Set // nil: the nodes have no controllers

	service *stage.Service // the one whose node is struck
	client  *ledger.Client // of it
	owner   *stage.Node    // on which it ran
	others  []*stage.Node
	struck  int64 // CLOCK_MONOTONIC of the fault, nanoseconds
	what    string
	first   ledger.Record // the first answer from elsewhere
	heir    *stage.Node   // that gave it
	sights  *sights
}

// play plays the fault. It fails unless the service answers from where it should
// and every acknowledged write is read back.
func (p *scene) play(ctx context.Context) error {
	for _, v := range p.stage.Services {
		c, err := p.stage.Client(v, writeEvery)
		if err != nil {
			return err
		}
		p.clients = append(p.clients, c)
	}
	p.service, p.client = p.stage.Services[0], p.clients[0]
	var err error
	switch {
	case faults()[p.set.fault].stays:
		if err = p.settle(ctx); err == nil {
			err = faults()[p.set.fault].strike(ctx, p)
		}
	case p.bmcs != nil:
		err = p.beside(ctx)
	default:
		_, err = p.takeover(ctx)
	}
	if err != nil {
		return err
	}
	return p.verify()
}

// takeover plays the fault, and shows what came of it and what was predicted.
func (p *scene) takeover(ctx context.Context) ([]api.Expected, error) {
	if err := p.settle(ctx); err != nil {
		return nil, err
	}
	if err := p.strike(ctx); err != nil {
		return nil, err
	}
	// The first answer may come before the daemon has finished the start.
	settled, cancel := context.WithTimeout(ctx, patience)
	err := p.stage.AwaitRunning(settled)
	cancel()
	if err != nil {
		return nil, err
	}
	p.show.status(ctx, p.others, "after the takeover", true)
	predicted, err := p.predicted(ctx)
	if err != nil {
		return nil, err
	}
	p.timeline(ctx, predicted)
	return predicted, nil
}

// settle waits until every client is served, and finds out by whom.
func (p *scene) settle(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	began := time.Now()
	err := p.show.watch(ctx, p.stage.Nodes, "before the fault", func() error {
		for i, c := range p.clients {
			if _, ok := c.First(0, nil); !ok {
				return fmt.Errorf("no write to %s was acknowledged yet", p.stage.Services[i].Name)
			}
		}
		if time.Since(began) < calm {
			return errors.New("the audience is still looking")
		}
		return nil
	})
	if err != nil {
		return err
	}
	if p.owner, err = p.stage.Owner(ctx, p.service); err != nil || p.owner == nil {
		return errors.Join(fmt.Errorf("%s runs nowhere", p.service.Name), err)
	}
	p.others, p.struck = nil, 0
	for _, n := range p.stage.Nodes {
		if n != p.owner {
			p.others = append(p.others, n)
		}
	}
	return nil
}

// strike does what the fault does, and waits for the answer from elsewhere.
func (p *scene) strike(ctx context.Context) error {
	f := faults()[p.set.fault]
	p.sights = observe(p.stage, p.service)
	defer p.sights.end()
	if err := f.strike(ctx, p); err != nil {
		return fmt.Errorf("%s: %w", p.set.fault, err)
	}
	if p.struck == 0 {
		return fmt.Errorf("%s: nothing was struck", p.set.fault)
	}
	ctx, cancel := context.WithTimeout(ctx, p.stage.Within+patience)
	defer cancel()
	err := p.show.watch(ctx, p.others, p.what, func() error {
		r, ok := p.client.First(p.struck, func(r ledger.Record) bool { return r.Node != p.owner.Name })
		if !ok {
			return fmt.Errorf("%s does not answer from another node than %s", p.service.Name, p.owner.Name)
		}
		p.first, p.heir = r, p.stage.Node(r.Node)
		return nil
	})
	if err != nil {
		return err
	}
	if f.after != nil {
		return f.after(ctx, p)
	}
	return nil
}

// hit notes when and what the fault was.
func (p *scene) hit(format string, args ...any) {
	p.struck, p.what = ledger.Now(), fmt.Sprintf(format, args...)
	p.show.say("\n*** %s ***\n", p.what)
}

// verify has every client read everything back through the service.
func (p *scene) verify() error {
	var errs []error
	for i, c := range p.clients {
		name := p.stage.Services[i].Name
		v, err := c.Verify(patience + 10*time.Second)
		switch {
		case err != nil:
			errs = append(errs, fmt.Errorf("client of %s: %w", name, err))
			continue
		case v.Good():
			p.show.say("%s: %d writes were acknowledged, all of them read back from %s; longest time without an answer %.2f s",
				name, v.Acknowledged, v.Node, c.LongestGap(p.struck).Length().Seconds())
		default:
			errs = append(errs, fmt.Errorf("%s: of %d acknowledged writes %d are missing: %v %s", name, v.Acknowledged, len(v.Missing), v.Missing, v.Err))
		}
		if stays := faults()[p.set.fault].stays; c == p.client && (v.Node == p.owner.Name) != stays {
			errs = append(errs, fmt.Errorf("%s was read back from %s; before the fault it ran on %s", name, v.Node, p.owner.Name))
		}
	}
	return errors.Join(errs...)
}
