package story

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/rs/zerolog"
	"github.com/spf13/cobra"

	"github.com/holdfast-ha/holdfast/internal/api"
	"github.com/holdfast-ha/holdfast/internal/ctl/screen"
	"github.com/holdfast-ha/holdfast/internal/daemon/journal"
	"github.com/holdfast-ha/holdfast/internal/incidents"
)

// explained is an incident for programs.
type explained struct {
	Version int `json:"version"`
	*incidents.Incident
	Title    string   `json:"title"`
	Text     []string `json:"text"`
	Remedies []string `json:"remedies"`
}

// last asks for the newest incident.
const last = "last"

// incident explains one incident, or lists them where none is named.
func (a *command) incident(c *cobra.Command, log, id string) error {
	sources, err := a.everywhere(c.Context(), log)
	if err != nil {
		return err
	}
	all := incidents.Find(incidents.Merge(sources))
	if id == "" {
		return a.list(all)
	}
	i := slices.IndexFunc(all, func(i incidents.Incident) bool { return i.ID == id })
	if id == last {
		i = len(all) - 1
	}
	if i < 0 {
		return fmt.Errorf("there is no incident %s in what the nodes have noted; holdfast explain incident lists those that there are", id)
	}
	x := explained{Version: api.Version, Incident: &all[i], Title: all[i].Title(), Text: all[i].Text(), Remedies: all[i].Remedies()}
	if a.JSON {
		return a.PrintJSON(&x)
	}
	a.tell(&x)
	return nil
}

// everywhere gives the events of all nodes, or those in a directory.
func (a *command) everywhere(ctx context.Context, log string) ([]incidents.Source, error) {
	if log != "" {
		return kept(ctx, log)
	}
	client, err := a.dial()
	if errors.Is(err, api.ErrNoDaemon) {
		n, bad := a.Node()
		if bad != nil {
			return nil, bad
		}
		fmt.Fprintf(a.Err, "holdfast: the daemon does not run here: this is what this node has noted alone\n")
		return kept(ctx, n.Dirs.State)
	}
	if err != nil {
		return nil, err
	}
	defer client.Close()
	return a.sources(ctx, client, api.EventQuery{}, "")
}

// kept reads the events in a state directory, or in those of several nodes in one
// directory, each with the node's name.
func kept(ctx context.Context, dir string) ([]incidents.Source, error) {
	places := []string{dir}
	if !holdsEvents(dir) {
		below, err := os.ReadDir(dir)
		if err != nil {
			return nil, err
		}
		places = nil
		for _, b := range below {
			if p := filepath.Join(dir, b.Name()); holdsEvents(p) {
				places = append(places, p)
			}
		}
	}
	if len(places) == 0 {
		return nil, fmt.Errorf("%s holds no events: want the state directory of a node, or one with a copy of it for each node", dir)
	}
	var all []incidents.Source
	for _, p := range places {
		s := incidents.Source{Node: filepath.Base(p)}
		store, err := journal.OpenStory(p, zerolog.Nop(), time.Now)
		if err == nil {
			err = store.Events(ctx, api.EventQuery{}, func(e api.Event) error {
				s.Events = append(s.Events, e)
				return nil
			})
		}
		if err != nil {
			return nil, err
		}
		all = append(all, s)
	}
	return all, nil
}

func holdsEvents(dir string) bool {
	_, err := os.Stat(filepath.Join(dir, "events.jsonl"))
	return !errors.Is(err, fs.ErrNotExist)
}

// listed is what a list of incidents says of one.
type listed struct {
	ID    string    `json:"id"`
	Began time.Time `json:"began"`
	Open  bool      `json:"open"`
	Title string    `json:"title"`
}

func (a *command) list(all []incidents.Incident) error {
	out := []listed{}
	for i := range all {
		out = append(out, listed{all[i].ID, all[i].Began, all[i].Open(), all[i].Title()})
	}
	if a.JSON {
		return a.PrintJSON(out)
	}
	if len(out) == 0 {
		a.Say("the nodes have noted no incident")
		return nil
	}
	t := screen.NewTable(a.Out)
	t.Row("INCIDENT", "BEGAN (UTC)", "WHAT")
	for _, l := range out {
		title := l.Title
		if l.Open {
			title += " (goes on)"
		}
		t.Row(l.ID, l.Began.UTC().Format(time.DateTime), title)
	}
	t.Done()
	return nil
}

// tell shows an incident to people: what it was, in sentences, what to do, and every
// step with its time since the beginning.
func (a *command) tell(x *explained) {
	a.Say("incident %s, %s: %s", x.ID, x.Began.UTC().Format("2006-01-02 15:04:05 UTC"), screen.Wrap(x.Title, screen.Width-2, "  "))
	for _, s := range x.Text {
		a.Say("  %s", screen.Wrap(s, screen.Width-2, "  "))
	}
	if len(x.Remedies) > 0 {
		a.Say("\nwhat to do")
		for _, r := range x.Remedies {
			a.Say("  - %s", screen.Wrap(r, screen.Width-4, "    "))
		}
	}
	a.Say("\ntimeline, in seconds since the beginning")
	steps := slices.Clone(x.Steps)
	slices.SortStableFunc(steps, func(p, q incidents.Told) int { return p.On.Compare(q.On) })
	for i := range steps {
		t := &steps[i]
		text := eventText(&t.Event)
		if t.Kind != "" && !strings.HasPrefix(text, t.Kind) {
			text = t.Kind + ": " + text
		}
		const indent = "                    "
		a.Say("  %8.2f %-8s %s", t.On.Sub(x.Began).Seconds(), t.By, screen.Wrap(text, screen.Width-len(indent), indent))
	}
}

// incidentArgs says whether a command line of explain asks for an incident.
func incidentArgs(args []string) (id string, is bool) {
	if args[0] != "incident" {
		return "", false
	}
	if len(args) == 2 {
		return args[1], true
	}
	return "", true
}
