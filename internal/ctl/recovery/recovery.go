// Package recovery is holdfast disk recover: the way back when the majority of
// the quorum disks is lost for good. It works without a daemon, on one node, while
// every other node is off: it searches the newest state that can still be read,
// on disks and in the copies that daemons keep, and writes a new set of disks with
// it, of a newer epoch (see cluster.Epoch), so that the lost disks, should they
// come back, are recognised and refused. --adopt is the same for each other node
// afterwards: it only takes over where the new disks are.
//
// Nothing here can prove that the other nodes are off; that is the administrator's
// word, typed for each of them and kept in the state as the proof.
package recovery

import (
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/holdfast-ha/holdfast/cluster"
	"github.com/holdfast-ha/holdfast/cluster/ident"
	"github.com/holdfast-ha/holdfast/internal/config"
	"github.com/holdfast-ha/holdfast/internal/ctl/shell"
	"github.com/holdfast-ha/holdfast/internal/daemon/journal"
	"github.com/holdfast-ha/holdfast/quorumdisk"
)

// app is what the command has.
type app struct {
	*shell.Shell
	fromCache, adopt, dry bool
	disks                 []string // paths of the new disks
	states                []string // copies of other nodes
	force                 []string // identities of disks whose content may go
	watched               time.Duration
}

// Command is holdfast disk recover.
func Command(s *shell.Shell) *cobra.Command {
	a := &app{Shell: s}
	c := s.PrintsJSON(shell.Command("recover --from-cache|--adopt --disk NEW [--disk NEW --disk NEW]", cobra.NoArgs, func(*cobra.Command, []string) error {
		if a.fromCache == a.adopt {
			return shell.Usage(errors.New("give --from-cache on the one node that recovers the cluster, or --adopt on each other node afterwards"))
		}
		if n := len(a.disks); n != 1 && n != 3 {
			return shell.Usage(fmt.Errorf("%d new quorum disks given: one or three, --disk PATH for each", n))
		}
		if a.JSON && (a.adopt || !a.dry) {
			return shell.Usage(errors.New("disk recover: --json is for --from-cache --dry-run: the rest asks a person"))
		}
		if a.adopt {
			return a.follow()
		}
		return a.recover()
	}))
	f := c.Flags()
	f.BoolVar(&a.fromCache, "from-cache", false, "write a new set of quorum disks from the newest state that is found")
	f.BoolVar(&a.adopt, "adopt", false, "let this node use the disks that another one has recovered the cluster onto")
	f.StringArrayVar(&a.disks, "disk", nil, "`path` of a new quorum disk: one, or three")
	f.StringArrayVar(&a.states, "state", nil, "a copy of another node's state.bin, or of the `directory` that holds it; may be repeated")
	f.StringArrayVar(&a.force, "force-wipe", nil, "erase what the new disk with this `identity` carries; the refusal prints it")
	f.DurationVar(&a.watched, "for", 3*time.Second, "how long the old disks are watched for somebody who still beats there, a `time`")
	f.BoolVar(&a.dry, "dry-run", false, "say what was found and what would be written, and write nothing")
	return c
}

// recovery is one recovery under way.
type recovery struct {
	file  string // node.yaml
	node  *config.Node
	keys  quorumdisk.Keys
	found findings
	fresh []candidate
	words map[ident.NodeID]string // who says that a node is off, and how that is known
	next  *cluster.State
}

func (a *app) recover() (err error) {
	r := &recovery{file: a.Config, words: map[ident.NodeID]string{}}
	if r.node, err = a.Node(); err != nil {
		return err
	}
	if r.keys, err = quorumdisk.LoadKeys(r.node.Key); err != nil {
		return err
	}
	if !a.dry {
		held, err := offline(r.node)
		if err != nil {
			return err
		}
		defer held.release()
	}
	if r.found, err = a.search(r.node, r.keys); err != nil {
		return err
	}
	if r.fresh, err = a.check(r); err != nil {
		return err
	}
	defer closeAll(r.fresh)
	if a.JSON {
		return a.PrintJSON(r.plan())
	}
	a.tell(r)
	if a.dry {
		a.Say("\nnothing was written (--dry-run)")
		return nil
	}
	if err := a.askProofs(r); err != nil {
		return err
	}
	if err := a.Confirm("\nWrite the new set and give the old one up for good", r.node.Cluster.Name); err != nil {
		return err
	}
	r.next = r.found.renewed(r.node.ID, r.fresh, r.words)
	if err := r.write(); err != nil {
		return err
	}
	a.tellNext(r)
	return nil
}

// Plan is what disk recover --dry-run has found and would write, for programs.
type Plan struct {
	Version int      `json:"version"`
	Sources []string `json:"sources"` // each with what it holds
	Newest  uint64   `json:"newest_state_version"`
	Where   string   `json:"where"`
	Known   uint64   `json:"highest_known_version"` // above newest: what was decided in between is lost
	Writes  uint64   `json:"written_state_version"`
	Disks   []string `json:"disks"` // that would be written
}

func (r *recovery) plan() *Plan {
	best := r.found.best
	p := &Plan{Version: 1, Sources: []string{}, Newest: best.state.Ver, Where: best.where, Known: max(best.state.Ver, r.found.top()), Writes: r.found.version(), Disks: []string{}}
	for _, s := range r.found.sources {
		p.Sources = append(p.Sources, s.line())
	}
	for _, c := range r.fresh {
		p.Disks = append(p.Disks, c.path)
	}
	return p
}

// tell says what was found, what may be lost, and what would be written.
func (a *app) tell(r *recovery) {
	a.Say("what was found")
	for _, s := range r.found.sources {
		a.Say("  %s", s.line())
	}
	best := r.found.best
	a.Say("\nthe newest is version %d, %s", best.state.Ver, best.where)
	switch top := r.found.top(); {
	case top > best.state.Ver:
		a.Say("  LOST: versions %d to %d were decided, as beats or copies say, and no copy of them was found. Forgotten is", best.state.Ver+1, top)
		a.Say("  what they changed: nodes that came or went, services that were added, moved or stopped, the configuration.")
		a.Say("  Look for the state.bin of the other nodes first, and give each with --state.")
	default:
		a.Say("  nothing points to a newer one. What was decided only on the lost disks, and kept by no node whose copy")
		a.Say("  was read here, would be forgotten: give the state.bin of every other node with --state.")
	}
	if best.accepted != "" {
		a.Say("  It stands on a disk and may not have been decided: it was proposed (%s) when the disks were lost, and is taken as decided.", best.accepted)
	}
	a.Say("\nto be written: version %d, epoch %d of the quorum disks, every node out, every service free, on", r.found.version(), cluster.Epoch(cluster.NextEpoch(r.found.gen())))
	for _, c := range r.fresh {
		a.Say("  %s (%v)", c.path, c.disk.Info().Identity)
		for _, t := range c.carries {
			a.Say("    erased: %s", t)
		}
	}
	for i := range best.state.Services {
		if g := &best.state.Services[i]; g.Owner != 0 {
			a.Say("  %s was last on %s", g.Service, best.state.NameOf(g.Owner))
		}
	}
}

// askProofs has every other node's name typed, and how it is known to be off. No
// option answers this.
func (a *app) askProofs(r *recovery) error {
	var operator string
	for i := range r.found.best.state.Nodes {
		n := &r.found.best.state.Nodes[i]
		if n.ID == r.node.ID {
			continue
		}
		a.Say("\nIf %s still runs, or starts before it was told of the new disks, services run twice and their data is lost.", n.Name)
		if err := a.Confirm("Is "+n.Name+" without power, and does it stay so until then", n.Name); err != nil {
			return err
		}
		how, err := a.ask("How was that verified")
		if err == nil && operator == "" {
			operator, err = a.ask("Your name")
		}
		if err != nil {
			return err
		}
		r.words[n.ID] = cluster.Limit(fmt.Sprintf("operator %s: %s", operator, how), 200)
	}
	return nil
}

func (a *app) ask(question string) (string, error) {
	_, _ = io.WriteString(a.Out, question+": ") // a terminal that is gone answers nothing either
	if answer := a.ReadLine(); answer != "" {
		return answer, nil
	}
	return "", fmt.Errorf("%s: no answer; nothing was changed", question)
}

// write makes the disks and then this node's own files, which is the moment from
// which the new set counts here.
func (r *recovery) write() error {
	if err := r.make(); err != nil {
		return err
	}
	r.node.Disks = nil
	for _, c := range r.fresh {
		r.node.Disks = append(r.node.Disks, config.QuorumDisk{Path: c.path, UUID: c.uuid})
	}
	err := journal.Put(r.node.Dirs.State, r.next)
	if err == nil {
		err = keepFiles(r.file, r.node, r.next)
	}
	if err != nil {
		return fmt.Errorf("the new disks are written, this node's own files are not; when that is mended: holdfast disk recover --adopt on this node: %w", err)
	}
	return nil
}

func (a *app) tellNext(r *recovery) {
	a.Say("\ncluster %s is at version %d on %d new quorum disks, epoch %d", r.node.Cluster.Name, r.next.Ver, len(r.fresh), r.node.Cluster.Epoch)
	a.Say("\ngo on")
	a.Say("  1. see that the old disks stay away from every node: unmap them, then holdfast disk wipe where one answers")
	a.Say("  2. start this node:            systemctl restart holdfast-guard holdfastd holdfast")
	a.Say("  3. on every other node, before its daemons start:")
	a.Say("     holdfast disk recover --adopt%s", repeated(a.disks))
	a.Say("     then                        systemctl restart holdfast-guard holdfastd holdfast")
	a.Say("A node that was forgotten stays out and says so, as long as it hears this one.")
}

func repeated(paths []string) (out string) {
	for _, p := range paths {
		out += " --disk " + p
	}
	return out
}

// modified is when a file was written last, for people.
func modified(path string) time.Time {
	info, err := os.Stat(path)
	if err != nil {
		return time.Time{}
	}
	return info.ModTime()
}
