// Package play is what make demo shows: a cluster of three nodes, a fault, and
// the timeline of the takeover with its measured seconds beside the predicted
// ones. What is shown is what the real programs say; what is measured is measured
// from outside, by the clock of this machine.
package play

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/holdfast-ha/holdfast/test/demo/controllers"
	"github.com/holdfast-ha/holdfast/test/demo/remains"
	"github.com/holdfast-ha/holdfast/test/demo/stage"
)

// Exit codes of the demo.
const (
	exitGood        = 0
	exitBad         = 1 // the service did not come back, a write is missing, or something was left behind
	exitUsage       = 2
	exitInterrupted = 130
)

// defaultCut is how long the heartbeat networks stay cut before the owner dies.
const defaultCut = 60 * time.Second

// defaultWatch is how long many services are checked while what that costs is measured.
const defaultWatch = 10 * time.Minute

// settings are what the environment and the flags say.
type settings struct {
	bin    string
	fault  string
	pair   bool // DEMO=active-active
	disks  int  // DEMO_DISKS, quorum disks
	bmc    bool // DEMO_BMC=1
	plain  bool // as if not root
	within time.Duration
	cut    time.Duration
	bench  int
	load   int
	watch  time.Duration // of load
	logs   string
}

// Main runs the demo and returns its exit code. The environment chooses what it
// shows: DEMO_FAULT is kill (default), freeze, cut-network, cut-disk, lose-disk
// or move; DEMO=active-active runs two services, each node the other's spare;
// DEMO_DISKS is the number of quorum disks, 1 (default) or 3; DEMO_BMC=1 gives
// every node a management controller, and shows the fault with it and without;
// DEMO_SECONDS is how long cut-network leaves the cables out, default 60.
func Main(args []string, stdout, stderr io.Writer) int {
	set, err := parse(args, stderr)
	if errors.Is(err, flag.ErrHelp) {
		return exitGood
	}
	if err != nil {
		fmt.Fprintln(stderr, "demo:", err)
		return exitUsage
	}
	ctx, stop := signal.NotifyContext(context.Background(), unix.SIGINT, unix.SIGTERM, unix.SIGHUP, unix.SIGPIPE)
	defer stop()
	err = perform(ctx, set, stdout)
	switch {
	case ctx.Err() != nil:
		fmt.Fprintln(stderr, "demo: interrupted; everything was removed")
		return exitInterrupted
	case err != nil:
		fmt.Fprintln(stderr, "demo:", err)
		return exitBad
	}
	return exitGood
}

func parse(args []string, stderr io.Writer) (settings, error) {
	s := settings{cut: defaultCut}
	flags := flag.NewFlagSet("demo", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.IntVar(&s.bench, "bench", 0, "measure so many `runs` of kill, and print them as Go benchmarks do")
	flags.IntVar(&s.load, "load", 0, "measure what so many `services` on one node cost, and print it as Go benchmarks do")
	flags.DurationVar(&s.watch, "for", defaultWatch, "with -load: the `time` for which they are checked")
	flags.StringVar(&s.bin, "bin", "", "`folder` of the programs (default: that of this one)")
	flags.BoolVar(&s.plain, "plain", false, "do as if not root: no namespaces, mounts and loop devices")
	flags.DurationVar(&s.within, "failover-within", 0, "`time` from the fault to the permission to start elsewhere (default: the smallest that is safe)")
	flags.StringVar(&s.logs, "logs", "", "copy the logs of all processes to this `folder` at the end")
	if err := flags.Parse(args); err != nil {
		return s, err
	}
	if flags.NArg() > 0 {
		return s, fmt.Errorf("%q: no arguments are taken, only flags and the environment", flags.Arg(0))
	}
	if err := environment(&s); err != nil {
		return s, err
	}
	if s.bin == "" {
		self, err := os.Executable()
		if err != nil {
			return s, err
		}
		s.bin = filepath.Dir(self)
	}
	return s, nil
}

// perform puts the cluster up, plays, and removes everything again.
func perform(ctx context.Context, set settings, out io.Writer) (err error) {
	swept, err := remains.Sweep()
	if len(swept) > 0 {
		fmt.Fprintf(out, "removed what killed runs had left: %s\n", strings.Join(swept, ", "))
	}
	if err != nil {
		return err
	}
	missing := stage.Able()
	root := missing == nil && !set.plain
	if missing != nil {
		fmt.Fprintf(out, "a plain demo, with loopback addresses and a plain process as the service: %v\n", missing)
	}
	if f := faults()[set.fault]; f.root && !root {
		return fmt.Errorf("DEMO_FAULT=%s needs nodes with links and disks of their own: run as root (%w)", set.fault, missing)
	}
	if set.bmc && !root {
		return fmt.Errorf("DEMO_BMC=1 needs a network that the nodes share with their controllers: run as root (%w)", missing)
	}
	began := time.Now()
	show := newScreen(out)
	options := stage.Options{
		Bin: set.bin, Services: services(set.pair), Disks: set.disks, Within: set.within, Root: root, Logs: set.logs, Say: func(text string) {
			show.say("%6.2f s  %s", time.Since(began).Seconds(), text)
		},
	}
	if set.load > 0 {
		if !root {
			return fmt.Errorf("-load needs cgroups: run as root (%w)", missing)
		}
		options = loaded(options, set.load)
	}
	p := &scene{set: set, show: show}
	if set.bmc {
		p.bmcs = &controllers.Set{}
		defer p.bmcs.Unplug()
		options.Controllers = p.bmcs.Install
	}
	s, err := stage.Raise(ctx, options)
	if err != nil {
		return err
	}
	p.stage = s
	defer func() { err = errors.Join(err, s.Close()) }()
	if set.load > 0 {
		return load(ctx, s, set.watch, out)
	}
	show.say("%6.2f s  three nodes are members, and every service runs", time.Since(began).Seconds())
	if set.bench > 0 {
		return bench(ctx, s, set.bench, out)
	}
	return p.play(ctx)
}

// services are what the cluster runs: one service, or two of which each has its
// home where the other has its spare.
func services(pair bool) []stage.Service {
	if pair {
		return []stage.Service{
			{Name: "orders", Prefer: []string{"alpha", "beta"}},
			{Name: "reports", Prefer: []string{"beta", "alpha"}},
		}
	}
	return []stage.Service{{Name: "orders", Prefer: []string{"alpha", "beta", "gamma"}}}
}
