package ctl_test

import (
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-ha/holdfast/internal/api"
)

// noJSON are the commands that print no data of their own, and why.
func noJSON() map[string]string {
	return map[string]string{
		"check": "a plugin: its line is the format", "sbd": "its output is that of sbd(8)", "completion": "a script of the shell",
		"man": "writes files", "config schema": "prints JSON always",
	}
}

// elsewhere are commands whose JSON needs more than a fake of the daemon: the test that
// reads it.
func elsewhere() map[string]string {
	list := map[string]string{
		"watchdog qualify": "dogcmd.TestQualify", "watchdog test": "dogcmd.TestTest", "watchdog beacons": "dogcmd.TestQualify",
		"report": "accept.TestIncident", "doctor": "doctor.TestFixAndUndo", "drill fence": "drill.TestCheck", "disk replace": "what disk grow does, with one disk less",
	}
	for _, kind := range []string{"kill-node", "freeze-node", "cut-network", "cut-disk", "fail-service", "move"} {
		list["drill "+kind] = "accept.TestDrills"
	}
	return list
}

// documents are the JSON values in a text, one or several.
func documents(text string) (n int, err error) {
	d := json.NewDecoder(strings.NewReader(text))
	for {
		var v any
		if err = d.Decode(&v); err != nil {
			break
		}
		n++
	}
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return n, err
}

// asked is one command line with --json that is answered by a daemon that is none.
type asked struct {
	command string
	args    []string
	stdin   string
}

func askedOfDaemon(file string) []asked {
	yes := []string{"--yes"}
	list := []asked{
		{"status", nil, ""},
		{"explain", []string{"orders"}, ""},
		{"explain", []string{"node", "beta"}, ""},
		{"explain", []string{"incident"}, ""},
		{"explain", []string{"event", "1"}, ""},
		{"events", []string{"--local"}, ""},
		{"events", nil, ""},
		{"token", nil, ""},
		{"timing", nil, ""},
		{"simulate", []string{"what", "if", "beta", "dies"}, ""},
		{"alert test", nil, ""},
		{"history", nil, ""},
		{"config export", nil, ""},
		{"config check", []string{file}, ""},
		{"plan", []string{"-f", file}, ""},
		{"apply", []string{"-f", file, "--dry-run"}, ""},
		{"apply", append([]string{"-f", file}, yes...), ""},
		{"rollback", append([]string{"2"}, yes...), ""},
		{"service move", []string{"orders", "--to", "beta"}, ""},
		{"service maintenance", []string{"orders", "--for", "10m"}, ""},
		{"node maintenance", []string{"beta", "--for", "10m"}, ""},
		{"node fence", append([]string{"beta"}, yes...), ""},
		{"node leave", nil, ""},
		{"node confirm-off", append([]string{"beta", "--operator", "J. Doe", "--how", "dark"}, yes...), ""},
		{"cluster stop", yes, ""},
		{"cluster start", nil, ""},
		{"cluster maintenance", []string{"--for", "10m"}, ""},
		{"version", nil, ""},
		{"node upgrade", []string{"--dry-run"}, ""},
		{"key status", nil, ""},
		{"drill list", nil, ""},
		{"key rotate", nil, ""},
	}
	for _, verb := range []string{"start", "stop", "restart", "failback", "freeze", "unfreeze", "clear"} {
		list = append(list, asked{"service " + verb, []string{"orders"}, ""})
	}
	for _, verb := range []string{"standby", "online", "remove"} {
		list = append(list, asked{"node " + verb, []string{"beta"}, ""})
	}
	return list
}

func answering(t *testing.T) *fakeDaemon {
	t.Helper()
	d := newDaemon(t)
	done := &api.Result{Version: 1, Text: "done", State: 9}
	d.answer("GET /v1/status", status(api.Healthy, api.Service{Name: "orders", State: "running", Node: "alpha"}))
	d.answer("GET /v1/events", []api.Event{{ID: 1, Time: time.Unix(1e9, 0), Kind: "fencing", Node: "beta", Text: "silent"}})
	d.answer("GET /v1/timing", &api.Timing{Version: 1, Within: 10})
	d.answer("GET /v1/history", []api.ConfigVersion{{Config: 2}})
	d.answer("GET /v1/config", &api.Config{Version: 1, Config: 2, Text: "cluster: {}\n"})
	plan := &api.Plan{Version: 1, Config: 3, Changes: []api.Change{{What: "cluster", Kind: "change"}}}
	d.answer("POST /v1/config", plan, plan, plan, done, plan, done)
	d.answer("POST /v1/token", &api.TokenReply{Token: "hf1-x", Valid: 3600})
	d.answer("POST /v1/leave", done)
	d.answer("POST /v1/upgrade", done)
	d.answer("GET /v1/drills", &api.Drills{})
	d.answer("GET /v1/key", &api.KeyStatus{Version: 1, Stage: api.KeySettled})
	d.answer("POST /v1/key", &api.KeyProgress{Done: true})
	d.answer("POST /v1/alerts/test", []api.AlertTried{{Receiver: "script", OK: true}})
	d.answer("POST /v1/simulate", &api.Simulation{Version: 1})
	for _, what := range []string{"service/orders", "node/beta", "event/1"} {
		d.answer("GET /v1/explain/"+what, &api.Explanation{Version: 1, Subject: what})
	}
	for what, verbs := range map[string]string{"service/orders": "move start stop restart failback freeze unfreeze clear maintenance", "node/beta": "standby online remove fence confirm-off maintenance", "cluster": "stop start maintenance"} {
		for _, verb := range strings.Fields(verbs) {
			d.answer("POST /v1/"+what+"/"+verb, done)
		}
	}
	return d
}

// askedOfDisks are the command lines that need no daemon.
func askedOfDisks(s *site, disk string) []asked {
	fresh := s.disk("fresh", 70)
	return []asked{
		{"disk show", []string{disk, "--for", "1ms"}, ""},
		{"disk dump", []string{disk}, ""},
		{"disk verify", []string{disk}, ""},
		{"disk watch", []string{disk, "--interval", "50ms", "--for", "3s"}, ""},
		{"disk export", []string{disk, "--to", filepath.Join(s.dir, "export")}, ""},
		{"disk create", []string{fresh, "--yes"}, ""},
		{"disk repair", []string{disk, "--dry-run"}, ""},
		{"disk adopt-clone", []string{disk, "--dry-run"}, ""},
		{"disk wipe", []string{fresh, "--dry-run", "--for", "1ms"}, ""},
		{"watchdog list", nil, ""},
	}
}

// askedOfSet are the command lines that change the set of quorum disks, and the
// daemon's answers to them.
func askedOfSet(s *site, d *fakeDaemon) map[string][]string {
	set := func(generation uint32, ids ...string) *api.Status {
		st := status(api.Healthy)
		st.DiskSet = api.DiskSet{Generation: generation, Stage: api.DisksSettled}
		for i, id := range ids {
			st.Disks = append(st.Disks, api.Disk{Index: i, ID: id, Path: "/dev/" + id})
		}
		return st
	}
	a, b, c := "6f1c2f0e-7a53-4d4e-9f43-3f8b1f0a2c11", "6f1c2f0e-7a53-4d4e-9f43-3f8b1f0a2c12", "6f1c2f0e-7a53-4d4e-9f43-3f8b1f0a2c13"
	d.answer("GET /v1/status", set(1, a), set(2, a, b, c))
	d.answer("POST /v1/disks/change", &api.Result{Version: 1})
	return map[string][]string{"disk grow": {"disk", "grow", "--disk", s.disk("g1", 70), "--disk", s.disk("g2", 70), "--yes"}}
}

// TestJSON: every command that answers something answers a program as well: one
// document, of events one to a line, and nothing else on standard output.
func TestJSON(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	check := func(command string, r result) {
		t.Helper()
		seen[command] = true
		if n, err := documents(r.out); err != nil || n != 1 && command != "events" || r.code != 0 {
			t.Errorf("holdfast %s --json: exit status %d, %d documents, %v: %s%s", command, r.code, n, err, r.out, r.err)
		}
	}
	d := answering(t)
	file := filepath.Join(t.TempDir(), "cluster.yaml")
	writeText(t, file, "cluster:\n  name: hospital\n  failover_within: 10s\nservices: {}\n")
	for _, a := range askedOfDaemon(file) {
		check(a.command, d.holdfast(a.stdin, append(append(strings.Fields(a.command), a.args...), "--json")...))
	}
	s := newSite(t)
	disk := s.disk("q", 70)
	check("init", s.init("--disk", disk, "--sector-size", "512", "--json"))
	for _, a := range askedOfDisks(s, disk) {
		check(a.command, s.at(a.stdin, append(append(strings.Fields(a.command), a.args...), "--json")...))
	}
	for command, args := range askedOfSet(s, d) {
		check(command, s.at("", append(append([]string{"--socket", d.socket}, args...), "--json")...))
	}
	j := newJoinService(t, s)
	check("join", s.join(j.token.String(), "--json"))
	l := newLost(t)
	check("disk recover", l.recover("", "--dry-run", "--json"))

	names := sections(t)
	for _, command := range names {
		group := slices.ContainsFunc(names, func(n string) bool { return strings.HasPrefix(n, command+" ") })
		_, none := noJSON()[command]
		_, there := elsewhere()[command]
		has := strings.Contains(holdfast("", append(strings.Fields(command), "--help")...).out, "--json")
		switch {
		case group && !seen[command]:
		case none && has:
			t.Errorf("holdfast %s has --json, and is said to have none", command)
		case !none && !has:
			t.Errorf("holdfast %s has no --json, and no reason for that stands here", command)
		case !none && !there && !seen[command]:
			t.Errorf("holdfast %s --json is run by no test: add it to this one", command)
		}
	}
}

// sections are the commands that help.txt has texts for; TestHelp holds those against
// the program.
func sections(t *testing.T) (names []string) {
	t.Helper()
	for line := range strings.Lines(readText(t, "help.txt")) {
		if name, is := strings.CutPrefix(line, "== holdfast "); is {
			names = append(names, strings.TrimSpace(name))
		}
	}
	if len(names) < 60 {
		t.Fatalf("only %d commands", len(names))
	}
	return names
}

// TestExitCodes: the numbers of docs/manual/script.md are those of the program.
func TestExitCodes(t *testing.T) {
	t.Parallel()
	d := answering(t)
	moving := status(api.Healthy, api.Service{Name: "orders", State: "stopping", Node: "alpha", Wanted: "beta"})
	d.answer("POST /v1/service/reports/start", api.Errorf(api.CodeRefused, "its device is missing"))
	for _, c := range []struct {
		code int
		r    result
	}{
		{0, d.holdfast("", "service", "start", "orders")},
		{1, d.holdfast("", "service", "start", "reports")},
		{2, d.holdfast("", "service", "start")},
		{2, d.holdfast("", "service", "strat", "orders")},
		{2, d.holdfast("", "nonsense")},
		{2, d.holdfast("", "status", "--nonsense")},
		{3, holdfast("", "--socket", "/nonexistent/api.sock", "service", "start", "orders")},
		{4, func() result {
			d.answer("GET /v1/status", moving)
			return d.holdfast("", "service", "move", "orders", "--to", "beta", "--wait", "1ms")
		}()},
	} {
		if c.r.code != c.code {
			t.Errorf("exit status %d, want %d: %s%s", c.r.code, c.code, c.r.out, c.r.err)
		}
	}
	page := readText(t, "../../docs/manual/script.md")
	for _, row := range []string{"| 0 | done", "| 1 | refused or failed", "| 2 | a wrong command line", "| 3 | the daemon does not answer", "| 4 | `--wait` ran out"} {
		if !strings.Contains(page, row) {
			t.Errorf("docs/manual/script.md has no row %q", row)
		}
	}
}

func writeText(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func readText(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
