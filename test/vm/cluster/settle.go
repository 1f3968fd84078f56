package cluster

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/holdfast-ha/holdfast/internal/api"
	"github.com/holdfast-ha/holdfast/test/vm/disk"
)

// Service is the name of the only service.
const Service = service

// fresh is how old the latest write of a service that runs may be.
const fresh = 2 * time.Second

// moment is how long what Settled has found is good for: so long that what is made next does not ask again.
const moment = 3 * time.Second

// calmness is what Settled has found.
type calmness struct {
	owner       *Node
	incarnation string
	run         uint64 // of the owner's writer
	at          time.Time
}

// Still is what Settled has found just now, once, if the same run still writes; else it waits as Settled does.
func (f *Full) Still(ctx context.Context) (owner *Node, incarnation string, err error) {
	was := f.found
	f.found = calmness{}
	runs := f.Judge.Runs()
	if was.owner != nil && time.Since(was.at) < moment && runs[len(runs)-1].Run == was.run {
		return was.owner, was.incarnation, nil
	}
	return f.Settled(ctx)
}

// Settled waits until every node is a member and nothing goes on, and the service runs and writes; it returns the owner and its
// incarnation. Asking costs an emulated machine much, so the owner is asked first, and the others when it has nothing to object.
func (f *Full) Settled(ctx context.Context) (owner *Node, incarnation string, err error) {
	err = Await(ctx, "all nodes are members and the service runs", func() error {
		runs := f.Judge.Runs()
		if len(runs) == 0 || time.Since(runs[len(runs)-1].Last) > fresh {
			return errors.New("nobody writes")
		}
		owner = f.Nodes[runs[len(runs)-1].Owner-1]
		for i := range f.Nodes {
			n := f.Nodes[(owner.Number-1+i)%len(f.Nodes)]
			st, err := n.Status(ctx)
			if err == nil {
				err = f.restore(ctx, n, st)
			}
			if err == nil {
				err = calm(st)
			}
			if err == nil && st.Services[0].Node != owner.Name {
				err = fmt.Errorf("the service is said to be on %s", st.Services[0].Node)
			}
			if err == nil && n == owner {
				incarnation = st.Self.Incarnation
			}
			if err != nil {
				return fmt.Errorf("%s: %w", n.Name, errors.Join(err, wait(ctx, time.Second)))
			}
		}
		f.found = calmness{owner, incarnation, runs[len(runs)-1].Run, time.Now()}
		return nil
	})
	return owner, incarnation, err
}

// wait is for a machine that is not to be asked again at once.
func wait(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Forget has the cluster forget what has failed: a node on which a start or a stop has failed would not be given the service again.
func (f *Full) Forget(ctx context.Context, n *Node) error {
	out, err := n.Holdfast(ctx, "service", "clear", Service)
	if err != nil {
		err = fmt.Errorf("%w: %s", err, out)
	}
	return err
}

// calm says what of a node's status is not as it is when nothing goes on.
func calm(st *api.Status) error {
	if len(st.Services) == 0 || len(st.Nodes) < 3 {
		return errors.New("it knows too little yet")
	}
	for _, v := range st.Nodes {
		if v.Phase != "member" || v.Fencing || v.Standby {
			return fmt.Errorf("%s is %s, fencing %v, standby %v, proof %v; this node is at stage %q and waits for %q", v.Name, v.Phase, v.Fencing, v.Standby, v.Proof, st.Self.Stage, st.Self.Waiting)
		}
	}
	if s := st.Services[0]; s.State != "running" {
		return fmt.Errorf("the service is %s on %s: %s; %s", s.State, s.Node, s.Text, s.Why)
	}
	return nil
}

// Ended says by what a node knows that an incarnation of another one has ended; empty: it does not know that it has.
func (n *Node) Ended(ctx context.Context, other *Node, incarnation string) (proof string, err error) {
	var st *api.Status
	if err := AwaitWord(ctx, n.Name+" says what has become of "+other.Name, func() (err error) {
		st, err = n.Status(ctx)
		return err
	}); err != nil {
		return "", err
	}
	for _, v := range st.Nodes {
		if v.Name != other.Name {
			continue
		}
		if v.Proof != nil && v.Proof.Incarnation == incarnation {
			return v.Proof.Kind, nil
		}
		if v.Fenced != nil && v.Fenced.Incarnation == incarnation && v.Fenced.Proof != nil {
			return v.Fenced.Proof.Kind, nil
		}
	}
	return "", nil
}

// Replace has the spare disk take the place of a quorum disk, by the word of a node.
func (f *Full) Replace(ctx context.Context, n *Node, which int) error {
	out, err := n.Holdfast(ctx, "disk", "replace", byID(f.Quorums[which]), byID(f.Spare), "--yes", "--wait", "2m")
	if err != nil {
		return fmt.Errorf("%w: %s", err, out)
	}
	f.Quorums[which], f.Spare = f.Spare, f.Quorums[which]
	return nil
}

func byID(d *disk.Disk) string { return "/dev/disk/by-id/virtio-" + d.Serial }

// restore does what a node's status demands for a disk that it has ejected: something was decided while it had a copy in the disk's
// place, so the disk does not have what the copy acknowledged, and counts as failed on that node until it is replaced.
func (f *Full) restore(ctx context.Context, n *Node, st *api.Status) error {
	for _, d := range st.Disks {
		if !strings.HasPrefix(d.Error, "ejected") {
			continue
		}
		which := slices.IndexFunc(f.Quorums[:], func(q *disk.Disk) bool { return byID(q) == d.Path })
		if which < 0 {
			return fmt.Errorf("%s has ejected %s, which is no quorum disk of the rig", n.Name, d.Path)
		}
		if err := f.Replace(ctx, n, which); err != nil {
			return err
		}
		return errors.Join(f.Discard(), fmt.Errorf("%s had ejected %s, which was replaced", n.Name, d.Path))
	}
	return nil
}

// Discard makes the spare disk, which was a quorum disk, an empty one that works.
func (f *Full) Discard() error {
	err := f.Spare.Erase()
	for _, n := range f.Nodes {
		err = errors.Join(err, f.Spare.Set(n.Name, disk.Fault{Drop: true}))
	}
	return err
}

// Close stops the service and looks at what stands on the disks then: all that was confirmed, and a clean file system.
func (f *Full) Close(ctx context.Context) error {
	n, _, err := f.Settled(ctx)
	if err != nil {
		return err
	}
	if out, err := n.Holdfast(ctx, "service", "stop", Service); err != nil {
		return fmt.Errorf("%w: %s", err, out)
	}
	if err := AwaitWord(ctx, "the service stops", func() error {
		st, err := n.Status(ctx)
		if err == nil && st.Services[0].State != "stopped" {
			err = errors.New(st.Services[0].State)
		}
		return err
	}); err != nil {
		return err
	}
	if out, err := exec.CommandContext(ctx, "fsck.ext4", "-fn", f.Files.Path()).CombinedOutput(); err != nil {
		return fmt.Errorf("the file system is not clean: fsck.ext4 -fn: %w: %s", err, out)
	}
	text, err := exec.CommandContext(ctx, "debugfs", "-R", "cat /log", f.Files.Path()).Output()
	if err != nil {
		return fmt.Errorf("debugfs (package e2fsprogs): %w", err)
	}
	if err := f.Judge.Audit(f.Data.File(), text); err != nil {
		return err
	}
	if crimes := f.Judge.Crimes(); len(crimes) > 0 {
		return errors.New(strings.Join(crimes, "\n"))
	}
	return nil
}

// Consoles is where the consoles and logs of the machines are.
func (f *Full) Consoles() string { return filepath.Join(f.Dir, "n*.{console,log,qemu}") }
