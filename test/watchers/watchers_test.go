package watchers

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/holdfast-ha/holdfast/internal/alerts"
	"github.com/holdfast-ha/holdfast/internal/metrics"
	"github.com/holdfast-ha/holdfast/test/demo/controllers"
	"github.com/holdfast-ha/holdfast/test/demo/programs"
	"github.com/holdfast-ha/holdfast/test/demo/remains"
	"github.com/holdfast-ha/holdfast/test/demo/stage"
)

// programsEnv passes the folder of the programs under test from TestMain to the tests.
const programsEnv = "HOLDFAST_WATCHERS_PROGRAMS"

func TestMain(m *testing.M) { os.Exit(built(m)) }

func built(m *testing.M) int {
	flag.Parse()
	if testing.Short() || os.Getenv(programsEnv) != "" {
		return m.Run() // what needs programs skips itself, or finds them
	}
	dir, err := os.MkdirTemp("", "hfdemo-programs-")
	if err == nil {
		defer os.RemoveAll(dir)
		err = errors.Join(programs.Build(dir), os.Setenv(programsEnv, dir))
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "watchers:", err)
		return 1
	}
	if swept, err := remains.Sweep(); err != nil || len(swept) > 0 {
		fmt.Fprintln(os.Stderr, "watchers: removed what killed runs had left:", swept, err)
	}
	return m.Run()
}

// run starts a program that ends with the test.
func run(t *testing.T, log, name string, args ...string) {
	t.Helper()
	out, err := os.Create(log)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(name, args...)
	cmd.Stdout, cmd.Stderr, cmd.SysProcAttr = out, out, &syscall.SysProcAttr{Setpgid: true}
	if err := errors.Join(cmd.Start(), out.Close()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		// Its own group: what a program has started ends with it.
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM) // it may have ended
		ended := make(chan struct{})
		go func() { _ = cmd.Wait(); close(ended) }() // how it ends says nothing
		select {
		case <-ended:
		case <-time.After(10 * time.Second):
			_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
			<-ended
		}
		if text, err := os.ReadFile(log); t.Failed() && err == nil {
			lines := strings.Split(strings.TrimSpace(string(text)), "\n")
			t.Logf("%s:\n%s", name, strings.Join(lines[max(0, len(lines)-15):], "\n"))
		}
	})
}

// show is one cluster and all who watch it.
type show struct {
	*testing.T
	ctx         context.Context
	stage       *stage.Stage
	controllers *controllers.Set
	prometheus  *prometheus
	icinga      *icinga
	zabbix      *agent
	template    *template
	page        string          // the script that alerts are told to
	seen        map[string]bool // the rules that have fired on their faults
}

// usual are the alerts that may fire without a fault: a node of a power emulator says so
// in its warnings, and a container what its kernel refused; a machine that runs a whole cluster beside other tests stalls.
func usual(alert string) bool {
	return slices.Contains([]string{"HoldfastWarnings", "HoldfastStalled", "HoldfastFedLate", "HoldfastQuorumDiskSlow"}, alert)
}

// await waits until something is as described.
func (w *show) await(what string, met func() error) {
	w.Helper()
	began := time.Now()
	ctx, cancel := context.WithTimeout(w.ctx, time.Minute)
	defer cancel()
	if err := stage.Await(ctx, what, met); err != nil {
		w.Fatal(err)
	}
	w.Logf("%s: after %.1f s", what, time.Since(began).Seconds())
}

// fires waits until all of these alerts have fired since an instant.
func (w *show) fires(since time.Time, wanted ...string) {
	w.Helper()
	w.await(strings.Join(wanted, ", ")+" fire", func() error {
		have, err := w.prometheus.fired(since)
		if err != nil {
			return err
		}
		for _, name := range wanted {
			if !slices.Contains(have, name) {
				return fmt.Errorf("%s does not; there are %v", name, have)
			}
			w.seen[name] = true
		}
		return nil
	})
}

// silent waits until nothing fires but what may.
func (w *show) silent(but ...string) {
	w.Helper()
	w.await("no alert fires", func() error {
		have, err := w.prometheus.fired(time.Time{})
		if have = slices.DeleteFunc(have, func(a string) bool { return usual(a) || slices.Contains(but, a) }); err == nil && len(have) > 0 {
			err = fmt.Errorf("%v fire", have)
		}
		return err
	})
}

// TestWatchers: one cluster, all who watch it, and its faults one after the other.
func TestWatchers(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: a whole cluster takes a minute; make test runs it")
	}
	if err := stage.Able(); err != nil {
		t.Skipf("this machine cannot put up a cluster with disks and networks: %v", err)
	}
	for program, pkg := range map[string]string{"prometheus": "prometheus", "icinga2": "icinga2-bin", "zabbix_agentd": "zabbix-agent"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skipf("%s is missing: test/setup.sh installs it (package %s)", program, pkg)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 8*time.Minute)
	t.Cleanup(cancel)
	w := &show{T: t, ctx: ctx, controllers: &controllers.Set{}, template: readTemplate(t), page: receiver(t), seen: map[string]bool{}}
	w.raise()
	began := time.Now()
	w.healthy()
	w.rehearsals()
	w.slow()
	w.nuisances()
	w.takeover()
	w.told()
	w.fires(began, "HoldfastVersionsDiffer")
	w.lonely()
	w.late()
	w.fires(began, "HoldfastNodeOut", "HoldfastWarnings", "HoldfastDrillOverdue")
	w.everything()
	w.gone()
	w.complete()
}

// raise puts up the cluster and everybody who watches it.
func (w *show) raise() {
	c := issue(w.T)
	w.Cleanup(w.controllers.Unplug)
	logs := w.TempDir()
	s, err := stage.Raise(w.ctx, stage.Options{
		Bin: os.Getenv(programsEnv), Root: true, Disks: 3, Within: 10 * time.Second, ClusterName: "hospital", Services: []stage.Service{{Name: "orders", Prefer: []string{"alpha", "beta"}}, {Name: "reports"}}, Logs: logs,
		Controllers: func(s *stage.Stage) (string, error) {
			text, err := w.controllers.Install(s)
			return text + fmt.Sprintf("\nmetrics: {listen: \"0.0.0.0:%d\", certificate: %s, key: %s, clients: %s}\n", metricsPort, c.node, c.nodeKey, c.authority), err
		},
	})
	if err != nil {
		w.Fatalf("put a cluster up: %v", err)
	}
	w.Cleanup(func() {
		if err := s.Close(); err != nil {
			w.Errorf("left behind: %v", err)
		}
		files, _ := filepath.Glob(filepath.Join(logs, "*", "*-holdfastd")) // fails only for a bad pattern
		for _, f := range files {
			if text, err := os.ReadFile(f); w.Failed() && err == nil {
				lines := strings.Split(strings.TrimSpace(string(text)), "\n")
				w.Logf("%s:\n%s", filepath.Base(f), strings.Join(lines[max(0, len(lines)-30):], "\n"))
			}
		}
	})
	w.stage = s
	w.prometheus, w.icinga = watchPrometheus(w.T, s, c), watchIcinga(w.T, s, "orders")
	w.zabbix = watchZabbix(w.T, s, s.Nodes[2])
}

// healthy: everybody sees the cluster, and finds nothing.
func (w *show) healthy() {
	w.await("Prometheus scrapes every node", func() error {
		up, err := w.prometheus.query("holdfast_up == 1")
		if err == nil && len(up) != len(w.stage.Nodes) {
			err = fmt.Errorf("%d of them", len(up))
		}
		return err
	})
	w.await("Icinga has checked every node", func() error {
		story, err := w.icinga.story()
		hosts := map[string]bool{}
		for _, e := range story {
			hosts[e.host] = hosts[e.host] || e.service == "cluster" && strings.Contains(e.performance, "members=3;;;0;3") && strings.Contains(e.performance, "s;60.000;120.000;0")
		}
		if err == nil && !(hosts["alpha"] && hosts["beta"] && hosts["gamma"]) {
			err = fmt.Errorf("it has seen %v", story)
		}
		return err
	})
	w.await("the Zabbix agent answers", func() error {
		line, err := w.zabbix.get("holdfast.check")
		if err == nil && !strings.HasPrefix(line, "HOLDFAST OK") && !strings.HasPrefix(line, "HOLDFAST WARNING") {
			err = errors.New(line)
		}
		return err
	})
	w.answered()
	w.silent()
}

// nuisances: one of three quorum disks goes, and the heartbeat cables, and a service that
// cannot start is applied; nothing is taken over. Then all of it is mended.
func (w *show) nuisances() {
	n := w.stage.Nodes[0]
	conf, err := n.Holdfast(w.ctx, "config", "export")
	if err != nil {
		w.Fatal(err)
	}
	apply := func(text string) { w.change(n, func(string) string { return text }) }
	since := time.Now()
	if err := errors.Join(w.stage.LoseQuorum(3), w.stage.CutHeartbeats()); err != nil {
		w.Fatal(err)
	}
	apply(strings.Replace(conf, "services:\n", "services:\n  broken:\n    stack:\n      - exec: {start: 'exit 1'}\n", 1))
	w.fires(since, "HoldfastQuorumDiskDown", "HoldfastLinkDown")
	w.fires(since, "HoldfastOperationFailed", "HoldfastServiceDown", "HoldfastCritical")
	w.fires(since, "HoldfastQuorumDiskFailing")
	errs := []error{w.stage.MendHeartbeats()}
	for _, n := range w.stage.Nodes {
		errs = append(errs, n.MendDisks())
	}
	if err := errors.Join(errs...); err != nil {
		w.Fatal(err)
	}
	apply(conf + fmt.Sprintf("drills: every 90d\nalerts:\n  - script: %s\n", w.page))
	w.silent("HoldfastOperationFailed", "HoldfastDrillOverdue") // the first speaks of the last quarter of an hour
}

// takeover: the owner freezes, and no management controller answers.
func (w *show) takeover() {
	service := w.stage.Services[0]
	from, err := w.stage.Owner(w.ctx, service)
	if err != nil || from == nil {
		w.Fatalf("%s runs nowhere: %v", service.Name, err)
	}
	w.controllers.Unplug()
	w.upgraded() // a daemon that begins asks every controller
	before, err := w.icinga.story()
	if err != nil {
		w.Fatal(err)
	}
	since := time.Now()
	if err := from.Freeze(); err != nil {
		w.Fatal(err)
	}
	var told []string // what the template's items say, each change once
	w.await("Zabbix sees the takeover", func() error {
		answer, err := w.zabbix.get("holdfast.status")
		if err != nil {
			return err
		}
		items, err := w.template.latest(answer)
		if err != nil {
			return err
		}
		say := fmt.Sprintf("fencing %v, on %v: %v", items["holdfast.node.fencing["+from.Name+"]"], items["holdfast.service.node[orders]"], items["holdfast.service.state[orders]"])
		if len(told) == 0 || told[len(told)-1] != say {
			told = append(told, say)
		}
		if now := items["holdfast.service.node[orders]"]; now == from.Name || items["holdfast.service.state[orders]"] != "running" {
			return errors.New(say)
		}
		return nil
	})
	w.Logf("Zabbix: %s", strings.Join(told, "; "))
	if !slices.ContainsFunc(told, func(s string) bool { return strings.HasPrefix(s, "fencing true") }) {
		w.Errorf("Zabbix did not see that %s was fenced: %q", from.Name, told)
	}
	w.await("Icinga sees the takeover", func() error {
		story, err := w.icinga.story()
		if err != nil {
			return err
		}
		return sawTakeover(story[len(before):], from.Name)
	})
	w.fires(since, "HoldfastNodeFenced", "HoldfastTookOver", "HoldfastFencingFailed")
	w.unanswered(w.stage.Nodes[1], w.stage.Nodes[2])
}

// sawTakeover says what is missing in what Icinga has seen: on a node that stayed, that
// the other one was fenced or the service did not run, and then that it runs again.
func sawTakeover(story []seen, from string) error {
	for i, e := range story {
		if e.host == from || e.state == "OK" || !strings.Contains(e.output, from) && !strings.Contains(e.output, "orders") {
			continue
		}
		for _, later := range story[i:] {
			if later.host == e.host && later.service == "orders" && later.state == "OK" {
				return nil
			}
		}
	}
	return fmt.Errorf("it has seen %q", story)
}

// lonely: a node loses all quorum disks, and then its guard.
func (w *show) lonely() {
	owner, err := w.stage.Owner(w.ctx, w.stage.Services[0])
	if err != nil || owner == nil {
		w.Fatalf("orders runs nowhere: %v", err)
	}
	since := time.Now()
	if err := owner.CutQuorum(); err != nil {
		w.Fatal(err)
	}
	w.fires(since, "HoldfastLeaseShort", "HoldfastNoLease")
	w.outdated(w.stage.Nodes[map[bool]int{true: 1, false: 2}[owner == w.stage.Nodes[2]]])
	w.guardGone(owner)
}

// gone: where the daemon does not answer, a check says that nothing is known.
func (w *show) gone() {
	since := time.Now()
	if err := w.stage.Nodes[2].KillDaemon(); err != nil {
		w.Fatal(err)
	}
	w.fires(since, "HoldfastDown")
	line, err := w.zabbix.get("holdfast.check")
	if err != nil || !strings.HasPrefix(line, "HOLDFAST UNKNOWN") {
		w.Errorf("%q, %v", line, err)
	}
	w.await("Icinga knows nothing of gamma", func() error {
		story, err := w.icinga.story()
		if err == nil && !slices.ContainsFunc(story, func(e seen) bool { return e.host == "gamma" && e.state == "UNKNOWN" }) {
			err = errors.New("it has seen nothing of the kind")
		}
		return err
	})
}

// receiver makes the script that alerts are told to: it keeps their JSON, a line for each.
func receiver(t *testing.T) string {
	t.Helper()
	page := filepath.Join(t.TempDir(), "page")
	if err := os.WriteFile(page, fmt.Appendf(nil, "#!/bin/sh\nexec cat >>%s.told\n", page), 0o700); err != nil {
		t.Fatal(err)
	}
	return page
}

// told: through the loss of the coordinator the cluster has told its own story, each
// alert once, with the proof and the next step.
func (w *show) told() {
	var all []alerts.Alert
	w.await("the cluster tells of the takeover by itself", func() error {
		text, err := os.ReadFile(w.page + ".told")
		if err != nil {
			return err
		}
		all = nil
		for line := range strings.Lines(string(text)) {
			var a alerts.Alert
			if err := json.Unmarshal([]byte(line), &a); err != nil {
				return fmt.Errorf("%w: %s", err, line)
			}
			all = append(all, a)
		}
		for _, a := range all {
			// Over it is only when the service runs again that could not start before, too.
			if strings.Contains(a.Title, "node alpha was lost") {
				return nil
			}
		}
		var others []string
		for _, a := range all {
			others = append(others, a.Sender+": "+a.Title)
		}
		return fmt.Errorf("it has told %q", others)
	})
	keys := map[string]int{}
	for _, a := range all {
		w.Logf("%s told: %s", a.Sender, a.Title)
		keys[a.Key]++
		if keys[a.Key] > 1 || len(a.Text) == 0 || len(a.Next) == 0 || a.Cluster != "hospital" {
			w.Errorf("told %d times: %+v", keys[a.Key], a)
		}
		if strings.Contains(a.Title, "node alpha was lost") && a.Level == alerts.Over && !strings.HasPrefix(a.Proof, "E3") {
			w.Errorf("the proof of %s is %q", a.Key, a.Proof)
		}
	}
}

// everything: whatever the dashboard asks has had an answer, and what was exported is what
// the manual describes.
func (w *show) everything() {
	for title, list := range expressions(w.T) {
		for _, expr := range list {
			found, err := w.prometheus.query("count_over_time((" + expr + ")[5m:1s])")
			if err != nil || len(found) == 0 {
				w.Errorf("%s shows nothing: %s: %v", title, expr, err)
			}
		}
	}
	have, err := w.prometheus.names()
	if err != nil {
		w.Fatal(err)
	}
	described := map[string]bool{}
	for _, n := range metrics.Names() {
		described[n] = true
	}
	for _, n := range have {
		if !described[n] {
			w.Errorf("%s is exported, and docs/METRICS.md does not describe it", n)
		}
		delete(described, n)
	}
	if len(described) > 0 {
		w.Errorf("docs/METRICS.md describes what no daemon has exported: %v", slices.Sorted(maps.Keys(described)))
	}
}
