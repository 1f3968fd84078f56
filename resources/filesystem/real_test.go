package filesystem_test

import (
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/holdfast-ha/holdfast/resources"
	"github.com/holdfast-ha/holdfast/resources/agenttest"
	"github.com/holdfast-ha/holdfast/storage/mount/mounttest"
)

// The promises of every kind, of a file system that a real NFS server has; and a stop
// ends who uses it.
func TestRealNFS(t *testing.T) {
	mounttest.NeedRoot(t)
	export := os.Getenv("HOLDFAST_NFS_EXPORT")
	if export == "" {
		t.Skip("HOLDFAST_NFS_EXPORT names nothing to mount, as 192.0.2.1:/srv: it takes an NFS server, and a kernel with a client; make vm RUN=TestKindsOnRealThings has both")
	}
	s := &setting{at: filepath.Join(t.TempDir(), "srv"), device: export}
	s.spec = map[string]any{"device": export, "at": s.at, "type": "nfs4", "grace": "50ms", "write_test": true}
	t.Cleanup(func() { _ = unix.Unmount(s.at, unix.MNT_DETACH) })
	agenttest.Run(t, s.agent, s.spec)
	agenttest.Lives(t, agenttest.Case{Kind: "filesystem", Spec: s.spec, Brief: true, Lose: func(t *testing.T) { mounttest.Run(t, "umount", s.at) }})
	s.want(t, "start", resources.OK)
	user := shell(t, "/bin/sh", "-c", "exec 3>"+s.at+"/log; echo ready; exec sleep 1000")
	s.want(t, "check", resources.OK)
	s.want(t, "stop", resources.OK)
	if state, err := user.Process.Wait(); err != nil || state.Success() {
		t.Errorf("who used it: %v, %v; want it ended", state, err)
	}
	s.want(t, "probe", resources.NotRunning)
}
