package screen

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/holdfast-ha/holdfast/internal/api"
)

// Status draws the whole screen. since says when a service was started last; what
// is not known is left out.
func Status(w io.Writer, s *api.Status, since map[string]time.Time) {
	head := fmt.Sprintf("cluster %s: %s", s.Cluster.Name, strings.ToUpper(string(s.Health)))
	if s.Self.Emulated {
		head += "  EMULATED (no device of this machine is armed)"
	}
	fmt.Fprintln(w, head)
	seen := fmt.Sprintf("seen by %s (%s) at %s; state %d, configuration %d", s.Self.Name, s.Self.Stage,
		s.Time.Format(time.TimeOnly), s.Cluster.State, s.Cluster.Config)
	if s.Cluster.Coordinator != "" {
		seen += ", coordinator " + s.Cluster.Coordinator
	}
	fmt.Fprintln(w, Wrap(seen, Width, "  "))
	if s.Cluster.Stopped {
		fmt.Fprintln(w, Wrap("STOPPED by the administrator: nothing begins by itself before holdfast cluster start", Width, "  "))
	}
	if m := s.Cluster.Maintenance; m != nil {
		fmt.Fprintln(w, Wrap("MAINTENANCE of the cluster for another "+Seconds(m.Left.Duration())+": services stay as they are", Width, "  "))
	}
	if s.Self.Waiting != "" {
		fmt.Fprintln(w, Wrap("waiting for "+s.Self.Waiting, Width, "  "))
	}
	writeNodes(w, s)
	writeServices(w, s, since)
	writeDisks(w, s)
	writeFailover(w, s)
	writeFencing(w, s)
	if len(s.Warnings) > 0 {
		fmt.Fprintln(w, "\nWARNINGS")
		for _, text := range s.Warnings {
			fmt.Fprintln(w, "  "+Wrap(text, Width-2, "  "))
		}
	}
}

func writeNodes(w io.Writer, s *api.Status) {
	fmt.Fprintln(w)
	t := fitting(w)
	t.Row("NODES", "STATE", "DISK BEAT", "NETWORK", "WATCHDOG", "SERVICES")
	for _, n := range s.Nodes {
		name := n.Name
		if n.Name == s.Self.Name {
			name += " (here)"
		}
		beat, heard := age(n.DiskAge), age(n.NetAge)
		if n.Name == s.Self.Name {
			heard = "-"
		}
		t.Row("  "+Clip(name, 18), nodeWord(&n), beat, heard, OrDash(n.Watchdog), Clip(OrDash(strings.Join(n.Services, ",")), 22))
	}
	t.Done()
	for _, n := range s.Nodes {
		why := n.Why
		if n.Fencing && n.Remaining != nil {
			why = strings.TrimSuffix("a proof by time of its death can stand in "+Seconds(n.Remaining.Duration())+"; "+why, "; ")
		}
		if n.Proof != nil && n.Phase == "out" {
			why = strings.TrimSuffix("known to be out by "+n.Proof.Kind+"; "+n.Proof.Text, "; ")
		}
		if n.Fenced != nil && !n.Fencing && n.Phase != "out" && why == "" {
			why = "came back after " + n.Fenced.By + " had it fenced: " + n.Fenced.Why
		}
		if why != "" {
			fmt.Fprintln(w, "  "+Wrap(n.Name+": "+why, Width-2, "    "))
		}
	}
}

// writeFencing shows how each node could be fenced, beside the proof by time.
func writeFencing(w io.Writer, s *api.Status) {
	if len(s.Fencing) == 0 {
		return
	}
	fmt.Fprintln(w, "\nFENCING")
	for _, n := range s.Fencing {
		words := make([]string, 0, len(n.Ways))
		for _, way := range n.Ways {
			word := way.Way + " " + way.State
			if way.Age != nil {
				word += ", checked " + Seconds(way.Age.Duration()) + " ago"
			}
			if way.Stale {
				word += ", which is too long"
			}
			if way.State == "failed" || way.State == "unknown" {
				word += " (" + way.Text + ")"
			}
			words = append(words, word)
		}
		fmt.Fprintln(w, "  "+Wrap(n.Node+": "+strings.Join(words, "; "), Width-2, "    "))
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

func writeServices(w io.Writer, s *api.Status, since map[string]time.Time) {
	fmt.Fprintln(w)
	if len(s.Services) == 0 {
		fmt.Fprintln(w, "SERVICES  none yet: holdfast config export, edit, holdfast apply -f FILE")
		return
	}
	t := fitting(w)
	t.Row("SERVICES", "STATE", "NODE", "SINCE", "NOTE")
	var below []string
	for _, v := range s.Services {
		when := "-"
		if at, ok := since[v.Name]; ok && v.State == "running" {
			when = Seconds(max(0, s.Time.Sub(at)))
		}
		t.Row("  "+Clip(v.Name, 20), v.State, Clip(OrDash(v.Node), 16), when, serviceNote(&v))
		text := v.Why
		if v.Text != "" {
			text = strings.TrimSuffix(v.Text+"; "+v.Why, "; ")
		}
		if text != "" {
			below = append(below, v.Name+": "+text)
		}
	}
	t.Done()
	for _, line := range below {
		fmt.Fprintln(w, "  "+Wrap(line, Width-2, "    "))
	}
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
		notes = append(notes, "maintenance")
	}
	if v.Wanted != "" && v.Wanted != v.Node {
		notes = append(notes, "moves to "+v.Wanted)
	}
	return strings.Join(notes, ", ")
}

func writeDisks(w io.Writer, s *api.Status) {
	fmt.Fprintln(w)
	t := fitting(w)
	t.Row("QUORUM DISKS", "READ", "BEAT TOOK")
	for _, d := range s.Disks {
		t.Row("  "+clipLeft(d.Path, 50), age(d.Age), Seconds(d.Latency.Duration()))
	}
	t.Done()
	for _, d := range s.Disks {
		if d.Error != "" {
			fmt.Fprintln(w, "  "+Wrap(clipLeft(d.Path, 30)+": "+d.Error, Width-2, "    "))
		}
	}
	if len(s.Links) == 0 {
		return
	}
	fmt.Fprintln(w)
	t = fitting(w)
	t.Row("LINKS", "STATE", "HEARD", "FROM", "TO")
	for _, l := range s.Links {
		word := "up"
		if !l.Up {
			word = "DOWN"
		}
		t.Row("  "+Clip(l.Peer, 18), word, age(l.Age), l.Local, l.Remote)
	}
	t.Done()
	for _, l := range s.Links {
		if l.Error != "" {
			fmt.Fprintln(w, "  "+Wrap(l.Peer+", "+l.Remote+": "+l.Error, Width-2, "    "))
		}
	}
}

// writeFailover says what a takeover would rest on and take.
func writeFailover(w io.Writer, s *api.Status) {
	fmt.Fprintln(w, "\nTAKEOVER")
	line := func(format string, args ...any) {
		fmt.Fprintln(w, "  "+Wrap(fmt.Sprintf(format, args...), Width-2, "    "))
	}
	if s.Failover.Problem != "" {
		line("NOT READY: %s", s.Failover.Problem)
	}
	var known []string
	for _, e := range s.Failover.Expected {
		if e.Known && !strings.HasPrefix(e.Proof, "E1") {
			known = append(known, fmt.Sprintf("%s %s (at worst %s)", e.Proof, Seconds(e.Typical.Duration()), Seconds(e.Worst.Duration())))
		}
	}
	if len(known) > 0 {
		line("promised within %s; predicted by %s", Seconds(s.Failover.Within.Duration()), strings.Join(known, ", "))
	}
	if m := s.Failover.Last; m != nil {
		took := ""
		if m.Started > 0 {
			took = ", running after " + Seconds(m.Started.Duration())
		}
		line("measured: %s from %s to %s, permission after %s (%s)%s; %s", m.Service, m.From, m.To,
			Seconds(m.Granted.Duration()), m.Proof, took, m.Time.Format(time.DateTime))
	} else {
		line("measured: none yet")
	}
	var dogs []string
	for _, d := range s.Watchdogs {
		dogs = append(dogs, fmt.Sprintf("%s %s (%s)", pathEnd(d.Path), Seconds(d.Timeout.Duration()), d.Class))
	}
	if len(dogs) == 0 {
		dogs = []string{"NONE"}
	}
	line("watchdogs here: %s; second holder: %s; guard: %s", strings.Join(dogs, ", "), OrDash(s.Self.Holder), OrDash(s.Self.Guard))
	if s.Self.Lease != nil {
		line("lease of this node: good for %s", Seconds(s.Self.Lease.Duration()))
	}
}

// fitting begins a table whose lines fit the screen.
func fitting(w io.Writer) Table {
	t := NewTable(w)
	t.fit = true
	return t
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
