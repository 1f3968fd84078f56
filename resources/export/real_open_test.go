package export_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/holdfast-ha/holdfast/resources"
	"github.com/holdfast-ha/holdfast/resources/export"
)

// Behind a stop the file system below can be unmounted although a client has a file open
// in it, which has lost the server's address a moment before.
func TestRealServerLetsGo(t *testing.T) {
	disk := os.Getenv("HOLDFAST_EXPORT_DISK")
	if disk == "" {
		t.Skip("HOLDFAST_EXPORT_DISK names no empty disk: it takes one, and an NFS server that runs; make vm RUN=TestKindsOnRealThings has both")
	}
	run := func(argv ...string) {
		t.Helper()
		if out, err := exec.Command(argv[0], argv[1:]...).CombinedOutput(); err != nil {
			t.Fatalf("%v: %v: %s", argv, err, out)
		}
	}
	const address = "10.78.77.1"
	path, client := filepath.Join(t.TempDir(), "pub"), t.TempDir()
	if err := os.Mkdir(path, 0o755); err != nil {
		t.Fatal(err)
	}
	run("mkfs.ext4", "-q", "-F", disk)
	run("mount", disk, path)
	t.Cleanup(func() { _ = unix.Unmount(path, unix.MNT_DETACH) })
	run("ip", "address", "add", address+"/32", "dev", "lo")
	spec := map[string]any{"path": path, "clients": []string{address}, "options": "rw,no_subtree_check,no_root_squash,insecure"}
	a := export.Agent{}
	ask(t, a.Start, spec, resources.OK, "")
	run("mount", "-t", "nfs4", "-o", "soft,timeo=20,retrans=1", address+":"+path, client)
	t.Cleanup(func() { _ = unix.Unmount(client, unix.MNT_FORCE|unix.MNT_DETACH) })
	f, err := os.Create(filepath.Join(client, "log"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { go f.Close() }) // what is left unwritten fails, as it should, in its time
	if _, err := f.WriteString("first\n"); err != nil {
		t.Fatal(err)
	}
	if err := f.Sync(); err != nil {
		t.Fatal(err)
	}
	run("ip", "address", "del", address+"/32", "dev", "lo")
	ask(t, a.Stop, spec, resources.OK, "not exported")
	deadline := time.Now().Add(20 * time.Second)
	err = unix.Unmount(path, 0)
	for ; err != nil && time.Now().Before(deadline); err = unix.Unmount(path, 0) {
		<-time.After(10 * time.Millisecond) // the kernel closes what the server had open a moment later
	}
	if err != nil {
		out, _ := exec.Command("/bin/sh", "-c", "cd /proc/fs/nfsd; cat clients/*/info clients/*/states filecache /proc/net/rpc/nfsd.export/content").CombinedOutput()
		t.Errorf("unmount behind the stop: %v; the server has\n%s", err, out)
	}
}
