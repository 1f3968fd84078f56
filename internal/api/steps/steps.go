// Package steps says what an administrator does next: for each thing of a status
// that is not as it should be what it is, how long it lasts by itself, what to do
// and the command that does it or tells more. The most urgent one comes first, for
// whoever reads it was asleep a minute ago.
//
// It is pure: a status in, words out. Both the daemon's answer and whoever has only
// an answer of an older daemon can ask it.
package steps

import (
	"fmt"
	"strings"

	"github.com/holdfast-ha/holdfast/internal/api"
)

// year is longer than any wait that ends.
const year = api.Seconds(365 * 24 * 3600)

// The states of a service, of a node and of a way to fence that count here; see
// package api.
const (
	member  = "member"
	joining = "joining"
	leaving = "leaving"
	out     = "out"

	running  = "running"
	starting = "starting"
	stopping = "stopping"
	stopped  = "stopped"
	broken   = "broken"
	unknown  = "unknown"

	connected = "connected"
	failed    = "failed"
)

// Of gives the steps, the most urgent first; none where nothing is wrong.
func Of(s *api.Status) []api.Step {
	list := []api.Step{}
	for _, part := range []func(*api.Status) []api.Step{self, stoppedCluster, quorum, fencing, services, lost, degraded, readiness, links, ways, watchdogs, quarantine, maintenance, underWay, drills} {
		list = append(list, part(s)...)
	}
	return list
}

// one is a step whose command may be empty.
func one(what, do, command string) []api.Step {
	return []api.Step{{What: what, Do: do, Command: command}}
}

// self is about the node that answers.
func self(s *api.Status) []api.Step {
	me := &s.Self
	var list []api.Step
	if me.Guard != connected && me.Guard != "" {
		list = append(list, one("the guard of this node: "+me.Guard, "see why it does not answer, and start it", "systemctl status holdfast-guard")...)
	}
	what := me.Name + " is no member yet: " + me.Stage
	if me.Waiting != "" {
		what += ", waits for " + strings.TrimSuffix(me.Waiting, ".")
	}
	const logs = "journalctl -u holdfastd -u holdfast-guard -n 50"
	switch me.Stage {
	case member, "":
	case out:
		if !s.Cluster.Stopped {
			list = append(list, one(me.Name+" has left the cluster", "when it is to come back", "systemctl restart holdfast")...)
		}
	case leaving, "stopping its services":
		list = append(list, one(me.Name+" leaves the cluster: "+firstOf(me.Waiting, me.Stage), "wait", "")...)
	case "stopping everything at once", "retired":
		list = append(list, one(me.Name+" has lost its lease: "+me.Stage+suffix(": ", me.Waiting), "mend its way to the quorum disks; it comes back by itself", `holdfast doctor --section "quorum disks"`)...)
	case "held":
		list = append(list, one(me.Name+" decides nothing: "+me.Waiting, "what runs goes on; make a report for whoever maintains Holdfast, and upgrade", "holdfast report")...)
	default:
		list = append(list, one(what, "wait a minute, then look why", logs)...)
	}
	if p := s.Cluster.ConfigProblem; p != "" {
		list = append(list, one("this node cannot read the configuration: "+p, "bring it to the version of the others", "holdfast node upgrade --dry-run")...)
	}
	return list
}

func stoppedCluster(s *api.Status) []api.Step {
	if !s.Cluster.Stopped {
		return nil
	}
	return one("the cluster is stopped, by an administrator", "nothing begins by itself; when the work is done", "holdfast cluster start")
}

// badDisks are the quorum disks that fail.
func badDisks(s *api.Status) []*api.Disk {
	var bad []*api.Disk
	for i := range s.Disks {
		if s.Disks[i].Error != "" {
			bad = append(bad, &s.Disks[i])
		}
	}
	return bad
}

// quorum is about a majority of the quorum disks that does not answer this node.
func quorum(s *api.Status) []api.Step {
	bad, all := len(badDisks(s)), len(s.Disks)
	if 2*bad <= all {
		return nil
	}
	return one(fmt.Sprintf("%d of %s not answer %s: nothing can be decided, and nothing is taken over", bad, disks(all), s.Self.Name),
		"mend the paths to the storage (array, switch, cable): the rest follows by itself", "holdfast disk show")
}

func disks(n int) string {
	if n == 1 {
		return "1 quorum disk does"
	}
	return fmt.Sprintf("%d quorum disks do", n)
}

// degraded is about disks that fail while others carry the cluster.
func degraded(s *api.Status) []api.Step {
	bad := badDisks(s)
	if 2*len(bad) > len(s.Disks) {
		return nil
	}
	var list []api.Step
	for _, d := range bad {
		list = append(list, one(fmt.Sprintf("quorum disk %d (%s) does not answer; the others carry the cluster", d.Index+1, d.Path),
			"mend it, or put a new one in its place", "holdfast disk replace "+firstOf(d.ID, d.Path)+" NEW")...)
	}
	return list
}

// fencing is about nodes whose end is not proven yet.
func fencing(s *api.Status) []api.Step {
	var list []api.Step
	for i := range s.Nodes {
		n := &s.Nodes[i]
		if !n.Fencing {
			continue
		}
		x := api.Step{What: n.Name + " is being fenced" + suffix(": ", n.Why)}
		if hit := of(s, n.Name); len(hit) > 0 {
			x.What += "; " + strings.Join(hit, ", ") + waits(len(hit)) + " for a proof that it has ended"
		}
		switch left := n.Remaining; {
		case left != nil && *left > 0 && *left < year:
			x.Left, x.Do, x.Command = left, "wait: a proof by time can stand then, any other one sooner", "holdfast explain node "+n.Name
		case left != nil && *left >= year:
			x.Do, x.Command = "time proves nothing here; see that it is off, and say so", "holdfast node confirm-off "+n.Name
		default:
			x.Do, x.Command = "if no proof comes: see that it is off, and say so", "holdfast node confirm-off "+n.Name
		}
		list = append(list, x)
	}
	return list
}

func waits(n int) string {
	if n == 1 {
		return " waits"
	}
	return " wait"
}

// of lists the services that a node owns.
func of(s *api.Status, node string) []string {
	var names []string
	for i := range s.Services {
		if v := &s.Services[i]; v.Node == node && !v.Stopped {
			names = append(names, v.Name)
		}
	}
	return names
}

// services is about those that should run and do not.
func services(s *api.Status) []api.Step {
	var list []api.Step
	for i := range s.Services {
		v := &s.Services[i]
		explain := "holdfast explain " + v.Name
		switch {
		case v.State == running || v.State == starting || v.State == stopping || v.Stopped && v.State == stopped || s.Cluster.Stopped:
		case v.State == unknown:
			if n := find(s, v.Node); n == nil || !n.Fencing { // else that says it
				list = append(list, one(fmt.Sprintf("whether %s runs is not known: %s is silent", v.Name, v.Node), "wait: it is fenced soon, or heard again", "holdfast explain node "+v.Node)...)
			}
		case v.State == broken:
			list = append(list, one(fmt.Sprintf("%s is broken on %s%s", v.Name, v.Node, suffix(": ", firstOf(v.Text, v.Why))), "see what holds it; its node is fenced if it cannot be stopped", explain)...)
		case v.State == stopped && v.Wanted != "" && v.Node != "": // it moves
		case v.State == stopped && strings.Contains(v.Why, failed):
			list = append(list, one(fmt.Sprintf("%s does not run: %s", v.Name, clip(v.Why)), "repair the cause ("+explain+" names it), then let it try again", "holdfast service clear "+v.Name)...)
		default:
			list = append(list, one(fmt.Sprintf("%s is %s%s", v.Name, v.State, suffix(": ", clip(firstOf(v.Text, v.Why)))), "see what would change that", explain)...)
		}
	}
	return list
}

// clip cuts a reason, behind a word: what each node lacks stands elsewhere.
func clip(why string) string {
	const most = 120
	const nowhere = "no node can run it"
	if strings.HasPrefix(why, nowhere) {
		return nowhere
	}
	if r := []rune(why); len(r) > most {
		why = string(r[:most-1])
		if word := strings.LastIndexByte(why, ' '); word > len(why)/2 {
			why = why[:word]
		}
		why = strings.TrimRight(why, " ,;:") + "…"
	}
	return why
}

func find(s *api.Status, node string) *api.Node {
	for i := range s.Nodes {
		if s.Nodes[i].Name == node {
			return &s.Nodes[i]
		}
	}
	return nil
}

// lost is about nodes that are out.
func lost(s *api.Status) []api.Step {
	if s.Cluster.Stopped {
		return nil
	}
	var list []api.Step
	for i := range s.Nodes {
		n := &s.Nodes[i]
		if n.Phase != out || n.Fencing || n.Name == s.Self.Name {
			continue
		}
		what, do := n.Name+" is out", "when it is to come back, on "+n.Name+": systemctl start holdfast"
		if f := n.Fenced; f != nil && f.Proof != nil {
			what = fmt.Sprintf("%s was lost and is out: %s", n.Name, f.Why)
			do = "see why it ended, then on " + n.Name + ": systemctl start holdfast"
		}
		list = append(list, one(what, do, "holdfast explain node "+n.Name)...)
	}
	return list
}

// readiness is about what a takeover rests on.
func readiness(s *api.Status) []api.Step {
	if s.Failover.Problem == "" || s.Self.Stage != member {
		return nil
	}
	return one("no takeover by time is possible: "+s.Failover.Problem, "see which inequality fails, and what would do", "holdfast timing -f explain")
}

// links is about peers that are not heard; a node that is being fenced has its step.
func links(s *api.Status) []api.Step {
	var list []api.Step
	for i := range s.Nodes {
		n := &s.Nodes[i]
		down, all := 0, 0
		var last *api.Link
		for j := range s.Links {
			if l := &s.Links[j]; l.Peer == n.Name {
				if all++; !l.Up {
					down, last = down+1, l
				}
			}
		}
		if down == 0 || n.Fencing || n.Phase == out {
			continue
		}
		what := fmt.Sprintf("%s is not heard on %d of %d links, as %s to %s", n.Name, down, all, last.Local, last.Remote)
		list = append(list, one(what+suffix(": ", last.Error), "look at card, cable and switch", "holdfast doctor --section links")...)
	}
	return list
}

// ways is about fencing that would not work.
func ways(s *api.Status) []api.Step {
	var list []api.Step
	for _, r := range s.Fencing {
		for _, w := range r.Ways {
			command := "holdfast drill fence " + r.Node
			switch {
			case w.State == failed || w.State == unknown:
				list = append(list, one(fmt.Sprintf("fencing %s by %s would not work: %s", r.Node, w.Way, w.Text), "repair it, then try it", command)...)
			case w.Stale:
				list = append(list, one(fmt.Sprintf("fencing %s by %s was not checked for long", r.Node, w.Way), "try it", command)...)
			}
		}
	}
	return list
}

func watchdogs(s *api.Status) []api.Step {
	if s.Self.Emulated {
		return nil
	}
	var list []api.Step
	for _, d := range s.Watchdogs {
		if d.Why != "" {
			list = append(list, one(fmt.Sprintf("watchdog %s is not qualified: %s", d.Path, d.Why), "when this node has no work, measure it: the wait for a proof gets shorter", "holdfast watchdog qualify "+d.Path)...)
		}
	}
	return list
}

func quarantine(s *api.Status) []api.Step {
	var list []api.Step
	for i := range s.Nodes {
		if n := &s.Nodes[i]; n.Quarantine != nil {
			list = append(list, api.Step{
				What: n.Name + " is quarantined and runs nothing" + suffix(": ", n.Quarantine.Why), Left: left(n.Quarantine),
				Do: "find out why it ended; to let it work before that", Command: "holdfast node online " + n.Name,
			})
		}
	}
	return list
}

// maintenance is what somebody wanted, and what may be forgotten.
func maintenance(s *api.Status) []api.Step {
	var list []api.Step
	add := func(u *api.Until, what, command string) {
		if u != nil {
			list = append(list, api.Step{What: what + suffix(", by ", u.By), Left: left(u), Do: "it ends by itself; to end it before that", Command: command})
		}
	}
	add(s.Cluster.Maintenance, "the cluster is in maintenance: nothing is started, stopped or taken over", "holdfast cluster maintenance --off")
	for i := range s.Nodes {
		n := &s.Nodes[i]
		add(n.Maintenance, n.Name+" is in maintenance: what it runs is not taken over", "holdfast node maintenance "+n.Name+" --off")
	}
	for i := range s.Services {
		v := &s.Services[i]
		add(v.Maintenance, v.Name+" is in maintenance: it is not taken over", "holdfast service maintenance "+v.Name+" --off")
	}
	return list
}

func left(u *api.Until) *api.Seconds { return &u.Left }

// underWay is what goes on and needs nobody.
func underWay(s *api.Status) []api.Step {
	var list []api.Step
	for i := range s.Nodes {
		if n := &s.Nodes[i]; n.Name != s.Self.Name && (n.Phase == joining || n.Phase == leaving) && !n.Fencing {
			list = append(list, one(n.Name+" is "+n.Phase+suffix(": ", n.Why), "wait", "")...)
		}
	}
	if d := &s.DiskSet; d.Stage != api.DisksSettled && d.Stage != "" {
		what := "the set of quorum disks is being changed (" + d.Stage + ")"
		list = append(list, one(what+suffix(", waits for ", strings.Join(d.Waits, ", ")), "wait; a node that does not see the new disks is named", "holdfast disk show")...)
	}
	if s.Self.Stage == member && s.Self.Waiting != "" && len(fencing(s)) == 0 {
		list = append(list, one(s.Self.Name+" waits for "+s.Self.Waiting, "wait", "")...)
	}
	return list
}

func suffix(before, text string) string {
	if text == "" {
		return ""
	}
	return before + text
}

func firstOf(texts ...string) string {
	for _, t := range texts {
		if t != "" {
			return t
		}
	}
	return ""
}

// Covered says that a warning is about a thing that has a step of its own, or that a
// screen shows where it shows that thing: to show it as well would say it twice.
func Covered(s *api.Status, warning string) bool {
	for _, begin := range []string{"EMULATED", "quorum disk ", "link ", "fencing ", "the guard: ", "the committed configuration ", "a drill is overdue", "drills are overdue"} {
		if strings.HasPrefix(warning, begin) {
			return true
		}
	}
	return strings.HasPrefix(warning, "watchdog ") && len(watchdogs(s)) > 0 || strings.Contains(warning, " is in maintenance for another ") && len(maintenance(s)) > 0
}

// drills are those that nobody has rehearsed for too long.
func drills(s *api.Status) []api.Step {
	if s.Drills == nil || len(s.Drills.Overdue) == 0 {
		return nil
	}
	return one("not rehearsed for too long: "+strings.Join(s.Drills.Overdue, ", "), "rehearse one: it says beforehand what will happen", "holdfast drill list")
}
