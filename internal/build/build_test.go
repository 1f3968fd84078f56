package build

import (
	"runtime/debug"
	"strings"
	"testing"
)

func TestLinkerGoesBeforeRecord(t *testing.T) {
	for _, c := range []struct{ linked, recorded, want string }{
		{"v1.2.3", "v0.0.1", "v1.2.3"},
		{"", "v0.0.1", "v0.0.1"},
		{"", "", unknown},
	} {
		if got := choose(c.linked, c.recorded); got != c.want {
			t.Errorf("choose(%q, %q) = %q, want %q", c.linked, c.recorded, got, c.want)
		}
	}
}

func TestRecordOfTheGoCommand(t *testing.T) {
	info := debug.BuildInfo{
		Main:     debug.Module{Version: "(devel)"},
		Settings: []debug.BuildSetting{{Key: "vcs.revision", Value: "abc"}, {Key: "vcs.modified", Value: "true"}},
	}
	if got := recordedVersion(info); got != "" {
		t.Errorf("version %q of a build in the work tree, want none", got)
	}
	if got := recordedCommit(info); got != "abc-dirty" {
		t.Errorf("commit %q, want abc-dirty", got)
	}
	info.Main.Version, info.Settings[1].Value = "v1.0.0", "false"
	if got := recordedVersion(info) + " " + recordedCommit(info); got != "v1.0.0 abc" {
		t.Errorf("version and commit %q, want v1.0.0 abc", got)
	}
}

func TestStringIsOneLineWithTheVersion(t *testing.T) {
	if s := String(); !strings.HasPrefix(s, Version()) || strings.ContainsAny(s, "\r\n") {
		t.Errorf("%q is not one line that begins with %q", s, Version())
	}
}
