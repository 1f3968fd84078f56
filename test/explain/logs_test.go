package explain

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"

	"github.com/holdfast-ha/holdfast/internal/ctl"
	"github.com/holdfast-ha/holdfast/internal/decisions"
)

// says runs a command line and fails the test unless it ends with code and says all
// texts.
func says(t *testing.T, code int, args []string, texts ...string) string {
	t.Helper()
	var out, errs bytes.Buffer
	got := ctl.Main(args, strings.NewReader(""), &out, &errs)
	if got != code {
		t.Errorf("holdfast %s: exit code %d, want %d\n%s%s", strings.Join(args, " "), got, code, &out, &errs)
	}
	oneLine := strings.Join(strings.Fields(out.String()+errs.String()), " ")
	for _, text := range texts {
		if !strings.Contains(oneLine, text) {
			t.Errorf("holdfast %s does not say %q:\n%s%s", strings.Join(args, " "), text, &out, &errs)
		}
	}
	return out.String()
}

// quiet is a story after which everybody is a member again.
func quiet() situation { return situation{story: "03-not-moved-back"} }

// TestReplay replays real logs, whole and damaged.
func TestReplay(t *testing.T) {
	dir := told(t, quiet())
	log := filepath.Join(dir, "alpha", decisions.Folder)
	first, second := filepath.Join(log, "00000001"+decisions.Ending), filepath.Join(log, "00000002"+decisions.Ending)

	says(t, 0, []string{"simulate", "--replay=" + filepath.Join(dir, "beta")}, "the same: every action, byte for byte", "1 file")
	says(t, 0, []string{"simulate", "--replay", filepath.Join(dir, "alpha")}, "2 files", "the same: every action, byte for byte") // two lives
	says(t, 0, []string{"simulate", "--replay=" + log}, "2 files")                                                                // a copy of the folder alone
	says(t, 0, []string{"simulate", "--replay=" + second}, "1 file", "the same: every action, byte for byte")
	says(t, 0, []string{"simulate", "--replay=" + log, "--json"}, `"same": true`)
	says(t, 0, []string{"simulate", "--replay=" + log, "--story"}, "orders, alpha", "the same: every action, byte for byte")

	whole, err := os.ReadFile(second)
	if err != nil {
		t.Fatal(err)
	}
	write := func(name string, b []byte) string {
		path := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	text := unzip(t, second)
	name := "00000002" + decisions.Ending
	says(t, 0, []string{"simulate", "--replay=" + write(name, whole[:len(whole)*2/3])}, "ends early", "the same: every action, byte for byte")
	says(t, 1, []string{"simulate", "--replay=" + write(name, zip(t, strings.Replace(text, `"is":"Order"`, `"is":"Exit"`, 1)))}, "DIFFERS", "record ", "is Order", "was Exit")
	says(t, 1, []string{"simulate", "--replay=" + write(name, zip(t, strings.Replace(text, `"format":2`, `"format":99`, 1)))}, "decision log of format 99", "use the holdfast that wrote it (simulated)")
	says(t, 0, []string{"simulate", "--replay=" + write(name, zip(t, text[strings.Index(text, "{\"now\""):]))}, "nothing was compared")
	says(t, 0, []string{"simulate", "--replay=" + write(name, []byte("no log at all"))}, "ends early", "nothing was compared")
	says(t, 1, []string{"simulate", "--replay=" + filepath.Join(dir, "nobody")}, "nobody")
	says(t, 1, []string{"simulate", "--replay=" + t.TempDir()}, "holds no decision log", "NNNNNNNN"+decisions.Ending)
	says(t, 2, []string{"simulate", "--replay=" + log, "what", "if", "alpha", "dies"}, "a question or --replay, not both")
	if _, err := os.Stat(first); err != nil {
		t.Error(err)
	}
}

// TestWhatIf asks what would happen, by the log of a node whose daemon does not run.
func TestWhatIf(t *testing.T) {
	dir := told(t, quiet())
	log := filepath.Join(dir, "alpha")
	for _, question := range []string{"what if beta dies", "what if beta dies and disk 1 is lost"} {
		out := says(t, 0, []string{"simulate", question, "--log", log})
		compare(t, filepath.Join("testdata", strings.ReplaceAll(question, " ", "-")+".golden"), plain(out))
	}
	says(t, 0, []string{"simulate", "what", "if", "beta", "dies", "--log", log, "--json"}, `"name": "orders"`)
	says(t, 0, []string{"simulate", "what if gamma dies", "--log", log}, "orders stays on beta")
	says(t, 1, []string{"simulate", "what if omega dies", "--log", log}, "omega", "alpha, beta, gamma")
	says(t, 1, []string{"simulate", "what if the moon falls", "--log", log}, "NODE dies")
	says(t, 2, []string{"simulate"}, "want a question")

	// A node is being fenced: the future is not foretold from there.
	unrest := told(t, situation{story: "being-fenced"})
	says(t, 1, []string{"simulate", "what if gamma dies", "--log", filepath.Join(unrest, "beta")}, "alpha", "being fenced")
}

// TestExplainWrong: what cannot be explained is said, with what can.
func TestExplainWrong(t *testing.T) {
	dir := told(t, quiet())
	log := filepath.Join(dir, "beta")
	says(t, 1, []string{"explain", "web", "--log", log}, `there is no service "web"; there is orders`, "holdfast explain node web")
	says(t, 1, []string{"explain", "node", "omega", "--log", log}, `there is no node "omega"; there is alpha, beta and gamma`)
	says(t, 1, []string{"explain", "event", "99999", "--log", log}, "there is no event 99999", "holdfast events")
	says(t, 2, []string{"explain", "event", "first", "--log", log}, "want the number")
	says(t, 2, []string{"explain", "disk", "1", "--log", log}, "want explain SERVICE")
	says(t, 1, []string{"explain", "orders", "--log", t.TempDir()}, "holds no decision log")
	file := filepath.Join(log, decisions.Folder, "00000001"+decisions.Ending)
	says(t, 0, []string{"explain", "orders", "--log", file}, "orders is running on beta", "what led there")
	says(t, 0, []string{"simulate", "what if beta dies", "--log", file}, "orders goes from beta to alpha")
	says(t, 1, []string{"explain", "orders", "--log", filepath.Join(log, "nothing"+decisions.Ending)}, "no such file")
	says(t, 0, []string{"explain", "orders", "--log", log, "--json"}, `"subject": "service orders"`)
	says(t, 0, []string{"explain", "event", "5", "--log", log}, "event 5", "what led there")
}

func unzip(t *testing.T, path string) string {
	t.Helper()
	r, err := (&decisions.File{Path: path}).Open()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	b, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func zip(t *testing.T, text string) []byte {
	t.Helper()
	var b bytes.Buffer
	z, err := zstd.NewWriter(&b)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := z.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}
