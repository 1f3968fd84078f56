package daemon

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
	"github.com/rs/zerolog"
	"github.com/rs/zerolog/diode"

	"github.com/holdfast-ha/holdfast/bmc/drivers"
	"github.com/holdfast-ha/holdfast/cluster/core"
	"github.com/holdfast-ha/holdfast/heartbeat"
	"github.com/holdfast-ha/holdfast/internal/build"
	"github.com/holdfast-ha/holdfast/internal/clock"
	"github.com/holdfast-ha/holdfast/internal/config"
	"github.com/holdfast-ha/holdfast/internal/daemon/agents"
	"github.com/holdfast-ha/holdfast/internal/daemon/drills"
	"github.com/holdfast-ha/holdfast/internal/daemon/process"
	"github.com/holdfast-ha/holdfast/internal/daemon/upgrade"
	"github.com/holdfast-ha/holdfast/internal/guardwire"
	"github.com/holdfast-ha/holdfast/quorumdisk"
	"github.com/holdfast-ha/holdfast/quorumdisk/place"
	"github.com/holdfast-ha/holdfast/resources"
	"github.com/holdfast-ha/holdfast/resources/kinds"
	"github.com/holdfast-ha/holdfast/storage"
)

const (
	logLines      = 5000 // lines that may wait for a slow log; more are dropped
	exitOK        = 0
	exitFailure   = 1
	exitUsage     = 2
	defaultConfig = "/etc/holdfast/node.yaml"

	// placeTimeout is for one request while a disk is opened, which its own
	// goroutine waits for.
	placeTimeout = 5 * time.Second
)

// Main is the daemon's process. It runs until SIGTERM or SIGINT, which leaves
// the services running, or until the node has left the cluster, and returns the
// exit code: 0 then, 1 after a failure, 2 for wrong flags or settings.
//
// "agent KIND VERB" is one operation on one member of a service, in a process of
// its own; the daemon starts it and nobody else should.
func Main(args []string, stdout, stderr io.Writer) int {
	if len(args) == 3 && args[0] == "agent" {
		_ = agents.Unprotect() // raising it is always allowed; without /proc it is not needed
		return kinds.All().AgentMain(args[1], args[2], resources.ProcessStdio())
	}
	if len(args) > 1 && args[0] == drills.FreezeVerb {
		return drills.FreezeMain(args[1:], stderr)
	}
	flags := flag.NewFlagSet("holdfastd", flag.ContinueOnError)
	flags.SetOutput(stderr)
	file := flags.String("config", defaultConfig, "this node's `file`, written by holdfast init or join")
	check := flags.Bool("check", false, "read the file, say what is wrong with it, and end")
	takes := flags.Int("takes", 0, "with -check: fail unless this program can take over from one that speaks this `version` of the guard's protocol")
	version := flags.Bool("version", false, "print the version and end")
	switch err := flags.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		return exitOK
	case err != nil:
		return exitUsage
	case flags.NArg() > 0:
		fmt.Fprintf(stderr, "holdfastd: %q: no arguments are taken, only flags\n", flags.Arg(0))
		return exitUsage
	case *version:
		fmt.Fprintln(stdout, "holdfastd "+build.String())
		return exitOK
	}
	node, err := readNode(*file)
	if err == nil {
		err = upgrade.Takes(*takes, node.Dirs.State)
	}
	if err != nil {
		fmt.Fprintf(stderr, "holdfastd: %v\n", err)
		return exitUsage
	}
	if *check {
		fmt.Fprintf(stdout, "holdfastd %s, %s: node %d (%s) of %s, %d disks, %d links\n", build.String(), *file, node.ID, node.Name, node.Cluster.Name, len(node.Disks), len(node.Links))
		return exitOK
	}
	switch err := logged(*file, node, stderr); {
	case errors.Is(err, upgrade.ErrUpgraded):
		fmt.Fprintf(stderr, "holdfastd: %v\n", upgrade.Exec(args))
		return exitFailure
	case err != nil:
		return exitFailure
	}
	return exitOK
}

// logged runs the daemon with its log, and closes that.
func logged(file string, node *config.Node, stderr io.Writer) error {
	sink := diode.NewWriter(process.LogSink(stderr), logLines, 0, func(int) {})
	defer sink.Close()
	log := zerolog.New(sink).Level(process.LogLevel()).With().Timestamp().Str("node", node.Name).Logger()
	err := run(file, node, log)
	if err != nil && !errors.Is(err, upgrade.ErrUpgraded) {
		log.Error().Err(err).Msg("holdfastd ends")
	}
	return err
}

func readNode(file string) (*config.Node, error) {
	text, err := os.ReadFile(file)
	if errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("%s is not there: this node belongs to no cluster yet; run holdfast init or holdfast join", file)
	} else if err != nil {
		return nil, err
	}
	return config.ParseNode(file, text)
}

// run makes the real parts and runs the daemon on them.
func run(file string, node *config.Node, log zerolog.Logger) error {
	for _, dir := range []string{node.Dirs.Run, node.Dirs.State} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
	}
	held, err := process.Lock(node.Dirs.Run)
	if err != nil {
		return err
	}
	defer held.Close()
	platform, err := clock.Open(clock.Config{Emulator: node.Platform.Emulator, Node: node.Name})
	if err != nil {
		return err
	}
	keys, err := quorumdisk.LoadKeys(node.Key)
	if err != nil {
		return err
	}
	runner, err := agents.NewRunner(node, log)
	if err != nil {
		return err
	}
	links, err := newLinks(node, keys, &watch{clock: platform})
	if err != nil {
		return err
	}
	interval, err := daemon.SdWatchdogEnabled(false)
	if err != nil {
		log.Warn().Err(err).Msg("the service manager's watchdog")
	}
	d, err := New(Deps{
		Node: node, Keys: keys, Clock: platform, Links: links, RunLinks: links.Run, Runner: runner, Leftovers: runner, Power: drivers.Open,
		Dial: func() (Guard, error) { return guardwire.Dial(filepath.Join(node.Dirs.Run, guardSocket)) },
		Disks: Devices{File: file, Open: func(path string, sector int) (storage.Disk, error) {
			return place.Handle(path, storage.Options{Sync: true, SectorSize: sector}, placeTimeout)
		}},
		Core:     func(s core.Settings) Core { return core.New(s) },
		Wall:     time.Now,
		Notify:   func(state string) { _, _ = daemon.SdNotify(false, state) }, // a manager that is gone needs no word
		Interval: interval,
		Log:      log,
	})
	if err != nil {
		return errors.Join(err, links.Close())
	}
	// A log that goes away must not take the daemon with it.
	signal.Ignore(syscall.SIGPIPE, syscall.SIGHUP)
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	return d.Run(ctx)
}

func newLinks(node *config.Node, keys quorumdisk.Keys, w *watch) (*heartbeat.Links, error) {
	links, err := heartbeat.New(heartbeat.Config{
		Cluster: node.Cluster.ID, Node: node.ID, Boot: w.clock.Identity().Boot, Key: heartbeat.Key(keys.Current),
		Local: node.Links, Now: w.instant,
	})
	if err == nil && !keys.Previous.IsZero() {
		links.SetKeys(heartbeat.Key(keys.Current), heartbeat.Key(keys.Previous))
	}
	return links, err
}
