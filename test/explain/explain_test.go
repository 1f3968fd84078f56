package explain

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/holdfast-ha/holdfast/internal/ctl"
)

var update = flag.Bool("update", false, "write the golden texts anew")

// situation is a story, and what is asked about it afterwards.
type situation struct {
	story string
	node  string // whose log is asked
	ask   string
	must  []string // what the text must say, whatever else it says
}

func situations() []situation {
	return []situation{
		{story: "01-moved-after-a-death", node: "beta", ask: "explain orders", must: []string{"E3 time", "alpha: rejected", "start holdfastd on alpha"}},
		{story: "02-moved-by-request", node: "alpha", ask: "explain orders", must: []string{"moved there by request", "E1 released"}},
		{story: "03-not-moved-back", node: "beta", ask: "explain orders", must: []string{"failback is manual", "holdfast service move orders --to alpha"}},
		{story: "04-rejected", node: "gamma", ask: "explain orders", must: []string{"holdfast node online beta", "delta: rejected", "start holdfastd on alpha"}},
		{story: "05-fenced-for-its-silence", node: "beta", ask: "explain node alpha", must: []string{"silent", "E3 time"}},
		{story: "06-fenced-for-a-stop", node: "beta", ask: "explain node alpha", must: []string{"orders could not be stopped"}},
		{story: "07-unknown", node: "beta", ask: "explain orders", must: []string{"alpha", "unknown", "holdfast node confirm-off alpha"}},
		{story: "07-unknown", node: "beta", ask: "explain node alpha", must: []string{"being fenced", "holdfast node confirm-off alpha"}},
		{story: "08-no-disk", node: "beta", ask: "explain orders", must: []string{"Nothing can be decided"}},
		{story: "09-maintenance", node: "beta", ask: "explain orders", must: []string{"in maintenance", "holdfast cluster maintenance --off"}},
		{story: "10-nowhere", node: "beta", ask: "explain orders", must: []string{"no node can run it", "holdfast service clear orders"}},
		{story: "11-waits-for-another", node: "alpha", ask: "explain reports", must: []string{"waits for orders"}},
		{story: "12-cold-start", node: "beta", ask: "explain orders", must: []string{"unknown", "holdfast node confirm-off alpha"}},
	}
}

// TestExplain compares what is explained with the texts in testdata.
func TestExplain(t *testing.T) {
	for _, s := range situations() {
		t.Run(s.story+" "+s.ask, func(t *testing.T) {
			t.Parallel()
			dir := told(t, s)
			args := append(strings.Fields(s.ask), "--log", filepath.Join(dir, s.node))
			var out, errs bytes.Buffer
			if code := ctl.Main(args, strings.NewReader(""), &out, &errs); code != 0 {
				t.Fatalf("holdfast %s: exit code %d\n%s%s", strings.Join(args, " "), code, &out, &errs)
			}
			compare(t, filepath.Join("testdata", s.story+"."+strings.ReplaceAll(s.ask, " ", "-")+".golden"), plain(out.String()))
			oneLine := strings.Join(strings.Fields(out.String()), " ")
			for _, text := range s.must {
				if !strings.Contains(oneLine, text) {
					t.Errorf("it does not say %q", text)
				}
			}
		})
	}
}

// told tells a story and returns the folder in which every node has its log.
func told(t *testing.T, s situation) string {
	t.Helper()
	return toldOf(t, filepath.Join("testdata", s.story+".txt"))
}

// plain takes out what depends on a random number: the hour, the identity of a
// boot, the length of a time, and who happened to decide, in whose store of events
// the decision stands.
func plain(text string) string {
	for _, r := range []struct{ what, becomes string }{
		{`\d{4}-\d\d-\d\d \d\d:\d\d:\d\d`, "<date and time>"},
		{`(\d+)/[0-9a-f]{8,}`, "$1/<boot>"},
		{`\b\d+(\.\d+)? ?(ms|s|m\d+(\.\d+)?s)\b`, "<time>"},
		{`found by \w+`, "found by <node>"},
		{`\w+ had it fenced last`, "<node> had it fenced last"},
		{`in state \d+`, "in state <number>"},
		{`(?s)\nwhat led there\n.*`, "\nwhat led there\n  <events>\n"},
		{`(?m) +$`, ""},
	} {
		text = regexp.MustCompile(r.what).ReplaceAllString(text, r.becomes)
	}
	return text
}

func compare(t *testing.T, path, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatalf("%v\nit says:\n%s", err, got)
	}
	// Where lines are wrapped depends on the numbers that were taken out.
	if strings.Join(strings.Fields(string(want)), " ") != strings.Join(strings.Fields(got), " ") {
		t.Errorf("%s is not what it says any more (if it is right: go test ./test/explain -update):\n%s", path, got)
	}
}
