package incidents

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Title is an incident in one line.
func (i *Incident) Title() string {
	var parts []string
	switch i.Kind {
	case NodeLost:
		parts = append(parts, "node "+i.Subject+" was lost")
	case DisksLost:
		parts = append(parts, "node "+i.Subject+" lost the quorum disks")
	case ServiceFailed:
		parts = append(parts, "service "+i.Subject+" failed on "+i.Services[0].From)
	}
	for k := range i.Services {
		h := &i.Services[k]
		switch {
		case h.Down != nil && i.Kind == ServiceFailed:
			parts = append(parts, "it was down for "+seconds(h.Down.Duration()))
		case h.Down != nil:
			parts = append(parts, h.Service+" was down for "+seconds(h.Down.Duration()))
		case h.Removed != nil:
			parts = append(parts, h.Service+" was "+takenOut)
		default:
			parts = append(parts, h.Service+" does not run yet")
		}
	}
	if len(i.Services) == 0 && i.Kind != ServiceFailed {
		parts = append(parts, "no service was hit")
	}
	return strings.Join(parts, ", ")
}

// seconds is a duration in words, to a tenth of a second.
func seconds(d time.Duration) string {
	if d < 100*time.Millisecond {
		return d.Round(time.Millisecond).String()
	}
	return strings.TrimSuffix(fmt.Sprintf("%.1f", d.Seconds()), ".0") + " s"
}

// Text explains an incident in sentences: the cause, what was waited for and for how
// long, the proof, what it has cost, and how it is now.
func (i *Incident) Text() []string {
	text := []string{i.cause()}
	if i.Noticed != nil {
		text = append(text, fmt.Sprintf("%s noticed that %s after the last beat: %s.", i.Noticed.By, seconds(i.Noticed.Took.Duration()), i.Noticed.Text))
	}
	text = append(text, i.fenced()...)
	if i.Kind == DisksLost {
		text = append(text, i.stopped()...)
	}
	for k := range i.Services {
		text = append(text, i.Services[k].text(i.Began))
	}
	if i.Kind == NodeLost || i.Kind == DisksLost {
		text = append(text, i.now())
	}
	return text
}

func (i *Incident) cause() string {
	switch i.Kind {
	case NodeLost:
		if i.Noticed != nil {
			return fmt.Sprintf("The cause: %s fell silent. Its last beat was seen at %s. That it lost its power, hung, or was reset by its guard or watchdogs looks the same from outside: its own journal tells which it was.", i.Subject, clock(i.Began))
		}
		return fmt.Sprintf("The cause: %s.", i.Cause)
	case DisksLost:
		return fmt.Sprintf("The cause: %s could not beat on the quorum disks any more, which it noted at %s: %s.", i.Subject, clock(i.Began), i.Cause)
	}
	return fmt.Sprintf("The cause: a member of %s failed on %s, which was well, at %s: %s.", i.Subject, i.Services[0].From, clock(i.Began), i.Cause)
}

func clock(t time.Time) string { return t.UTC().Format("15:04:05.0") + " UTC" }

// fenced tells of the fencing, its ways and its proof.
func (i *Incident) fenced() []string {
	var text []string
	if d := i.Decided; d != nil {
		text = append(text, fmt.Sprintf("Its fencing was chosen %s later, in state %d of the register, by %s: %s. From there on it could not come back as it was.",
			seconds(d.Took.Duration()), i.State, d.By, d.Text))
	}
	for _, w := range i.Ways {
		text = append(text, fmt.Sprintf("Fencing by %s.", strings.TrimSuffix(w.Text, "."))) // which way, what it has shown, after how long
	}
	switch p := i.Proven; {
	case p != nil:
		line := fmt.Sprintf("The proof: %s, found by %s %s later. It says: %s.", i.Proof.Kind, p.By, seconds(p.Took.Duration()), strings.TrimSuffix(p.Text, "."))
		if len(i.Services) > 0 && !i.before(p.On) {
			line += fmt.Sprintf(" Nothing of what %s ran could be started elsewhere before.", i.Subject)
		}
		text = append(text, line)
	case i.Decided != nil:
		text = append(text, fmt.Sprintf("There is no proof yet that %s has ended, and so nothing of what it ran may start elsewhere.", i.Subject))
	}
	return text
}

// stopped tells how a node without disks ended what it ran: what it waited for, and
// for how long.
func (i *Incident) stopped() []string {
	var list []string
	for k := range i.Steps {
		t := &i.Steps[k]
		after := seconds(t.On.Sub(i.Began))
		switch {
		case t.By != i.Subject || !t.On.After(i.Began):
		case t.Kind == kindLease:
			list = append(list, fmt.Sprintf("%s after the beginning, by itself: %s.", after, strings.TrimSuffix(t.Text, ".")))
		case t.Kind == kindStopped && t.Service != "":
			list = append(list, fmt.Sprintf("%s after the beginning %s was %s there.", after, t.Service, t.Text))
		}
	}
	return list
}

// before says that a service was granted to another node before an instant, on a
// proof of its own.
func (i *Incident) before(t time.Time) bool {
	return slices.ContainsFunc(i.Services, func(h Hit) bool { return h.Granted != nil && h.Granted.Before(t) })
}

func (h *Hit) text(began time.Time) string {
	from := ""
	if h.From != "" {
		from = " ran on " + h.From + ", and"
	}
	switch {
	case h.Started != nil && h.Granted != nil:
		how := ""
		if h.Proof != "" {
			how = " on the proof " + h.Proof
		}
		return fmt.Sprintf("%s%s was granted to %s (term %d)%s %s after the beginning, and was started %s after that. It was down for at most %s.%s",
			h.Service, from, h.To, h.Term, how, seconds(h.Granted.Sub(began)), seconds(h.Started.Sub(*h.Granted)), seconds(h.Started.Sub(began)), h.well())
	case h.Started != nil:
		return fmt.Sprintf("%s was started again on %s: it was down for at most %s.%s", h.Service, h.To, seconds(h.Started.Sub(began)), h.well())
	case h.Removed != nil:
		return fmt.Sprintf("%s%s was %s %s after the beginning, before it ran again.", h.Service, from, takenOut, seconds(h.Removed.Sub(began)))
	case h.Failed != "":
		return fmt.Sprintf("%s could not be started again: %s.", h.Service, h.Failed)
	case h.Granted != nil:
		return fmt.Sprintf("%s%s was granted to %s (term %d) %s after the beginning, and is not started there yet.", h.Service, from, h.To, h.Term, seconds(h.Granted.Sub(began)))
	}
	return fmt.Sprintf("%s%s runs nowhere since.", h.Service, from)
}

// well tells of the first check after the start.
func (h *Hit) well() string {
	if h.Checked == nil {
		return ""
	}
	return fmt.Sprintf(" Its first check found it well %s after its start.", seconds(h.Checked.Sub(*h.Started)))
}

// now is how the node is.
func (i *Incident) now() string {
	switch {
	case i.Returned == nil && i.Ended != nil && i.Kind == DisksLost && len(i.Services) == 0:
		return fmt.Sprintf("%s had them back before its lease was over.", i.Subject)
	case i.Returned == nil:
		return fmt.Sprintf("%s has not come back.", i.Subject)
	case i.Returned.Incarnation == "":
		return fmt.Sprintf("%s came back %s after the beginning.", i.Subject, seconds(i.Returned.On.Sub(i.Began)))
	}
	return fmt.Sprintf("%s came back %s after the beginning, as incarnation %s, and took nothing back by itself.", i.Subject, seconds(i.Returned.On.Sub(i.Began)), i.Returned.Incarnation)
}

// Remedies are what to look at and what to do, as commands.
func (i *Incident) Remedies() []string {
	var list []string
	add := func(format string, args ...any) { list = append(list, fmt.Sprintf(format, args...)) }
	if i.Kind == NodeLost && i.Proven == nil && i.Decided != nil {
		add("look at %s: if it has no power, say so: holdfast node confirm-off %s", i.Subject, i.Subject)
	}
	failed := false
	for _, w := range i.Ways {
		failed = failed || w.Outcome != "proven"
	}
	if failed {
		add("a way to fence %s did not work: holdfast drill fence %s", i.Subject, i.Subject)
	}
	for _, s := range i.Steps {
		if s.Kind == kindFailed && strings.HasPrefix(s.Text, "stop") {
			add("%s could not be stopped on %s; who held it stands in: holdfast events --service %s", s.Service, s.By, s.Service)
			break
		}
	}
	for _, h := range i.Services {
		switch {
		case h.Removed != nil && h.Started == nil:
			add("if %s is wanted after all: holdfast history shows the version that had it, for holdfast rollback", h.Service)
		case h.Failed != "" && h.Started == nil:
			add("repair what keeps %s from starting, then: holdfast service clear %s", h.Service, h.Service)
		case i.Kind == ServiceFailed:
			add("why it failed: holdfast events --service %s, and the logs of its members on %s", h.Service, h.From)
		case h.From != "" && h.To != "" && h.From != h.To:
			add("it stays where it is; to have it back: holdfast service move %s --to %s", h.Service, h.From)
		}
	}
	switch {
	case i.Kind == DisksLost:
		add("what was wrong between %s and the storage: holdfast doctor --section \"quorum disks\", on %s", i.Subject, i.Subject)
	case i.Kind == NodeLost && i.Returned == nil && i.Proven != nil:
		add("look at %s, then start it: systemctl start holdfast", i.Subject)
	case i.Kind == NodeLost:
		add("why it ended: journalctl -b -1 on %s, and holdfast explain node %s", i.Subject, i.Subject)
	}
	return list
}
