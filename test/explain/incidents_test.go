package explain

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/holdfast-ha/holdfast/cluster/scripttest"
	"github.com/holdfast-ha/holdfast/internal/ctl"
	"github.com/holdfast-ha/holdfast/test/record"
)

// incident is a story of cluster/testdata, and what must be said of what happened in
// it, to somebody who has not seen it: cause, proof, cost and remedy.
type incident struct {
	story string
	head  string // what it is called in the manual
	id    string // its end: the subject
	must  []string
}

func incidentsTold() []incident {
	return []incident{
		{"owner-loses-power", "A node loses its power", "alpha", []string{"fell silent", "E3 time", "orders ran on alpha, and was granted to beta", "has not come back", "systemctl start holdfast"}},
		{"owner-freezes", "A node hangs, and its watchdogs end it", "alpha", []string{"fell silent", "E3 time", "came back", "holdfast explain node alpha"}},
		{"owner-loses-its-disks", "A node alone loses the quorum disks", "alpha", []string{"quorum disk", "orders ran on alpha", "holdfast"}},
		{"only-the-owner-loses-disks-with-grace", "The same, and the network still carries its word", "alpha", []string{"released", "granted to beta", "holdfast doctor --section"}},
		{"stop-fails", "A service cannot be stopped", "alpha", []string{"could not be stopped", "E3 time", "who held it", "holdfast events --service orders"}},
		{"checks-fail", "A service fails its checks until it is moved", "orders", []string{"was well", "granted to beta", "holdfast events --service orders"}},
		{"controller-is-faster", "A management controller is faster than the silence", "alpha", []string{"Fencing by bmc: proven", "E4"}},
		{"controller-says-on", "A management controller does not switch off", "alpha", []string{"Fencing by bmc: ", "holdfast drill fence alpha"}},
		{"evicted-from-a-broken-network", "The network falls apart", "gamma", []string{"gamma", "Its fencing was chosen"}},
		{"fence-by-request", "Somebody asks for a fencing", "alpha", []string{"alpha", "granted to beta"}},
		{"guard-dies", "A guard dies", "alpha", []string{"alpha", "granted to beta"}},
		{"reservation-storage-first", "Reservations end the owner's writes first", "alpha", []string{"E5 reservation", "E3 time"}},
		{"../../test/explain/testdata/10-nowhere", "No node can run it", "orders", []string{"could not be started again", "holdfast service clear orders"}},
		{"../../test/explain/testdata/13-taken-out", "A service that fails is taken out of the configuration", "orders", []string{"was taken out of the configuration", "before it ran again"}},
	}
}

// TestIncidents compares what is said with docs/manual/incidents.md.
func TestIncidents(t *testing.T) {
	pages := make([]string, len(incidentsTold()))
	t.Run("stories", func(t *testing.T) {
		for k, s := range incidentsTold() {
			t.Run(s.story, func(t *testing.T) {
				t.Parallel()
				pages[k] = "## " + s.head + "\n\n" + quoted(explainIncident(t, s))
			})
		}
	})
	if t.Failed() {
		return
	}
	const head = `# Incidents

What ` + "`holdfast explain incident`" + ` says of typical failures: the cause, what was waited for, the proof, what it has cost, and what to do. The texts
come from simulated clusters (` + "`go test ./test/explain -update`" + ` writes this page); times are those of one run, and what depends on chance is in
angle brackets. The timelines are left out here.

    holdfast explain incident               # which there were
    holdfast explain incident 42-alpha      # one of them, with its timeline

`
	compare(t, "../../docs/manual/incidents.md", head+strings.Join(pages, "\n"))
}

func quoted(text string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		b.WriteString(strings.TrimRight("> "+strings.TrimSpace(line), " ") + "\n")
	}
	return b.String()
}

// explainIncident asks for the first incident that a story must have told of.
func explainIncident(t *testing.T, s incident) string {
	t.Helper()
	dir := toldOf(t, filepath.Join("../../cluster/testdata", s.story+".txt"))
	var list []struct{ ID, Title string }
	if err := json.Unmarshal([]byte(run(t, "explain", "incident", "--log", dir, "--json")), &list); err != nil {
		t.Fatal(err)
	}
	for _, l := range slices.Backward(list) {
		if id, _, _ := strings.Cut(l.ID, "."); !strings.HasSuffix(id, "-"+s.id) {
			continue
		}
		if text := run(t, "explain", "incident", l.ID, "--log", dir); !strings.Contains(text, "timeline, in seconds") {
			t.Errorf("there is no timeline:\n%s", text)
		}
		var x struct {
			Title          string
			Text, Remedies []string
		}
		if err := json.Unmarshal([]byte(run(t, "explain", "incident", l.ID, "--log", dir, "--json")), &x); err != nil {
			t.Fatal(err)
		}
		text := "*" + x.Title + "*\n\n" + strings.Join(x.Text, "\n") + "\n\nWhat to do:\n\n- " + strings.Join(x.Remedies, "\n- ") + "\n"
		for _, words := range s.must {
			if !strings.Contains(text, words) {
				t.Errorf("it does not say %q:\n%s", words, text)
			}
		}
		return plainIncident(text)
	}
	t.Fatalf("no incident of %s in %+v", s.id, list)
	return ""
}

// plainIncident takes out what depends on chance.
func plainIncident(text string) string {
	for _, r := range []struct{ what, becomes string }{
		{`at \d\d:\d\d:\d\d\.\d UTC`, "at <hour>"},
		{`(\d+)/[0-9a-f]{8,}`, "$1/<boot>"},
		{`-?\b\d+(\.\d+)? ?(ms|s|m\d+(\.\d+)?s)\b`, "<time>"},
		{`\b(\w+) noticed that`, "<node> noticed that"},
		{`in state \d+`, "in state <number>"},
		{`of the register, by \w+`, "of the register, by <node>"},
		{`found by \w+`, "found by <node>"},
		{`term \d+`, "term <number>"},
	} {
		text = regexp.MustCompile(r.what).ReplaceAllString(text, r.becomes)
	}
	return text
}

func run(t *testing.T, args ...string) string {
	t.Helper()
	var out, errs bytes.Buffer
	if code := ctl.Main(args, strings.NewReader(""), &out, &errs); code != 0 {
		t.Fatalf("holdfast %s: exit code %d\n%s%s", strings.Join(args, " "), code, &out, &errs)
	}
	return out.String()
}

// toldOf tells the story in a file.
func toldOf(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	script, err := scripttest.Parse(filepath.Base(path), string(text))
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	log := record.New(dir)
	log.Events = true
	script.Change = log.Follow
	script.Run(t, 1, 1)
	if err := log.Close(); err != nil {
		t.Fatal(err)
	}
	return dir
}
