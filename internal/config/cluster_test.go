package config_test

import (
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-ha/holdfast/cluster"
	"github.com/holdfast-ha/holdfast/internal/config"
)

const whole = `
cluster:
  name: hospital
  failover_within: 10s
  on_disk_loss: keep
services:
  storage:
    stack:
      - exec: {run: [/usr/bin/target, --port, 860], env: {VERBOSE: 1, EMPTY: ""}, grace: 5s}
  orders:
    prefer: [alpha, beta]
    never: [gamma]
    failback: automatic after 10m
    priority: 100
    after: [storage]
    apart_from: [storage]
    restarts: 3 in 15m
    quick-stop: early
    stack:
      - filesystem: {device: /dev/vg_orders/data, at: /srv/orders, type: xfs, kill_holders: false}
        stop: {timeout: 90s}
      - ip: {address: 192.0.2.10/24, reach: 192.0.2.1}
        check: {every: 2s, timeout: 1s}
      - ip: {address: "2001:db8::10/64"}
      - exec:
          start: /srv/orders/up --now
          stop: |
            /srv/orders/down
            sync
        start: {timeout: 45s}
fencing:
  ways:
    beta: [reservation, {agent: fence_vmware_rest, with: {ip: 10.0.0.1, port: 443}}, disk]
    alpha: [bmc]
alerts:
  - webhook: https://example.org/hook
  - mail: ops@example.org
drills: every 90d
`

func TestParseCluster(t *testing.T) {
	got, err := config.ParseCluster("cluster.yaml", []byte(whole), config.KnownNodes([]string{"alpha", "beta", "gamma"}))
	if err != nil {
		t.Fatal(err)
	}
	want := &cluster.Config{
		Name: "hospital", FailoverWithin: 10 * time.Second, KeepOnDiskLoss: true, Quarantine: cluster.FlapRule{Budget: cluster.Budget{Count: 3, Within: 15 * time.Minute}, For: time.Hour},
		Services: []cluster.Service{
			{
				Name: "orders", Prefer: []string{"alpha", "beta"}, Never: []string{"gamma"},
				Failback: cluster.Failback{Mode: cluster.Automatic, After: 10 * time.Minute}, Priority: 100,
				After: []string{"storage"}, ApartFrom: []string{"storage"},
				Restarts: cluster.Budget{Count: 3, Within: 15 * time.Minute}, QuickStop: true,
				Stack: []cluster.Member{
					{ID: "filesystem", Kind: "filesystem", Reloads: true, Storage: true, Sole: "filesystem /dev/vg_orders/data", Stop: 90 * time.Second, Spec: []byte(`{"at":"/srv/orders","device":"/dev/vg_orders/data","kill_holders":false,"type":"xfs"}`)},
					{ID: "ip", Kind: "ip", Reloads: true, Sole: "ip 192.0.2.10", Check: time.Second, CheckEvery: 2 * time.Second, Spec: []byte(`{"address":"192.0.2.10/24","reach":"192.0.2.1"}`)},
					{ID: "ip-2", Kind: "ip", Reloads: true, Sole: "ip 2001:db8::10", Spec: []byte(`{"address":"2001:db8::10/64"}`)},
					{ID: "exec", Kind: "exec", Reloads: true, Start: 45 * time.Second, Spec: []byte(`{"start":"/srv/orders/up --now","stop":"/srv/orders/down\nsync\n"}`)},
				},
			},
			{
				Name: "storage",
				Stack: []cluster.Member{{
					ID: "exec", Kind: "exec", Reloads: true,
					Spec: []byte(`{"env":{"EMPTY":"","VERBOSE":"1"},"grace":"5s","run":["/usr/bin/target","--port","860"]}`),
				}},
			},
		},
		Fencing: []cluster.Ways{
			{Node: "alpha", Ways: []cluster.Way{{Kind: "bmc"}}},
			{Node: "beta", Ways: []cluster.Way{
				{Kind: "reservation"},
				{Kind: "agent", Agent: "fence_vmware_rest", With: map[string]string{"ip": "10.0.0.1", "port": "443"}},
				{Kind: "disk"},
			}},
		},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("parsed\n%+v\nwant\n%+v", got, want)
		for i, s := range got.Services {
			for j, m := range s.Stack {
				if !reflect.DeepEqual(m, want.Services[i].Stack[j]) {
					t.Errorf("%s member %d: %s\nwant %s", s.Name, j, m.Spec, want.Services[i].Stack[j].Spec)
				}
			}
		}
	}
	alerts, err := config.ParseAlerts("cluster.yaml", []byte(whole))
	if err != nil || !reflect.DeepEqual(alerts, []config.Alert{{Webhook: &config.Webhook{URL: "https://example.org/hook"}}, {Mail: &config.Mail{To: "ops@example.org", Server: config.LocalMail}}}) {
		t.Errorf("alerts %+v, %v", alerts, err)
	}
	if every, err := config.ParseDrills("cluster.yaml", []byte(whole)); err != nil || every != 90*24*time.Hour {
		t.Errorf("drills every %v, %v", every, err)
	}
	for text, want := range map[string]time.Duration{"": 0, "drills: off\n": 0, "drills: every 36h\n": 36 * time.Hour} {
		if every, err := config.ParseDrills("cluster.yaml", []byte("cluster: {name: x, failover_within: 10s}\n"+text)); err != nil || every != want {
			t.Errorf("%q: every %v, %v", text, every, err)
		}
	}
}

// A node is quarantined by default, as asked for, or never.
func TestQuarantine(t *testing.T) {
	const head = "cluster: {name: c, failover_within: 10s"
	rule := func(count int, within, length time.Duration) cluster.FlapRule {
		return cluster.FlapRule{Budget: cluster.Budget{Count: count, Within: within}, For: length}
	}
	for src, want := range map[string]cluster.FlapRule{
		head + "}\n":                                   rule(3, 15*time.Minute, time.Hour),
		head + ", quarantine: off}\n":                  {},
		head + ", quarantine: 5 in 1h for 30m}\n":      rule(5, time.Hour, 30*time.Minute),
		head + ", quarantine: \"2 in 10m for 24h\"}\n": rule(2, 10*time.Minute, 24*time.Hour),
	} {
		c, err := config.ParseCluster("c", []byte(src))
		if err != nil || c.Quarantine != want || c.Evict {
			t.Errorf("%q: %+v, %v", src, c, err)
		}
	}
}

// Without on_disk_loss the services are kept only where every listed node has a
// way to cut its power.
func TestOnDiskLossDefault(t *testing.T) {
	const head = "cluster: {name: c, failover_within: 10s}\n"
	for src, keep := range map[string]bool{
		head: false,
		head + "fencing: {ways: {a: [disk], b: [bmc]}}\n":                                            false,
		head + "fencing: {ways: {a: [bmc, disk], b: [bmc]}}\n":                                       true,
		head + "fencing: {ways: {a: [{agent: fence_x}]}}\n":                                          true,
		strings.Replace(head, "10s", "10s, on_disk_loss: keep", 1):                                   true,
		strings.Replace(head, "10s", "10s, on_disk_loss: stop", 1) + "fencing: {ways: {a: [bmc]}}\n": false,
	} {
		c, err := config.ParseCluster("c", []byte(src))
		if err != nil {
			t.Fatal(err)
		}
		if unlimited := c.NetworkGrace() > time.Hour; unlimited != keep || !keep && c.Grace != 120*time.Second {
			t.Errorf("%q: a grace of %v", src, c.NetworkGrace())
		}
		if c.KeepOnDiskLoss != keep {
			t.Errorf("%q: keep = %v", src, c.KeepOnDiskLoss)
		}
	}
}

// TestMessage pins what a person sees.
func TestMessage(t *testing.T) {
	_, err := config.ParseCluster("cluster.yaml", []byte("cluster:\n  name: hospital\n  failover_witin: 10s\n"))
	const want = `cluster.yaml:2:3: cluster: "failover_within" is missing
2|   name: hospital
 |   ~~~~ add failover_within: 10s

cluster.yaml:3:3: cluster: unknown key "failover_witin"
3|   failover_witin: 10s
 |   ~~~~~~~~~~~~~~ did you mean failover_within?`
	if err == nil || err.Error() != want {
		t.Errorf("got\n%v\nwant\n%s", err, want)
	}
}

// TestProblems has one mistake in each file, written as FILE, with the place of
// the mark and words of the message.
func TestProblems(t *testing.T) {
	const head = "cluster: {name: c, failover_within: 10s}\n"
	service := func(lines string) string { return head + "services:\n  a:\n" + lines }
	const stack = "    stack: [exec: {run: /bin/x}]\n"
	for _, c := range []struct {
		src          string
		line, column int
		words        string
	}{
		{"", 1, 1, "empty"},
		{"cluster: [", 1, 10, "not YAML"},
		{head + "---\n" + head, 3, 1, "second document"},
		{"\ufeff" + head, 1, 1, "byte order mark"},
		{head + strings.Repeat("[", 50), 2, 1, "deeply nested"},
		{head + "x" + strings.Repeat("# comment\n", 110000), 1, 1, "more than"},
		{head + "servises: {}\n", 2, 1, "did you mean services?"},
		{head + "cluster: {}\n", 2, 1, "twice"},
		{"cluster: {name: c, failover_within: 10}\n", 1, 37, "write 10s"},
		{"cluster: {name: c, failover_within: ten}\n", 1, 37, "1h30m"},
		{"cluster: {name: c, failover_within: 1h}\n", 1, 37, "from 1s to 10m"},
		{"cluster: {name: c, failover_within: [1s]}\n", 1, 37, "want a duration"},
		{"cluster: {name: true, failover_within: 10s}\n", 1, 17, `in quotes: "true"`},
		{"cluster: {name: \"a\\tb\", failover_within: 10s}\n", 1, 17, "nobody can see"},
		{"cluster: {name: &x c, failover_within: 10s}\n", 1, 17, "anchors"},
		{"cluster: {<<: {name: c}, name: c, failover_within: 10s}\n", 1, 11, "merge keys"},
		{"cluster: {name: c, failover_within: 10s, on_disk_loss: kep}\n", 1, 56, "did you mean keep?"},
		{"cluster: {name: c, failover_within: 10s, on_disk_loss: keep, grace_period: 60s}\n", 1, 76, "write on_disk_loss: stop"},
		{"cluster: {name: c, failover_within: 10s, grace_period: 5s}\n", 1, 56, "30s"},
		{"cluster: {name: c, failover_within: 10s, quarantine: 3 in 15m}\n", 1, 54, "for DURATION"},
		{"cluster: {name: c, failover_within: 10s, partition: evic}\n", 1, 53, "did you mean evict?"},
		{head + "services: {A: {stack: [exec: {run: x}]}}\n", 2, 12, "small letters"},
		{head + "services: {1: {stack: [exec: {run: x}]}}\n", 2, 12, `in quotes: "1"`},
		{service("    prefer: [n]\n"), 4, 5, `"stack" is missing`},
		{service("    stack: [exec: {run: [/bin/x, \"secret:a\"]}]\n"), 4, 34, "a secret cannot stand here"},
		{service("    stack: [exec: {run: /bin/x, env: {A: \"secret:../a\"}}]\n"), 4, 42, "is no name of a secret"},
		{service("    stack: [{ocf: \"heartbeat:a\", with: {p: \"secret:\"}}]\n"), 4, 44, "is no name of a secret"},
		{service("    stack: []\n"), 4, 12, "list is empty"},
		{service("    stack:\n"), 4, 11, "nothing is written here"},
		{service("    stack: {exec: {run: x}}\n"), 4, 12, "a dash for each"},
		{service("    stack: [{}]\n"), 4, 13, "names no kind"},
		{service("    stack: [{check: {every: 5s}}]\n"), 4, 13, "add one of exec, filesystem, ip"},
		{service("    stack: [{exec: {run: x}, ip: {address: 1.2.3.4/8}}]\n"), 4, 30, "a second kind"},
		{service("    stack: [exec: {}]\n"), 4, 19, "nothing to run"},
		{service("    stack: [exec: {run: x, start: y}]\n"), 4, 35, "both run and start"},
		{service("    stack: [exec: {run: x, stop: y}]\n"), 4, 34, "no stop command"},
		{service("    stack: [exec: {start: x, check: y}]\n"), 4, 19, "without stop"},
		{service("    stack: [exec: {run: x, dir: srv}]\n"), 4, 33, "no absolute path"},
		{service("    stack: [filesystem: {device: /dev/x, at: /srv/../y}]\n"), 4, 46, "shortest form, /y"},
		{service("    stack: [ip: {address: 192.0.2.10}]\n"), 4, 27, "prefix length"},
		{service("    stack: [ip: {address: 192.0.2.0/24}]\n"), 4, 27, "network itself"},
		{service("    stack: [ip: {address: 0.0.0.0/0}]\n"), 4, 27, "cannot be the address"},
		{service("    stack: [ip: {address: 192.0.2.9/24, reach: 192.0.2.9}]\n"), 4, 48, "always answers"},
		{service("    stack: [ip: {address: 192.0.2.9/24, reach: \"2001:db8::1\"}]\n"), 4, 48, "another family"},
		{service("    stack: [ip: {address: 192.0.2.9/24, arp: 99}]\n"), 4, 46, "from 1 to 20"},
		{service("    stack: [exec: {run: x}, check: {every: 1ms}]\n"), 4, 44, "from 500ms to 1h"},
		{service("    after: [b]\n" + stack), 4, 13, `no service "b"`},
		{service("    after: [a]\n" + stack), 4, 13, "the service itself"},
		{service("    prefer: [n, n]\n" + stack), 4, 17, "written twice"},
		{service("    prefer: [alhpa]\n" + stack), 4, 14, "did you mean alpha?"},
		{service("    prefer: [alpha]\n    never: [alpha]\n" + stack), 4, 14, "under prefer and under never"},
		{service("    prefer: [alpha]\n    only: [beta]\n" + stack), 4, 14, "under only"},
		{service("    only: [beta]\n    never: [beta]\n" + stack), 4, 12, "under only and under never"},
		{service("    failback: sometimes\n" + stack), 4, 15, "automatic after DURATION"},
		{service("    restarts: 3\n" + stack), 4, 15, `in quotes: "3"`},
		{service("    restarts: three in 5m\n" + stack), 4, 15, "COUNT in DURATION"},
		{service("    priority: 5000\n" + stack), 4, 15, "from 0 to 1000"},
		{service("    priority: 1.5\n" + stack), 4, 15, "whole number"},
		{head + "fencing: {ways: {alpha: [bcm]}}\n", 2, 26, "did you mean bmc?"},
		{head + "fencing: {ways: {gamma: [bmc]}}\n", 2, 18, `no node "gamma"`},
		{head + "alerts: [{mail: a@b, script: /x}]\n", 2, 10, "2 receivers"},
		{head + "alerts: [{webhook: ftp://x}]\n", 2, 20, "no http"},
		{head + "drills: every 5m\n", 2, 9, "every DURATION"},
		{head + "drills: 90d\n", 2, 9, "every DURATION"},
	} {
		_, err := config.ParseCluster("f", []byte(c.src), config.KnownNodes([]string{"alpha", "beta", "n"}))
		var all config.Problems
		if !errors.As(err, &all) {
			t.Errorf("%q: error %v, want Problems", c.src, err)
			continue
		}
		p := all[0]
		if len(all) != 1 || p.Line != c.line || p.Column != c.column || !strings.Contains(p.Error(), c.words) {
			t.Errorf("%q:\nwant one problem at %d:%d that says %q, got\n%v", c.src[:min(len(c.src), 200)], c.line, c.column, c.words, err)
		}
	}
}

// Everything that is wrong is said at once.
func TestAllProblems(t *testing.T) {
	const src = `cluster: {name: c, failover_within: 10s}
services:
  a: {after: [b], stack: [exec: {run: x}]}
  b: {after: [c], stack: [exec: {run: x}]}
  c: {after: [a, d], stack: [exec: {run: x}]}
  e: {with: [f], stack: [exec: {run: x}]}
  f: {with: [g], stack: [exec: {run: x}]}
  g: {apart_from: [e], stack: [exec: {ruin: x}]}
`
	_, err := config.ParseCluster("f", []byte(src))
	var all config.Problems
	if !errors.As(err, &all) || len(all) != 4 {
		t.Fatalf("want 4 problems, got\n%v", err)
	}
	for i, words := range []string{
		"none of these could ever start: a after b after c after a", `no service "d"`,
		"e must be on the same node", "did you mean run?",
	} {
		if !strings.Contains(all[i].Error(), words) {
			t.Errorf("problem %d: %v, want %q", i, all[i], words)
		}
	}
	var one *config.Problem
	if !errors.As(err, &one) {
		t.Error("errors.As finds no single problem")
	}
}

func FuzzParseCluster(f *testing.F) {
	for _, s := range []string{whole, "a: [", "{", "? a\n: b", "a: |\n  b\n", "a: !!x y", "- - - a", "a: {b: [c, {d: e}]}"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, src []byte) {
		conf, err := config.ParseCluster("f", src)
		again, err2 := config.ParseCluster("f", src)
		if !reflect.DeepEqual(conf, again) || (err == nil) != (err2 == nil) || (conf == nil) == (err == nil) {
			t.Fatalf("two readings of the same bytes differ, or value and error disagree: %v, %v", err, err2)
		}
		judge(t, src, err)
	})
}

// judge checks that every problem stands inside the file.
func judge(t *testing.T, src []byte, err error) {
	var all config.Problems
	if err == nil {
		return
	}
	if !errors.As(err, &all) || len(all) == 0 {
		t.Fatalf("error %v, want Problems", err)
	}
	lines := strings.Count(string(src), "\n") + 1
	for _, p := range all {
		if p.Line < 1 || p.Line > lines || p.Column < 1 || p.What == "" || strings.Count(p.Error(), "\n") < 2 {
			t.Fatalf("problem out of place: %+v", p)
		}
	}
}

// TestProblemsHoldNoPassword: a configuration with a password in it is refused, in
// words and with a line that do not repeat it.
func TestProblemsHoldNoPassword(t *testing.T) {
	for _, line := range []string{
		"{agent: fence_apc, with: {ip: 10.0.0.1, passwd: hunter22}}",
		`{agent: fence_apc, with: {"password": "hunter22 x"}}`,
		"{agent: fence_apc_snmp, with: {community: hunter22, plug: 3}}",
		"{agent: fence_scsi, with: {login: a, password: hunter22}}",
		"{agent: fence_apc, with: {ip: [1], secret_key: hunter22}}",
	} {
		src := "cluster: {name: c, failover_within: 10s}\nfencing:\n  ways:\n    alpha: [" + line + "]\n"
		_, err := config.ParseCluster("c.yaml", []byte(src))
		if err == nil || strings.Contains(err.Error(), "hunter22") {
			t.Errorf("%s: %v", line, err)
		}
	}
	node := strings.Replace(least, "name: alpha\n", "name: alpha\nbmc: {url: 'redfish://a:hunter22@10.0.0.1', password_file: /x}\n", 1)
	if _, err := config.ParseNode("node.yaml", []byte(node)); err == nil || strings.Contains(err.Error(), "hunter22") {
		t.Errorf("node.yaml: %v", err)
	}
}
