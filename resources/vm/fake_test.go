package vm_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-ha/holdfast/resources"
	"github.com/holdfast-ha/holdfast/resources/vm"
	"github.com/holdfast-ha/holdfast/storage/program"
)

// copied is one copy of the guest: on one node, with the memory that it has.
type copied struct {
	state, reason, uuid, mark string
	id, memory                int
}

func (c *copied) runs() bool { return c != nil && c.state == "running" }

// world is what virsh does on some nodes to one guest and its disk. The guest writes all
// the time: its memory then knows the disk's latest version. A copy that runs with older
// memory, or beside another one, is what must never be.
type world struct {
	t      *testing.T
	dir    string
	nodes  map[string]*copied // nil: the guest is not known there
	dead   map[string]bool    // nodes whose libvirt does not answer
	ids    int
	disk   int
	boots  int
	wrong  []string
	calls  []string
	late   []func()                             // what was sent and is not done yet
	fate   func(w *world, what string) string   // of a call; nil: all go well
	states map[string]string                    // what a domstate shows in place of the truth, by node
	meddle func(w *world, node, command string) // before a call; may be nil
	dying  bool                                 // the operation is killed with its next call
}

// killed is what happens to an operation that is killed.
type killed struct{}

func newWorld(t *testing.T, nodes ...string) *world {
	w := &world{t: t, dir: t.TempDir(), nodes: map[string]*copied{}, dead: map[string]bool{}, states: map[string]string{}}
	for _, n := range nodes {
		w.nodes[n] = nil
	}
	return w
}

// turn lets what runs write, and looks for what must not be.
func (w *world) turn() {
	var running []string
	for name, c := range w.nodes {
		if !c.runs() {
			continue
		}
		if running = append(running, name); c.memory != w.disk {
			w.wrong = append(w.wrong, fmt.Sprintf("on %s the guest runs with the memory of %d, and its disk is at %d", name, c.memory, w.disk))
		}
	}
	if len(running) > 1 {
		slices.Sort(running)
		w.wrong = append(w.wrong, fmt.Sprintf("the guest runs on %v", running))
	}
	if len(running) > 0 {
		w.disk++
		for _, n := range running {
			w.nodes[n].memory = w.disk
		}
	}
}

// on is virsh as called on a node.
func (w *world) on(self string) program.Runner {
	return func(ctx context.Context, c program.Command) (program.Result, error) {
		if one, other, several := strings.Cut(c.Argv[4], "; "); several {
			var all program.Result
			for _, part := range []string{one, other} {
				argv := append(slices.Clone(c.Argv[:4]), strings.Fields(part)...)
				r, err := w.on(self)(ctx, program.Command{Argv: argv})
				if err != nil || r.Code != 0 {
					return r, err
				}
				all.Stdout += r.Stdout + "\n"
			}
			return all, nil
		}
		if w.dying {
			panic(killed{})
		}
		if err := ctx.Err(); err != nil {
			return program.Result{}, err
		}
		at, verb, args := strings.TrimPrefix(c.Argv[3], "fake:"), c.Argv[4], c.Argv[5:]
		w.calls = append(w.calls, at+" "+strings.Join(c.Argv[4:], " "))
		if w.meddle != nil {
			w.meddle(w, at, verb)
		}
		defer w.turn()
		if w.dead[at] {
			return program.Result{Code: 1, Stderr: "error: failed to connect to the hypervisor"}, nil
		}
		fate := ""
		if w.fate != nil {
			fate = w.fate(w, self+" "+at+" "+verb+asks(verb, args))
		}
		effect := func() program.Result { return w.do(at, verb, args, fate) }
		if rest, dies := strings.CutPrefix(fate, "killed: "); dies && verb == "migrate" { // it has a goroutine of its own
			fate, w.dying = rest, true
		}
		switch fate {
		case "killed before":
			panic(killed{})
		case "killed after":
			effect()
			panic(killed{})
		case "killed, and done later":
			w.late = append(w.late, func() { w.do(at, verb, args, ""); w.turn() })
			panic(killed{})
		case "answer lost, and done later":
			w.late = append(w.late, func() { w.do(at, verb, args, ""); w.turn() })
			return program.Result{}, errors.New("virsh was killed")
		case "fails":
			return program.Result{Code: 1, Stderr: "error: Timed out during operation"}, nil
		case "answer lost":
			effect()
			return program.Result{}, errors.New("virsh was killed")
		}
		return effect(), nil
	}
}

// asks tells a question from a change, where both are the same command.
func asks(verb string, args []string) string {
	if verb == "metadata" && !slices.Contains(args, "--set") && !slices.Contains(args, "--remove") {
		return "?"
	}
	return ""
}

func no(why string) program.Result { return program.Result{Code: 1, Stderr: "error: " + why} }

// do does what virsh is told.
func (w *world) do(at, verb string, args []string, fate string) program.Result {
	c := w.nodes[at]
	if verb == "create" || verb == "start" {
		return w.boot(at)
	}
	if verb == "migrate" {
		return w.migrate(at, args, fate)
	}
	domain := args[0]
	if i := slices.Index(args, "--domain"); i >= 0 {
		domain = args[i+1]
	}
	if c == nil || domain != "shop" && domain != c.uuid {
		return no("failed to get domain '" + domain + "'")
	}
	switch verb {
	case "domstate":
		if s := w.states[at]; s != "" {
			return program.Result{Stdout: s + "\n"}
		}
		if !slices.Contains(args, "--reason") {
			return program.Result{Stdout: c.state + "\n"}
		}
		return program.Result{Stdout: c.state + " (" + c.reason + ")\n"}
	case "domuuid":
		return program.Result{Stdout: c.uuid + "\n"}
	case "domid":
		return program.Result{Stdout: strconv.Itoa(c.id) + "\n"}
	case "dominfo":
		return program.Result{Stdout: "Autostart:      disable\n"}
	case "shutdown", "destroy":
		if verb == "shutdown" && !c.runs() {
			return no("domain is paused")
		}
		w.nodes[at] = nil
	case "resume":
		c.state, c.reason = "running", "unpaused"
	case "domjobabort":
	case "metadata":
		return c.metadata(args)
	default:
		w.t.Errorf("virsh %s %v", verb, args)
	}
	return program.Result{}
}

func (c *copied) metadata(args []string) program.Result {
	switch i := slices.Index(args, "--set"); {
	case i >= 0:
		c.mark = args[i+1]
	case slices.Contains(args, "--remove"):
		c.mark = ""
	case c.mark == "":
		return no("metadata not found: Requested metadata element is not present")
	}
	return program.Result{Stdout: c.mark}
}

func (w *world) boot(at string) program.Result {
	if c := w.nodes[at]; c != nil {
		return no("domain 'shop' already exists with uuid " + c.uuid)
	}
	w.boots++
	w.ids++
	w.nodes[at] = &copied{state: "running", reason: "booted", uuid: "guest-" + strconv.Itoa(w.boots), id: w.ids, memory: w.disk}
	return program.Result{}
}

// migrate takes the guest over, paused, or does to it what can become of that.
func (w *world) migrate(at string, args []string, fate string) program.Result {
	to := strings.TrimPrefix(args[slices.Index(args, "--desturi")+1], "fake:")
	c := w.nodes[at]
	switch {
	case !slices.Contains(args, "--suspend") || !slices.Contains(args, "--live"):
		w.wrong = append(w.wrong, "a migration that lets the guest run where it arrives")
	case !c.runs():
		return no("domain is not running")
	case w.dead[to]:
		return no("unable to connect to " + to)
	case w.nodes[to] != nil:
		return no("domain 'shop' is already active")
	}
	w.ids++
	there := *c
	there.state, there.reason, there.id = "paused", "user", w.ids
	switch fate {
	case "refused":
		return no("this node has no such CPU")
	case "still coming":
		there.reason = "migrating"
		w.nodes[to] = &there
		return no("it was aborted")
	case "resumed here": // the answer of the other side was lost
		w.nodes[to] = &there
		return no("connection lost")
	case "paused on both":
		c.state, c.reason = "paused", "migrating"
		w.nodes[to] = &there
		return no("connection lost")
	case "gone here":
		w.nodes[at], w.nodes[to] = nil, &there
		return no("connection lost")
	case "crashed":
		w.nodes[at] = nil
		return no("the guest has crashed")
	case "not gone":
		w.nodes[to] = &there
		return program.Result{}
	}
	w.nodes[at], w.nodes[to] = nil, &there
	return program.Result{}
}

const spec = `{"domain": "shop", "xml": %q, "connect": "fake:%s", "grace": "1ms", "migrate": {"to": "fake:{node}", "within": "5s"}}`

// as asks the agent of a node; killed says that the operation was.
func (w *world) as(name string, verb resources.Verb, req resources.Request) (r resources.Report, died bool) {
	defer func() {
		if e := recover(); e != nil {
			if _, ok := e.(killed); !ok {
				panic(e)
			}
			died = true
		}
		w.dying = false
	}()
	a := vm.Agent{Virsh: w.on(name), Dir: filepath.Join(w.dir, name)}
	req.Service, req.Member, req.Spec = "shop", "vm", json.RawMessage(fmt.Sprintf(spec, filepath.Join(w.dir, "shop.xml"), name))
	req.Timeout = time.Minute
	ctx, cancel := context.WithTimeout(context.Background(), req.Timeout)
	defer cancel()
	switch verb {
	case resources.VerbStart:
		return a.Start(ctx, req), false
	case resources.VerbStop:
		return a.Stop(ctx, req), false
	case resources.VerbKill:
		req.Emergency = true
		return a.Stop(ctx, req), false
	case resources.VerbCheck:
		return a.Check(ctx, req), false
	case resources.VerbFit:
		return a.Fit(ctx, req), false
	}
	return a.Probe(ctx, req), false
}

func (w *world) want(name string, verb resources.Verb, req resources.Request, o resources.Outcome, words string) {
	w.t.Helper()
	r, _ := w.as(name, verb, req)
	if r.Outcome != o || !strings.Contains(r.Text, words) {
		w.t.Errorf("%s of term %d on %s: %v: %s; want %v with %q", verb, req.Term, name, r.Outcome, r.Text, o, words)
	}
}

// end says what must not have been, and how often the guest was booted.
func (w *world) end(boots int) {
	w.t.Helper()
	for _, s := range w.wrong {
		w.t.Error(s)
	}
	if w.boots != boots {
		w.t.Errorf("the guest was booted %d times, want %d", w.boots, boots)
	}
	if w.t.Failed() {
		w.t.Logf("calls:\n%s", strings.Join(w.calls, "\n"))
	}
}

func once(command, fate string) func(*world, string) string {
	return func(_ *world, what string) string {
		if what == command {
			command = ""
			return fate
		}
		return ""
	}
}

func running(t *testing.T) *world {
	w := newWorld(t, "alpha", "beta", "gamma")
	w.want("alpha", resources.VerbStart, resources.Request{Term: 4}, resources.OK, "runs")
	return w
}

var (
	move  = resources.Request{Term: 4, Goal: "beta"}
	takes = resources.Request{Term: 5, Resume: true}
)

func TestHandOver(t *testing.T) {
	w := running(t)
	w.want("alpha", resources.VerbStop, move, resources.OK, "handed to beta as it ran")
	w.want("alpha", resources.VerbStop, move, resources.OK, "not known to libvirt")
	w.want("alpha", resources.VerbProbe, move, resources.NotRunning, "")
	w.want("beta", resources.VerbProbe, takes, resources.NotRunning, "has never run here")
	w.want("beta", resources.VerbStart, takes, resources.OK, "goes on as it ran")
	w.want("beta", resources.VerbStart, takes, resources.OK, "already")
	w.want("beta", resources.VerbCheck, takes, resources.OK, "runs")
	if m := w.nodes["beta"].mark; m != "" {
		t.Errorf("what runs carries the mark %s", m)
	}
	w.want("beta", resources.VerbStop, resources.Request{Term: 5, Goal: "alpha"}, resources.OK, "handed to alpha")
	w.want("alpha", resources.VerbStart, resources.Request{Term: 6, Resume: true}, resources.OK, "goes on as it ran")
	w.end(1)
}

// Nothing but the mark of the very term before lets a copy go on.
func TestWhatMayNotGoOn(t *testing.T) {
	for name, c := range map[string]struct {
		req    resources.Request
		before func(*world)
		words  string
	}{
		"a term later":           {req: resources.Request{Term: 6, Resume: true}, words: "in term 4"},
		"the term itself":        {req: resources.Request{Term: 4, Resume: true}, words: "in term 4"},
		"not just released":      {req: resources.Request{Term: 5}, words: "not known to have just released it"},
		"no mark":                {req: takes, before: func(w *world) { w.nodes["beta"].mark = "" }, words: "carries no mark"},
		"no mark, still coming":  {req: takes, before: func(w *world) { w.nodes["beta"].mark, w.nodes["beta"].reason = "", "migrating" }, words: "carries no mark"},
		"a mark nobody can read": {req: takes, before: func(w *world) { w.nodes["beta"].mark = "<handed" }, words: "destroyed"},
		"another arrival":        {req: takes, before: func(w *world) { w.nodes["beta"].id++ }, words: "another copy"},
		"another guest":          {req: takes, before: func(w *world) { w.nodes["beta"].uuid = "x" }, words: "another copy"},
		"another service": {req: takes, before: func(w *world) {
			w.nodes["beta"].mark = strings.Replace(w.nodes["beta"].mark, `"shop"`, `"web"`, 1)
		}, words: "the service web"},
	} {
		t.Run(name, func(t *testing.T) {
			w := running(t)
			w.want("alpha", resources.VerbStop, move, resources.OK, "handed to beta")
			if c.before != nil {
				c.before(w)
			}
			w.want("beta", resources.VerbStart, c.req, resources.OK, c.words)
			w.end(2)
		})
	}
}

// What was paused for a reason of its own is left to a stop, as without migrations.
func TestPausedForAnotherReason(t *testing.T) {
	w := running(t)
	w.nodes["alpha"].state, w.nodes["alpha"].reason = "paused", "I/O error"
	w.want("alpha", resources.VerbStart, resources.Request{Term: 4}, resources.Failed, "has to be stopped first")
	w.want("alpha", resources.VerbProbe, move, resources.OK, "I/O error")
	w.want("alpha", resources.VerbCheck, move, resources.Failed, "I/O error")
	w.want("alpha", resources.VerbStop, move, resources.OK, "not handed to beta as it ran: it is paused")
	w.end(1)
}

func TestNoMigration(t *testing.T) {
	for name, c := range map[string]struct {
		verb resources.Verb
		req  resources.Request
	}{
		"nowhere to go": {resources.VerbStop, resources.Request{Term: 4}},
		"an emergency":  {resources.VerbKill, move},
	} {
		t.Run(name, func(t *testing.T) {
			w := running(t)
			w.want("alpha", c.verb, c.req, resources.OK, "not known to libvirt")
			for _, call := range w.calls {
				if strings.HasPrefix(call, "beta ") || strings.Contains(call, "migrate") {
					t.Errorf("virsh was called: %s", call)
				}
			}
			w.end(1)
		})
	}
}

// However a migration goes wrong, the guest is stopped, its copy removed if that can be
// done, and never resumed.
func TestMigrationGoesWrong(t *testing.T) {
	for _, fate := range []string{"refused", "still coming", "resumed here", "paused on both", "gone here", "crashed", "not gone", "fails", "answer lost"} {
		for _, unreachable := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/%v", fate, unreachable), func(t *testing.T) {
				w := running(t)
				w.fate = once("alpha alpha migrate", fate)
				w.meddle = func(w *world, at, verb string) {
					if verb == "migrate" {
						w.meddle = func(w *world, at, _ string) { w.dead["beta"] = unreachable }
					}
				}
				w.want("alpha", resources.VerbStop, move, resources.OK, "")
				w.want("alpha", resources.VerbProbe, move, resources.NotRunning, "")
				if !unreachable && fate != "answer lost" && w.nodes["beta"] != nil {
					t.Errorf("left on beta: %+v", *w.nodes["beta"])
				}
				w.dead["beta"], w.meddle = false, nil
				w.want("beta", resources.VerbStart, takes, resources.OK, "")
				w.end(2)
			})
		}
	}
	t.Run("beta does not answer", func(t *testing.T) {
		w := running(t)
		w.dead["beta"] = true
		w.want("alpha", resources.VerbStop, move, resources.OK, "not handed to beta as it ran: libvirt (fake:beta) does not answer")
		w.end(1)
	})
	t.Run("its mark cannot be set", func(t *testing.T) {
		w := running(t)
		set := 0
		w.fate = func(_ *world, what string) string {
			if what == "alpha beta metadata" {
				if set++; set == 1 {
					return "fails"
				}
			}
			return ""
		}
		w.want("alpha", resources.VerbStop, move, resources.OK, "cannot go on")
		w.want("beta", resources.VerbStart, takes, resources.OK, "")
		w.end(2)
	})
	t.Run("this node's libvirt does not answer", func(t *testing.T) {
		w := running(t)
		w.meddle = func(w *world, _, verb string) {
			w.dead["alpha"] = w.dead["alpha"] || verb == "migrate"
		}
		w.want("alpha", resources.VerbStop, move, resources.Unknown, "does not answer")
	})
}

// A move may be called off once the guest was handed over. Then it starts here again
// only if its copy is verified gone.
func TestCalledOff(t *testing.T) {
	again := resources.Request{Term: 4, Resume: true}
	t.Run("the copy can be reached", func(t *testing.T) {
		w := running(t)
		w.want("alpha", resources.VerbStop, move, resources.OK, "handed to beta")
		w.want("alpha", resources.VerbStart, again, resources.OK, "runs")
		w.want("alpha", resources.VerbStop, resources.Request{Term: 4}, resources.OK, "")
		w.want("beta", resources.VerbStart, takes, resources.OK, "runs")
		w.end(3)
	})
	t.Run("it cannot", func(t *testing.T) {
		w := running(t)
		w.want("alpha", resources.VerbStop, move, resources.OK, "handed to beta")
		w.dead["beta"] = true
		w.want("alpha", resources.VerbStart, again, resources.Failed, "virsh -c fake:beta destroy guest-1")
		w.want("alpha", resources.VerbStart, again, resources.Failed, "let beta have the service")
		w.want("alpha", resources.VerbStop, resources.Request{Term: 4}, resources.OK, "")
		w.dead["beta"] = false
		w.want("beta", resources.VerbStart, takes, resources.OK, "goes on as it ran")
		w.end(1)
	})
	t.Run("a later term is not held up", func(t *testing.T) {
		w := running(t)
		w.want("alpha", resources.VerbStop, move, resources.OK, "handed to beta")
		w.dead["beta"] = true
		w.want("alpha", resources.VerbStart, resources.Request{Term: 5, Resume: true}, resources.OK, "runs")
		w.dead["beta"] = false
		w.want("alpha", resources.VerbStop, resources.Request{Term: 5}, resources.OK, "")
		w.want("beta", resources.VerbStart, resources.Request{Term: 6, Resume: true}, resources.OK, "was destroyed")
		w.end(3)
	})
	t.Run("started by hand", func(t *testing.T) {
		w := running(t)
		w.want("alpha", resources.VerbStop, move, resources.OK, "handed to beta")
		w.boot("alpha")
		w.turn()
		w.dead["beta"] = true
		for _, verb := range []resources.Verb{resources.VerbStop, resources.VerbKill} {
			w.want("alpha", verb, resources.Request{Term: 4}, resources.Failed, "although it was handed to beta")
		}
		w.dead["beta"] = false
		w.want("alpha", resources.VerbStop, resources.Request{Term: 4}, resources.OK, "")
		w.want("beta", resources.VerbStart, takes, resources.OK, "runs")
		w.end(3)
	})
}

// What a node has of former moves is in nobody's way.
func TestWhatWasLeft(t *testing.T) {
	w := running(t)
	w.want("alpha", resources.VerbStop, move, resources.OK, "handed to beta")
	w.want("gamma", resources.VerbStart, takes, resources.OK, "runs") // beta was not given it
	w.want("gamma", resources.VerbStop, resources.Request{Term: 5, Goal: "beta"}, resources.OK, "handed to beta")
	w.want("beta", resources.VerbStart, resources.Request{Term: 6, Resume: true}, resources.OK, "goes on as it ran")
	w.end(2)
	if _, err := os.Stat(filepath.Join(w.dir, "beta", "vm", "shop+vm")); err == nil {
		t.Error("beta keeps a note, and has handed over nothing")
	}
}
