package ctl

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/holdfast-ha/holdfast/internal/api"
	"github.com/holdfast-ha/holdfast/internal/ctl/shell"
)

func (a *app) nodeCommand() *cobra.Command {
	return shell.Group("node",
		a.nodeVerb(api.NodeStandby, "is on standby: its services move away"),
		a.nodeVerb(api.NodeOnline, "may run services again"),
		a.nodeFence(), a.nodeConfirmOff(),
		a.nodeVerb(api.NodeRemove, "is removed"),
		a.nodeLeave(), a.nodeMaintenance(), a.nodeUpgrade(),
	)
}

func (a *app) nodeVerb(verb, word string) *cobra.Command {
	return a.PrintsJSON(shell.Command(verb+" NODE", cobra.ExactArgs(1), func(c *cobra.Command, args []string) error {
		return a.askNode(c, args[0], verb, word, api.NodeRequest{})
	}))
}

func (a *app) askNode(c *cobra.Command, node, verb, word string, r api.NodeRequest) error {
	client, err := a.dial()
	if err != nil {
		return err
	}
	defer client.Close()
	done, err := client.Node(c.Context(), node, verb, r)
	if err != nil {
		return err
	}
	return a.showResult(done, node+" "+word)
}

func (a *app) nodeFence() *cobra.Command {
	var r api.NodeRequest
	var yes bool
	c := a.PrintsJSON(shell.Command("fence NODE", cobra.ExactArgs(1), func(c *cobra.Command, args []string) error {
		if !yes && !r.DryRun {
			if err := a.Confirm("fencing resets "+args[0]+", and its services start elsewhere. Fence it", args[0]); err != nil {
				return err
			}
		}
		return a.askNode(c, args[0], api.NodeFence, "is being fenced", r)
	}))
	c.Flags().StringVar(&r.Why, "why", "asked for by the admin", "`reason`, for the record")
	c.Flags().StringVar(&r.By, "by", "", "the `way` to begin with: bmc, an agent's name, or disk")
	c.Flags().BoolVar(&r.DryRun, "dry-run", false, "only say what would be done, and how the ways are doing")
	c.Flags().BoolVarP(&yes, "yes", "y", false, "do not ask")
	return c
}

// nodeConfirmOff takes the operator's word, which becomes a proof that services
// may start on: it is asked for twice, or given with every detail.
func (a *app) nodeConfirmOff() *cobra.Command {
	var r api.NodeRequest
	var yes bool
	c := a.PrintsJSON(shell.Command("confirm-off NODE", cobra.ExactArgs(1), func(c *cobra.Command, args []string) error {
		if yes && (r.How == "" || r.Operator == "") {
			return shell.Usage(errors.New("confirm-off --yes needs --operator NAME and --how TEXT: who verified that the node is off, and how"))
		}
		if !yes {
			fmt.Fprintf(a.Out, "If %s runs after all, its services run twice and their data is lost.\n", args[0])
			if err := a.Confirm("Is "+args[0]+" without power, and does it stay so", args[0]); err != nil {
				return err
			}
			for _, q := range []struct {
				question string
				answer   *string
			}{{"How was that verified", &r.How}, {"Your name", &r.Operator}} {
				if *q.answer == "" {
					fmt.Fprintf(a.Out, "%s: ", q.question)
					*q.answer = a.ReadLine()
				}
				if *q.answer == "" {
					return fmt.Errorf("%s: no answer; nothing was changed", q.question)
				}
			}
		}
		return a.askNode(c, args[0], api.NodeConfirmOff, "is known to be off, by the word of "+r.Operator, r)
	}))
	c.Flags().StringVar(&r.How, "how", "", "how it was verified, `text` for the record")
	c.Flags().StringVar(&r.Operator, "operator", "", "`name` of who verified it")
	c.Flags().BoolVarP(&yes, "yes", "y", false, "do not ask; needs --how and --operator")
	return c
}
