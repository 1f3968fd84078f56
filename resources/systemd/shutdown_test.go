package systemd_test

import (
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/holdfast-ha/holdfast/resources"
)

// ended makes a target of the test's own do to a unit what the default dependencies
// have shutdown.target do, which nobody may start by hand.
const ended = "[Unit]\nDefaultDependencies=no\nConflicts=end.target\nBefore=end.target\n"

// ordering is how a packaged unit is ordered: its Before= and After= lines.
func ordering(t *testing.T, unit string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", "packaging", "systemd", unit))
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for line := range strings.Lines(string(text)) {
		if strings.HasPrefix(line, "Before=") || strings.HasPrefix(line, "After=") {
			lines = append(lines, line)
		}
	}
	if len(lines) == 0 {
		t.Fatalf("%s is ordered by nothing", unit)
	}
	return ended + strings.Join(lines, "")
}

// TestShutdownStopsUnitsLast: when a host shuts down, systemd stops a unit that
// Holdfast has started only after the node has left the cluster, which moves its
// services, and after the daemon; one that it has not started is stopped at once. The
// units of the package stand for themselves, with programs that note when they end.
func TestShutdownStopsUnitsLast(t *testing.T) {
	ends := func(name string) string {
		return "ExecStart=/bin/sleep 1000\nExecStopPost=/bin/sh -c 'echo " + name + " >>/run/order'\n"
	}
	plain := ended + "[Service]\n"
	c := newContainer(t, map[string]string{
		"holdfast-guard.service": ordering(t, "holdfast-guard.service") + "[Service]\n" + ends("guard"),
		"holdfastd.service":      ordering(t, "holdfastd.service") + "[Service]\n" + ends("daemon"),
		// The node leaves only when what nobody manages has been stopped long ago, and by the
		// units' own states: what is managed must still run then.
		"holdfast.service": ordering(t, "holdfast.service") + "[Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart=/bin/true\n" +
			"ExecStop=/bin/sh -c 'while ! grep -q free /run/order; do sleep 0.05; done; systemctl is-active web.service && echo left >>/run/order'\n",
		"end.target":   "[Unit]\nDefaultDependencies=no\n",
		"web.service":  plain + ends("web"),
		"free.service": plain + ends("free"),
	})
	c.run("systemctl", "start", "holdfast-guard.service", "holdfastd.service", "holdfast.service", "free.service")
	if r := c.ask("start", "web"); r.Outcome != resources.OK {
		t.Fatalf("%v: %s", r.Outcome, r.Text)
	}
	c.run("systemctl", "start", "--no-block", "--job-mode=replace-irreversibly", "end.target")
	var order []string
	defer func() { t.Logf("the order of the ends: %v", order) }()
	await(t, "everything has ended", func() bool {
		text, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(c.pid), "root", "run", "order"))
		order = strings.Fields(string(text))
		return err == nil && len(order) == 5
	})
	at := func(name string) int { return slices.Index(order, name) }
	if at("free") > at("left") || at("left") > at("daemon") || at("daemon") > at("web") || at("daemon") > at("guard") || at("left") < 0 {
		t.Errorf("the order of the ends is %v", order)
	}
}
