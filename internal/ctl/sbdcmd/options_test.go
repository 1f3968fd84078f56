package sbdcmd_test

import (
	"testing"
)

// TestCommandLines: what getopt(3) accepts and refuses, and what is refused
// before any device is touched.
func TestCommandLines(t *testing.T) {
	b := newBench(t, "/a", "/b", "/c", "/d")
	b.run("-d", "/a", "-d", "/b", "-d", "/c", "-d", "/d", "create").says(t, 1, "You can specify up to 3 devices via the -d option.")
	b.run("-d", "/a", "-d", "/b", "-d", "/c", "create").says(t, 0)
	b.run("-d", "/d", "create").says(t, 0)
	for _, good := range [][]string{
		{"-d", "/a", "dump"},
		{"dump", "-d", "/a"},
		{"-d/a", "dump"},
		{"-vvd/a", "dump"},
		{"-d", "/a", "-d", "/a", "-d", "/a", "-d", "/a", "dump"},
		{"-d", "/a", "--", "dump"},
		{"-cPPWRTZZzD", "-C", "0", "-p", "/x", "-F", "1", "-t", "+5", "-5", "3", "-S", "1", "-s", "0", "-w", "/dev/null", "-d", "/a", "dump"},
		{"-d", "/a", "-r", "flush,off", "dump"},
		{"-d", "/a", "dump", "more", "words"},
	} {
		b.run(good...).says(t, 0, "==Header on disk /a is dumped")
	}
	for _, c := range []struct {
		says string
		args []string
	}{
		{"Not enough arguments.\nShared storage fencing tool.", nil},
		{"sbd: invalid option -- 'x'", []string{"-x"}},
		{"sbd: invalid option -- '-'", []string{"--json", "list"}},
		{"sbd: invalid option -- ':'", []string{"-:"}},
		{"sbd: option requires an argument -- 'd'", []string{"-vd"}},
		{"Invalid value \"abc\" for option -1", []string{"-1", "abc", "create"}},
		{"Invalid value \"-5\" for option -1", []string{"-1-5", "create"}},
		{"Invalid value \"2147483647\" for option -4", []string{"-4", "2147483647", "create"}},
		{"Invalid value \" \" for option -n", []string{"-n", " ", "list"}},
		{"Invalid device: a", []string{"-d", "a", "list"}},
		{"Failed to parse timeout-action \"foo\".", []string{"-d", "/a", "-r", "foo", "list"}},
		{"Failed to parse timeout-action \"off,flush,off\".", []string{"-d", "/a", "-r", "off,flush,off", "list"}},
		{"Shared storage fencing tool.", []string{"-d", "/a", "frobnicate"}},
		{"holdfast-guard reads the mailboxes", []string{"-d", "/a", "watch"}},
	} {
		b.run(c.args...).says(t, 1, c.says)
	}
	b.run("-h").says(t, 0, "Shared storage fencing tool.", "query-watchdog")
}

func TestEnvironment(t *testing.T) {
	b := newBench(t, "/a", "/b")
	env := map[string]string{"SBD_DEVICE": " /a ; /b;", "SBD_WATCHDOG_TIMEOUT": "30s"}
	b.sys.Getenv = func(key string) string { return env[key] }
	b.run("create").says(t, 0, "Device /a is initialized.", "Device /b is initialized.")
	b.run("dump").says(t, 0, "Timeout (watchdog) : 30", "Timeout (msgwait)  : 60")
	b.run("-d", "/b", "-1", "5", "create").says(t, 0)
	b.run("-d", "/b", "dump").says(t, 0, "Timeout (watchdog) : 5", "Timeout (msgwait)  : 13")
	env["SBD_DEVICE"] = "/a;b"
	b.run("dump").says(t, 1, "Invalid device line: /a;b")
	env["SBD_DEVICE"], env["SBD_WATCHDOG_TIMEOUT"] = "/a", "soon"
	b.run("dump").says(t, 1, "SBD_WATCHDOG_TIMEOUT=soon")
	env["SBD_WATCHDOG_TIMEOUT"], env["SBD_TIMEOUT_ACTION"] = "", "explode"
	b.run("dump").says(t, 1, "Failed to parse timeout-action")
}
