package drill

import (
	"fmt"
	"strings"

	"github.com/holdfast-ha/holdfast/internal/api"
	"github.com/holdfast-ha/holdfast/internal/ctl/screen"
	"github.com/holdfast-ha/holdfast/internal/ctl/shell"
)

// announce says what will happen, who is hit and for how long, or why it must not.
func (r *rehearse) announce() {
	if r.sh.JSON {
		return
	}
	r.sh.Say("drill %s: %s", r.Kind, screen.Wrap(r.Does()+".", screen.Width, "  "))
	if len(r.out.Refused) > 0 {
		r.sh.Say("It is REFUSED:")
		for _, x := range r.out.Refused {
			r.sh.Say("  - %s", screen.Wrap(x.Why, screen.Width-4, "    "))
			r.sh.Say("    %s", screen.Wrap("what to do: "+x.Remedy, screen.Width-4, "      "))
		}
		return
	}
	r.sh.Say("The engine that decides foretells:")
	hit := false
	for i := range r.world.Told.Services {
		f := &r.world.Told.Services[i]
		switch {
		case f.From == "":
		case f.Granted != nil:
			hit = true
			on := ""
			if f.Proof != nil {
				on = ", on the proof " + f.Proof.Kind
			}
			r.sh.Say("  %s", screen.Wrap(fmt.Sprintf("%s goes from %s to %s: it may start there after %s%s; its own stop and start come on top", f.Name, f.From, f.To, screen.Seconds(f.Granted.Duration()), on), screen.Width-2, "    "))
		case f.Name == r.Service && r.Kind == api.DrillFailService:
			hit = true
			r.sh.Say("  %s is stopped and started again on %s", f.Name, f.From)
		default:
			r.sh.Say("  %s stays on %s", f.Name, f.From)
		}
	}
	if !hit {
		r.sh.Say("  no service is hit")
	}
	r.sh.Say("At worst a takeover takes %s (holdfast timing).", screen.Seconds(r.world.Timing.Within.Duration()))
	for _, a := range r.world.Told.After {
		r.sh.Say("%s", screen.Wrap("Until it is over, the cluster could not survive "+a+".", screen.Width, "  "))
	}
	for _, a := range r.world.Told.Assumed {
		r.sh.Say("%s", screen.Wrap("Assumed: "+a+".", screen.Width, "  "))
	}
}

// end prints what came of it, and makes it an exit code.
func (r *rehearse) end() error {
	if r.sh.JSON {
		if err := r.sh.PrintJSON(&r.out); err != nil {
			return err
		}
	} else {
		r.tell()
	}
	if !r.out.OK {
		return shell.Code(1)
	}
	return nil
}

// tell shows the verdict, and the timeline beside what was foretold.
func (r *rehearse) tell() {
	if r.out.Began.IsZero() {
		r.sh.Say("%s", r.out.Verdict)
		return
	}
	r.sh.Say("\ntimeline, in seconds since the order")
	const indent = "                    "
	for i := range r.out.Timeline {
		t := &r.out.Timeline[i]
		text := t.Kind + ": " + strings.TrimPrefix(t.Text, t.Kind+": ")
		if t.Service != "" && !strings.Contains(text, t.Service) {
			text += " (" + t.Service + ")"
		}
		r.sh.Say("  %8.2f %-8s %s", t.On.Sub(r.seen.Began).Seconds(), t.By, screen.Wrap(text, screen.Width-len(indent), indent))
	}
	word := "the drill went WELL"
	if !r.out.OK {
		word = "the drill has FAILED"
	}
	r.sh.Say("\n%s", word)
	for i := range r.out.Services {
		o := &r.out.Services[i]
		text := o.Service + ": " + o.Text
		if o.Down != nil {
			text += fmt.Sprintf("; it was down for %.2f s", o.Down.Duration().Seconds())
		}
		r.sh.Say("  %s", screen.Wrap(text, screen.Width-2, "    "))
	}
	for _, p := range r.out.problems {
		r.sh.Say("  %s", screen.Wrap(p, screen.Width-2, "    "))
	}
	if r.out.Restored {
		r.sh.Say("  everything is as before")
	}
	if r.seen.Stall > tick {
		r.sh.Say("  this machine was late by up to %s, which the bounds allow for", screen.Seconds(r.seen.Stall))
	}
}
