package scripttest_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/holdfast-ha/holdfast/cluster/scripttest"
)

const good = `# A story.
service orders prefer alpha
boot
fault: freeze alpha
never: fencing
after 1s
orders on alpha
`

func TestRefusals(t *testing.T) {
	for name, c := range map[string]struct{ old, new, says string }{
		"no fault":        {"fault: ", "", `at least one "fault:"`},
		"nothing banned":  {"never: fencing\n", "", "forbids"},
		"nothing wanted":  {"orders on alpha\n", "", "expects"},
		"no comment":      {"# A story.\n", "", "begins with a comment"},
		"unknown step":    {"after 1s", "jump 1s", "x.txt:6: \"jump 1s\" is no step"},
		"unknown node":    {"freeze alpha", "freeze zeta", "is no step"},
		"unknown check":   {"never: fencing", "never: shouting", "is nothing that can be so"},
		"bad time":        {"after 1s", "after a while", "is no step"},
		"bad setting":     {"prefer alpha", "restarts alpha", "a service has no"},
		"bad wait":        {"orders on alpha", "in soon: orders on alpha", `want "in 10s: ..."`},
		"two disks":       {"boot", "disks 2\nboot", "there are 1 or 3"},
		"half a sentence": {"freeze alpha", "freeze", "is no step"},
	} {
		if _, err := scripttest.Parse("x.txt", strings.Replace(good, c.old, c.new, 1)); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v, want %q", name, err, c.says)
		}
	}
	if _, err := scripttest.Parse("x.txt", good); err != nil {
		t.Error(err)
	}
}

// tell runs a story and gives what it failed with.
func tell(t *testing.T, text string) (failed string) {
	t.Helper()
	s, err := scripttest.Parse("x.txt", text)
	if err != nil {
		t.Fatal(err)
	}
	f := &failing{}
	defer func() {
		if e := recover(); e != nil {
			if err, ok := e.(error); !ok || !errors.Is(err, errFailed) {
				panic(e)
			}
			failed = f.text
		}
	}()
	s.Run(f, 1, 1)
	return ""
}

var errFailed = errors.New("the story failed")

type failing struct{ text string }

func (f *failing) Helper()             {}
func (f *failing) Logf(string, ...any) {}
func (f *failing) Fatalf(format string, args ...any) {
	f.text = fmt.Sprintf(format, args...)
	panic(errFailed)
}

// A story that tells what is not so must fail, and name its line.
func TestUntrueStories(t *testing.T) {
	if failed := tell(t, good); failed != "" {
		t.Errorf("a true story failed: %s", failed)
	}
	for name, c := range map[string]struct{ old, new, says string }{
		"holds":          {"orders on alpha", "orders on beta", "x.txt:7: this does not hold"},
		"in time":        {"orders on alpha", "in 1s: orders on beta", "x.txt:7: this did not happen in time"},
		"banned":         {"never: fencing\nafter 1s", "never: suspected alpha\nafter 10s", "x.txt:5: it happened all the same"},
		"ban of a state": {"never: fencing\nafter 1s", "never: orders on beta\nafter 15s", "x.txt:5: it happened all the same"},
		"refused":        {"orders on alpha", "ask beta to stop orders\nin 1s: refused orders", "did not happen in time"},
	} {
		if failed := tell(t, strings.Replace(good, c.old, c.new, 1)); !strings.Contains(failed, c.says) {
			t.Errorf("%s: it failed with %q, want %q", name, failed, c.says)
		}
	}
}
