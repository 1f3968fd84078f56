package ctl

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/holdfast-ha/holdfast/cluster/timing"
	"github.com/holdfast-ha/holdfast/internal/clock"
	"github.com/holdfast-ha/holdfast/internal/ctl/doctor"
	"github.com/holdfast-ha/holdfast/internal/ctl/enrol"
	"github.com/holdfast-ha/holdfast/internal/ctl/screen"
	"github.com/holdfast-ha/holdfast/internal/ctl/shell"
	"github.com/holdfast-ha/holdfast/quorumdisk"
	"github.com/holdfast-ha/holdfast/sbd"
)

func (a *app) initCommand() *cobra.Command {
	var o enrol.Options
	var n enrol.NewCluster
	c := a.PrintsJSON(shell.Command("init --disk PATH [--disk PATH --disk PATH]", cobra.NoArgs, func(*cobra.Command, []string) error {
		if len(o.Disks) == 0 {
			return shell.Usage(errors.New("give the quorum disk: holdfast init --disk /dev/disk/by-id/NAME"))
		}
		e, err := enrol.Found(o, n)
		if err != nil {
			return err
		}
		if a.JSON {
			return a.printMade(e)
		}
		a.reportInit(e)
		return nil
	}))
	a.bindNode(c, &o)
	fs := c.Flags()
	fs.StringVar(&n.Name, "cluster", "holdfast", "`name` of the new cluster")
	fs.IntVar(&n.Nmax, "nmax", quorumdisk.DefaultNodes, "room for so many `nodes`, up to 255; cannot be changed later")
	fs.IntVar(&n.Sector, "sector-size", 0, "`bytes` of a sector, 512 or 4096 (default: what the disks need)")
	fs.DurationVar(&n.Within, "failover-within", 0, "`time` from a fault to the permission to start elsewhere (default: 10s, or the smallest that is safe)")
	fs.BoolVar(&n.GPT, "gpt", false, "put a partition table on each disk, and the quorum disk in a partition of its own")
	fs.BoolVar(&n.AdoptSBD, "adopt-sbd", false, "take over disks that are SBD devices: slots, timeouts and messages stay; the SBD cluster must be stopped on every node")
	fs.StringArrayVar(&n.Force, "force-wipe", nil, "erase what the disk with this `identity` carries; the refusal prints it")
	return c
}

func (a *app) reportInit(e *enrol.Enrolled) {
	n := e.Node
	a.Say("cluster %s (%v): made on %s, with this node as %s", n.Cluster.Name, n.Cluster.ID, screen.Plural(len(e.Disks), "quorum disk"), n.Name)
	a.Say("\nchecked")
	for i, info := range e.Disks {
		a.Say("  disk       %s: nobody used it; %s, sectors of %d bytes, %v", n.Disks[i].Path, screen.Size(info.Size), info.SectorSize, info.Identity)
	}
	a.Say("  clock      good to a millisecond; %s", hostWord(e.Host))
	for _, l := range n.Links {
		a.Say("  link       %v", l)
	}
	a.reportPower(e)
	a.reportDerived(e)
	a.reportAdopted(e)
	doctor.Before(&a.Shell, n)
	a.Say("\ngo on")
	a.Say("  1. start the daemons on this node:  systemctl enable --now holdfast")
	a.Say("  2. make a one-time token:           holdfast token%s", a.configFlag())
	a.Say("  3. on every other node:             holdfast join TOKEN")
	a.Say("  4. describe the services:           holdfast config export > cluster.yaml,")
	a.Say("                                      edit it, then holdfast apply -f cluster.yaml")
	a.Say("\nkeep %s secret: whoever has it and the disks is a node", n.Key)
}

// reportPower says what became of the machine's own controller.
func (a *app) reportPower(e *enrol.Enrolled) {
	url, guid, _ := strings.Cut(e.Switch, "#")
	if url == "" {
		return
	}
	a.Say("  controller %s: says that it is %s, which is this machine", url, guid)
	a.Say("             the other nodes are told where it is, and need its password: %s, or bmc/%s.secret there",
		filepath.Join(filepath.Dir(e.Node.Key), "bmc.secret"), e.Node.Name)
}

// reportAdopted says what an SBD area that was taken over means from now on.
func (a *app) reportAdopted(e *enrol.Enrolled) {
	for i, x := range e.Adopted {
		path := e.Node.Disks[i].Path
		a.Say("\nSBD area of %s: taken over, with %s and its timeouts", path, screen.Plural(len(x.Slots), "slot"))
		if h := x.Header; h.MsgWait < e.Table.W {
			a.Say("  its message wait of %s is less than the %s after which a silent node is proven dead: agents of sbd(8)", screen.Seconds(h.MsgWait), screen.Seconds(e.Table.W))
			a.Say("  must not take a message for a death; Holdfast itself never does")
		}
		for _, s := range x.Slots {
			if s.Mail.Command == sbd.Off {
				a.Say("  %s was told to stay off (by %s) and will not join until: holdfast sbd -d %s message %s clear", s.Name, s.Mail.From, path, s.Name)
			}
		}
	}
}

// configFlag repeats --config in a suggested command where it is needed.
func (a *app) configFlag() string {
	if a.Config == "/etc/holdfast/node.yaml" {
		return ""
	}
	return " --config " + a.Config
}

func hostWord(id clock.Identity) string {
	if id.Emulated {
		return "the machine is EMULATED"
	}
	return "the machine is known by its " + strings.ReplaceAll(string(id.HostKind), "dmi", "firmware UUID")
}

// reportDerived says what timing made of the hardware and what would improve it.
func (a *app) reportDerived(e *enrol.Enrolled) {
	t, n := e.Table, e.Node
	a.Say("\nderived from failover_within %s", screen.Seconds(t.B))
	for i, w := range n.Watchdogs {
		a.Say("  watchdog   %s: timeout %s", w.Device, screen.Seconds(t.Timeouts[i]))
	}
	a.Say("  lease      a node goes on for %s after its last good beat, one every %s", screen.Seconds(t.F), screen.Seconds(t.H))
	a.Say("  proof      %s of silence prove a death; fencing begins after %s", screen.Seconds(t.W), screen.Seconds(t.Tsus))
	a.Say("\nexpected from a fault to the permission to start elsewhere")
	for _, x := range t.Expect(timing.Costs{}) {
		if x.Known {
			a.Say("  %-22s %7s, at worst %s", x.Proof, screen.Seconds(x.Typ), screen.Seconds(x.Worst))
		}
	}
	better := better(e)
	if len(better) > 0 {
		a.Say("\nwould be better")
		for _, b := range better {
			a.Say("  - %s", screen.Wrap(b, screen.Width-4, "    "))
		}
	}
}

// better is what would make the node faster or safer.
func better(e *enrol.Enrolled) []string {
	n, better := e.Node, append([]string{}, e.Hardware.Notes...)
	for _, s := range timing.Savings(e.Hardware.Input) {
		better = append(better, fmt.Sprintf("%s: failover_within down to %s", s.What, screen.Seconds(s.Smallest)))
	}
	if n.SingleLink {
		better = append(better, "a second heartbeat network: one broken cable makes a node silent")
	}
	for _, d := range n.Disks {
		if enrol.StableName(d.Path) == d.Path && strings.HasPrefix(d.Path, "/dev/") && !strings.HasPrefix(d.Path, "/dev/disk/") && !n.Platform.Emulated {
			better = append(better, d.Path+" may have another name after a boot: use one of /dev/disk/by-id in node.yaml and guard.conf")
		}
	}
	return better
}
