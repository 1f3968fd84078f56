package story

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/holdfast-ha/holdfast/internal/api"
	"github.com/holdfast-ha/holdfast/internal/ctl/shell"
	"github.com/holdfast-ha/holdfast/internal/incidents"
)

// asked is what holdfast events is to show.
type asked struct {
	api.EventQuery
	local bool
	by    string
}

// Events makes holdfast events.
func Events(sh *shell.Shell, dial Dial) *cobra.Command {
	a := &command{Shell: sh, dial: dial}
	var q asked
	var since time.Duration
	c := a.PrintsJSON(shell.Command("events", cobra.NoArgs, func(c *cobra.Command, _ []string) error {
		if since < 0 || q.Limit < 0 {
			return shell.Usage(errors.New("--since and --number: want a value above 0"))
		}
		client, err := a.dial()
		if err != nil {
			return err
		}
		defer client.Close()
		if since > 0 {
			q.Since = time.Now().Add(-since)
		}
		if q.local {
			err = client.Events(c.Context(), q.EventQuery, func(e api.Event) error { return a.line(&incidents.Told{Event: e}) })
		} else {
			err = a.merged(c.Context(), client, &q)
		}
		if err == nil && a.lines == 0 && !q.Follow {
			fmt.Fprintln(a.Err, "holdfast: nothing that was noted fits; the kinds, services and nodes that there are: holdfast events")
		}
		return err
	}))
	fs := c.Flags()
	fs.DurationVar(&since, "since", 0, "only what happened within this `time`, as 2h (default: all)")
	fs.BoolVarP(&q.Follow, "follow", "f", false, "go on with what happens")
	fs.StringVar(&q.Kind, "kind", "", "only this `kind`, as fencing, proof, grant, started, failed, alarm")
	fs.StringVar(&q.Service, "service", "", "only of this `service`")
	fs.StringVar(&q.Node, "node", "", "only about this `node`")
	fs.StringVar(&q.by, "by", "", "only what this `node` has noted")
	fs.IntVarP(&q.Limit, "number", "n", 0, "only the newest `count` (default: all)")
	fs.BoolVar(&q.local, "local", false, "only what this node has noted")
	return c
}

// line prints one event; one without who has noted it is this node's.
func (a *command) line(t *incidents.Told) error {
	a.lines++
	if a.JSON && t.By == "" {
		return json.NewEncoder(a.Out).Encode(t.Event)
	}
	if a.JSON {
		return json.NewEncoder(a.Out).Encode(t)
	}
	if t.By == "" {
		_, err := fmt.Fprintf(a.Out, "%6d  %s  %-10s %s\n", t.ID, t.Time.Format("2006-01-02 15:04:05.000"), t.Kind, eventText(&t.Event))
		return err
	}
	_, err := fmt.Fprintf(a.Out, "%s  %-12s %-10s %s\n", t.On.UTC().Format("2006-01-02 15:04:05.000"), t.By+":"+strconv.FormatUint(t.ID, 10), t.Kind, eventText(&t.Event))
	return err
}

// merged shows the events of all nodes in one order, then what happens as it comes.
func (a *command) merged(ctx context.Context, client *api.Client, q *asked) error {
	stored := q.EventQuery
	stored.Follow = false
	sources, err := a.sources(ctx, client, stored, q.by)
	if err != nil {
		return err
	}
	told := incidents.Merge(sources)
	if q.Limit > 0 && len(told) > q.Limit {
		told = told[len(told)-q.Limit:]
	}
	for i := range told {
		if err := a.line(&told[i]); err != nil {
			return err
		}
	}
	if !q.Follow {
		return nil
	}
	return a.follow(ctx, client, q, sources)
}

// follow shows what happens on every node that was asked; it ends with ctx, or when
// nobody tells any more.
func (a *command) follow(ctx context.Context, client *api.Client, q *asked, sources []incidents.Source) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var printing sync.Mutex
	var failed error
	var tellers sync.WaitGroup
	for _, s := range sources {
		next := q.EventQuery
		next.Limit, next.Since = 0, time.Time{}
		if n := len(s.Events); n > 0 {
			next.After = s.Events[n-1].ID
		} else {
			next.Since = time.Now()
		}
		tellers.Go(func() { // ends with ctx, or with the node
			err := a.of(client, s.Node).Events(ctx, next, func(e api.Event) error {
				printing.Lock()
				defer printing.Unlock()
				return a.line(&incidents.Told{Event: e, By: s.Node, On: e.Time.Add(-s.Offset)})
			})
			if err != nil && ctx.Err() == nil {
				printing.Lock()
				defer printing.Unlock()
				fmt.Fprintf(a.Err, "holdfast: %s tells no more: %v\n", s.Node, err)
				failed = err
			}
		})
	}
	tellers.Wait()
	return failed
}

// here is the daemon that is asked itself.
const here = ""

// of is the client of a node.
func (a *command) of(client *api.Client, node string) *api.Client {
	if node == here || node == a.self {
		return client
	}
	return client.Of(node)
}

// sources asks every node for its events; what cannot be asked is said on standard
// error, and left out. by leaves all others out.
func (a *command) sources(ctx context.Context, client *api.Client, q api.EventQuery, by string) ([]incidents.Source, error) {
	s, err := client.Status(ctx)
	if err != nil {
		return nil, err
	}
	a.self = s.Self.Name
	var list []incidents.Source
	for _, n := range s.Nodes {
		if by == "" || by == n.Name {
			list = append(list, incidents.Source{Node: n.Name})
		}
	}
	if len(list) == 0 {
		return nil, fmt.Errorf("there is no node %q: holdfast status lists them", by)
	}
	problems := make([]error, len(list))
	var asking sync.WaitGroup
	for i := range list {
		asking.Go(func() { problems[i] = a.source(ctx, a.of(client, list[i].Node), q, &list[i]) }) // ends with ctx
	}
	asking.Wait()
	var out []incidents.Source
	for i, src := range list {
		switch {
		case problems[i] == nil:
			out = append(out, src)
		case src.Node == a.self:
			return nil, problems[i]
		default:
			fmt.Fprintf(a.Err, "holdfast: without what %s has noted: %v\n", src.Node, problems[i])
		}
	}
	return out, nil
}

// source asks one node for its events, and how its wall clock stands to this one.
func (a *command) source(ctx context.Context, client *api.Client, q api.EventQuery, into *incidents.Source) error {
	if into.Node != a.self {
		began := time.Now()
		s, err := client.Status(ctx)
		if err != nil {
			return err
		}
		into.Offset = s.Time.Sub(began.Add(time.Since(began) / 2))
	}
	return client.Events(ctx, q, func(e api.Event) error {
		into.Events = append(into.Events, e)
		return nil
	})
}

// eventText is an event in words, with what its text may leave out.
func eventText(e *api.Event) string {
	var about []string
	for _, one := range []struct{ what, value string }{{"", e.Service}, {"", e.Node}, {"proof ", e.Proof}} {
		if one.value != "" && !strings.Contains(e.Text, one.value) {
			about = append(about, one.what+one.value)
		}
	}
	if e.Term > 0 && e.Service != "" {
		about = append(about, "term "+strconv.FormatUint(e.Term, 10))
	}
	if len(about) == 0 {
		return e.Text
	}
	return e.Text + " (" + strings.Join(about, ", ") + ")"
}
