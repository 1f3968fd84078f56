package ctl_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-ha/holdfast/internal/config"
	"github.com/holdfast-ha/holdfast/internal/ctl"
	"github.com/holdfast-ha/holdfast/internal/guardwire"
	"github.com/holdfast-ha/holdfast/quorumdisk"
	"github.com/holdfast-ha/holdfast/sbd"
	"github.com/holdfast-ha/holdfast/storage"
	"github.com/holdfast-ha/holdfast/test/power"
)

// result is what one command line did.
type result struct {
	code     int
	out, err string
}

// holdfast runs a command line in this process.
func holdfast(stdin string, args ...string) result {
	var out, errs bytes.Buffer
	code := ctl.Main(args, strings.NewReader(stdin), &out, &errs)
	return result{code, out.String(), errs.String()}
}

// says fails the test unless the exit code is code and both outputs together
// hold all texts.
func (r result) says(t *testing.T, code int, texts ...string) {
	t.Helper()
	if r.code != code {
		t.Errorf("exit code %d, want %d\n%s%s", r.code, code, r.out, r.err)
	}
	// Where lines are wrapped depends on names that differ from run to run.
	oneLine := strings.Join(strings.Fields(r.out+r.err), " ")
	for _, text := range texts {
		if !strings.Contains(r.out+r.err, text) && !strings.Contains(oneLine, text) {
			t.Errorf("does not say %q:\n%s%s", text, r.out, r.err)
		}
	}
}

// site is a machine with emulated nodes.
type site struct {
	t        *testing.T
	dir      string
	emulator string
}

// newSite starts a power emulator with two nodes, each with two watchdogs.
func newSite(t *testing.T) *site {
	t.Helper()
	dir, err := os.MkdirTemp("", "hf") // t.TempDir is too long for the path of a socket
	if err != nil {
		t.Fatal(err)
	}
	s := &site{t, dir, filepath.Join(dir, "power.sock")}
	e, err := power.Start(s.emulator, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := e.Close(); err != nil {
			t.Error(err)
		}
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	c, err := power.DialControl(s.emulator)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for _, name := range []string{"alpha", "beta"} {
		chips := []power.Chip{{Name: "hw", Identity: "emulated hardware"}, {Name: "softdog", Identity: "Software Watchdog", Software: true}}
		if err := c.Register(power.Node{Name: name, Chips: chips}); err != nil {
			t.Fatal(err)
		}
		if _, err := c.PowerOn(name); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

// disk makes an empty file of so many MiB.
func (s *site) disk(name string, mib int64) string {
	s.t.Helper()
	path := filepath.Join(s.dir, name)
	f, err := os.Create(path)
	if err != nil {
		s.t.Fatal(err)
	}
	if err := f.Truncate(mib << 20); err != nil {
		s.t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		s.t.Fatal(err)
	}
	return path
}

func (s *site) etc(node string) string  { return filepath.Join(s.dir, node) }
func (s *site) yaml(node string) string { return filepath.Join(s.etc(node), "node.yaml") }

// node are the flags that make an emulated node of a command line.
func (s *site) node(name string, more ...string) []string {
	return append([]string{
		"--name", name, "--emulated", "--emulator", s.emulator, "--holder", filepath.Join(s.dir, "holder.sock"),
		"--etc", s.etc(name), "--run", filepath.Join(s.dir, "run-"+name), "--state", filepath.Join(s.dir, "state-"+name),
		"--link", "127.0.0.1:7001", "--link", "127.0.1.1:7001", "--watchdog", "hw", "--watchdog", "softdog",
	}, more...)
}

func (s *site) init(more ...string) result {
	return holdfast("", append([]string{"init"}, s.node("alpha", append([]string{"--failover-within", "20s"}, more...)...)...)...)
}

// unchanged is how a file is; the test fails if it is another way at its end.
func (s *site) unchanged(path string) {
	s.t.Helper()
	before := sum(s.t, path)
	s.t.Cleanup(func() {
		if sum(s.t, path) != before {
			s.t.Errorf("%s was changed", path)
		}
	})
}

func sum(t *testing.T, path string) [32]byte {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return sha256.Sum256(text)
}

// nothingIn fails the test if a refused command left files.
func nothingIn(t *testing.T, dir string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	for _, e := range entries {
		t.Errorf("a refused command left %s", filepath.Join(dir, e.Name()))
	}
}

func TestInit(t *testing.T) {
	t.Parallel()
	for _, sector := range []int{512, 4096} {
		for _, count := range []int{1, 3} {
			t.Run(fmt.Sprintf("%d x %d", count, sector), func(t *testing.T) {
				t.Parallel()
				s := newSite(t)
				flags := []string{"--cluster", "hospital", "--nmax", "4", "--sector-size", fmt.Sprint(sector)}
				for i := range count {
					flags = append(flags, "--disk", s.disk(fmt.Sprintf("q%d", i), 48))
				}
				r := s.init(flags...)
				r.says(t, 0, "cluster hospital", "with this node as alpha", "holdfast token", "holdfast join TOKEN", "E3 time", "is not measured")
				s.checkFiles(count, sector)
				s.checkMailbox(filepath.Join(s.dir, "q0"), sector)
				holdfast("", "--config", s.yaml("alpha"), "disk", "verify").says(t, 0, "everything on it checks")
				holdfast("", "--config", s.yaml("alpha"), "disk", "show", "--for", "0").says(t, 0, "alpha out", "state      1", fmt.Sprintf("sectors of %d bytes", sector))
				holdfast("", "--config", s.yaml("alpha"), "timing").says(t, 0, "failover_within 20 s", "derived from the quorum disk", "E3 time")
				s.init(flags...).says(t, 1, "is there already", "node leave")
			})
		}
	}
}

// checkFiles checks what init wrote.
func (s *site) checkFiles(count, sector int) {
	s.t.Helper()
	text, err := os.ReadFile(s.yaml("alpha"))
	if err != nil {
		s.t.Fatal(err)
	}
	n, err := config.ParseNode("node.yaml", text)
	if err != nil {
		s.t.Fatal(err)
	}
	if n.Name != "alpha" || n.ID != 1 || len(n.Disks) != count || n.Cluster.Name != "hospital" || !n.Platform.Emulated {
		s.t.Errorf("node.yaml:\n%s", text)
	}
	text, err = os.ReadFile(filepath.Join(s.etc("alpha"), "guard.conf"))
	if err != nil {
		s.t.Fatal(err)
	}
	g, err := guardwire.ParseSettings("guard.conf", text)
	if err != nil {
		s.t.Fatal(err)
	}
	if g.Node != 1 || g.Layout.Sector != sector || g.Layout.NMax != 4 || len(g.Disks) != count || len(g.Watchdogs) != 2 || g.Cluster != n.Cluster.ID {
		s.t.Errorf("guard.conf:\n%s", text)
	}
	info, err := os.Stat(n.Key)
	if err != nil {
		s.t.Fatal(err)
	}
	if _, err := quorumdisk.LoadKeys(n.Key); err != nil || info.Mode().Perm() != 0o600 {
		s.t.Errorf("key: %v, mode %v", err, info.Mode())
	}
}

// checkMailbox looks at the disk as sbd(8) does.
func (s *site) checkMailbox(path string, sector int) {
	s.t.Helper()
	disk, err := storage.Open(path, storage.Options{SectorSize: sector})
	if err != nil {
		s.t.Fatal(err)
	}
	defer disk.Close()
	area, err := sbd.Open(disk, time.Second)
	if err != nil {
		s.t.Fatal(err)
	}
	slots, err := area.List(time.Second)
	if err != nil || len(slots) != 1 || slots[0].Index != 0 || slots[0].Name != "alpha" {
		s.t.Errorf("SBD slots %v, %v", slots, err)
	}
	if h := area.Header(); h.Watchdog != 3*time.Second || h.MsgWait != 20*time.Second {
		s.t.Errorf("SBD header %+v", h)
	}
}

// TestInitRefuses: every refusal names the thing and the remedy, and changes
// nothing.
func TestInitRefuses(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		flags func(s *site) []string
		says  []string
		code  int
	}{
		"no disk": {func(*site) []string { return nil }, []string{"--disk /dev/disk/by-id"}, 2},
		"two disks": {
			func(s *site) []string { return []string{"--disk", s.disk("a", 70), "--disk", s.disk("b", 70)} },
			[]string{"one or three"},
			1,
		},
		"one disk three times": {func(s *site) []string {
			d := s.disk("a", 70)
			return []string{"--disk", d, "--disk", s.disk("b", 70), "--disk", d}
		}, []string{"are the same disk", "file:"}, 1},
		"too small": {
			func(s *site) []string { return []string{"--disk", s.disk("a", 40)} },
			[]string{"too small", "67 MiB", "--nmax"},
			1,
		},
		"missing": {
			func(s *site) []string { return []string{"--disk", filepath.Join(s.dir, "nowhere")} },
			[]string{"nowhere", "/dev/disk/by-id"},
			1,
		},
		"unsafe failover_within": {
			func(s *site) []string { return []string{"--disk", s.disk("a", 70), "--failover-within", "4s"} },
			[]string{"failover_within 4 s is refused", "smallest value that is safe", "13 s"},
			1,
		},
		"no watchdog of that name": {
			func(s *site) []string { return []string{"--disk", s.disk("a", 70), "--watchdog", "/dev/watchdog0"} },
			[]string{"/dev/watchdog0", "emulated"},
			1,
		},
		"watchdog timeout": {
			func(s *site) []string { return []string{"--disk", s.disk("a", 70), "--watchdog", "hw2:soon"} },
			[]string{`"soon" is no timeout`},
			1,
		},
		"link": {
			func(s *site) []string { return []string{"--disk", s.disk("a", 70), "--link", "alpha"} },
			[]string{"--link alpha", "10.0.0.11:7320"},
			1,
		},
		"room":      {func(s *site) []string { return []string{"--disk", s.disk("a", 70), "--nmax", "300"} }, []string{"300"}, 1},
		"name":      {func(s *site) []string { return []string{"--disk", s.disk("a", 70), "--cluster", "no good"} }, []string{"no good"}, 1},
		"wrong id":  {func(s *site) []string { return []string{"--disk", s.disk("a", 70), "--force-wipe", "naa:5"} }, []string{"none of the disks is that one"}, 1},
		"real disk": {func(*site) []string { return []string{"--disk", blockDevice(t)} }, []string{"block device of this machine", "emulated"}, 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t)
			flags := c.flags(s)
			for i, f := range flags {
				if i > 0 && flags[i-1] == "--disk" && strings.HasPrefix(f, s.dir) && !strings.HasSuffix(f, "nowhere") {
					s.unchanged(f)
				}
			}
			s.init(flags...).says(t, c.code, c.says...)
			nothingIn(t, s.etc("alpha"))
		})
	}
}

// blockDevice is some block device of this machine that is not a loop device; a
// refusal before it is opened is what the test wants.
func blockDevice(t *testing.T) string {
	t.Helper()
	for _, glob := range []string{"/dev/vd?", "/dev/sd?", "/dev/nvme?n?", "/dev/dm-?"} {
		if found, err := filepath.Glob(glob); err == nil && len(found) > 0 {
			return found[0]
		}
	}
	t.Skip("this machine shows no block device below /dev but loop devices; run it on one that does")
	return ""
}

// TestInitForeignDisk: what a disk carries is named, and only its identity lets
// it be erased.
func TestInitForeignDisk(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		fill func(t *testing.T, path string)
		says string
	}{
		"file system": {mkfs, "ext4"},
		"SBD":         {func(t *testing.T, path string) { writeAt(t, path, 0, []byte("SBD_SBD_\x00\x00\x00\x02\x00\xff")) }, "SBD device"},
		"something":   {func(t *testing.T, path string) { writeAt(t, path, 70000, []byte("photographs")) }, "unknown data"},
		"another cluster": {func(t *testing.T, path string) {
			other := newSite(t)
			other.init("--disk", path, "--cluster", "other").says(t, 0)
		}, "of the Holdfast cluster"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t)
			path := s.disk("q", 70)
			c.fill(t, path)
			before := sum(t, path)
			id, err := storage.Identify(path)
			if err != nil {
				t.Fatal(err)
			}
			s.init("--disk", path).says(t, 1, path, c.says, "--force-wipe="+id.String())
			s.init("--disk", path, "--force-wipe", "file:other").says(t, 1, c.says)
			nothingIn(t, s.etc("alpha"))
			if sum(t, path) != before {
				t.Error("a refused init changed the disk")
			}
			s.init("--disk", path, "--force-wipe", id.String()).says(t, 0, "go on")
			holdfast("", "--config", s.yaml("alpha"), "disk", "verify").says(t, 0, "everything on it checks")
			if found, err := storage.Signatures(context.Background(), path); err != nil || len(found) > 0 && strings.Contains(found[0], "ext4") {
				t.Errorf("what was there is still found: %v, %v", found, err)
			}
		})
	}
}

func mkfs(t *testing.T, path string) {
	t.Helper()
	program, err := exec.LookPath("mkfs.ext4")
	if err != nil {
		t.Skip("mkfs.ext4 is missing: install e2fsprogs")
	}
	if out, err := exec.Command(program, "-q", "-F", path).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
}

func writeAt(t *testing.T, path string, off int64, text []byte) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt(text, off); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestInitMeasured: with records of both watchdogs the promise may be shorter.
func TestInitMeasured(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	c, err := power.DialControl(s.emulator)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	dir := filepath.Join(s.dir, "state-alpha", "watchdogs")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, device := range []string{"hw", "softdog"} {
		q, err := c.Qualify("alpha", device, 1_000_000_000)
		if err != nil {
			t.Fatal(err)
		}
		text, err := json.Marshal(q)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, device+".json"), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	r := holdfast("", append([]string{"init", "--failover-within", "5s", "--disk", s.disk("q", 70)}, s.node("alpha", "--watchdog", "hw:1s")...)...)
	r.says(t, 1, "hw is listed twice")
	args := s.node("alpha", "--failover-within", "5s", "--disk", filepath.Join(s.dir, "q"))
	for i := range args {
		if args[i] == "hw" || args[i] == "softdog" {
			args[i] += ":1s"
		}
	}
	r = holdfast("", append([]string{"init"}, args...)...)
	r.says(t, 0, "timeout 1 s")
	if strings.Contains(r.out, "is not measured") {
		t.Errorf("the records do not count:\n%s", r.out)
	}
}

// inTheWay puts something where init's last step wants to write.
func inTheWay(t *testing.T, s *site) string {
	t.Helper()
	path := s.yaml("alpha") + ".new"
	if err := os.MkdirAll(path, 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestInitTakesBack: when the last step fails, what was made before it goes.
func TestInitTakesBack(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	path := s.disk("q", 70)
	wall := inTheWay(t, s)
	s.init("--disk", path).says(t, 1, wall)
	if found, err := storage.Signatures(t.Context(), path); err != nil || len(found) > 0 {
		t.Errorf("the disk is not empty: %v, %v", found, err)
	}
	if err := os.Remove(wall); err != nil {
		t.Fatal(err)
	}
	nothingIn(t, s.etc("alpha"))
	s.init("--disk", path).says(t, 0)
}
