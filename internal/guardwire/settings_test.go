package guardwire

import (
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-ha/holdfast/cluster/ident"
)

const whole = `
# a comment
node = 2
name = beta
cluster = 11111111-2222-3333-4444-555555555555
nmax = 16
sector = 4096
disk = /dev/disk/by-id/wwn-0x600 with blank uuid=aaaaaaaa-0000-0000-0000-000000000001
disk = /dev/disk/by-id/b uuid=aaaaaaaa-0000-0000-0000-000000000002 set=new
key = /etc/holdfast/key
watchdog = /dev/watchdog0 timeout=5s pretimeout=1s
watchdog = softdog timeout=2500ms
accept_softdog = yes
run = /run/holdfast
holder = /run/holder.sock
pause_bound = 10s
drain = 1s
`

func TestSettings(t *testing.T) {
	s, err := ParseSettings("guard.conf", []byte(whole))
	if err != nil {
		t.Fatal(err)
	}
	cluster, _ := ident.ParseUUID("11111111-2222-3333-4444-555555555555")
	d1, _ := ident.ParseUUID("aaaaaaaa-0000-0000-0000-000000000001")
	d2, _ := ident.ParseUUID("aaaaaaaa-0000-0000-0000-000000000002")
	want := &Settings{
		Node: 2, Name: "beta", Cluster: cluster, Layout: Layout{16, 4096, 0},
		Disks:      []DiskSetting{{"/dev/disk/by-id/wwn-0x600 with blank", d1, Both}, {"/dev/disk/by-id/b", d2, NewSet}},
		Key:        "/etc/holdfast/key",
		Watchdogs:  []WatchdogSetting{{Device: "/dev/watchdog0", Timeout: 5 * time.Second, Pretimeout: time.Second}, {Device: "softdog", Timeout: 2500 * time.Millisecond}},
		AcceptSoft: true, Run: "/run/holdfast", Holder: "/run/holder.sock", PauseBound: 10 * time.Second, Drain: time.Second,
	}
	if !reflect.DeepEqual(s, want) {
		t.Errorf("got  %+v\nwant %+v", s, want)
	}
	text, err := s.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	back, err := ParseSettings("again", text)
	if err != nil || !reflect.DeepEqual(back, want) {
		t.Errorf("what Marshal wrote came back as %+v, %v:\n%s", back, err, text)
	}
}

func TestSettingsErrorsNameTheirLine(t *testing.T) {
	for name, c := range map[string]struct{ old, new, want string }{
		"unknown key":      {"nmax", "nmaxx", `guard.conf:6: unknown key "nmaxx"`},
		"twice":            {"name = beta", "node = 3", "guard.conf:4: node was set in line 3 already"},
		"missing":          {"drain = 1s", "", "guard.conf: drain is missing"},
		"no value":         {"drain = 1s", "drain =", "guard.conf:17: drain is empty"},
		"no equals":        {"drain = 1s", "drain", "guard.conf:17: want"},
		"node":             {"node = 2", "node = 0", "guard.conf:3: node:"},
		"node beyond nmax": {"node = 2", "node = 17", "guard.conf: node 17 has no slot"},
		"sector":           {"4096", "1024", "guard.conf:7: sector:"},
		"disk":             {" uuid=aaaaaaaa-0000-0000-0000-000000000002 set=new", "", "guard.conf:9: disk: want PATH uuid="},
		"set":              {"set=new", "set=best", "guard.conf:9: disk: set"},
		"same disk":        {"000000000002", "000000000001", "listed twice"},
		"pretimeout":       {"pretimeout=1s", "pretimeout=5s", "guard.conf:11: watchdog: pretimeout"},
		"watchdog":         {" timeout=5s pre", " pre", "guard.conf:11: watchdog: timeout"},
		"watchdog zero":    {" timeout=5s pretimeout=1s", " timeout=0s", "guard.conf:11: watchdog: timeout"},
		"accept":           {"= yes", "= true", "guard.conf:13: accept_softdog:"},
		"negative":         {"drain = 1s", "drain = -1s", "guard.conf:17: drain:"},
	} {
		text := strings.Replace(whole, c.old, c.new, 1)
		if text == whole {
			t.Fatalf("%s: nothing was changed", name)
		}
		_, err := ParseSettings("guard.conf", []byte(text))
		var se *SettingsError
		if !errors.As(err, &se) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want it to contain %q", name, err, c.want)
		}
	}
}

func TestMarshalRefusesWhatWouldNotComeBack(t *testing.T) {
	for _, path := range []string{"/dev/a\nnode = 3", " /dev/a", ""} {
		s, err := ParseSettings("guard.conf", []byte(whole))
		if err != nil {
			t.Fatal(err)
		}
		s.Disks[0].Path = path
		if text, err := s.Marshal(); err == nil {
			t.Errorf("path %q was written as:\n%s", path, text)
		}
	}
}

// TestEpochComesBack: a cluster that was recovered onto new disks has an epoch; one
// that was not has no line for it.
func TestEpochComesBack(t *testing.T) {
	s, err := ParseSettings("guard.conf", []byte(whole))
	if err != nil {
		t.Fatal(err)
	}
	if text, err := s.Marshal(); err != nil || strings.Contains(string(text), "epoch") {
		t.Errorf("without one: %v\n%s", err, text)
	}
	s.Layout.Epoch = 2
	text, err := s.Marshal()
	if err != nil || !strings.Contains(string(text), "\nepoch = 2\n") {
		t.Errorf("with one: %v\n%s", err, text)
	}
}
