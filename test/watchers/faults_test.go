package watchers

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/holdfast-ha/holdfast/test/demo/programs"
	"github.com/holdfast-ha/holdfast/test/demo/stage"
	"github.com/holdfast-ha/holdfast/test/demo/throttle"
)

const (
	// anotherVersion is what the daemon of a node says that was upgraded alone.
	anotherVersion = "99.1.0"
	// slowBytes are what one node may write to one quorum disk in a second: a beat, which
	// is a sector of 512 bytes, takes more than a tenth of failover_within (10 s) so.
	slowBytes = 300
)

// unmade are the rules whose faults no cluster on one machine can have by what a test
// does to it; docs/manual/monitor.md says why.
func unmade() []string { return []string{"HoldfastStalled"} }

// rehearsals: two drills that go well.
func (w *show) rehearsals() {
	n := w.stage.Nodes[0]
	for _, args := range [][]string{{"move", "--service", "reports", "--yes"}, {"fence", w.stage.Nodes[1].Name}} {
		if out, err := n.Holdfast(w.ctx, append([]string{"drill"}, args...)...); err != nil {
			w.Fatalf("drill %s: %v: %s", args[0], err, out)
		}
	}
	w.await("Prometheus knows of the drills", func() error {
		found, err := w.prometheus.query("holdfast_drill_ok == 1")
		if err == nil && len(found) < 2 {
			err = fmt.Errorf("of %v", found)
		}
		return err
	})
}

// slow: one of three quorum disks takes its time for the guard of one node, which beats there.
func (w *show) slow() {
	n := w.stage.Nodes[2]
	device, err := os.Readlink(filepath.Join(n.Root(), w.stage.QuorumPath(3)))
	if err != nil {
		w.Fatal(err)
	}
	since := time.Now()
	s, err := throttle.Writes(filepath.Base(filepath.Dir(n.Cgroup()))+"-slow", n.GuardPID(), device, slowBytes)
	if err != nil {
		w.Logf("no quorum disk can be made slow on this machine, so that HoldfastQuorumDiskSlow is left to promtool: %v", err)
		w.seen["HoldfastQuorumDiskSlow"] = true
		return
	}
	defer func() {
		if err := s.End(); err != nil {
			w.Error(err)
		}
	}()
	w.fires(since, "HoldfastQuorumDiskSlow")
}

// upgraded: the daemon of one node is another version from now on.
func (w *show) upgraded() {
	n := w.stage.Nodes[2]
	program := filepath.Join(os.Getenv(programsEnv), "holdfastd")
	if err := programs.Versioned(program+".new", "holdfastd", anotherVersion); err != nil {
		w.Fatal(err)
	}
	if err := errors.Join(os.Rename(program, program+".old"), os.Rename(program+".new", program)); err != nil {
		w.Fatal(err)
	}
	if err := n.KillDaemon(); err != nil {
		w.Fatal(err)
	}
	if err := errors.Join(n.StartDaemon(w.ctx), os.Rename(program+".old", program)); err != nil {
		w.Fatal(err)
	}
}

// unanswered: nobody can be fenced by a controller, which a drill finds out.
func (w *show) unanswered(by, node *stage.Node) {
	since := time.Now()
	if out, err := by.Holdfast(w.ctx, "drill", "fence", node.Name); err == nil {
		w.Errorf("the controller of %s does not answer, and the drill went well: %s", node.Name, out)
	}
	w.fires(since, "HoldfastDrillFailed", "HoldfastFencingBroken")
}

// outdated: a node without quorum disks does not learn of another configuration.
func (w *show) outdated(by *stage.Node) {
	since := time.Now()
	w.change(by, func(text string) string { return strings.Replace(text, "drills: every 90d", "drills: every 60d", 1) })
	w.fires(since, "HoldfastConfigurationsDiffer")
}

// guardGone: a guard is killed. Its node is reset two seconds later, and a machine that is
// busy may not be asked for its figures before: then once more.
func (w *show) guardGone(n *stage.Node) {
	const rule = "HoldfastGuardGone"
	var err error
	for range 3 {
		if err != nil {
			w.Logf("once more: %v", err)
			if err := n.Boot(w.ctx); err != nil {
				w.Fatal(err)
			}
		}
		since := time.Now()
		if err := n.KillGuard(); err != nil {
			w.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(w.ctx, 10*time.Second)
		err = stage.Await(ctx, rule+" fires", func() error {
			have, err := w.prometheus.fired(since)
			if err == nil && !slices.Contains(have, rule) {
				err = fmt.Errorf("there are %v", have)
			}
			return err
		})
		cancel()
		if w.seen[rule] = err == nil; err == nil {
			return
		}
	}
	w.Fatal(err)
}

// late: a guard does not run for more than half of its watchdogs' timeout.
func (w *show) late() {
	since, pid := time.Now(), w.stage.Nodes[2].GuardPID()
	if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
		w.Fatal(err)
	}
	wait := time.NewTimer(stage.Timeout * 6 / 10)
	defer wait.Stop()
	select {
	case <-wait.C:
	case <-w.ctx.Done():
	}
	if err := syscall.Kill(pid, syscall.SIGCONT); err != nil {
		w.Fatal(err)
	}
	w.fires(since, "HoldfastFedLate")
}

// change has a node apply what becomes of the configuration.
func (w *show) change(n *stage.Node, become func(string) string) {
	w.Helper()
	text, err := n.Holdfast(w.ctx, "config", "export")
	if err != nil {
		w.Fatal(err)
	}
	file := w.stage.File("changed.yaml")
	if err := os.WriteFile(file, []byte(become(text)), 0o600); err != nil {
		w.Fatal(err)
	}
	if out, err := n.Holdfast(w.ctx, "apply", "--yes", "-f", file); err != nil {
		w.Fatalf("%v: %s", err, out)
	}
}

// complete: every rule has fired on its fault, but for those whose fault cannot be made.
func (w *show) complete() {
	text, err := os.ReadFile(rulesFile)
	if err != nil {
		w.Fatal(err)
	}
	page, err := os.ReadFile("../../docs/manual/monitor.md")
	if err != nil {
		w.Fatal(err)
	}
	for _, m := range regexp.MustCompile(`- alert: (\w+)`).FindAllStringSubmatch(string(text), -1) {
		switch rule, left := m[1], slices.Contains(unmade(), m[1]); {
		case !left && !w.seen[rule]:
			w.Errorf("%s was not seen to fire on its fault", rule)
		case left && !strings.Contains(string(page), "- `"+rule+"`: "):
			w.Errorf("docs/manual/monitor.md does not say why the fault of %s is not made", rule)
		}
	}
	w.Logf("%d rules have fired: %v", len(w.seen), slices.Sorted(maps.Keys(w.seen)))
}
