package screen

import (
	"bytes"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/holdfast-ha/holdfast/internal/api"
	"github.com/holdfast-ha/holdfast/internal/api/steps"
)

// Look is how a status is to be shown.
type Look struct {
	// Since says when a service was started last, or began to; what is not known is left out.
	Since map[string]time.Time
	// Took says how long a service's last start took, from its grant on; what is not known is left out.
	Took   map[string]time.Duration
	Width  int  // columns; 0: Width
	Colour bool // words that matter stand out
}

// most is how wide a screen gets where there is room: longer lines are hard to read.
const most = 132

// page is a screen that is being drawn.
type page struct {
	bytes.Buffer
	s     *api.Status
	since map[string]time.Time
	took  map[string]time.Duration
	width int
}

// Status draws the whole screen: what is wrong and what to do about it first, then
// nodes, services, disks, links, and what a takeover rests on.
func Status(w io.Writer, s *api.Status, l Look) error {
	p := &page{s: s, since: l.Since, took: l.Took, width: Width}
	if l.Width > 0 {
		p.width = min(most, max(Width, l.Width))
	}
	p.head()
	p.next()
	p.nodes()
	p.services()
	p.disks()
	p.links()
	p.failover()
	p.fencing()
	p.warnings()
	return paint(w, p.String(), l.Colour)
}

// line writes one line, broken where it is too long; what follows is indented.
func (p *page) line(indent int, format string, args ...any) {
	blank := strings.Repeat(" ", indent)
	fmt.Fprintln(p, blank+wrap(fmt.Sprintf(format, args...), p.width-indent, p.width, blank+"  "))
}

// table begins a table whose lines fit the screen.
func (p *page) table(heads ...string) Table {
	t := NewTable(p)
	t.fit = p.width
	for i := range heads {
		heads[i] = in(head, heads[i])
	}
	t.Row(heads...)
	return t
}

// wider is how much of the columns beyond the usual ones a part of so many percent gets.
func (p *page) wider(usual, percent int) int { return usual + (p.width-Width)*percent/100 }

func healthStyle(h api.Health) Style {
	switch h {
	case api.Healthy:
		return good
	case api.Warning:
		return heed
	}
	return bad
}

func (p *page) head() {
	s := p.s
	first := in(head, "cluster "+clean(s.Cluster.Name)+": ") + in(healthStyle(s.Health), strings.ToUpper(string(s.Health)))
	if s.Self.Emulated {
		first += "  EMULATED (no device of this machine is armed)"
	}
	fmt.Fprintln(p, first)
	seen := fmt.Sprintf("seen by %s (%s) at %s; state %d, configuration %d", s.Self.Name, s.Self.Stage, s.Time.Format(time.TimeOnly), s.Cluster.State, s.Cluster.Config)
	if s.Cluster.Coordinator != "" {
		seen += ", coordinator " + s.Cluster.Coordinator
	}
	p.line(0, "%s", clean(seen))
}

// mostSteps is how many steps are shown: who has read these has enough to do.
const mostSteps = 6

// next is what to do. It stands before everything else, for whoever was asleep a
// minute ago.
func (p *page) next() {
	list := p.s.Next
	if list == nil { // of an older daemon
		list = steps.Of(p.s)
	}
	if len(list) == 0 {
		return
	}
	fmt.Fprintf(p, "\n%s\n", in(head, "WHAT TO DO"))
	for i := range list {
		if i == mostSteps {
			p.line(2, "and %d more: holdfast doctor --brief", len(list)-i)
			return
		}
		p.step(&list[i])
	}
}

func (p *page) step(x *api.Step) {
	what := clean(x.What)
	if x.Left != nil {
		what += " (" + Seconds(x.Left.Duration()) + " left)"
	}
	p.line(2, "%s", in(heed, what))
	p.line(4, "%s", clean(x.Do))
	if x.Command != "" {
		fmt.Fprintf(p, "    -> %s\n", in(head, clean(x.Command)))
	}
}

func (p *page) nodes() {
	s := p.s
	fmt.Fprintln(p)
	t := p.table("NODES", "STATE", "DISK BEAT", "NETWORK", "WATCHDOG", "SERVICES")
	for i := range s.Nodes {
		n := &s.Nodes[i]
		name := clean(n.Name)
		beat, heard := age(n.DiskAge), age(n.NetAge)
		if n.Name == s.Self.Name {
			name, heard = name+" (here)", "-"
		}
		word := nodeWord(n)
		t.Row("  "+Clip(name, p.wider(18, 20)), in(nodeStyle(n), word), beat, heard, OrDash(n.Watchdog), Clip(OrDash(strings.Join(n.Services, ",")), p.wider(22, 60)))
	}
	t.Done()
	for i := range s.Nodes {
		n := &s.Nodes[i]
		switch {
		case n.Proof != nil && n.Phase == "out":
			p.line(2, "%s", clean(strings.TrimSuffix(n.Name+": known to be out by "+n.Proof.Kind+"; "+n.Proof.Text, "; ")))
		case n.Why != "" && !n.Fencing: // of a fencing the steps say it
			p.line(2, "%s", clean(n.Name+": "+n.Why))
		}
	}
}

func nodeWord(n *api.Node) string {
	switch {
	case n.Fencing:
		return "being fenced"
	case n.Standby:
		return n.Phase + ", standby"
	case n.Maintenance != nil:
		return n.Phase + ", maintenance"
	case n.Quarantine != nil:
		return n.Phase + ", quarantine"
	}
	return n.Phase
}

func nodeStyle(n *api.Node) Style {
	switch {
	case n.Fencing, n.Phase == "out":
		return bad
	case n.Phase != "member", n.Standby, n.Maintenance != nil, n.Quarantine != nil:
		return heed
	}
	return good
}

func (p *page) services() {
	s := p.s
	fmt.Fprintln(p)
	if len(s.Services) == 0 {
		fmt.Fprintln(p, in(head, "SERVICES")+"  none yet: holdfast config export, edit, holdfast apply -f FILE")
		return
	}
	t := p.table("SERVICES", "STATE", "NODE", "SINCE", "WHY")
	var below []string
	for i := range s.Services {
		v := &s.Services[i]
		when := "-"
		if at, ok := p.since[v.Name]; ok && (v.State == "running" || v.State == "starting") {
			when = Seconds(max(0, s.Time.Sub(at)))
		}
		note := serviceNote(v)
		switch {
		case v.State == "starting" && note == "" && p.took[v.Name] > 0:
			note = p.starting(v)
		case v.State == "running" && note == "":
			note = v.Why
		case v.State != "running" && !v.Stopped:
			if text := strings.TrimSuffix(v.Text+"; "+v.Why, "; "); strings.Trim(text, "; ") != "" {
				below = append(below, v.Name+": "+strings.TrimPrefix(text, "; "))
			}
		}
		t.Row("  "+Clip(clean(v.Name), p.wider(20, 20)), in(serviceStyle(v), v.State), Clip(OrDash(v.Node), p.wider(16, 20)), when, clean(note))
	}
	t.Done()
	for _, line := range below {
		p.line(2, "%s", clean(line))
	}
}

// starting says how long a start takes still, by the last one.
func (p *page) starting(v *api.Service) string {
	took, at := p.took[v.Name], p.since[v.Name]
	left := took - p.s.Time.Sub(at)
	switch {
	case at.IsZero():
		return "the last start took " + Seconds(took)
	case left > 0:
		return "about " + Seconds(left.Truncate(100*time.Millisecond)) + " left: the last start took " + Seconds(took.Truncate(100*time.Millisecond))
	}
	return "longer than the last start, which took " + Seconds(took.Truncate(100*time.Millisecond)) + ": holdfast explain " + v.Name
}

func serviceStyle(v *api.Service) Style {
	switch v.State {
	case "running":
		return good
	case "starting", "stopping", "partly running":
		return heed
	case "stopped":
		if v.Stopped {
			return plain
		}
	}
	return bad
}

func serviceNote(v *api.Service) string {
	var notes []string
	if v.Stopped {
		notes = append(notes, "stopped by the admin")
	}
	if v.Frozen {
		notes = append(notes, "frozen")
	}
	if v.Maintenance != nil {
		notes = append(notes, "maintenance, "+Seconds(v.Maintenance.Left.Duration())+" left")
	}
	if v.Wanted != "" && v.Wanted != v.Node {
		notes = append(notes, "moves to "+v.Wanted)
	}
	return strings.Join(notes, ", ")
}

func (p *page) disks() {
	fmt.Fprintln(p)
	t := p.table("QUORUM DISKS", "STATE", "READ", "BEAT TOOK")
	for i := range p.s.Disks {
		d := &p.s.Disks[i]
		word, style, took := "ok", good, Seconds(d.Latency.Duration())
		if d.Error != "" {
			word, style, took = "FAILS", bad, "-"
		}
		t.Row("  "+clipLeft(clean(d.Path), p.wider(46, 80)), in(style, word), age(d.Age), took)
	}
	t.Done()
	for i := range p.s.Disks {
		if d := &p.s.Disks[i]; d.Error != "" {
			p.line(2, "%d: %s", d.Index+1, clean(d.Error))
		}
	}
}

// links shows one line while all is well, and those that are not each by itself.
func (p *page) links() {
	var peers []string
	up, all := map[string]int{}, map[string]int{}
	oldest := time.Duration(0)
	for i := range p.s.Links {
		l := &p.s.Links[i]
		if all[l.Peer]++; all[l.Peer] == 1 {
			peers = append(peers, l.Peer)
		}
		if l.Up {
			up[l.Peer]++
			if l.Age != nil {
				oldest = max(oldest, l.Age.Duration())
			}
		}
	}
	if len(peers) == 0 {
		return
	}
	var words []string
	for _, name := range peers {
		style := good
		switch up[name] {
		case all[name]:
		case 0:
			style = bad
		default:
			style = heed
		}
		words = append(words, clean(Clip(name, p.wider(18, 20)))+" "+in(style, fmt.Sprintf("%d of %d", up[name], all[name])))
	}
	fmt.Fprintln(p)
	heard := "up"
	if oldest > 0 {
		heard += ", heard " + Seconds(oldest) + " ago or less"
	}
	p.line(0, "%s %s %s", in(head, "LINKS:"), strings.Join(words, ", "), heard)
	t := NewTable(p)
	t.fit = p.width
	for i := range p.s.Links {
		if l := &p.s.Links[i]; !l.Up {
			t.Row("  "+Clip(clean(l.Peer), p.wider(18, 20)), in(bad, "DOWN"), age(l.Age), l.Local+" to "+l.Remote, clean(l.Error))
		}
	}
	t.Done()
}

// failover says what a takeover would rest on and take.
func (p *page) failover() {
	s := p.s
	fmt.Fprintln(p, "\n"+in(head, "TAKEOVER"))
	if s.Failover.Problem != "" {
		p.line(2, "%s %s", in(bad, "NOT READY:"), clean(s.Failover.Problem))
	}
	var known []string
	for _, e := range s.Failover.Expected {
		if e.Known && !strings.HasPrefix(e.Proof, "E1") {
			known = append(known, fmt.Sprintf("%s %s (at worst %s)", e.Proof, Seconds(e.Typical.Duration()), Seconds(e.Worst.Duration())))
		}
	}
	if len(known) > 0 {
		p.line(2, "promised within %s; predicted by %s", Seconds(s.Failover.Within.Duration()), strings.Join(known, ", "))
	}
	if m := s.Failover.Last; m != nil {
		took := ""
		if m.Started > 0 {
			took = ", running after " + Seconds(m.Started.Duration())
		}
		p.line(2, "the last, %s ago: %s from %s to %s, permission after %s (%s)%s; %s", Seconds(max(0, s.Time.Sub(m.Time))), clean(m.Service), clean(m.From), clean(m.To),
			Seconds(m.Granted.Duration()), m.Proof, took, m.Time.Format(time.DateTime))
	} else {
		p.line(2, "none was measured yet")
	}
	p.drills()
	p.here()
}

// here is what would end this node.
func (p *page) here() {
	s := p.s
	var dogs []string
	for _, d := range s.Watchdogs {
		dogs = append(dogs, fmt.Sprintf("%s %s (%s)", pathEnd(d.Path), Seconds(d.Timeout.Duration()), d.Class))
	}
	if len(dogs) == 0 {
		dogs = []string{in(bad, "NONE")}
	}
	lease := "no lease"
	if s.Self.Lease != nil {
		lease = "lease good for " + Seconds(s.Self.Lease.Duration())
	}
	p.line(2, "here: %s; watchdogs: %s; second holder: %s; guard: %s", lease, strings.Join(dogs, ", "), OrDash(s.Self.Holder), clean(OrDash(s.Self.Guard)))
}

// fencing shows how each node could be fenced, beside the proof by time.
func (p *page) fencing() {
	if len(p.s.Fencing) == 0 {
		return
	}
	fmt.Fprintln(p, "\n"+in(head, "FENCING"))
	for _, n := range p.s.Fencing {
		words := make([]string, 0, len(n.Ways))
		for _, way := range n.Ways {
			state := in(wayStyle(&way), way.State)
			if way.Age != nil {
				state += ", checked " + Seconds(way.Age.Duration()) + " ago"
			}
			if way.Stale {
				state += ", " + in(heed, "which is too long")
			}
			if way.State == "failed" || way.State == "unknown" {
				state += " (" + clean(way.Text) + ")"
			}
			words = append(words, clean(way.Way)+" "+state)
		}
		p.line(2, "%s: %s", clean(n.Node), strings.Join(words, "; "))
	}
}

func wayStyle(w *api.Way) Style {
	switch w.State {
	case "works":
		return good
	case "failed", "unknown":
		return bad
	}
	return plain
}

// warnings shows those that are no step's.
func (p *page) warnings() {
	list := slices.DeleteFunc(slices.Clone(p.s.Warnings), func(w string) bool { return steps.Covered(p.s, w) })
	if len(list) == 0 {
		return
	}
	fmt.Fprintln(p, "\n"+in(head, "WARNINGS"))
	for _, text := range list {
		p.line(2, "%s", in(heed, clean(text)))
	}
}

func pathEnd(path string) string { return path[strings.LastIndexByte(path, '/')+1:] }

func age(s *api.Seconds) string {
	if s == nil {
		return "never"
	}
	return Seconds(s.Duration())
}

// OrDash is the text, or a dash for none.
func OrDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

// Clip cuts the end off a text of more than n characters.
func Clip(s string, n int) string {
	if r := []rune(s); len(r) > n {
		return string(r[:n-1]) + "~"
	}
	return s
}

// clipLeft cuts the beginning off.
func clipLeft(s string, n int) string {
	if r := []rune(s); len(r) > n {
		return "~" + string(r[len(r)-n+1:])
	}
	return s
}
