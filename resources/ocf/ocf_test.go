package ocf_test

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-ha/holdfast/resources"
	"github.com/holdfast-ha/holdfast/resources/agenttest"
	"github.com/holdfast-ha/holdfast/resources/ocf"
)

func TestMain(m *testing.M) { agenttest.Main(m, resources.Kinds{"ocf": ocf.Agent{}}) }

// stub is an agent whose answers the test writes into files beside it.
const stub = `#!/bin/sh
dir=${0%/*}
case $1 in
meta-data) cat <<END
<?xml version="1.0"?>
<resource-agent name="stub" version="1.1"><version>1.1</version>
<parameters>
<parameter name="file" required="1" unique-group="where"><content type="string"/></parameter>
<parameter name="port" unique-group="where"><content type="integer" default="80"/></parameter>
<parameter name="loud" reloadable="1"><content type="boolean" default="no"/></parameter>
<parameter name="mode"><content type="select"><option value="fast"/><option value="slow"/></content></parameter>
</parameters>
<actions><action name="start" timeout="1min"/><action name="stop" timeout="90"/>
<action name="monitor" timeout="5s" interval="10"/><action name="monitor" timeout="20s" interval="60" depth="10"/>
<action name="reload-agent" timeout="5"/><action name="validate-all" timeout="5"/><action name="meta-data" timeout="5"/></actions>
</resource-agent>
END
exit 0;;
esac
env | grep -E '^(OCF|HA)_' | sort > $dir/env.$1
echo "ocf-exit-reason:not this one" >&2
[ ! -e $dir/reason ] || echo "ocf-exit-reason:$(cat $dir/reason)" >&2
[ ! -e $dir/code.$1 ] || exit $(cat $dir/code.$1)
exit 0
`

// agent is the stub, installed below a root of its own.
type agent struct {
	t    *testing.T
	dir  string
	with map[string]string
}

func newAgent(t *testing.T) *agent {
	t.Helper()
	root := t.TempDir()
	a := &agent{t: t, dir: filepath.Join(root, "resource.d", "test"), with: map[string]string{"file": "/srv/x"}}
	t.Setenv("OCF_ROOT", root)
	t.Setenv("HOLDFAST_RUN", filepath.Join(root, "run"))
	if err := os.MkdirAll(a.dir, 0o755); err != nil {
		t.Fatal(err)
	}
	a.write("stub", stub)
	return a
}

func (a *agent) write(name, text string) {
	a.t.Helper()
	if err := os.WriteFile(filepath.Join(a.dir, name), []byte(text), 0o755); err != nil {
		a.t.Fatal(err)
	}
}

func (a *agent) says(action string, code int) { a.write("code."+action, strconv.Itoa(code)) }

func (a *agent) request() (context.Context, resources.Request) {
	a.t.Helper()
	raw, err := json.Marshal(map[string]any{"agent": "test:stub", "with": a.with, "check_level": 10})
	if err != nil {
		a.t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	a.t.Cleanup(cancel)
	return ctx, resources.Request{Service: "orders", Member: "ocf:2", Spec: raw, Timeout: 20 * time.Second}
}

type verb func(context.Context, resources.Request) resources.Report

func (a *agent) want(v verb, want resources.Outcome, reach resources.Severity, words string) {
	a.t.Helper()
	r := v(a.request())
	if r.Outcome != want || r.Severity != reach || !strings.Contains(r.Text, words) {
		a.t.Errorf("%v, severity %q: %s; want %v, %q, %q", r.Outcome, r.Severity, r.Text, want, reach, words)
	}
}

// The whole table: what each exit code means for each question.
func TestExitCodes(t *testing.T) {
	const ok, failed, absent, unsure = resources.OK, resources.Failed, resources.NotRunning, resources.Unknown
	for _, c := range []struct {
		code                      int
		start, stop, check, probe resources.Outcome
		unused                    resources.Outcome // the probe where no start was tried
		reach                     resources.Severity
	}{
		{code: 0, start: ok, stop: ok, check: ok, probe: ok, unused: ok},
		{code: 1, start: failed, stop: failed, check: failed, probe: failed, unused: failed},
		{code: 2, start: failed, stop: failed, check: failed, probe: unsure, unused: absent, reach: resources.Hard},
		{code: 3, start: failed, stop: failed, check: unsure, probe: unsure, unused: unsure, reach: resources.Hard},
		{code: 4, start: failed, stop: failed, check: failed, probe: unsure, unused: unsure, reach: resources.Hard},
		{code: 5, start: failed, stop: failed, check: failed, probe: unsure, unused: absent, reach: resources.Hard},
		{code: 6, start: failed, stop: failed, check: failed, probe: unsure, unused: absent, reach: resources.Fatal},
		{code: 7, start: failed, stop: ok, check: absent, probe: absent, unused: absent},
		{code: 8, start: failed, stop: failed, check: ok, probe: ok, unused: ok},
		{code: 9, start: failed, stop: failed, check: failed, probe: failed, unused: failed},
		{code: 42, start: failed, stop: failed, check: failed, probe: unsure, unused: unsure},
		{code: 190, start: failed, stop: failed, check: ok, probe: ok, unused: ok},
		{code: 191, start: failed, stop: failed, check: ok, probe: ok, unused: ok},
	} {
		t.Run(strconv.Itoa(c.code), func(t *testing.T) {
			a := newAgent(t)
			a.write("reason", "because of "+strconv.Itoa(c.code))
			for _, action := range []string{"start", "stop", "monitor"} {
				a.says(action, c.code)
			}
			one := func(name string, v verb, want resources.Outcome) {
				t.Helper()
				r := v(a.request())
				if r.Outcome != want {
					t.Errorf("%s: %v: %s; want %v", name, r.Outcome, r.Text, want)
				}
				if want == failed && (r.Severity != c.reach || !strings.Contains(r.Text, "because of "+strconv.Itoa(c.code)) || strings.Contains(r.Text, "not this one")) {
					t.Errorf("%s: severity %q, text %q; want %q and the last reason", name, r.Severity, r.Text, c.reach)
				}
			}
			one("probe before", ocf.Agent{}.Probe, c.unused)
			one("start", ocf.Agent{}.Start, c.start)
			one("probe", ocf.Agent{}.Probe, c.probe)
			one("check", ocf.Agent{}.Check, c.check)
			one("stop", ocf.Agent{}.Stop, c.stop)
		})
	}
}

// After the agent has said that its stop is complete, "I cannot tell" is enough.
func TestTheNoteOfAStart(t *testing.T) {
	a := newAgent(t)
	a.says("start", 5)
	a.says("monitor", 5)
	a.want(ocf.Agent{}.Start, resources.Failed, resources.Hard, "not installed")
	a.want(ocf.Agent{}.Probe, resources.Unknown, "", "exits with 5")
	a.want(ocf.Agent{}.Stop, resources.OK, "", "")
	a.want(ocf.Agent{}.Probe, resources.NotRunning, "", "has been stopped")
}

// An agent that was uninstalled while it was in use is not a stopped one.
func TestAnAgentThatIsMissing(t *testing.T) {
	a := newAgent(t)
	used := ocf.Agent{}
	a.want(used.Start, resources.OK, "", "")
	if err := os.Remove(filepath.Join(a.dir, "stub")); err != nil {
		t.Fatal(err)
	}
	a.want(used.Stop, resources.Unknown, "", "no such file")
	a.want(used.Probe, resources.Unknown, "", "no such file")
	t.Setenv("HOLDFAST_RUN", t.TempDir())
	a.want(used.Fit, resources.Failed, resources.Hard, "resource-agents")
	a.want(used.Start, resources.Failed, resources.Hard, "resource-agents")
	a.want(used.Stop, resources.OK, "", "was not used here")
	a.want(used.Probe, resources.NotRunning, "", "was not used here")
}

func TestParameters(t *testing.T) {
	for name, c := range map[string]struct {
		with  map[string]string
		words string
	}{
		"unknown":  {map[string]string{"file": "/x", "fil": "/y"}, "fil is not known"},
		"missing":  {map[string]string{}, "file is missing"},
		"integer":  {map[string]string{"file": "/x", "port": "http"}, "no whole number"},
		"boolean":  {map[string]string{"file": "/x", "loud": "perhaps"}, "neither true nor false"},
		"select":   {map[string]string{"file": "/x", "mode": "medium"}, "none of fast, slow"},
		"both bad": {map[string]string{"port": "x"}, "file is missing; add it under with; parameter port"},
	} {
		t.Run(name, func(t *testing.T) {
			a := newAgent(t)
			a.with = c.with
			a.want(ocf.Agent{}.Fit, resources.Failed, resources.Fatal, c.words)
			a.want(ocf.Agent{}.Start, resources.Failed, resources.Fatal, c.words)
			if _, err := os.Stat(filepath.Join(a.dir, "env.start")); err == nil {
				t.Error("the agent was started all the same")
			}
		})
	}
	a := newAgent(t)
	a.with = map[string]string{"file": "/x", "port": "8080", "loud": "Yes", "mode": "slow"}
	a.want(ocf.Agent{}.Fit, resources.OK, "", "finds nothing wrong")
	a.says("validate-all", 5)
	a.write("reason", "Setup problem: couldn't find command: stubd")
	a.want(ocf.Agent{}.Fit, resources.Failed, resources.Hard, "stubd")
	a.write("reason", "Configuration file /srv/x not found")
	a.want(ocf.Agent{}.Fit, resources.OK, "", "/srv/x not found")
}

func TestEnvironment(t *testing.T) {
	a := newAgent(t)
	a.want(ocf.Agent{}.Start, resources.OK, "", "")
	a.want(ocf.Agent{}.Check, resources.OK, "", "")
	read := func(action string) string {
		text, err := os.ReadFile(filepath.Join(a.dir, "env."+action))
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	start, check := read("start"), read("monitor")
	for _, line := range []string{
		"OCF_RA_VERSION_MAJOR=1", "OCF_RA_VERSION_MINOR=1", "OCF_RESOURCE_INSTANCE=orders-ocf_2", "OCF_RESOURCE_PROVIDER=test",
		"OCF_RESOURCE_TYPE=stub", "OCF_RESKEY_file=/srv/x", "OCF_RESKEY_CRM_meta_timeout=20000", "OCF_RESKEY_CRM_meta_interval=0",
		"OCF_RESKEY_CRM_meta_name=start", "OCF_CHECK_LEVEL=0", "HA_RSCTMP=/run/resource-agents",
	} {
		if !strings.Contains(start, line+"\n") {
			t.Errorf("start without %s:\n%s", line, start)
		}
	}
	for _, line := range []string{"OCF_CHECK_LEVEL=10", "OCF_RESKEY_CRM_meta_interval=10000"} {
		if !strings.Contains(check, line+"\n") {
			t.Errorf("check without %s:\n%s", line, check)
		}
	}
}

func TestAdvertisedTimeouts(t *testing.T) {
	a := newAgent(t)
	l, err := ocf.Agent{}.Usual(a.request())
	want := resources.Limits{Start: time.Minute, Stop: 90 * time.Second, Check: 20 * time.Second}
	if err != nil || l != want {
		t.Errorf("%+v, %v; want %+v", l, err, want)
	}
}

func TestReload(t *testing.T) {
	a := newAgent(t)
	a.want(ocf.Agent{}.Reload, resources.NotRunning, "", "not known")
	a.want(ocf.Agent{}.Start, resources.OK, "", "")
	a.with = map[string]string{"file": "/srv/x", "loud": "yes"}
	a.want(ocf.Agent{}.Reload, resources.OK, "", "reloaded")
	a.with = map[string]string{"file": "/srv/y", "loud": "yes"}
	a.want(ocf.Agent{}.Reload, resources.NotRunning, "", "restarted")
}

// What an agent wants to be unique is, among what was started on this node.
func TestUnique(t *testing.T) {
	a := newAgent(t)
	a.with = map[string]string{"file": "/a", "port": "1"}
	a.want(ocf.Agent{}.Start, resources.OK, "", "")
	a.want(ocf.Agent{}.Start, resources.OK, "", "") // it is itself
	second := func(v verb) verb {
		return func(ctx context.Context, req resources.Request) resources.Report {
			req.Service = "second"
			return v(ctx, req)
		}
	}
	a.want(second(ocf.Agent{}.Fit), resources.Failed, resources.Hard, `file="/a" port="1" is also that of orders-ocf_2`)
	a.want(second(ocf.Agent{}.Start), resources.Failed, resources.Hard, "unique")
	a.with = map[string]string{"file": "/a", "port": "2"} // only together they are
	a.want(second(ocf.Agent{}.Start), resources.OK, "", "")
	a.with = map[string]string{"file": "/a", "port": "1"}
	a.want(ocf.Agent{}.Stop, resources.OK, "", "")
	a.want(second(ocf.Agent{}.Fit), resources.OK, "", "")
}

func TestBadSpecifications(t *testing.T) {
	for _, raw := range []string{`{}`, `{"agent": "nginx"}`, `{"agent": "heartbeat:../../bin/sh"}`, `{"agent": "a:b", "check_level": 99}`} {
		r := ocf.Agent{}.Start(context.Background(), resources.Request{Spec: json.RawMessage(raw), Timeout: time.Second})
		if r.Outcome != resources.Failed || r.Severity != resources.Fatal {
			t.Errorf("%s: %v: %s", raw, r.Outcome, r.Text)
		}
	}
	if _, err := ocf.ParseMetadata("this is no XML"); err == nil {
		t.Error("metadata that are none were read")
	}
}

// An agent is asked for its metadata once, and again when its program is another.
func TestMetadataAreKept(t *testing.T) {
	a := newAgent(t)
	count := filepath.Join(a.dir, "count")
	counting := strings.Replace(stub, "meta-data) cat", "meta-data) echo x >> "+count+"; cat", 1)
	asked := func(want int) {
		t.Helper()
		ctx, req := a.request()
		if r := (ocf.Agent{}).Fit(ctx, req); r.Outcome != resources.OK {
			t.Fatalf("%+v", r)
		}
		if text, _ := os.ReadFile(count); strings.Count(string(text), "x") != want {
			t.Errorf("it was asked %d times, want %d", strings.Count(string(text), "x"), want)
		}
	}
	a.write("stub", counting)
	asked(1)
	asked(1)
	a.write("stub", counting+"\n# a newer one\n")
	asked(2)
	if err := os.WriteFile(filepath.Join(filepath.Dir(filepath.Dir(a.dir)), "run", "ocf-metadata", "test:stub"), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	asked(3)
	asked(3)
}
