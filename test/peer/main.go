// Command peer puts Holdfast and its peers up beside each other, strikes both with the same faults in turn, and prints what
// that took: see docs/PERFORMANCE.md. It needs root and debootstrap.
//
//	peer -rounds 5 -settings default,tight,bmc,bmc-tight -events kill,freeze,cut,move,idle -record peers.jsonl
//
// A comparison may be played in parts, at different hours: both managers are struck in turn
// within each part, and -show makes one table of what all parts have recorded.
//
//	peer -events kill -settings default,tight -record kill.jsonl
//	peer -events move -settings default -record move.jsonl
//	peer -show -record kill.jsonl,move.jsonl
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/holdfast-ha/holdfast/test/demo/remains"
	"github.com/holdfast-ha/holdfast/test/demo/stage"
	"github.com/holdfast-ha/holdfast/test/peer/contender"
	"github.com/holdfast-ha/holdfast/test/peer/pacemaker"
	"github.com/holdfast-ha/holdfast/test/peer/rounds"
	"github.com/holdfast-ha/holdfast/test/peer/sanlock"
	"github.com/holdfast-ha/holdfast/test/peer/unlimited"
	"github.com/holdfast-ha/holdfast/test/vm/image"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), unix.SIGINT, unix.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "peer:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	if len(args) > 1 && args[0] == sanlock.UnlimitedVerb {
		return unlimited.Main(args[1:])
	}
	flags := flag.NewFlagSet("peer", flag.ContinueOnError)
	times := flags.Int("rounds", 5, "of every event in every setting")
	settings := flags.String("settings", "default,tight,bmc,bmc-tight", "which to compare, of "+strings.Join(settingNames(), ","))
	events := flags.String("events", strings.Join([]string{rounds.Kill, rounds.Freeze, rounds.Cut, rounds.Move, rounds.Idle}, ","), "which to play")
	record := flags.String("record", "peers.jsonl", "`file` to which every result is appended; with -show also several, with commas")
	show := flags.Bool("show", false, "play nothing, print the tables of what the files of -record have: a comparison may be played in parts")
	only := flags.String("only", "", "play only this manager: Pacemaker, Holdfast or sanlock")
	story := flags.Bool("story", false, "after every event, print what Holdfast's nodes tell of it, in milliseconds since then")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if *show {
		return tables(strings.Split(*record, ","), os.Stdout)
	}
	if err := stage.Able(); err != nil {
		return err
	}
	tree, err := prepare()
	if err != nil {
		return err
	}
	defer os.RemoveAll(os.Getenv(contender.ProgramsEnv))
	out, err := os.OpenFile(*record, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer out.Close()
	p := player{tree: tree, only: *only, out: json.NewEncoder(out)}
	if *story {
		p.told = os.Stderr
	}
	for i := range *times {
		for _, setting := range strings.Split(*settings, ",") {
			for _, event := range strings.Split(*events, ",") {
				if !worthwhile(i, setting, event) {
					continue
				}
				if err := p.both(ctx, setting, event); err != nil {
					return err
				}
			}
		}
	}
	return tables([]string{*record}, os.Stdout)
}

// player is what all rounds of a run have in common.
type player struct {
	tree string
	only string    // the manager to play; empty: all of them
	told io.Writer // where the nodes' own story goes; nil: nowhere
	out  *json.Encoder
}

// both plays one event on each contender, one after the other.
func (p *player) both(ctx context.Context, setting, event string) error {
	makers, ok := contenders()[setting]
	if !ok {
		return fmt.Errorf("-settings %s: want some of %v", setting, settingNames())
	}
	for _, make := range makers {
		c := make()
		if p.only != "" && c.About().Manager != p.only {
			continue
		}
		for _, r := range rounds.Run(ctx, c, rounds.Round{Tree: p.tree, Event: event, Told: p.told}) {
			if err := ctx.Err(); err != nil {
				return err
			}
			line, _ := json.Marshal(r) // plain fields
			fmt.Println(string(line))
			if err := p.out.Encode(r); err != nil {
				return err
			}
		}
	}
	return nil
}

// prepare builds the programs and the tree that all machines boot from.
func prepare() (tree string, err error) {
	if swept, err := remains.Sweep(); err != nil || len(swept) > 0 {
		fmt.Fprintln(os.Stderr, "peer: removed what killed runs had left:", swept, err)
	}
	cache, err := image.OpenCache()
	if err != nil {
		return "", err
	}
	fmt.Fprintln(os.Stderr, "peer: a Debian tree with the peers; the first time that takes minutes")
	if tree, err = cache.Debian(append(pacemaker.Packages(), sanlock.Packages()...)...); err != nil {
		return "", err
	}
	dir, err := os.MkdirTemp("", "hfdemo-peer-")
	if err != nil {
		return "", err
	}
	const module = "github.com/holdfast-ha/holdfast/"
	cmd := exec.Command("go", "build", "-trimpath", "-buildvcs=false", "-o", dir+"/", module+"cmd/...", module+"test/demo", module+"test/peer")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", errors.Join(fmt.Errorf("build the programs: %w\n%s", err, out), os.RemoveAll(dir))
	}
	return tree, errors.Join(os.Chmod(dir, 0o755), os.Setenv(contender.ProgramsEnv, dir))
}
