package scripttest

import (
	"bytes"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/holdfast-ha/holdfast/cluster"
	"github.com/holdfast-ha/holdfast/cluster/clustertest"
	"github.com/holdfast-ha/holdfast/cluster/clustertest/members"
)

// verb is one kind of step. Its pattern is what stands in a line: words as they
// are, and in capitals what is filled in: NODE, NODES (one or more, or "all"),
// SERVICE, DISK (its number from 1 on), TIME, SHARE (as 0.3), TEXT (the rest).
type verb struct {
	pattern string
	do      func(r *run, w []string)
}

// steps are all steps there are. A step ends when what it does is done, which
// is at once but for "boot" and "after".
func steps() []verb {
	return slices.Concat(machineSteps(), diskSteps(), otherSteps(), reservationSteps(), adminSteps())
}

func machineSteps() []verb {
	return []verb{
		{"boot", func(r *run, _ []string) { r.boot() }},
		{"after TIME", func(r *run, w []string) { d, _ := time.ParseDuration(w[1]); r.pass(d) }},
		{"power off NODES and keep it off", nodes(2, func(n *clustertest.Node) { n.NoReboot = true; n.PowerOff() })},
		{"power off NODES", nodes(2, (*clustertest.Node).PowerOff)},
		{"power on NODES", nodes(2, func(n *clustertest.Node) { n.NoReboot = false; n.PowerOn() })},
		{"keep NODES off after a reset", nodes(1, func(n *clustertest.Node) { n.NoReboot = true })},
		{"freeze NODES", nodes(1, (*clustertest.Node).Freeze)},
		{"thaw NODES", nodes(1, (*clustertest.Node).Thaw)},
		{"suspend NODES", nodes(1, (*clustertest.Node).Suspend)},
		{"wake NODES", nodes(1, (*clustertest.Node).Wake)},
		{"kill the guard of NODES", nodes(4, (*clustertest.Node).KillGuard)},
		{"stall the guard of NODES", nodes(4, (*clustertest.Node).StallGuard)},
		{"resume the guard of NODES", nodes(4, (*clustertest.Node).ResumeGuard)},
		{"kill the daemon of NODES", nodes(4, (*clustertest.Node).KillDaemon)},
		{"start the daemon of NODES", nodes(4, (*clustertest.Node).StartDaemon)},
		{"stall the daemon of NODES", nodes(4, (*clustertest.Node).Stall)},
		{"resume the daemon of NODES", nodes(4, (*clustertest.Node).Resume)},
		{"starts fail on NODES", nodes(3, func(n *clustertest.Node) { n.StartFails = true })},
		{"starts work on NODES", nodes(3, func(n *clustertest.Node) { n.StartFails = false })},
		{"stops fail on NODES", nodes(3, func(n *clustertest.Node) { n.StopFails = true })},
		{"stops work on NODES", nodes(3, func(n *clustertest.Node) { n.StopFails = false })},
		{"checks fail on NODES", nodes(3, func(n *clustertest.Node) { n.CheckFails = true })},
		{"checks work on NODES", nodes(3, func(n *clustertest.Node) { n.CheckFails, n.CheckHang = false, members.Hang{} })},
		{"checks hang on NODES", nodes(3, func(n *clustertest.Node) { n.CheckHang.On = true })},
		{"checks hang because of a stall on NODES", nodes(7, func(n *clustertest.Node) {
			n.CheckHang = members.Hang{On: true, Stall: "its tasks waited for I/O 83% of the time"}
		})},
		{"failures last on NODES", nodes(3, func(n *clustertest.Node) { n.Reach = cluster.Hard })},
		{"failures are of wrong settings on NODES", nodes(6, func(n *clustertest.Node) { n.Reach = cluster.Fatal })},
		{"new settings need a restart on NODES", nodes(6, func(n *clustertest.Node) { n.Rigid = "it has to be restarted for that" })},
		{"nothing would run on NODES", nodes(4, func(n *clustertest.Node) { n.Lacks = "exec: caddy is not installed" })},
		{"everything would run on NODES", nodes(4, func(n *clustertest.Node) { n.Lacks = "" })},
		{"nobody can tell what would run on NODES", nodes(7, func(n *clustertest.Node) { n.FitHang = true })},
		{"starts take TIME on NODES", func(r *run, w []string) {
			d, _ := time.ParseDuration(w[2])
			r.each(w[4:], func(n *clustertest.Node) { n.StartTime = d })
		}},
		{"stops take TIME on NODES", func(r *run, w []string) {
			d, _ := time.ParseDuration(w[2])
			r.each(w[4:], func(n *clustertest.Node) { n.StopTime = d })
		}},
		{"another machine takes the place of NODES", nodes(6, func(n *clustertest.Node) { n.Replace() })},
		{"NODE cannot read the configuration", func(r *run, w []string) { r.w.Blind(r.w.Node(w[0]), true) }},
		{"NODE can read the configuration", func(r *run, w []string) { r.w.Blind(r.w.Node(w[0]), false) }},
		{"the clock of NODE goes SHARE times as fast", func(r *run, w []string) {
			f, _ := strconv.ParseFloat(w[5], 64)
			r.w.Node(w[3]).Slew(f)
		}},
		{"controllers TEXT", func(r *run, w []string) { r.controllers(w[1:]) }},
	}
}

func diskSteps() []verb {
	return []verb{
		{"cut the network", func(r *run, _ []string) { r.w.CutNetwork(true) }},
		{"mend the network", func(r *run, _ []string) { r.w.CutNetwork(false) }},
		{"cut the link NODE NODE", func(r *run, w []string) { r.w.Cut(r.w.Node(w[3]), r.w.Node(w[4]), true) }},
		{"mend the link NODE NODE", func(r *run, w []string) { r.w.Cut(r.w.Node(w[3]), r.w.Node(w[4]), false) }},
		{"NODE does not hear NODE", func(r *run, w []string) { r.w.Net.Cut(r.w.Node(w[4]).ID, r.w.Node(w[0]).ID, true) }},
		{"NODE hears NODE", func(r *run, w []string) { r.w.Net.Cut(r.w.Node(w[2]).ID, r.w.Node(w[0]).ID, false) }},
		{"SHARE of the packets are lost", func(r *run, w []string) { r.w.Loss, _ = strconv.ParseFloat(w[0], 64) }},
		{"SHARE of the packets are doubled", func(r *run, w []string) { r.w.Dup, _ = strconv.ParseFloat(w[0], 64) }},
		{"cut disk DISK on NODES", disks(4, func(n *clustertest.Node, d int) { n.DiskCut[d] = true })},
		{"mend disk DISK on NODES", disks(4, func(n *clustertest.Node, d int) { n.DiskCut[d] = false })},
		{"cut the disks on NODES", allDisks(4, func(n *clustertest.Node, d int) { n.DiskCut[d] = true })},
		{"mend the disks on NODES", allDisks(4, func(n *clustertest.Node, d int) { n.DiskCut[d] = false })},
		{"hang disk DISK on NODES", disks(4, func(n *clustertest.Node, d int) { n.DiskHang[d] = true })},
		{"hang the disks on NODES", allDisks(4, func(n *clustertest.Node, d int) { n.DiskHang[d] = true })},
		{"release disk DISK on NODES", disks(4, (*clustertest.Node).Unhang)},
		{"release the disks on NODES", allDisks(4, (*clustertest.Node).Unhang)},
		{"disk DISK holds every request back", func(r *run, w []string) { d, _ := strconv.Atoi(w[1]); r.w.Hold(d-1, true) }},
		{"disk DISK carries requests out again", func(r *run, w []string) { d, _ := strconv.Atoi(w[1]); r.w.Hold(d-1, false) }},
		{"the path to disk DISK leads to a clone on NODES", func(r *run, w []string) {
			d, _ := strconv.Atoi(w[4])
			r.each(w[10:], func(n *clustertest.Node) { n.Clones[d-1] = true })
		}},
		{"the disks are write-protected on NODES", allDisks(5, func(n *clustertest.Node, d int) { n.ReadOnly[d] = true })},
		{"the disks are writable on NODES", allDisks(5, func(n *clustertest.Node, d int) { n.ReadOnly[d] = false })},
		{"disk DISK is write-protected", onDisk(1, func(k *clustertest.Disk) { k.ReadOnly = true })},
		{"disk DISK is writable", onDisk(1, func(k *clustertest.Disk) { k.ReadOnly = false })},
		{"disk DISK has no space left", onDisk(1, func(k *clustertest.Disk) { k.Full = true })},
		{"disk DISK has space again", onDisk(1, func(k *clustertest.Disk) { k.Full = false })},
		{"remember what disk DISK holds", func(r *run, w []string) {
			d, _ := strconv.Atoi(w[3])
			r.snapshots[d] = r.w.Disks[d-1].Snapshot()
		}},
		{"disk DISK goes back to what was remembered", func(r *run, w []string) {
			d, _ := strconv.Atoi(w[1])
			r.w.Disks[d-1].Restore(r.snapshots[d])
		}},
		{"the disks are SHARE times slower", func(r *run, w []string) {
			f, _ := strconv.ParseFloat(w[3], 64)
			for _, d := range r.w.Disks {
				d.Slow = f
			}
		}},
		{"SHARE of the requests to disk DISK fail", func(r *run, w []string) {
			d, _ := strconv.Atoi(w[6])
			r.w.Disks[d-1].Errors, _ = strconv.ParseFloat(w[0], 64)
		}},
	}
}

// adminSteps ask a node for something, as its administrator.
func adminSteps() []verb {
	ask := func(at int, request func(w []string) cluster.Request) func(*run, []string) {
		return func(r *run, w []string) { r.w.Node(w[at]).Ask(request(w)) }
	}
	return []verb{
		{"ask NODE to move SERVICE to NODE", ask(1, func(w []string) cluster.Request { return cluster.MoveService{Service: w[4], To: w[6]} })},
		{"ask NODE to move SERVICE", ask(1, func(w []string) cluster.Request { return cluster.MoveService{Service: w[4]} })},
		{"ask NODE to stop SERVICE", ask(1, func(w []string) cluster.Request { return cluster.StopService{Service: w[4]} })},
		{"ask NODE to start SERVICE", ask(1, func(w []string) cluster.Request { return cluster.StartService{Service: w[4]} })},
		{"ask NODE to freeze SERVICE", ask(1, func(w []string) cluster.Request { return cluster.FreezeService{Service: w[4], On: true} })},
		{"ask NODE to unfreeze SERVICE", ask(1, func(w []string) cluster.Request { return cluster.FreezeService{Service: w[4]} })},
		{"ask NODE to clear SERVICE", ask(1, func(w []string) cluster.Request { return cluster.ClearService{Service: w[4]} })},
		{"ask NODE for standby of NODE", ask(1, func(w []string) cluster.Request { return cluster.StandbyNode{Node: w[5], On: true} })},
		{"ask NODE for the end of standby of NODE", ask(1, func(w []string) cluster.Request { return cluster.StandbyNode{Node: w[8]} })},
		{"ask NODE to fence NODE", ask(1, func(w []string) cluster.Request { return cluster.FenceNode{Node: w[4], Why: "the story says so"} })},
		{"ask NODE to confirm that NODE is off", ask(1, func(w []string) cluster.Request {
			return cluster.ConfirmOff{Node: w[5], Operator: "root", How: "pulled the plug"}
		})},
		{"ask NODE to fence NODE by TEXT", ask(1, func(w []string) cluster.Request {
			return cluster.FenceNode{Node: w[4], Why: "the story says so", By: w[6]}
		})},
		{"ask NODE for maintenance of NODE for TIME", ask(1, func(w []string) cluster.Request {
			d, _ := time.ParseDuration(w[7])
			return cluster.Maintain{Node: w[5], For: d, By: "root"}
		})},
		{"ask NODE for maintenance of the cluster for TIME", ask(1, func(w []string) cluster.Request {
			d, _ := time.ParseDuration(w[8])
			return cluster.Maintain{For: d, By: "root"}
		})},
		{"ask NODE for the end of maintenance of NODE", ask(1, func(w []string) cluster.Request { return cluster.Maintain{Node: w[8]} })},
		{"ask NODE to stop the cluster", ask(1, func([]string) cluster.Request { return cluster.StopCluster{By: "root"} })},
		{"ask NODE to start the cluster", ask(1, func([]string) cluster.Request { return cluster.StartCluster{} })},
		{"ask NODE for failover within TIME", func(r *run, w []string) {
			conf := *r.w.Node(w[1]).View().State.Conf
			conf.FailoverWithin, _ = time.ParseDuration(w[5])
			r.w.Node(w[1]).Ask(r.w.Configure(conf))
		}},
		{"ask NODE to rename SERVICE to SERVICE", func(r *run, w []string) {
			r.configure(w[1], func(conf *cluster.Config) {
				for i := range conf.Services {
					if s := &conf.Services[i]; s.Name == w[4] {
						s.Name, s.Prefer = w[6], []string{"beta"}
					}
				}
			})
		}},
		{"ask NODE to give the first member of SERVICE to SERVICE", func(r *run, w []string) {
			r.configure(w[1], func(conf *cluster.Config) {
				from, _ := conf.Service(w[8])
				to, _ := conf.Service(w[10])
				to.Stack = append([]cluster.Member{from.Stack[0]}, to.Stack...)
				from.Stack = from.Stack[1:]
			})
		}},
		{"ask NODE for other settings of SERVICE", func(r *run, w []string) {
			r.configure(w[1], func(conf *cluster.Config) {
				svc, _ := conf.Service(w[6])
				last := &svc.Stack[len(svc.Stack)-1]
				last.Spec = append(bytes.Clone(last.Spec), '+')
			})
		}},
		{"ask NODE to leave", ask(1, func([]string) cluster.Request { return cluster.LeaveCluster{} })},
		{"ask NODE to remove NODE", ask(1, func(w []string) cluster.Request { return cluster.RemoveNode{Node: w[4]} })},
	}
}

// configure asks a node to apply a changed configuration.
func (r *run) configure(node string, change func(*cluster.Config)) {
	conf := *r.w.Node(node).View().State.Conf
	conf.Services = slices.Clone(conf.Services)
	for i := range conf.Services {
		conf.Services[i].Stack = slices.Clone(conf.Services[i].Stack)
	}
	change(&conf)
	slices.SortFunc(conf.Services, func(a, b cluster.Service) int { return strings.Compare(a.Name, b.Name) })
	r.w.Node(node).Ask(r.w.Configure(conf))
}

// boot switches everybody on and waits for a whole cluster that runs every service.
func (r *run) boot() {
	r.w.Boot()
	r.w.Until("everybody is a member, and every service runs", time.Minute, func() bool {
		for _, n := range r.w.Nodes {
			if c := n.Core(); c == nil || n.View().Stage != "member" {
				return false
			}
		}
		for _, s := range r.s.opt.Services {
			if !r.w.Running(s.Name) {
				return false
			}
		}
		return true
	})
	r.w.Run(r.w.Jitter(2*time.Second, 4*time.Second))
}

// pass lets time pass, and looks for what is forbidden on the way.
func (r *run) pass(d time.Duration) {
	for end := r.w.Now + d; r.w.Now < end; {
		r.w.Run(min(100*time.Millisecond, end-r.w.Now))
		r.forbidden()
	}
}

func (r *run) each(names []string, do func(*clustertest.Node)) {
	if names[0] == "all" {
		names = nil
		for _, n := range r.w.Nodes {
			names = append(names, n.Name)
		}
	}
	for _, name := range names {
		do(r.w.Node(strings.TrimSuffix(name, ",")))
	}
}

// nodes makes a step of something that is done to every node named from word i on.
func nodes(i int, do func(*clustertest.Node)) func(*run, []string) {
	return func(r *run, w []string) {
		end := i
		for end < len(w) && (w[end] == "all" || isNode(w[end])) {
			end++
		}
		r.each(w[i:end], do)
	}
}

func disks(i int, do func(*clustertest.Node, int)) func(*run, []string) {
	return func(r *run, w []string) {
		d, _ := strconv.Atoi(w[2])
		r.each(w[i:], func(n *clustertest.Node) { do(n, d-1) })
	}
}

func onDisk(i int, do func(*clustertest.Disk)) func(*run, []string) {
	return func(r *run, w []string) {
		d, _ := strconv.Atoi(w[i])
		do(r.w.Disks[d-1])
	}
}

func allDisks(i int, do func(*clustertest.Node, int)) func(*run, []string) {
	return func(r *run, w []string) {
		r.each(w[i:], func(n *clustertest.Node) {
			for d := range r.w.Disks {
				do(n, d)
			}
		})
	}
}

// controllers reads "of alpha beta are unreachable".
func (r *run) controllers(w []string) {
	kinds := controllerWords()
	at := len(w)
	for i, word := range w {
		if word == "are" {
			at = i
		}
	}
	kind, ok := kinds[strings.Join(w[min(at+1, len(w)):], " ")]
	if !ok || w[0] != "of" {
		r.w.Fail("controllers %q: want \"controllers of NODES are\" and one of %v", w, kinds)
	}
	r.each(w[1:at], func(n *clustertest.Node) { n.BMC = kind })
}

func controllerWords() map[string]clustertest.Controller {
	return map[string]clustertest.Controller{
		"honest": clustertest.Honest, "unreachable": clustertest.Unreachable, "hanging": clustertest.Hanging,
		"saying off once": clustertest.SaysOffOnce, "always saying off": clustertest.SaysOff,
		"always saying on": clustertest.SaysOn, "dead with their node": clustertest.DiesWithNode,
	}
}

// findStep returns the step that a line is; nil if it is none.
func findStep(words []string) *verb {
	for _, v := range steps() {
		if fits(v.pattern, words) {
			return &v
		}
	}
	return nil
}

func stepWords(words []string) error {
	if findStep(words) == nil {
		return fmt.Errorf("%q is no step; steps are: %s", strings.Join(words, " "), patterns())
	}
	return nil
}

func patterns() string {
	var all []string
	for _, v := range steps() {
		all = append(all, v.pattern)
	}
	return strings.Join(all, "; ")
}

// fits says whether words are an instance of a pattern.
func fits(pattern string, words []string) bool {
	p := strings.Fields(pattern)
	for len(p) > 0 {
		n := 0
		switch p[0] {
		case "NODES":
			for n < len(words) && (words[n] == "all" || isNode(words[n])) {
				n++
			}
		case "TEXT":
			n = len(words)
		default:
			if len(words) > 0 && fitsWord(p[0], words[0]) {
				n = 1
			}
		}
		if n == 0 {
			return false
		}
		p, words = p[1:], words[n:]
	}
	return len(words) == 0
}

func fitsWord(p, word string) bool {
	switch p {
	case "NODE":
		return isNode(word)
	case "SERVICE":
		return word != ""
	case "DISK", "SHARE", "NUMBER":
		_, err := strconv.ParseFloat(word, 64)
		return err == nil
	case "TIME":
		_, err := time.ParseDuration(word)
		return err == nil
	}
	return p == word
}

func isNode(word string) bool {
	word = strings.TrimSuffix(word, ",")
	for _, n := range nodeNames() {
		if n == word {
			return true
		}
	}
	return false
}
