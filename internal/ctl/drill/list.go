package drill

import (
	"time"

	"github.com/spf13/cobra"

	"github.com/holdfast-ha/holdfast/internal/api"
	"github.com/holdfast-ha/holdfast/internal/ctl/screen"
	"github.com/holdfast-ha/holdfast/internal/ctl/shell"
)

// listCommand makes holdfast drill list.
func listCommand(sh *shell.Shell, reach func() (*api.Client, error)) *cobra.Command {
	return sh.PrintsJSON(shell.Command("list", cobra.NoArgs, func(c *cobra.Command, _ []string) error {
		client, err := reach()
		if err != nil {
			return err
		}
		defer client.Close()
		known, err := client.Drills(c.Context())
		if err != nil {
			return err
		}
		if sh.JSON {
			return sh.PrintJSON(known)
		}
		list(sh, known)
		return nil
	}))
}

// list shows the latest drill of each kind, and what is overdue.
func list(sh *shell.Shell, known *api.Drills) {
	if d := known.Running; d != nil {
		sh.Say("under way on this node: %s, over at %s", d.Kind, d.Ends.Local().Format(time.DateTime))
	}
	t := screen.NewTable(sh.Out)
	t.Row("DRILL", "LAST", "ABOUT", "VERDICT", "FORETOLD", "MEASURED", "WITHIN")
	for _, kind := range api.DrillKinds() {
		last := known.Latest(kind)
		if last == nil {
			t.Row(kind, "never", "-", "-", "-", "-", "-")
			continue
		}
		word, about := "well", last.Node
		if !last.OK {
			word = "FAILED"
		}
		if last.Service != "" {
			about = last.Service
		}
		t.Row(kind, last.Time.Local().Format(time.DateOnly), about, word, orDash(last.Predicted), orDash(last.Measured), orDash(last.Bound))
	}
	t.Done()
	for _, kind := range known.Overdue {
		sh.Say("overdue: %s (wanted every %d days)", kind, int(known.Every.Duration().Hours())/24)
	}
}

func orDash(s *api.Seconds) string {
	if s == nil {
		return "-"
	}
	return screen.Seconds(s.Duration())
}
