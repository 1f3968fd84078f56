package vm_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/holdfast-ha/holdfast/resources"
)

// play is a cluster of three nodes in which a guest is moved about: the agent is the real
// one, and what is around it does what the cluster promises. A term is over only by a
// verified stop or by the owner's death; the next one is one higher; a start may resume
// only after a release. Everything else happens as it is picked.
type play struct {
	*world
	pick   func(n int) int // 0 is: as it should be
	faults int             // that may happen still
	owner  string
	term   uint32
	story  []string
}

var everybody = []string{"alpha", "beta", "gamma"}

// outcomes are what can become of a call, but that it goes well.
func outcomes(self, at, verb string) []string {
	switch {
	case verb == "migrate":
		return []string{
			"refused", "still coming", "resumed here", "paused on both", "gone here", "crashed", "not gone", "answer lost",
			"killed: ", "killed: refused", "killed: still coming", "killed: resumed here", "killed: paused on both", "killed: gone here",
		}
	case slices.Contains([]string{"domstate", "domuuid", "domid", "dominfo", "metadata?"}, verb):
		return []string{"killed before", "fails"}
	case at != self:
		return []string{"killed before", "killed after", "killed, and done later", "fails", "answer lost", "answer lost, and done later"}
	}
	return []string{"killed before", "killed after", "fails", "answer lost"}
}

// chance is a fault that may happen: one of n kinds, or 0 for none.
func (p *play) chance(n int) int {
	if p.faults == 0 {
		return 0
	}
	k := p.pick(n + 1)
	if k > 0 {
		p.faults--
	}
	return k
}

func (p *play) tell(format string, args ...any) {
	p.story = append(p.story, fmt.Sprintf(format, args...))
}

// op is one operation on a node; one that was killed has no answer.
func (p *play) op(node string, verb resources.Verb, req resources.Request) bool {
	if len(p.late) > 0 && p.pick(2) == 1 {
		p.tell("what was late is done")
		for _, do := range p.late {
			do()
		}
		p.late = nil
	}
	r, died := p.as(node, verb, req)
	p.tell("%s of term %d on %s, goal %q, resume %v: %v %s, killed %v", verb, req.Term, node, req.Goal, req.Resume, r.Outcome, r.Text, died)
	return !died && (r.Outcome == resources.OK && verb != resources.VerbProbe || r.Outcome == resources.NotRunning && verb == resources.VerbProbe)
}

// dies ends a node: its guests, and what it keeps until it boots.
func (p *play) dies(node string) {
	p.tell("%s dies", node)
	p.nodes[node] = nil
	_ = os.RemoveAll(filepath.Join(p.dir, node)) // the next note shows whether that worked
}

// stops stops the guest in its term until that is verified, politely or not, as a runner
// and restarted daemons do; a node on which that never works is fenced. It says whether
// the term was released.
func (p *play) stops(goal string) bool {
	for range 3 {
		req := resources.Request{Term: p.term, Goal: goal}
		verb := resources.VerbStop
		if p.chance(1) > 0 {
			verb = resources.VerbKill
		}
		if p.op(p.owner, verb, req) && p.op(p.owner, resources.VerbProbe, req) {
			return true
		}
		if p.op(p.owner, resources.VerbKill, req) && p.op(p.owner, resources.VerbProbe, req) {
			return true
		}
		if p.op(p.owner, resources.VerbProbe, req) {
			goal = "" // a restarted daemon finds that it does not run, and stops it all the same
		}
	}
	p.dies(p.owner)
	return false
}

// grants gives the service to a node, and starts it there, until that works.
func (p *play) grants(goal string, released bool) {
	for try := range 3 {
		next := goal
		if k := p.pick(3); k > 0 {
			next = slices.DeleteFunc(slices.Clone(everybody), func(n string) bool { return n == goal })[k-1]
		}
		p.owner = next
		p.term++
		if p.op(p.owner, resources.VerbStart, resources.Request{Term: p.term, Resume: released}) {
			return
		}
		if try == 2 {
			p.faults = 0
		}
		released = p.stops("")
	}
}

// goes is some moves, with what comes between.
func (p *play) goes(moves int) {
	p.nodes, p.late, p.wrong, p.boots, p.ids, p.disk = map[string]*copied{}, nil, nil, 0, 0, 0
	p.calls, p.owner, p.term = nil, "alpha", 3
	for _, n := range everybody {
		_ = os.RemoveAll(filepath.Join(p.dir, n))
	}
	p.fate = func(_ *world, what string) string {
		words := strings.Fields(what)
		list := outcomes(words[0], words[1], words[2])
		if k := p.chance(len(list)); k > 0 {
			p.tell("%s: %s", what, list[k-1])
			return list[k-1]
		}
		return ""
	}
	faults := p.faults
	p.faults = 0
	p.op("alpha", resources.VerbStart, resources.Request{Term: p.term})
	p.faults = faults
	for range moves {
		others := slices.DeleteFunc(slices.Clone(everybody), func(n string) bool { return n == p.owner })
		goal := others[p.pick(2)]
		released := p.stops(goal)
		if k := p.chance(3); k > 0 {
			p.dies(everybody[k-1])
			released = released && everybody[k-1] != p.owner
		}
		if released && p.pick(2) == 1 {
			p.tell("the move is called off")
			if p.op(p.owner, resources.VerbStart, resources.Request{Term: p.term, Resume: true}) {
				continue
			}
			released = p.stops("")
		}
		p.grants(goal, released)
	}
	for _, do := range p.late {
		do()
	}
	p.turn()
}

func (p *play) judge(t *testing.T, of string) {
	t.Helper()
	if len(p.wrong) > 0 {
		t.Fatalf("%s: %s\n%s", of, strings.Join(p.wrong, "\n"), strings.Join(p.story, "\n"))
	}
}

// TestEveryInterleaving plays two moves with every decision and every single fault at
// every place; with -short it is one move.
func TestEveryInterleaving(t *testing.T) {
	moves, least := 2, 10000
	if testing.Short() {
		moves, least = 1, 500
	}
	synctest.Test(t, func(t *testing.T) {
		p := &play{world: newWorld(t, everybody...)}
		var path, width []int
		at, runs := 0, 0
		p.pick = func(n int) int {
			if at == len(path) {
				path, width = append(path, 0), append(width, n)
			}
			at++
			return path[at-1]
		}
		for more := true; more; runs++ {
			at, p.faults, p.story = 0, 1, nil
			p.goes(moves)
			p.judge(t, fmt.Sprintf("%v", path))
			for more = false; len(path) > 0 && !more; {
				last := len(path) - 1
				if path[last]++; path[last] < width[last] {
					more = true
				} else {
					path, width = path[:last], width[:last]
				}
			}
		}
		if runs < least {
			t.Errorf("%d plays were all that there is", runs)
		}
		t.Logf("%d plays with one fault", runs)
	})
}

// TestManyFaults is the same with up to six faults in five moves, as they come.
func TestManyFaults(t *testing.T) {
	runs := 3000
	if testing.Short() {
		runs = 300
	}
	synctest.Test(t, func(t *testing.T) {
		p := &play{world: newWorld(t, everybody...)}
		resumed := 0
		for seed := range runs {
			rng := rand.New(rand.NewPCG(uint64(seed), 7))
			p.pick = func(n int) int {
				if rng.IntN(3) > 0 {
					return 0
				}
				return rng.IntN(n)
			}
			p.faults, p.story = rng.IntN(7), nil
			p.goes(5)
			p.judge(t, fmt.Sprintf("seed %d", seed))
			resumed += strings.Count(strings.Join(p.story, "\n"), "goes on as it ran")
		}
		if resumed < runs {
			t.Errorf("in %d plays a guest went on %d times: too few to show anything", runs, resumed)
		}
		t.Logf("%d plays, a guest went on %d times", runs, resumed)
	})
}
