// Package doctor is the command holdfast doctor: it has this machine looked at,
// shows what is wrong with the command that helps, and with --fix carries out the
// changes that it shows, or with --undo takes them back.
package doctor

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/holdfast-ha/holdfast/cluster"
	"github.com/holdfast-ha/holdfast/internal/api"
	"github.com/holdfast-ha/holdfast/internal/config"
	"github.com/holdfast-ha/holdfast/internal/ctl/screen"
	"github.com/holdfast-ha/holdfast/internal/ctl/shell"
	"github.com/holdfast-ha/holdfast/internal/daemon/journal"
	"github.com/holdfast-ha/holdfast/internal/doctor"
	"github.com/holdfast-ha/holdfast/internal/doctor/gather"
	"github.com/holdfast-ha/holdfast/internal/doctor/mend"
	"github.com/holdfast-ha/holdfast/sbd/watchdog"
)

// Daemon is what the doctor asks the daemon of this node; api.Client is one.
type Daemon interface {
	// Status is the world as this node sees it.
	Status(ctx context.Context) (*api.Status, error)
	// Timing is the table of timeouts.
	Timing(ctx context.Context) (*api.Timing, error)
	// Config is a version of the configuration; 0 is the current one.
	Config(ctx context.Context, version uint64) (*api.Config, error)
}

// Other is what the doctor asks the daemon of another node, through this one's.
type Other interface {
	// Status is the world as that node sees it.
	Status(ctx context.Context) (*api.Status, error)
	// Doctor is what that node's doctor finds, as JSON.
	Doctor(ctx context.Context) (json.RawMessage, error)
}

// Dial reaches the daemon of this node. others gives those of the other nodes by
// their names, through it.
type Dial func() (here Daemon, others func(node string) Other, err error)

// within bounds the whole examination.
const within = 2 * time.Minute

// command is one run of holdfast doctor.
type command struct {
	*shell.Shell
	dial     Dial
	machine  *gather.Machine
	local    bool
	fix      bool
	undo     bool
	dry      bool
	yes      bool
	brief    bool
	sections []string
}

// Command makes the command. dial reaches the daemon of this node.
func Command(sh *shell.Shell, dial Dial) *cobra.Command {
	d := &command{Shell: sh, dial: dial, machine: gather.Here()}
	return d.command()
}

func (d *command) command() *cobra.Command {
	c := d.PrintsJSON(shell.Command("doctor", cobra.NoArgs, func(c *cobra.Command, _ []string) error { return d.run(c.Context()) }))
	fs := c.Flags()
	fs.BoolVar(&d.fix, "fix", false, "change what can be changed, after showing it")
	fs.BoolVar(&d.undo, "undo", false, "take back every change that --fix has made")
	fs.BoolVar(&d.dry, "dry-run", false, "with --fix or --undo: only show")
	fs.BoolVarP(&d.yes, "yes", "y", false, "with --fix or --undo: do not ask")
	fs.BoolVar(&d.local, "local", false, "do not ask the other nodes")
	fs.BoolVar(&d.brief, "brief", false, "leave out what is well")
	fs.StringSliceVar(&d.sections, "section", nil, "look at this `part` alone; repeatable")
	return c
}

func (d *command) run(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	for _, s := range d.sections {
		if !slices.Contains(doctor.Sections(), s) {
			return shell.Usage(fmt.Errorf("--section %q: there is no such part; there are %s", s, strings.Join(doctor.Sections(), ", ")))
		}
	}
	if d.fix && d.undo {
		return shell.Usage(errors.New("--fix and --undo: choose one"))
	}
	n, err := d.Node()
	bare := errors.Is(err, shell.ErrNoNode)
	if bare {
		n, err = bareNode()
	}
	if err != nil {
		return err
	}
	if d.undo {
		return d.takeBack(ctx, n)
	}
	r := doctor.Examine(d.facts(ctx, n, bare), d.sections...)
	if d.fix {
		return d.mend(ctx, n, &r)
	}
	if d.JSON {
		err = d.PrintJSON(&r)
	} else {
		Show(d.Shell, &r, d.brief)
	}
	return errors.Join(err, verdict(r.Level))
}

// verdict is the exit status: what is not known is a reason to look.
func verdict(l doctor.Level) error {
	switch l {
	case doctor.Failure:
		return shell.Code(2)
	case doctor.Warning, doctor.Unknown:
		return shell.Code(1)
	}
	return nil
}

// bareNode is a machine that belongs to no cluster yet: what init would take.
func bareNode() (*config.Node, error) {
	name, err := os.Hostname()
	if err != nil {
		return nil, err
	}
	n := &config.Node{Name: name, Dirs: config.UsualDirs(name)}
	dogs, err := watchdog.List()
	for _, l := range dogs {
		n.Watchdogs = append(n.Watchdogs, config.Watchdog{Device: l.Path})
	}
	return n, err
}

// facts has the machine looked at, and the daemons asked.
func (d *command) facts(ctx context.Context, n *config.Node, bare bool) *doctor.Facts {
	if bare {
		f := d.machine.Facts(ctx, n, &cluster.Config{}, "")
		f.Boot.Own = doctor.Unit{} // nothing is to start here yet
		return f
	}
	daemon, others, err := d.dial()
	if err != nil {
		conf, why := kept(n)
		f := d.machine.Facts(ctx, n, conf, why)
		f.Cluster.Problem = err.Error()
		return f
	}
	if c, is := daemon.(interface{ Close() }); is {
		defer c.Close()
	}
	conf, why := committed(ctx, daemon)
	if conf == nil {
		if conf, _ = kept(n); conf != nil {
			why = ""
		}
	}
	f := d.machine.Facts(ctx, n, conf, why)
	ask(ctx, daemon, f)
	if f.Cluster.Status != nil && !d.local {
		f.Cluster.Peers = askOthers(ctx, f.Cluster.Status, others)
	}
	return f
}

// askOthers asks the daemons of all other members at once.
func askOthers(ctx context.Context, s *api.Status, others func(string) Other) []doctor.Peer {
	var peers []doctor.Peer
	for _, n := range s.Nodes {
		if n.Name != s.Self.Name && n.Phase != "out" {
			peers = append(peers, doctor.Peer{Name: n.Name})
		}
	}
	var asking sync.WaitGroup
	for i := range peers {
		asking.Go(func() { askOther(ctx, &peers[i], others(peers[i].Name)) }) // ends with ctx
	}
	asking.Wait()
	return peers
}

// askOther notes what one node says of itself.
func askOther(ctx context.Context, p *doctor.Peer, o Other) {
	began := time.Now()
	s, err := o.Status(ctx)
	if err != nil {
		p.Problem = err.Error()
		return
	}
	half := time.Since(began) / 2
	p.Build, p.Config, p.Ways, p.Offset = s.Self.Build, s.Cluster.Config, s.Fencing, s.Time.Sub(began.Add(half))
	text, err := o.Doctor(ctx)
	var r doctor.Report
	if err == nil {
		err = json.Unmarshal(text, &r)
	}
	if err != nil {
		p.Problem = "its doctor: " + err.Error()
		return
	}
	p.Report, p.Kernel, p.Agents, p.MTU, p.Multipath = &r, r.Machine.Kernel, r.Machine.Agents, r.Machine.MTU, r.Machine.Multipath
}

// kept is the configuration that this node has kept.
func kept(n *config.Node) (*cluster.Config, string) {
	s, err := journal.Kept(n.Dirs.State)
	if err != nil {
		return nil, err.Error()
	}
	conf, err := config.ParseCluster(journal.StateFile, s.Config)
	if err != nil {
		return nil, err.Error()
	}
	return conf, ""
}

// committed is the configuration as the daemon has it, which only an admin may see.
func committed(ctx context.Context, daemon Daemon) (*cluster.Config, string) {
	c, err := daemon.Config(ctx, 0)
	if err != nil {
		return nil, err.Error()
	}
	conf, err := config.ParseCluster("the configuration", []byte(c.Text))
	if err != nil {
		return nil, err.Error()
	}
	return conf, ""
}

// ask adds what the daemon says.
func ask(ctx context.Context, daemon Daemon, f *doctor.Facts) {
	c := &f.Cluster
	c.Now = time.Now()
	s, err := daemon.Status(ctx)
	if err != nil {
		c.Problem = err.Error()
		return
	}
	c.Status = s
	if t, err := daemon.Timing(ctx); err == nil {
		for _, row := range t.Rows {
			if row.Name == "F" || row.Name == "F in use" { // the second one holds, where it is there
				f.Node.F = row.Value.Duration()
			}
		}
	}
	if s.Drills != nil { // else no drill is known, and that is what is said
		for _, d := range s.Drills.Last {
			c.Drills = append(c.Drills, doctor.Drill{Kind: d.Kind, Node: d.Node, Time: d.Time, OK: d.OK})
		}
	}
}

// Show prints a report; brief leaves out what is well.
func Show(sh *shell.Shell, r *doctor.Report, brief bool) {
	for _, s := range r.Sections {
		headed := false
		for _, x := range s.Findings {
			if brief && x.Level == doctor.OK {
				continue
			}
			if !headed {
				sh.Say("%s", s.Name)
				headed = true
			}
			show(sh, &x)
		}
	}
	sh.Say("\n%s: %s, %s, %d not known, %d ok", r.Node, screen.Plural(r.Count(doctor.Failure), "failure"), screen.Plural(r.Count(doctor.Warning), "warning"), r.Count(doctor.Unknown), r.Count(doctor.OK))
	if n := len(r.Fixes()); n > 0 {
		sh.Say("%s can be made by holdfast doctor --fix; --dry-run shows what it would do", screen.Plural(n, "change"))
	}
}

func show(sh *shell.Shell, x *doctor.Finding) {
	const indent = "           "
	text := x.Text
	if x.On != "" {
		text = x.On + ": " + text
	}
	sh.Say("  %-8s %s", x.Level, screen.Wrap(text, screen.Width-len(indent), indent))
	if x.Remedy != "" && x.Level != doctor.OK {
		sh.Say("%s-> %s", indent, x.Remedy)
	}
}

// bench is where this node's changes are made and recorded.
func (d *command) bench(n *config.Node) *mend.Bench {
	return &mend.Bench{Root: d.machine.Root, Records: filepath.Join(d.machine.Root, n.Dirs.State, "doctor"), Run: d.machine.Run, Now: time.Now}
}

// Fixed is what --fix or --undo has done, for programs.
type Fixed struct {
	Version int              `json:"version"`
	Done    bool             `json:"done"` // false: it was only shown
	Changes []doctor.Finding `json:"changes"`
}

func (d *command) mend(ctx context.Context, n *config.Node, r *doctor.Report) error {
	list := r.Fixes()
	out := Fixed{Version: api.Version, Done: !d.dry, Changes: list}
	switch {
	case len(list) == 0 && !d.JSON:
		d.Say("nothing that is wrong here can be changed by this command")
		return verdict(r.Level)
	case !d.JSON:
		for _, x := range list {
			d.announce(&x)
		}
	}
	if !d.dry && len(list) > 0 {
		if !d.yes {
			if err := d.Confirm("make "+screen.Plural(len(list), "change"), "yes"); err != nil {
				return err
			}
		}
		b := d.bench(n)
		for i, x := range list {
			if err := b.Do(ctx, x); err != nil {
				return fmt.Errorf("%s: %w; this change was taken back, %d of %d were made before it, and holdfast doctor --undo takes those back", x.Fix.Text, err, i, len(list))
			}
			if !d.JSON {
				d.Say("done: %s", x.Fix.Text)
			}
		}
	}
	if d.JSON {
		return d.PrintJSON(&out)
	}
	return nil
}

// announce shows everything that a change touches.
func (d *command) announce(x *doctor.Finding) {
	d.Say("%s: %s", x.Check, screen.Wrap(x.Fix.Text, screen.Width-len(x.Check)-2, "  "))
	for _, e := range x.Fix.Files {
		switch {
		case e.Link != "":
			d.Say("  link   %s -> %s", e.Path, e.Link)
		case e.Value:
			d.Say("  set    %s to %s", e.Path, strings.TrimSpace(e.Text))
		default:
			d.Say("  write  %s", e.Path)
			d.lines(e)
		}
	}
	for _, argv := range x.Fix.Run {
		d.Say("  run    %s", strings.Join(argv, " "))
	}
}

// lines shows what of a file will be another line than now.
func (d *command) lines(e doctor.Edit) {
	now, _ := os.ReadFile(filepath.Join(d.machine.Root, e.Path)) // none is an empty one
	before := slices.Collect(strings.Lines(string(now)))
	after := slices.Collect(strings.Lines(e.Text))
	for _, l := range before {
		if !slices.Contains(after, l) {
			d.Say("         - %s", strings.TrimRight(l, "\n"))
		}
	}
	for _, l := range after {
		if !slices.Contains(before, l) {
			d.Say("         + %s", strings.TrimRight(l, "\n"))
		}
	}
}

func (d *command) takeBack(ctx context.Context, n *config.Node) error {
	b := d.bench(n)
	list, err := b.Made()
	if err != nil {
		return err
	}
	out := Fixed{Version: api.Version, Done: !d.dry, Changes: []doctor.Finding{}}
	for _, r := range list {
		out.Changes = append(out.Changes, doctor.Finding{Check: r.Check, On: r.On, Text: r.Text, Fix: r.Change})
		if !d.JSON {
			d.Say("%s  %s: %s", r.Time.Format(time.DateTime), r.Check, r.Text)
		}
	}
	if len(list) == 0 && !d.JSON {
		d.Say("nothing was changed by holdfast doctor --fix that has not been taken back")
	}
	if len(list) > 0 && !d.dry {
		if !d.yes {
			if err := d.Confirm("take back "+screen.Plural(len(list), "change"), "yes"); err != nil {
				return err
			}
		}
		err = b.Undo(ctx, func(r *mend.Record) {
			if !d.JSON {
				d.Say("taken back: %s", r.Text)
			}
		})
		if err != nil {
			return err
		}
	}
	if d.JSON {
		return d.PrintJSON(&out)
	}
	return nil
}

// Before looks at a machine that has just become a node, and says what should be
// repaired before it has work.
func Before(sh *shell.Shell, n *config.Node) {
	for i, x := range Found(n) {
		if i == 0 {
			sh.Say("\nbefore it has work (holdfast doctor, and --fix)")
		}
		show(sh, &x)
	}
}

// Finding is what one check says of one thing.
type Finding = doctor.Finding

// Found are the warnings and failures of a machine that has just become a node, but
// for those that init and join say themselves.
func Found(n *config.Node) []Finding { return foundOn(gather.Here(), n) }

func foundOn(m *gather.Machine, n *config.Node) []Finding {
	ctx, cancel := context.WithTimeout(context.Background(), within)
	defer cancel()
	f := m.Facts(ctx, n, &cluster.Config{}, "")
	f.Boot.Own = doctor.Unit{} // the next line of init says how to enable it
	r := doctor.Examine(f, "kernel", "watchdogs", "quorum disks", "power", "time", "links", "boot")
	list := []Finding{}
	for _, s := range r.Sections {
		for _, x := range s.Findings {
			if x.Level != doctor.Warning && x.Level != doctor.Failure || x.Check == "measured" || x.Check == "count" {
				continue
			}
			list = append(list, x)
		}
	}
	return list
}
