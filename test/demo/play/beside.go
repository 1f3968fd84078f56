package play

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/holdfast-ha/holdfast/internal/api"
)

// side is one of the two takeovers that are shown beside each other.
type side struct {
	failover
	predicted []api.Expected
	silent    time.Duration // without an answer, as the client saw it
}

// beside plays the fault twice on one cluster: with the controllers at work, and
// with nobody reaching one. It fails unless the first takeover rests on the power,
// the second on time, and the first is the faster one.
func (p *scene) beside(ctx context.Context) error {
	p.show.say("\nfirst, every node has a management controller that cuts its power")
	with, err := p.side(ctx)
	if err == nil {
		err = p.bmcs.Err()
	}
	if err != nil {
		return err
	}
	back := p.owner
	p.show.say("%s gets its power back, and is a member again", back.Name)
	p.bmcs.TurnOn(back)
	if err := rejoin(ctx, p.stage, back); err != nil {
		return err
	}
	p.bmcs.Unplug()
	p.show.say("\nnow the same fault, and no controller answers any more")
	without, err := p.side(ctx)
	if err != nil {
		return err
	}
	for _, line := range sideBySide(with, without) {
		p.show.say("%-46s %-28s %s", line[0], line[1], line[2])
	}
	p.show.say("")
	return judge(with, without)
}

func (p *scene) side(ctx context.Context) (side, error) {
	predicted, err := p.takeover(ctx)
	if err != nil {
		return side{}, err
	}
	s := side{failover: p.measured(ctx), predicted: predicted, silent: p.client.LongestGap(p.struck).Length()}
	if s.permission == 0 {
		return s, errors.New("no node has noted the permission to start")
	}
	return s, nil
}

// sideBySide are the rows of the comparison: what it says, with, without.
func sideBySide(with, without side) [][3]string {
	row := func(title string, of func(side) string) [3]string { return [3]string{title, of(with), of(without)} }
	seconds := func(d time.Duration) string { return fmt.Sprintf("%.2f s", d.Seconds()) }
	return [][3]string{
		{"the same fault", "with controllers", "without"},
		row("the takeover rested on", func(s side) string { return s.proof }),
		row("from the fault to the permission, predicted", func(s side) string { return prediction(s.predicted, s.proof) }),
		row("from the fault to the permission, measured", func(s side) string { return seconds(s.permission) }),
		row("without an answer, as the client saw it", func(s side) string { return seconds(s.silent) }),
	}
}

// judge says what is wrong with the two takeovers.
func judge(with, without side) error {
	switch {
	case !strings.HasPrefix(with.proof, "E4 "):
		return fmt.Errorf("with controllers the takeover rested on %q, want the power being off", with.proof)
	case !strings.HasPrefix(without.proof, "E3 "):
		return fmt.Errorf("without controllers the takeover rested on %q, want the time", without.proof)
	case with.permission >= without.permission:
		return fmt.Errorf("the permission came after %v with controllers and after %v without: they did not help", with.permission, without.permission)
	}
	return nil
}
