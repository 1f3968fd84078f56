package keyring

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/holdfast-ha/holdfast/cluster/ident"
	"github.com/holdfast-ha/holdfast/internal/api"
	"github.com/holdfast-ha/holdfast/quorumdisk"
)

const (
	askWithin   = 45 * time.Second // for one step of one node
	sightWithin = 15 * time.Second // for every guard to have written its beat once more
)

// Member is a node of the committed state, whatever its phase: one that is down comes
// back with the keys that it has.
type Member struct {
	Name      string
	ID        ident.NodeID
	Self      bool
	Addresses []netip.AddrPort
}

// Cluster is what an exchange needs of the cluster.
type Cluster interface {
	// Members are all nodes, by number; the first one leads.
	Members(ctx context.Context) ([]Member, error)
	// Ask has another node do a step. The answer counts only without an error.
	Ask(ctx context.Context, m Member, s api.KeyStep) (api.KeyNode, error)
	// Survey reads every disk that counts for what is sealed with the old key.
	Survey(ctx context.Context) []api.KeyDisk
	// ResealRest seals the superblocks, and the slots of no member, anew.
	ResealRest(ctx context.Context, members []Member) error
}

// Exchange leads exchanges of keys, or passes the request on to the node that does.
type Exchange struct {
	ring    *Ring
	cluster Cluster
	forward func(ctx context.Context, leader Member, r api.KeyRequest) (*api.KeyProgress, error)
	one     sync.Mutex
}

// NewExchange makes one. forward has the leader's daemon take a request.
func NewExchange(ring *Ring, c Cluster, forward func(context.Context, Member, api.KeyRequest) (*api.KeyProgress, error)) *Exchange {
	return &Exchange{ring: ring, cluster: c, forward: forward}
}

// Step does one step on this node.
func (x *Exchange) Step(ctx context.Context, s api.KeyStep) (api.KeyNode, error) {
	return x.ring.Step(ctx, s)
}

// Status asks every node, and looks at every disk.
func (x *Exchange) Status(ctx context.Context) (*api.KeyStatus, error) {
	members, err := x.cluster.Members(ctx)
	if err != nil {
		return nil, err
	}
	s := &api.KeyStatus{Version: api.Version, Leader: members[0].Name, Nodes: x.all(ctx, members, api.KeyStep{}), Disks: []api.KeyDisk{}}
	judge(s)
	if x.ring.Exchanging() {
		s.Disks = x.cluster.Survey(ctx)
	}
	return s, nil
}

// all asks every member at once, and gives the answers in their order.
func (x *Exchange) all(ctx context.Context, members []Member, s api.KeyStep) []api.KeyNode {
	ctx, cancel := context.WithTimeout(ctx, askWithin)
	defer cancel()
	out := make([]api.KeyNode, len(members))
	var wait sync.WaitGroup
	for i, m := range members {
		wait.Go(func() { out[i] = x.ask(ctx, m, s) }) // ends with ctx
	}
	wait.Wait()
	return out
}

func (x *Exchange) ask(ctx context.Context, m Member, s api.KeyStep) api.KeyNode {
	do := x.cluster.Ask
	if m.Self {
		do = func(ctx context.Context, _ Member, s api.KeyStep) (api.KeyNode, error) { return x.ring.Step(ctx, s) }
	}
	n, err := do(ctx, m, s)
	if n.Node = m.Name; err != nil {
		n.Error = err.Error()
	}
	return n
}

// judge finds out how far the exchange has come. The fingerprints of the keys stand
// in s.Key and s.New then.
func judge(s *api.KeyStatus) {
	s.Stage, s.Key, s.New = api.KeySettled, "", ""
	for i := range s.Nodes { // what the leader says first
		n := &s.Nodes[i]
		if n.New != "" && (s.New == "" || n.Seals == n.New) {
			s.New = n.New // the one that is in use, of two that were begun
		}
	}
	var missing, turned, both, odd int
	for i := range s.Nodes {
		n := &s.Nodes[i]
		switch {
		case n.Seals == "": // no answer
			continue
		case s.New == "" || n.Seals != s.New:
			if s.Key == "" {
				s.Key = n.Seals
			}
			if n.Seals != s.Key {
				odd++
			}
			if n.Accepts != s.New {
				missing++
			}
		default:
			turned++
		}
		if n.Accepts != "" {
			both++
			if n.Seals == s.New && s.Key == "" {
				s.Key = n.Accepts
			}
		}
	}
	switch {
	case odd > 0:
		s.Stage = api.KeyOdd
	case s.New == "" && both == 0:
	case missing > 0:
		s.Stage = api.KeyOffering
	case turned < answering(s.Nodes):
		s.Stage = api.KeyTurning
	default:
		s.Stage = api.KeySettling
	}
}

func answering(nodes []api.KeyNode) int {
	n := 0
	for i := range nodes {
		if nodes[i].Seals != "" {
			n++
		}
	}
	return n
}

// Advance takes the next step: it begins an exchange, has every member go one step on,
// or ends it. Whatever goes wrong, to ask again goes on from there.
func (x *Exchange) Advance(ctx context.Context, r api.KeyRequest) (*api.KeyProgress, error) {
	members, err := x.cluster.Members(ctx)
	if err != nil {
		return nil, err
	}
	if !members[0].Self {
		return x.forward(ctx, members[0], r)
	}
	if !x.one.TryLock() {
		return nil, errors.New("a step of an exchange of keys is under way")
	}
	defer x.one.Unlock()
	p := &api.KeyProgress{Version: api.Version, Did: []string{}}
	s := &p.Status
	s.Version, s.Leader, s.Nodes, s.Disks = api.Version, members[0].Name, x.all(ctx, members, api.KeyStep{}), []api.KeyDisk{}
	judge(s)
	if err := present(s.Nodes); err != nil {
		return nil, err
	}
	if r.DryRun {
		p.Did = foretell(s)
		return p, nil
	}
	if s.Stage != api.KeySettled {
		for i, m := range members {
			if !s.Nodes[i].Applied {
				s.Nodes[i] = x.ask(ctx, m, api.KeyStep{Leader: s.Leader, Do: api.KeyApply, New: s.New})
			}
		}
		if err := confirmed(s.Nodes); err != nil {
			return nil, err
		}
	}
	err = x.step(ctx, members, r, p)
	if err != nil {
		return nil, err
	}
	judge(s)
	return p, nil
}

// present fails if a node does not answer: it would come back with the keys that it
// has, and it must not be that nobody reads them any more.
func present(nodes []api.KeyNode) error {
	var away []string
	for i := range nodes {
		if nodes[i].Error != "" {
			away = append(away, fmt.Sprintf("%s (%s)", nodes[i].Node, nodes[i].Error))
		}
	}
	if len(away) == 0 {
		return nil
	}
	return fmt.Errorf("not every node answers: %s. Nothing was changed now, and nobody is shut out: every node reads what any other one has sealed. Start what is missing, or take it out with holdfast node remove NODE; then run holdfast key rotate again", strings.Join(away, ", "))
}

// confirmed fails if a node could not do what it was asked.
func confirmed(nodes []api.KeyNode) error {
	var failed []string
	for i := range nodes {
		if e := nodes[i].Error; e != "" {
			failed = append(failed, nodes[i].Node+": "+e)
		}
	}
	if len(failed) == 0 {
		return nil
	}
	return fmt.Errorf("not confirmed by every node: %s. The next step is not taken, and every node reads what any other one has sealed. When that is mended run holdfast key rotate again", strings.Join(failed, "; "))
}

// foretell says what would be done.
func foretell(s *api.KeyStatus) []string {
	all := []string{
		fmt.Sprintf("%s draws a new key and gives it to every node over TLS; all accept it beside %s", s.Leader, s.Key),
		"every node seals with the new key from then on, and accepts the old one",
		"what stands on the quorum disks is sealed anew, and read back",
		"when no record of the old key is left, every node forgets it",
	}
	switch s.Stage {
	case api.KeyTurning:
		return all[1:]
	case api.KeySettling:
		return all[2:]
	}
	return all
}

// step takes one step.
func (x *Exchange) step(ctx context.Context, members []Member, r api.KeyRequest, p *api.KeyProgress) error {
	s := &p.Status
	switch s.Stage {
	case api.KeySettled:
		if !r.Begin {
			p.Done = true
			return nil
		}
		return x.offer(ctx, members, p, quorumdisk.NewKey())
	case api.KeyOffering:
		return x.again(ctx, members, p)
	case api.KeyTurning:
		if err := x.each(ctx, members, p, api.KeyStep{Do: api.KeyUse, New: s.New}); err != nil {
			return err
		}
		p.Did = append(p.Did, fmt.Sprintf("every node seals with %s, and accepts %s", s.New, s.Key))
		return nil
	case api.KeySettling:
		return x.settle(ctx, members, p)
	}
	return fmt.Errorf("the nodes have keys that fit no exchange (holdfast key status): copy the key file of a node that works, with mode 600, to the one whose key is another, and restart holdfastd there")
}

// offer gives a key to every member, to this node first: once another one has it, it
// must not get lost.
func (x *Exchange) offer(ctx context.Context, members []Member, p *api.KeyProgress, k quorumdisk.Key) error {
	s := &p.Status
	s.New = k.Fingerprint()
	if err := x.each(ctx, members, p, api.KeyStep{Do: api.KeyAccept, New: s.New, Secret: k.Secret()}); err != nil {
		return err
	}
	p.Did = append(p.Did, fmt.Sprintf("every node accepts the new key %s; all seal with %s", s.New, s.Key))
	return nil
}

// again goes on with giving the new key to everybody. A key that this node does not
// have, because another one has begun and led no more, is taken back: nothing can have
// been sealed with it, for that takes the word of every member that it accepts it.
func (x *Exchange) again(ctx context.Context, members []Member, p *api.KeyProgress) error {
	s, have := &p.Status, x.ring.Keys()
	for _, k := range []quorumdisk.Key{have.Previous, have.Current} {
		if k.Fingerprint() == s.New && (k == have.Previous || !have.Previous.IsZero()) {
			if err := x.withdraw(ctx, members, p, s.New); err != nil {
				return err
			}
			return x.offer(ctx, members, p, k)
		}
	}
	if err := x.withdraw(ctx, members, p, ""); err != nil {
		return err
	}
	p.Did = append(p.Did, "a new key that not every node had, and this one neither, was taken back")
	if judge(s); s.Stage != api.KeySettled {
		return fmt.Errorf("the nodes have keys that fit no exchange (holdfast key status)")
	}
	return x.offer(ctx, members, p, quorumdisk.NewKey())
}

// withdraw takes back every new key but one.
func (x *Exchange) withdraw(ctx context.Context, members []Member, p *api.KeyProgress, but string) error {
	s := &p.Status
	for i := range s.Nodes {
		n := &s.Nodes[i]
		if n.New == "" || n.New == but {
			continue
		}
		if n.Seals == n.New {
			return fmt.Errorf("%s seals with %s, which %s does not have: run holdfast key status, and copy the key file of %s to the nodes that lack that key", n.Node, n.New, s.Leader, n.Node)
		}
		*n = x.ask(ctx, members[i], api.KeyStep{Leader: s.Leader, Do: api.KeyWithdraw, New: n.New})
		if err := confirmed(s.Nodes); err != nil {
			return err
		}
	}
	return nil
}

// each has every member do a step, this node first, or last where it forgets: what it
// knows is what goes on.
func (x *Exchange) each(ctx context.Context, members []Member, p *api.KeyProgress, step api.KeyStep) error {
	s := &p.Status
	step.Leader = s.Leader
	order := members
	if step.Do == api.KeyForget {
		order = append(append([]Member{}, members[1:]...), members[0])
	}
	for _, m := range order {
		within, cancel := context.WithTimeout(ctx, askWithin)
		n := x.ask(within, m, step)
		cancel()
		for i := range members {
			if members[i].ID == m.ID {
				s.Nodes[i] = n
			}
		}
		if err := confirmed(s.Nodes); err != nil {
			return err
		}
	}
	return nil
}

// settle has the disks sealed anew, and the old key forgotten when nothing of it is left.
func (x *Exchange) settle(ctx context.Context, members []Member, p *api.KeyProgress) error {
	s := &p.Status
	if !x.ring.Exchanging() { // the former leader has forgotten it, so nothing of it is left
		return x.forget(ctx, members, p)
	}
	if err := x.each(ctx, members, p, api.KeyStep{Do: api.KeyReseal, New: s.New}); err != nil {
		return err
	}
	if err := x.cluster.ResealRest(ctx, members); err != nil {
		return fmt.Errorf("seal the disks anew: %w", err)
	}
	left, err := x.sealed(ctx, s)
	if err != nil {
		return err
	}
	if left != "" {
		p.Waits = left
		return nil
	}
	for i := range s.Nodes {
		if n := &s.Nodes[i]; n.Wait > 0 {
			p.Waits, p.Left = fmt.Sprintf("until nothing that %s has sealed with the old key can land on a disk any more", n.Node), n.Wait
			return nil
		}
	}
	return x.forget(ctx, members, p)
}

func (x *Exchange) forget(ctx context.Context, members []Member, p *api.KeyProgress) error {
	s := &p.Status
	if err := x.each(ctx, members, p, api.KeyStep{Do: api.KeyForget, New: s.New}); err != nil {
		return err
	}
	p.Did, p.Done = append(p.Did, fmt.Sprintf("nothing on the disks is sealed with %s any more, and every node has forgotten it; the cluster's key is %s", s.Key, s.New)), true
	return nil
}

// sealed looks until nothing of the old key is left on any disk, for a while: the
// guards write their beats by themselves.
func (x *Exchange) sealed(ctx context.Context, s *api.KeyStatus) (left string, err error) {
	ctx, cancel := context.WithTimeout(ctx, sightWithin)
	defer cancel()
	for {
		s.Disks, left = x.cluster.Survey(ctx), ""
		for _, d := range s.Disks {
			switch {
			case d.Error != "":
				return "", fmt.Errorf("quorum disk %d (%s) cannot be read, and may hold what only the old key opens: bring it back, or holdfast disk replace it; then run holdfast key rotate again: %s", d.Disk, d.Path, d.Error)
			case d.Old > 0:
				left = fmt.Sprintf("until %d records on quorum disk %d, which are sealed with the old key yet, are sealed anew: %s", d.Old, d.Disk, strings.Join(d.Where, ", "))
			}
		}
		if left == "" {
			return "", nil
		}
		select {
		case <-ctx.Done():
			return left, nil
		case <-time.After(time.Second):
		}
	}
}
