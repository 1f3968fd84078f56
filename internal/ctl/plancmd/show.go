package plancmd

import (
	"strings"

	"github.com/holdfast-ha/holdfast/internal/api"
	"github.com/holdfast-ha/holdfast/internal/ctl/screen"
)

// show prints a plan for people.
func (r *command) show(p *api.Plan) {
	if len(p.Changes) == 0 && len(p.Problems) == 0 {
		r.Say("no changes: this is configuration %d", p.Config)
		return
	}
	r.Say("compared with configuration %d", p.Config)
	touched := map[string]bool{}
	for _, change := range p.Changes {
		sign := map[string]string{"add": "+", "remove": "-", "rename": ">"}[change.Kind]
		if sign == "" {
			sign = "~"
		}
		r.Say("  %s %s", sign, screen.Wrap(change.What+": "+change.Text, screen.Width-4, "      "))
		if name, is := strings.CutPrefix(change.What, "service "); is {
			touched[name] = true
		}
	}
	if len(p.Actions) == 0 {
		r.Say("nothing starts, stops or moves")
	} else {
		r.Say("in this order")
	}
	for i := range p.Actions {
		act := &p.Actions[i]
		touched[act.Service] = true
		r.Say("  %d. %s", i+1, screen.Wrap(sentence(act), screen.Width-5, "     "))
	}
	r.others(p, touched)
	r.unable(p, touched)
	for _, advice := range p.Advice {
		r.Say("  advice: %s", screen.Wrap(advice, screen.Width-10, "     "))
	}
	for _, problem := range p.Problems {
		r.Say("  REFUSED: %s", screen.Wrap(problem, screen.Width-11, "     "))
	}
}

// sentence is one step: what, where, why and for how long it is away.
func sentence(act *api.PlanAction) string {
	text := act.Action + " " + act.Service
	if act.Action == "restart" || act.Action == "reload" {
		if act.Member != "" {
			text += " from its member " + act.Member
		}
		text += " on " + act.To
	} else {
		if act.From != "" {
			text += " from " + act.From
		}
		if act.To != "" {
			text += map[bool]string{true: " to ", false: " on "}[act.Action == "move"] + act.To
		}
	}
	if act.Text != "" {
		text += ": " + act.Text
	}
	if act.Interruption != nil {
		text += " (interrupted for about " + screen.Seconds(act.Interruption.Duration())
		if !act.Measured {
			text += ", which is assumed: this node has not measured its stop and start"
		}
		text += ")"
	}
	return text
}

// others says what is not interrupted: one line for all that nothing is to be said of.
func (r *command) others(p *api.Plan, touched map[string]bool) {
	var same []string
	for i := range p.Others {
		o := &p.Others[i]
		switch {
		case o.Action == "wait":
			r.Say("  %s", screen.Wrap("does not run: "+o.Service+": "+o.Text, screen.Width-2, "    "))
		case o.Text != "":
			r.Say("  %s", screen.Wrap("stays: "+o.Service+" on "+o.To+": "+o.Text, screen.Width-2, "    "))
			touched[o.Service] = true
		default:
			same = append(same, o.Service)
		}
	}
	if len(same) > 0 {
		r.Say("  %s", screen.Wrap("stay as they are: "+strings.Join(same, ", "), screen.Width-2, "    "))
	}
}

// unable says of what is touched which nodes could not run it: what is missing there
// had better be known before it is needed.
func (r *command) unable(p *api.Plan, touched map[string]bool) {
	for _, list := range [][]api.PlanAction{p.Actions, p.Others} {
		for i := range list {
			for _, c := range list[i].Nodes {
				if !touched[list[i].Service] {
					continue
				}
				if c.Able {
					if c.Unknown != "" {
						r.Say("  %s", screen.Wrap(list[i].Service+" on "+c.Node+": "+c.Unknown, screen.Width-2, "    "))
					}
					continue
				}
				text := list[i].Service + " could not run on " + c.Node + ": " + c.Reason
				if c.Remedy != "" {
					text += " (" + c.Remedy + ")"
				}
				r.Say("  %s", screen.Wrap(text, screen.Width-2, "    "))
			}
		}
	}
}
