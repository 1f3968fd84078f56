package ctl

import (
	"github.com/spf13/cobra"

	"github.com/holdfast-ha/holdfast/internal/api"
	"github.com/holdfast-ha/holdfast/internal/ctl/enrol"
	"github.com/holdfast-ha/holdfast/internal/ctl/screen"
)

func (a *app) joinCommand() *cobra.Command {
	var o enrol.Options
	c := command("join TOKEN", cobra.ExactArgs(1), func(c *cobra.Command, args []string) error {
		token, err := api.ParseToken(args[0])
		if err != nil {
			return err
		}
		e, err := enrol.Join(c.Context(), o, token)
		if err != nil {
			return err
		}
		n := e.Node
		a.say("node %s joined cluster %s (%v) as node %d", n.Name, n.Cluster.Name, n.Cluster.ID, n.ID)
		a.say("\nchecked")
		for _, d := range n.Disks {
			a.say("  disk       %s: both nodes see the same disk; each read what the other wrote", d.Path)
		}
		a.say("  clock      good to a millisecond; %s", hostWord(e.Host))
		a.reportDerived(e)
		a.say("\ngo on")
		a.say("  start the daemons on this node:  systemctl enable --now holdfast-guard holdfastd")
		a.say("  then look:                       holdfast status%s", a.configFlag())
		return nil
	})
	a.bindNode(c, &o)
	return c
}

func (a *app) tokenCommand() *cobra.Command {
	return a.printsJSON(command("token", cobra.NoArgs, func(c *cobra.Command, _ []string) error {
		client, err := a.dial()
		if err != nil {
			return err
		}
		defer client.Close()
		t, err := client.Token(c.Context())
		if err != nil {
			return err
		}
		if a.json {
			return a.printJSON(t)
		}
		a.say("holdfast join %s", t.Token)
		a.say("# on the new node, as root, once, within %s; whoever has the token gets the cluster's key", screen.Seconds(t.Valid.Duration()))
		return nil
	}))
}
