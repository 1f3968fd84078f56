package enrol_test

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-ha/holdfast/cluster/ident"
	"github.com/holdfast-ha/holdfast/cluster/timing"
	"github.com/holdfast-ha/holdfast/internal/config"
	"github.com/holdfast-ha/holdfast/internal/ctl/enrol"
)

// options are those of a node of an emulator that is not there: everything that
// comes after the emulator is asked is tested by whole commands in package ctl.
func options(t *testing.T) enrol.Options {
	dir := t.TempDir()
	return enrol.Options{
		Config: filepath.Join(dir, "etc", "node.yaml"), Name: "alpha", Links: []string{"127.0.0.1", "127.0.1.1:7001"}, Watchdogs: []string{"hw"},
		Emulation: enrol.Emulation{On: true, Emulator: filepath.Join(dir, "power.sock")},
	}
}

func TestFoundRefusesOptions(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change func(o *enrol.Options)
		says   string
	}{
		"one link":            {func(o *enrol.Options) { o.Links = o.Links[:1] }, "--single-link"},
		"no emulator":         {func(o *enrol.Options) { o.Emulation.Emulator = "" }, "--emulated needs --emulator"},
		"emulator alone":      {func(o *enrol.Options) { o.Emulation.On = false }, "--emulator without --emulated"},
		"port 0":              {func(o *enrol.Options) { o.Links[1] = "127.0.1.1:0" }, "--link 127.0.1.1:0"},
		"device of the host":  {func(o *enrol.Options) { o.Watchdogs = []string{"/dev/watchdog0:5s"} }, "the node is emulated"},
		"no timeout":          {func(o *enrol.Options) { o.Watchdogs = []string{"hw:-1s"} }, "is no timeout"},
		"emulator not there":  {func(*enrol.Options) {}, "power emulator"},
		"node.yaml is there":  {func(o *enrol.Options) { o.Config = "enrol_test.go" }, "this node belongs to a cluster"},
		"single link refused": {func(o *enrol.Options) { o.Links = []string{"nonsense"}; o.SingleLink = true }, "--link nonsense"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := options(t)
			etc := filepath.Dir(o.Config)
			c.change(&o)
			_, err := enrol.Found(o, enrol.NewCluster{Name: "hospital", Nmax: 4})
			if err == nil || !strings.Contains(err.Error(), c.says) {
				t.Errorf("error %v, want one that says %q", err, c.says)
			}
			if _, err := os.Stat(etc); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("a refused option made a directory: %v", err)
			}
		})
	}
}

// TestDefaultLinks: without --link every network card that is up gives one, and
// the loopback none.
func TestDefaultLinks(t *testing.T) {
	t.Parallel()
	cards, err := net.Interfaces()
	if err != nil {
		t.Fatal(err)
	}
	o := options(t)
	o.Links = nil
	_, err = enrol.Found(o, enrol.NewCluster{Name: "hospital", Nmax: 4})
	if err == nil || strings.Contains(err.Error(), "127.0.0.1") {
		t.Errorf("with %d network cards: %v", len(cards), err)
	}
}

func TestHardwareOf(t *testing.T) {
	t.Parallel()
	n := &config.Node{
		Name: "alpha", AcceptSoftdog: true, Watchdogs: []config.Watchdog{{Device: "softdog", Timeout: 2 * time.Second}},
		Platform: config.Platform{Emulated: true, Holder: "/nowhere"}, Dirs: config.Dirs{State: t.TempDir()},
	}
	h, err := enrol.HardwareOf(n, ident.UUID{1})
	if err != nil {
		t.Fatal(err)
	}
	if !h.Input.SecondHolder || len(h.Input.Devices) != 1 || !h.Input.Devices[0].Software || h.Input.Devices[0].Class != timing.Unqualified || h.Input.Lockup == 0 {
		t.Errorf("%+v", h.Input)
	}
	if len(h.Notes) != 1 || !strings.Contains(h.Notes[0], "is not measured") {
		t.Errorf("notes %q", h.Notes)
	}
	n.Platform = config.Platform{}
	n.Watchdogs = []config.Watchdog{{Device: "/dev/watchdog-that-nobody-has"}}
	if _, err := enrol.HardwareOf(n, ident.UUID{1}); err == nil || !strings.Contains(err.Error(), "there is no such device") {
		t.Errorf("error %v", err)
	}
}

func TestStableName(t *testing.T) {
	t.Parallel()
	for _, path := range []string{"/dev/disk/by-id/wwn-0x6", "/srv/quorum", "/dev/that-nobody-has"} {
		if got := enrol.StableName(path); got != path {
			t.Errorf("%s became %s", path, got)
		}
	}
}
