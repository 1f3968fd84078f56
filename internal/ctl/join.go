package ctl

import (
	"github.com/spf13/cobra"

	"github.com/holdfast-ha/holdfast/internal/api"
	"github.com/holdfast-ha/holdfast/internal/ctl/doctor"
	"github.com/holdfast-ha/holdfast/internal/ctl/enrol"
	"github.com/holdfast-ha/holdfast/internal/ctl/screen"
	"github.com/holdfast-ha/holdfast/internal/ctl/shell"
)

func (a *app) joinCommand() *cobra.Command {
	var o enrol.Options
	c := a.PrintsJSON(shell.Command("join TOKEN", cobra.ExactArgs(1), func(c *cobra.Command, args []string) error {
		token, err := api.ParseToken(args[0])
		if err != nil {
			return err
		}
		e, err := enrol.Join(c.Context(), o, token)
		if err != nil {
			return err
		}
		if a.JSON {
			return a.printMade(e)
		}
		n := e.Node
		a.Say("node %s joined cluster %s (%v) as node %d", n.Name, n.Cluster.Name, n.Cluster.ID, n.ID)
		a.Say("\nchecked")
		for _, d := range n.Disks {
			a.Say("  disk       %s: both nodes see the same disk; each read what the other wrote", d.Path)
		}
		a.Say("  clock      good to a millisecond; %s", hostWord(e.Host))
		a.reportPower(e)
		a.reportDerived(e)
		doctor.Before(&a.Shell, n)
		a.Say("\ngo on")
		a.Say("  start the daemons on this node:  systemctl enable --now holdfast")
		a.Say("  then look:                       holdfast status%s", a.configFlag())
		return nil
	}))
	a.bindNode(c, &o)
	return c
}

func (a *app) tokenCommand() *cobra.Command {
	return a.PrintsJSON(shell.Command("token", cobra.NoArgs, func(c *cobra.Command, _ []string) error {
		client, err := a.dial()
		if err != nil {
			return err
		}
		defer client.Close()
		t, err := client.Token(c.Context())
		if err != nil {
			return err
		}
		if a.JSON {
			return a.PrintJSON(t)
		}
		a.Say("holdfast join %s", t.Token)
		a.Say("# on the new node, as root, once, within %s; whoever has the token gets the cluster's key", screen.Seconds(t.Valid.Duration()))
		return nil
	}))
}
