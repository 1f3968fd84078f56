package play

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/holdfast-ha/holdfast/internal/api"
	"github.com/holdfast-ha/holdfast/test/demo/ledger"
	"github.com/holdfast-ha/holdfast/test/demo/stage"
)

// lostDisk is the number of the quorum disk that lose-disk takes away.
const lostDisk = 2

// remedy is what the status has to say of a lost disk.
const remedy = "holdfast disk replace "

// running is what must not change while the quorum disks do.
type running struct {
	node string
	term uint64
	pid  int
}

// loseDisk takes one of three quorum disks away from every node, and replaces it
// on the running cluster. The service must not notice.
func loseDisk(ctx context.Context, p *scene) error {
	before, err := p.running(ctx)
	if err != nil {
		return err
	}
	calmGap := p.client.LongestGap(0).Length()
	old, admin := p.stage.QuorumPath(lostDisk), p.others[0]
	p.hit("quorum disk %s is lost: every request of every node to it fails", old)
	lines := []moment{{p.struck, "*** " + p.what}}
	note := func(format string, args ...any) {
		lines = append(lines, moment{ledger.Now(), fmt.Sprintf(format, args...)})
	}
	if err := p.stage.LoseQuorum(lostDisk); err != nil {
		return err
	}
	if err := p.awaitDisks(ctx, "without "+old, func(s *api.Status) error { return shownLost(s, old) }); err != nil {
		return err
	}
	note("every node shows the disk as failed, and how to replace it")
	p.show.status(ctx, p.stage.Nodes, "without "+old, true)
	fresh, err := p.stage.AddQuorum()
	if err != nil {
		return err
	}
	note("a new disk is put before every node")
	p.show.say("\n%s# holdfast disk replace %s %s --yes", admin.Name, old, fresh)
	note("%s# holdfast disk replace OLD NEW", admin.Name)
	text, err := admin.Holdfast(ctx, "disk", "replace", old, fresh, "--yes")
	p.show.say("%s", strings.TrimRight(text, "\n"))
	if err != nil {
		return err
	}
	note("the new disk counts instead of the old one")
	if err := p.awaitDisks(ctx, "with "+fresh, func(s *api.Status) error { return shownWhole(s, fresh) }); err != nil {
		return err
	}
	note("every node shows three good disks")
	wait, cancel := context.WithTimeout(ctx, calm)
	defer cancel()
	<-wait.Done() // the service goes on with the new disk
	if ctx.Err() != nil {
		return ctx.Err()
	}
	p.show.status(ctx, p.stage.Nodes, "after the replacement", true)
	p.tell(lines)
	return p.untouched(ctx, before, calmGap)
}

// running is who runs the service, and by which process.
func (p *scene) running(ctx context.Context) (running, error) {
	st, err := p.owner.Status(ctx)
	if err != nil {
		return running{}, err
	}
	for _, v := range st.Services {
		if v.Name == p.service.Name {
			r := running{node: v.Node, term: v.Term, pid: p.owner.Server(p.service)}
			if r.pid == 0 {
				return r, fmt.Errorf("%s has no process on %s", v.Name, p.owner.Name)
			}
			return r, nil
		}
	}
	return running{}, fmt.Errorf("%s does not know %s", p.owner.Name, p.service.Name)
}

// awaitDisks waits until the status of every node is as it should be.
func (p *scene) awaitDisks(ctx context.Context, title string, met func(*api.Status) error) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	return p.show.watch(ctx, p.stage.Nodes, title, func() error {
		for _, n := range p.stage.Nodes {
			st, err := n.Status(ctx)
			if err == nil {
				err = met(st)
			}
			if err != nil {
				return fmt.Errorf("%s: %w", n.Name, err)
			}
		}
		return nil
	})
}

// shownLost says what is missing from a status with a lost disk.
func shownLost(s *api.Status, path string) error {
	bad := false
	for _, d := range s.Disks {
		bad = bad || d.Path == path && d.Error != ""
	}
	if !bad {
		return fmt.Errorf("the status shows %s as good", path)
	}
	if !strings.Contains(strings.Join(s.Warnings, "\n"), remedy) {
		return fmt.Errorf("the status does not say how to replace %s: %q", path, s.Warnings)
	}
	return nil
}

// shownWhole says what is missing from a status with three good disks.
func shownWhole(s *api.Status, fresh string) error {
	there := false
	for _, d := range s.Disks {
		there = there || d.Path == fresh
		if d.Error != "" || d.Age == nil {
			return fmt.Errorf("%s is not good: %s", d.Path, d.Error)
		}
	}
	if !there || len(s.Disks) != 3 || s.DiskSet.Stage != api.DisksSettled {
		return fmt.Errorf("%d disks, %s among them: %v; the set is %s", len(s.Disks), fresh, there, s.DiskSet.Stage)
	}
	return nil
}

// untouched gives the verdict: nothing of the service has changed.
func (p *scene) untouched(ctx context.Context, before running, calmGap time.Duration) error {
	now, err := p.running(ctx)
	if err != nil {
		return err
	}
	gap, answered, failed := p.client.LongestGap(p.struck), 0, 0
	for _, r := range p.client.Records() {
		switch {
		case r.At < p.struck:
		case r.Err != "":
			failed++
		default:
			answered++
		}
	}
	err = calmly(p.stage.Story(ctx, p.struck))
	if now != before {
		err = errors.Join(err, fmt.Errorf("the service was %+v, and is %+v", before, now))
	}
	if failed > 0 || answered == 0 {
		err = errors.Join(err, fmt.Errorf("of %d writes %d failed", failed+answered, failed))
	}
	if err != nil {
		return err
	}
	p.show.say("\nverdict: %s was untouched: process %d on %s all the time, in term %d; nobody was suspected or fenced", p.service.Name, now.pid, now.node, now.term)
	p.show.say("%d writes since the fault, none failed; longest time between two answers %.2f s, before the fault %.2f s\n",
		answered, gap.Length().Seconds(), calmGap.Seconds())
	return nil
}

// calmly says which event has no place where only a disk was exchanged.
func calmly(story []stage.Event) error {
	for _, e := range story {
		switch e.Kind {
		case "suspected", "fencing", "proof", "grant", "stopping", "starting":
			return fmt.Errorf("although only a quorum disk was exchanged, %s noted: %s %s", e.Observer, e.Kind, e.Text)
		}
	}
	return nil
}
