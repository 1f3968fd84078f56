package filesystem_test

import (
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-ha/holdfast/resources"
	"github.com/holdfast-ha/holdfast/storage/mount"
)

// Mount options change while the file system is in use, where the kernel does that and
// shows it; anything else is mounted anew.
func TestOptionsChangeWhileItIsMounted(t *testing.T) {
	for _, c := range []struct {
		fsType, was, is string
		mount, super    string // shown afterwards; empty: it has to be mounted anew
		gone            string // and not shown
	}{
		{"ext4", "noatime,nodev", "nosuid", "nosuid", "rw", "nodev"},
		{"ext4", "noatime", "", "relatime", "rw", "noatime"},
		{"ext4", "", "commit=20,lazytime", "relatime", "commit=20", "-"},
		{"ext4", "commit=20", "commit=7", "rw", "commit=7", "commit=20"},
		{"ext4", "commit=20", "", "", "", ""},    // the kernel would keep it
		{"ext4", "", "data=journal", "", "", ""}, // it refuses
		{"ext4", "", "nosuchoption", "", "", ""}, // it does not know it
		{"xfs", "", "noatime,sync", "noatime", "sync", "relatime"},
		{"xfs", "", "logbsize=64k", "", "", ""}, // it says yes and does nothing, or says no
	} {
		t.Run(c.fsType+" "+c.was+" to "+c.is, func(t *testing.T) {
			s := newSetting(t, c.fsType)
			s.spec["options"] = c.was
			s.want(t, "start", resources.OK)
			busy, err := os.Create(filepath.Join(s.at, "busy"))
			if err != nil {
				t.Fatal(err)
			}
			defer busy.Close()
			before, err := json.Marshal(s.spec)
			if err != nil {
				t.Fatal(err)
			}
			after := maps.Clone(s.spec)
			after["options"], after["grace"] = c.is, "60ms"
			s.spec = after
			ctx, req := s.request(t, 20*time.Second)
			req.Was = before
			r := s.agent.Reload(ctx, req)
			own, err := mount.Own()
			if err != nil {
				t.Fatal(err)
			}
			m, _ := mount.At(own, s.at)
			has := func(list, word string) bool { return strings.Contains(","+list+",", ","+word+",") }
			switch {
			case c.mount == "" && r.Outcome != resources.NotRunning:
				t.Errorf("%v: %s; want that it has to be mounted anew; %+v", r.Outcome, r.Text, m)
			case c.mount == "":
			case r.Outcome != resources.OK:
				t.Errorf("%v: %s", r.Outcome, r.Text)
			case !has(m.Options, c.mount) || !has(m.SuperOptions, c.super) || has(m.Options, c.gone) || has(m.SuperOptions, c.gone):
				t.Errorf("mounted as %+v", m)
			}
			if c.is != "nosuchoption" {
				s.want(t, "check", resources.OK)
			}
			busy.Close()
			s.want(t, "stop", resources.OK)
		})
	}
}

// What is not an option is no reason to mount anew, and another device is.
func TestReload(t *testing.T) {
	s := newSetting(t, "ext4")
	s.want(t, "start", resources.OK)
	before, err := json.Marshal(s.spec)
	if err != nil {
		t.Fatal(err)
	}
	for key, c := range map[string]struct {
		value any
		want  resources.Outcome
	}{"write_test": {true, resources.OK}, "grace": {"1s", resources.OK}, "at": {s.at + "2", resources.NotRunning}} {
		spec := maps.Clone(s.spec)
		spec[key] = c.value
		other := setting{spec: spec}
		ctx, req := other.request(t, 20*time.Second)
		req.Was = before
		if r := s.agent.Reload(ctx, req); r.Outcome != c.want {
			t.Errorf("%s: %v: %s", key, r.Outcome, r.Text)
		}
	}
	s.want(t, "stop", resources.OK)
}
