package filesystem_test

import (
	"context"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/holdfast-ha/holdfast/resources"
	"github.com/holdfast-ha/holdfast/resources/agenttest"
	"github.com/holdfast-ha/holdfast/resources/filesystem"
	"github.com/holdfast-ha/holdfast/storage/mount"
	"github.com/holdfast-ha/holdfast/storage/mount/mounttest"
	"github.com/holdfast-ha/holdfast/test/demo/loop"
)

// setting is one member under test.
type setting struct {
	device, at string
	spec       map[string]any
	agent      filesystem.Agent
}

func newSetting(t *testing.T, fsType string) *setting {
	t.Helper()
	s := &setting{device: mounttest.Device(t, fsType), at: filepath.Join(t.TempDir(), "srv", "orders")}
	s.spec = map[string]any{"device": s.device, "at": s.at, "type": fsType, "grace": "50ms"}
	t.Cleanup(func() { _ = unix.Unmount(s.at, unix.MNT_DETACH) })
	return s
}

func (s *setting) request(t *testing.T, limit time.Duration) (context.Context, resources.Request) {
	t.Helper()
	raw, err := json.Marshal(s.spec)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	t.Cleanup(cancel)
	return ctx, resources.Request{Service: "orders", Member: "fs", Spec: raw, Timeout: limit}
}

func (s *setting) do(t *testing.T, verb resources.Verb) resources.Report {
	t.Helper()
	ctx, req := s.request(t, 20*time.Second)
	switch verb {
	case resources.VerbStart:
		return s.agent.Start(ctx, req)
	case resources.VerbKill:
		req.Emergency = true
		return s.agent.Stop(ctx, req)
	case resources.VerbStop:
		return s.agent.Stop(ctx, req)
	case resources.VerbCheck:
		return s.agent.Check(ctx, req)
	}
	return s.agent.Probe(ctx, req)
}

func (s *setting) want(t *testing.T, verb resources.Verb, want resources.Outcome) resources.Report {
	t.Helper()
	r := s.do(t, verb)
	if r.Outcome != want {
		t.Fatalf("%s: %v: %s %v; want %v", verb, r.Outcome, r.Text, r.Holders, want)
	}
	return r
}

func TestAgent(t *testing.T) {
	s := newSetting(t, "ext4")
	agenttest.Run(t, s.agent, s.spec)
}

func TestMain(m *testing.M) {
	agenttest.Main(m, resources.Kinds{"filesystem": filesystem.Agent{}})
}

func TestLives(t *testing.T) {
	for _, fsType := range []string{"ext4", "xfs"} {
		t.Run(fsType, func(t *testing.T) {
			s := newSetting(t, fsType)
			agenttest.Lives(t, agenttest.Case{Kind: "filesystem", Spec: s.spec, Lose: func(t *testing.T) {
				mounttest.Run(t, "umount", s.at)
			}})
		})
	}
}

func TestLife(t *testing.T) {
	for _, fsType := range []string{"ext4", "xfs"} {
		t.Run(fsType, func(t *testing.T) {
			s := newSetting(t, fsType)
			s.spec["options"] = "noatime,nodev"
			s.spec["write_test"] = true
			s.want(t, "start", resources.OK)
			s.want(t, "check", resources.OK)
			mounts, err := mount.Own()
			if err != nil {
				t.Fatal(err)
			}
			m, found := mount.At(mounts, s.at)
			if !found || m.Type != fsType || !strings.Contains(m.Options, "noatime") || !strings.Contains(m.Options, "nodev") {
				t.Errorf("mounted as %+v, %v", m, found)
			}
			if fsType == "ext4" && !strings.Contains(m.SuperOptions, "errors=remount-ro") {
				t.Errorf("ext4 without errors=remount-ro: %s", m.SuperOptions)
			}
			if left, _ := filepath.Glob(filepath.Join(s.at, ".holdfast*")); len(left) != 0 {
				t.Errorf("the write test left %v", left)
			}
			s.want(t, "stop", resources.OK)
			s.want(t, "probe", resources.NotRunning)
		})
	}
}

func TestTheTypeIsRecognised(t *testing.T) {
	s := newSetting(t, "xfs")
	delete(s.spec, "type")
	s.want(t, "start", resources.OK)
	s.want(t, "stop", resources.OK)
}

func TestStartRefuses(t *testing.T) {
	s := newSetting(t, "ext4")
	elsewhere := t.TempDir()
	refused := func(t *testing.T, words string) {
		t.Helper()
		if r := s.want(t, "start", resources.Failed); !strings.Contains(r.Text, words) {
			t.Errorf("text %q; want %q in it", r.Text, words)
		}
	}
	t.Run("a device mounted elsewhere", func(t *testing.T) {
		mounttest.Run(t, "mount", s.device, elsewhere)
		defer mounttest.Run(t, "umount", elsewhere)
		refused(t, "mounted at "+elsewhere)
	})
	t.Run("a device that is claimed", func(t *testing.T) {
		fd, err := unix.Open(s.device, unix.O_RDONLY|unix.O_EXCL, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer unix.Close(fd)
		refused(t, "exclusive use")
		s.want(t, "probe", resources.Unknown)
	})
	t.Run("a place that is taken", func(t *testing.T) {
		if err := os.MkdirAll(s.at, 0o755); err != nil {
			t.Fatal(err)
		}
		mounttest.Run(t, "mount", "-t", "tmpfs", "none", s.at)
		defer mounttest.Run(t, "umount", s.at)
		refused(t, "is taken by")
	})
	t.Run("a missing mount point, if told so", func(t *testing.T) {
		if err := os.Remove(s.at); err != nil {
			t.Fatal(err)
		}
		s.spec["create_mountpoint"] = false
		defer delete(s.spec, "create_mountpoint")
		refused(t, "does not exist")
	})
	t.Run("the wrong type", func(t *testing.T) {
		s.spec["type"] = "xfs"
		defer func() { s.spec["type"] = "ext4" }()
		refused(t, "no xfs there")
	})
}

// The file system of a server: a tmpfs calls its source what one likes, and takes
// the whole way of a mount that no disk stands behind.
func TestAServersFileSystem(t *testing.T) {
	mounttest.NeedRoot(t)
	s := &setting{at: filepath.Join(t.TempDir(), "srv"), device: "192.0.2.1:/export/orders"}
	s.spec = map[string]any{"device": s.device, "at": s.at, "type": "tmpfs", "options": "size=1m", "grace": "50ms", "write_test": true}
	t.Cleanup(func() { _ = unix.Unmount(s.at, unix.MNT_DETACH) })
	agenttest.Run(t, s.agent, s.spec)
	agenttest.Lives(t, agenttest.Case{Kind: "filesystem", Spec: s.spec, Lose: func(t *testing.T) { mounttest.Run(t, "umount", s.at) }})
	s.want(t, "start", resources.OK)
	away := shell(t, "unshare", "--mount", "--propagation", "private", "/bin/sh", "-c", "exec 3>"+s.at+"/log; echo ready; exec sleep 1000")
	mounttest.Run(t, "umount", "-l", s.at)
	s.want(t, "probe", resources.OK) // in the other namespace
	s.want(t, "stop", resources.OK)
	if state, err := away.Process.Wait(); err != nil || state.Success() {
		t.Errorf("the holder: %v, %v; want it ended", state, err)
	}
	s.want(t, "probe", resources.NotRunning)
	mounttest.Run(t, "mount", "-t", "tmpfs", "other", s.at)
	if r := s.want(t, "start", resources.Failed); !strings.Contains(r.Text, "taken by other") {
		t.Errorf("text %q", r.Text)
	}
	mounttest.Run(t, "umount", s.at)
	s.spec["type"], s.spec["device"] = "nfs4", "127.0.0.1:/none"
	if _, err := exec.LookPath("mount.nfs4"); err == nil {
		if r := s.want(t, "start", resources.Failed); !strings.Contains(r.Text, "mount -t nfs4 127.0.0.1:/none") {
			t.Errorf("text %q", r.Text)
		}
	}
}

func TestForcedFsck(t *testing.T) {
	s := newSetting(t, "ext4")
	s.spec["fsck"] = "force"
	when := func() string {
		out := mounttest.Run(t, "dumpe2fs", "-h", s.device)
		_, after, _ := strings.Cut(out, "Last checked:")
		line, _, _ := strings.Cut(after, "\n")
		return line
	}
	mounttest.Run(t, "tune2fs", "-T", "20200101", s.device)
	old := when()
	s.spec["fsck"] = "never"
	s.want(t, "start", resources.OK)
	s.want(t, "stop", resources.OK)
	if when() != old {
		t.Error("it was checked although it should never be")
	}
	s.spec["fsck"] = "force"
	s.want(t, "start", resources.OK)
	s.want(t, "stop", resources.OK)
	if when() == old {
		t.Error("it was not checked although that was to be forced")
	}
}

func TestBadSpecifications(t *testing.T) {
	for name, spec := range map[string]map[string]any{
		"no device":               {"at": "/srv/x"},
		"relative":                {"device": "sdb", "at": "/srv/x"},
		"the root":                {"device": "/dev/sdb", "at": "/"},
		"unknown key":             {"device": "/dev/sdb", "at": "/srv/x", "lazy": true},
		"unknown fsck":            {"device": "/dev/sdb", "at": "/srv/x", "fsck": "maybe"},
		"a server without a type": {"device": "192.0.2.1:/x", "at": "/srv/x"},
		"remount option":          {"device": "/dev/sdb", "at": "/srv/x", "options": "remount"},
	} {
		s := &setting{spec: spec}
		if r := s.do(t, "start"); r.Outcome != resources.Failed {
			t.Errorf("%s: %v: %s; want failed", name, r.Outcome, r.Text)
		}
	}
	s := &setting{spec: map[string]any{"device": "/dev/does-not-exist-here", "at": "/srv/does-not-exist-here"}}
	s.want(t, "start", resources.Failed)
	s.want(t, "probe", resources.NotRunning)
	s.want(t, "stop", resources.OK)
}

// shell runs a line and waits until it printed a line of its own.
func shell(t *testing.T, argv ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(argv[0], argv[1:]...)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	if _, err := out.Read(make([]byte, 6)); err != nil {
		t.Fatal(err)
	}
	return cmd
}

func TestBusyStopEndsTheHolders(t *testing.T) {
	for _, verb := range []resources.Verb{"stop", "kill"} {
		t.Run(string(verb), func(t *testing.T) {
			s := newSetting(t, "ext4")
			s.want(t, "start", resources.OK)
			deaf := shell(t, "/bin/sh", "-c", "cd "+s.at+"; trap '' TERM; echo ready; while :; do sleep 0.05; done")
			away := shell(t, "unshare", "--mount", "--propagation", "private", "/bin/sh", "-c",
				"exec 3>"+s.at+"/log; echo ready; exec sleep 1000")
			idle := shell(t, "unshare", "--mount", "--propagation", "private", "/bin/sh", "-c", "echo ready; exec sleep 1000")
			s.want(t, verb, resources.OK)
			s.want(t, "probe", resources.NotRunning)
			for _, cmd := range []*exec.Cmd{deaf, away} {
				ended := make(chan error, 1)
				go func() { ended <- cmd.Wait() }()
				select {
				case <-ended:
				case <-time.After(20 * time.Second):
					t.Errorf("holder %d was not ended", cmd.Process.Pid)
				}
			}
			if err := idle.Process.Signal(unix.Signal(0)); err != nil {
				t.Errorf("a process that merely had the mount in its namespace was ended: %v", err)
			}
		})
	}
}

func TestBusyStopWithoutKillingFailsWithTheNames(t *testing.T) {
	s := newSetting(t, "ext4")
	s.spec["kill_holders"] = false
	s.want(t, "start", resources.OK)
	holder := shell(t, "/bin/sh", "-c", "cd "+s.at+"; echo ready; exec sleep 1000")
	r := s.want(t, "stop", resources.Failed)
	if len(r.Holders) != 1 || !strings.Contains(r.Holders[0], "working directory "+s.at) {
		t.Errorf("holders %v: %s; want the working directory of process %d", r.Holders, r.Text, holder.Process.Pid)
	}
	s.want(t, "probe", resources.OK)
	_ = holder.Process.Kill()
	_ = holder.Wait()
	s.want(t, "stop", resources.OK)
}

// An open file of this very process: it must neither be killed nor overlooked.
func TestAStopThatCannotSucceedSaysSoInTime(t *testing.T) {
	s := newSetting(t, "ext4")
	s.want(t, "start", resources.OK)
	f, err := os.Create(filepath.Join(s.at, "mine"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	ctx, req := s.request(t, 300*time.Millisecond)
	r := s.agent.Stop(ctx, req)
	if r.Outcome != resources.Failed || len(r.Holders) != 1 || !strings.Contains(r.Holders[0], "not killed") {
		t.Errorf("%v: %s %v", r.Outcome, r.Text, r.Holders)
	}
	f.Close()
	s.want(t, "stop", resources.OK)
}

// A lazily unmounted file system is in no table; it must not pass for stopped.
func TestAFormerLazyUnmountIsNotAStop(t *testing.T) {
	s := newSetting(t, "ext4")
	s.want(t, "start", resources.OK)
	holder := shell(t, "/bin/sh", "-c", "exec 3>"+s.at+"/log; echo ready; exec sleep 1000")
	if err := unix.Unmount(s.at, unix.MNT_DETACH); err != nil {
		t.Fatal(err)
	}
	s.want(t, "probe", resources.Unknown)
	s.want(t, "stop", resources.OK)
	if state, err := holder.Process.Wait(); err != nil || state.Success() {
		t.Errorf("the holder: %v, %v; want it ended", state, err)
	}
	s.want(t, "probe", resources.NotRunning)
}

func TestAReadOnlyRemountIsSeen(t *testing.T) {
	s := newSetting(t, "ext4")
	s.want(t, "start", resources.OK)
	mounttest.Run(t, "mount", "-o", "remount,ro", s.at)
	if r := s.want(t, "check", resources.Failed); !strings.Contains(r.Text, "read-only") {
		t.Errorf("text %q", r.Text)
	}
	s.want(t, "stop", resources.OK)
}

func TestReadOnlyAsAsked(t *testing.T) {
	s := newSetting(t, "ext4")
	s.spec["options"] = "ro"
	s.want(t, "start", resources.OK)
	s.want(t, "check", resources.OK)
	s.want(t, "stop", resources.OK)
}

// What this node's cache holds of the device from the time when another node wrote
// to it is not what is mounted: the cache lives as long as anybody has the device
// open, and a monitor or a multipath daemon may have.
func TestWhatAnotherNodeWroteIsWhatIsMounted(t *testing.T) {
	for _, fsck := range []string{"never", "auto"} {
		t.Run(fsck, func(t *testing.T) {
			s := newSetting(t, "ext4")
			// With blocks of 4096 bytes ext4 reads the first with another size and so
			// drops the cache by chance.
			mounttest.Run(t, "mkfs.ext4", "-q", "-F", "-b", "1024", s.device)
			s.spec["fsck"] = fsck
			monitor, err := os.Open(s.device)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { monitor.Close() })
			s.want(t, "start", resources.OK) // the kernel keeps the block size from here on
			s.want(t, "stop", resources.OK)
			if _, err := io.Copy(io.Discard, monitor); err != nil { // all of it is cached now
				t.Fatal(err)
			}
			writeAsAnotherNode(t, s.device, "ext4")
			s.want(t, "start", resources.OK)
			if text, err := os.ReadFile(filepath.Join(s.at, "orders")); err != nil || string(text) != "of another node" {
				t.Errorf("read %q, %v; want what the other node wrote", text, err)
			}
			s.want(t, "stop", resources.OK)
			mounttest.Run(t, "fsck.ext4", "-n", "-f", s.device)
		})
	}
}

// writeAsAnotherNode mounts the disk by a device of its own, with a cache of its
// own, and leaves a file on it.
func writeAsAnotherNode(t *testing.T, device, fsType string) {
	t.Helper()
	image, err := os.ReadFile(filepath.Join("/sys/block", filepath.Base(device), "loop/backing_file"))
	if err != nil {
		t.Fatal(err)
	}
	theirs, err := loop.Attach(strings.TrimSpace(string(image)))
	if err != nil {
		t.Fatal(err)
	}
	at := t.TempDir()
	mounttest.Run(t, "mount", "-t", fsType, theirs, at)
	if err := os.WriteFile(filepath.Join(at, "orders"), []byte("of another node"), 0o600); err != nil {
		t.Error(err)
	}
	mounttest.Run(t, "umount", at)
	mounttest.Run(t, "losetup", "-d", theirs)
}

// A journal that was not written back is replayed; a file system that needs a
// human is refused with what fsck printed.
func TestFsck(t *testing.T) {
	s := newSetting(t, "ext4")
	mounttest.Run(t, "debugfs", "-w", "-R", "set_super_value state 2", s.device) // "has errors"
	s.want(t, "start", resources.OK)
	s.want(t, "stop", resources.OK)
	mounttest.Run(t, "dd", "if=/dev/zero", "of="+s.device, "bs=1024", "count=64", "conv=notrunc")
	if r := s.want(t, "start", resources.Failed); !strings.Contains(r.Text, "repair it by hand") {
		t.Errorf("text %q", r.Text)
	}
}
