package story

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/holdfast-ha/holdfast/internal/api"
	"github.com/holdfast-ha/holdfast/internal/ctl/shell"
)

// Events makes holdfast events.
func Events(sh *shell.Shell, dial Dial) *cobra.Command {
	a := &command{sh, dial}
	var q api.EventQuery
	var since time.Duration
	c := a.PrintsJSON(shell.Command("events", cobra.NoArgs, func(c *cobra.Command, _ []string) error {
		client, err := a.dial()
		if err != nil {
			return err
		}
		defer client.Close()
		if since > 0 {
			q.Since = time.Now().Add(-since)
		}
		lines := json.NewEncoder(a.Out)
		return client.Events(c.Context(), q, func(e api.Event) error {
			if a.JSON {
				return lines.Encode(e)
			}
			_, err := fmt.Fprintf(a.Out, "%6d  %s  %-10s %s\n", e.ID, e.Time.Format("2006-01-02 15:04:05.000"), e.Kind, eventText(&e))
			return err
		})
	}))
	fs := c.Flags()
	fs.DurationVar(&since, "since", 0, "only what happened within this `time`, as 2h (default: all)")
	fs.BoolVarP(&q.Follow, "follow", "f", false, "go on with what happens")
	fs.StringVar(&q.Kind, "kind", "", "only this `kind`, as fencing, proof, grant, started, failed, alarm")
	fs.StringVar(&q.Service, "service", "", "only of this `service`")
	fs.StringVar(&q.Node, "node", "", "only of this `node`")
	fs.IntVarP(&q.Limit, "number", "n", 0, "only the newest `count` (default: all)")
	return c
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
