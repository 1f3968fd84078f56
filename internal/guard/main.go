package guard

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/rs/zerolog"
	"github.com/rs/zerolog/diode"

	"github.com/holdfast-ha/holdfast/cluster/ident"
	"github.com/holdfast-ha/holdfast/cluster/quorum"
	"github.com/holdfast-ha/holdfast/internal/build"
	"github.com/holdfast-ha/holdfast/internal/clock"
	"github.com/holdfast-ha/holdfast/internal/guard/arming"
	"github.com/holdfast-ha/holdfast/internal/guard/handover"
	"github.com/holdfast-ha/holdfast/internal/guard/holding"
	"github.com/holdfast-ha/holdfast/internal/guard/realtime"
	"github.com/holdfast-ha/holdfast/internal/guardwire"
	"github.com/holdfast-ha/holdfast/quorumdisk"
	"github.com/holdfast-ha/holdfast/quorumdisk/place"
	"github.com/holdfast-ha/holdfast/sbd/watchdog"
	"github.com/holdfast-ha/holdfast/storage"
)

// placeTimeout is for one request while a disk is opened, which a worker of its
// own waits for: nothing else does.
const placeTimeout = 5 * time.Second

const (
	logLines      = 1000 // lines that may wait for a slow log; more are dropped
	exitOK        = 0
	exitFailure   = 1
	exitUsage     = 2
	defaultConfig = "/etc/holdfast/guard.conf"
)

// Main is the guard's process: it runs until a SIGTERM while nothing is bound and
// returns the exit code: 0 after a clean end, 1 after a failure, 2 for wrong
// flags or settings.
func Main(args []string, stdout, stderr io.Writer) int {
	flags := flag.NewFlagSet("holdfast-guard", flag.ContinueOnError)
	flags.SetOutput(stderr)
	file := flags.String("config", defaultConfig, "settings `file`, written by holdfast")
	hold := flags.String("hold", "", "only hold the watchdogs' descriptors for another guard, at this `socket`")
	check := flags.Bool("check", false, "read the settings, say what is wrong with them, and end")
	takes := flags.Int("takes", 0, "with -check: fail unless this program can take over from one that speaks this `version` of the guard's protocol")
	switch err := flags.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		return exitOK
	case err != nil:
		return exitUsage
	case flags.NArg() > 0:
		fmt.Fprintf(stderr, "holdfast-guard: %q: no arguments are taken, only flags\n", flags.Arg(0))
		return exitUsage
	}
	if *hold != "" {
		return holding.Main(context.Background(), *hold, stdout, stderr)
	}
	text, err := os.ReadFile(*file)
	var s *guardwire.Settings
	if err == nil {
		s, err = guardwire.ParseSettings(*file, text)
	}
	if err == nil {
		err = guardwire.Takes(*takes)
	}
	if err != nil {
		fmt.Fprintf(stderr, "holdfast-guard: %v\n", err)
		return exitUsage
	}
	if *check {
		fmt.Fprintf(stdout, "holdfast-guard %s, %s: node %d (%s), %d disks, %d watchdogs\n", build.String(), *file, s.Node, s.Name, len(s.Disks), len(s.Watchdogs))
		return exitOK
	}
	sink := diode.NewWriter(stderr, logLines, 0, func(int) {})
	defer sink.Close()
	log := zerolog.New(sink).With().Timestamp().Str("node", s.Name).Logger()
	if err := run(s, log); err != nil {
		log.Error().Err(err).Msg("the guard ends")
		return exitFailure
	}
	return exitOK
}

func run(s *guardwire.Settings, log zerolog.Logger) error {
	before, err := handover.TakeOver()
	if err != nil {
		return err
	}
	held := -1
	if before != nil {
		held = before.Lock
	} else if held, err = lock(s.Run); err != nil {
		return err
	}
	p, err := clock.Open(clock.Config{Emulator: s.Emulator, Node: s.Name, OpenReset: clock.OpenSysrq})
	if err != nil {
		return err
	}
	platform, ok := p.(Platform)
	if !ok {
		return errors.New("this platform's clock does not tell suspends")
	}
	// A log that goes away must not take the guard with it, nor a stray signal.
	signal.Ignore(syscall.SIGPIPE, syscall.SIGHUP, syscall.SIGUSR1, syscall.SIGUSR2)
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT)
	defer signal.Stop(signals)
	d := Deps{
		Platform: platform, Node: s.Node, Mail: MailRules{Name: s.Name, PowerOff: s.PowerOff}, Run: s.Run, Drain: s.Drain, Pause: s.PauseBound,
		Disks: ports(s), Set: DiskSet{sets(s), func(path string, id ident.UUID) DiskPort { return port(s, path, id) }},
		Codec:    func() (*quorumdisk.Codec, error) { return codec(s) },
		Arm:      func() arming.Armed { return arming.Arm(s, platform.Identity(), passed(before), log) },
		Signals:  signals,
		Upgrade:  func(path string, h handover.Bundle) error { h.Lock = held; return handover.Replace(path, h) },
		Restored: before,
		RealTime: realtime.Take(),
		Log:      log,
	}
	if d.RealTime != "" {
		log.Warn().Str("refused", d.RealTime).Msg("not everything that makes the guard punctual was granted")
	}
	g, err := New(d)
	if err != nil {
		return err
	}
	return g.Run(context.Background())
}

// passed are the watchdogs of the guard that this program replaced.
func passed(before *handover.Bundle) *[]watchdog.Named {
	if before == nil {
		return nil
	}
	return &before.Dogs
}

func codec(s *guardwire.Settings) (*quorumdisk.Codec, error) {
	keys, err := quorumdisk.LoadKeys(s.Key)
	if err != nil {
		return nil, err
	}
	return quorumdisk.NewCodec(keys, s.Cluster, quorumdisk.Layout{SectorSize: s.Layout.Sector, Nmax: s.Layout.NMax})
}

func ports(s *guardwire.Settings) []DiskPort {
	var out []DiskPort
	for _, d := range s.Disks {
		out = append(out, port(s, d.Path, d.UUID))
	}
	return out
}

func port(s *guardwire.Settings, path string, id ident.UUID) DiskPort {
	l := quorumdisk.Layout{SectorSize: s.Layout.Sector, Nmax: s.Layout.NMax}
	return DiskPort{Path: path, UUID: id, Epoch: uint32(s.Layout.Epoch), Open: func(sector int) (storage.Disk, error) {
		return place.Handle(path, storage.Options{Sync: true, MaxIO: l.TableSize(), SectorSize: sector}, placeTimeout)
	}}
}

// sets are the sets of disks of each of which a majority is needed: one, and two
// while a disk is being exchanged.
func sets(s *guardwire.Settings) []quorum.Set {
	var older, newer quorum.Set
	for i, d := range s.Disks {
		if d.Set != guardwire.NewSet {
			older |= 1 << i
		}
		if d.Set != guardwire.OldSet {
			newer |= 1 << i
		}
	}
	return []quorum.Set{older, newer}
}
