package vm_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/u-root/u-root/pkg/cpio"

	"github.com/holdfast-ha/holdfast/internal/api"
	"github.com/holdfast-ha/holdfast/test/vm/account"
	vmcluster "github.com/holdfast-ha/holdfast/test/vm/cluster"
	"github.com/holdfast-ha/holdfast/test/vm/image"
	"github.com/holdfast-ha/holdfast/test/vm/wire"
)

// Where the files are, and by what the client finds them.
const (
	filesAt      = "/srv/files"
	filesAddress = "10.78.0.100"
	mountedAt    = "/mnt/files"
)

// twoServices are the files, on two servers, and on the third node a client that has them mounted, as a member of a service too,
// and writes. The journal is left to the kernel: a program that checks the file system first costs an emulated machine seconds.
const twoServices = `  files:
    prefer: [n1, n2]
    never: [n3]
    stack:
      - filesystem: {device: /dev/disk/by-id/virtio-DATA1, at: ` + filesAt + `, type: ext4, fsck: never}
      - export: {path: ` + filesAt + `, clients: [10.78.0.0/24], options: "rw,no_subtree_check,no_root_squash"}
      - ip: {address: ` + filesAddress + `/24}
  client:
    only: [n3]
    after: [files]
    stack:
      - filesystem: {device: "` + filesAddress + `:` + filesAt + `", at: ` + mountedAt + `, type: nfs4, options: "timeo=50,retrans=1"}
        check: {timeout: 2m}
      - exec: {run: [/init, account, -file, ` + mountedAt + `/log, -pace, 100ms]}
`

// nfsPrograms are the server's and the client's, with the database that they know transports from.
func nfsPrograms(t *testing.T) []cpio.Record {
	t.Helper()
	programs, err := image.HostPrograms("exportfs", "rpc.nfsd", "rpc.mountd", "mount.nfs4", "mount", "umount")
	if err != nil {
		t.Fatal(err)
	}
	netconfig, err := os.ReadFile("/etc/netconfig")
	if err != nil {
		t.Fatalf("%v: run test/setup.sh", err)
	}
	return append(programs,
		cpio.StaticFile("etc/services", "nfs 2049/tcp\nnfs 2049/udp\nsunrpc 111/tcp\nsunrpc 111/udp\n", 0o644), cpio.StaticFile("etc/protocols", "tcp 6 TCP\nudp 17 UDP\n", 0o644),
		cpio.StaticFile("etc/netconfig", string(netconfig), 0o644), cpio.StaticFile("etc/hosts", "127.0.0.1 localhost\n", 0o644),
		cpio.StaticFile("etc/passwd", "root:x:0:0:root:/:/bin/false\n", 0o644), cpio.StaticFile("etc/exports", "", 0o644),
		cpio.StaticFile("etc/nsswitch.conf", "passwd: files\nhosts: files\nservices: files\nprotocols: files\n", 0o644))
}

// bootNFS starts the server of a node, version 4 alone. How long a client may wait to claim its locks again is short, because
// an emulated second is a long time.
func bootNFS(ctx context.Context, n *vmcluster.Node) error {
	for _, r := range []wire.Request{
		{Op: wire.Mkdir, Args: []string{"/var/lib/nfs/v4recovery", "/run/lock", filesAt}},
		{Op: wire.Write, Args: []string{"/var/lib/nfs/etab"}},
		{Op: wire.Write, Args: []string{"/var/lib/nfs/rmtab"}},
		{Op: wire.Mount, Args: []string{"nfsd", "/proc/fs/nfsd", "nfsd"}},
		{Op: wire.Write, Args: []string{"/proc/fs/nfsd/nfsv4leasetime"}, Data: []byte("10\n")},
		{Op: wire.Write, Args: []string{"/proc/fs/nfsd/nfsv4gracetime"}, Data: []byte("10\n")},
		{Op: wire.Start, Args: []string{"mountd", "/sbin/rpc.mountd", "--foreground", "--no-nfs-version", "3", "--no-udp"}},
	} {
		if _, err := n.Ask(ctx, r); err != nil {
			return err
		}
	}
	_, err := n.Run(ctx, "/sbin/rpc.nfsd", "--no-nfs-version", "3", "--no-udp", "2")
	return err
}

// nfs is the cluster with the two services.
type nfs struct {
	*vmcluster.Cluster
	t *testing.T
}

// runs waits until the service runs and returns where, by the word of a node that is up.
func (s *nfs) runs(ctx context.Context, service string) (owner *vmcluster.Node) {
	s.t.Helper()
	if err := await(ctx, func() error {
		st, err := s.Nodes[2].Status(ctx)
		if err != nil {
			return err
		}
		for _, v := range st.Services {
			if v.Name == service && v.State == "running" {
				owner = s.named(v.Node)
				return nil
			}
		}
		return fmt.Errorf("services %s", told(st))
	}); err != nil {
		s.t.Fatal(err)
	}
	return owner
}

func told(st *api.Status) (words string) {
	for _, v := range st.Services {
		words += fmt.Sprintf("%s is %s on %s: %s %s; ", v.Name, v.State, v.Node, v.Text, v.Why)
	}
	return words
}

func (s *nfs) named(name string) *vmcluster.Node {
	for _, n := range s.Nodes {
		if n.Name == name {
			return n
		}
	}
	return nil
}

// records is how many of them stand in the file, by the server's own view.
func (s *nfs) records(ctx context.Context, server *vmcluster.Node) (int, error) {
	text, err := server.Read(ctx, filesAt+"/log")
	list, _ := account.Records([]byte(text))
	return len(list), err
}

// grows waits until the client's records have become more than before on that server, and says how long that took.
func (s *nfs) grows(ctx context.Context, server *vmcluster.Node, before int, since time.Time) (now int, took time.Duration) {
	s.t.Helper()
	if err := await(ctx, func() (err error) {
		if now, err = s.records(ctx, server); err == nil && now <= before {
			err = fmt.Errorf("%d records on %s, %d before", now, server.Name, before)
		}
		return err
	}); err != nil {
		s.t.Fatal(err)
	}
	return now, time.Since(since).Round(100 * time.Millisecond)
}

// TestServiceOverNFS has a client of an export write through a move and a loss of power of its server. The client is a service
// itself, with the mounted export as its file system: it stands still meanwhile, is never failed nor restarted for it, and
// of what was confirmed to it everything is there in the end.
func TestServiceOverNFS(t *testing.T) {
	whole(t)
	s := &nfs{t: t, Cluster: vmcluster.OpenWith(t, 3, vmcluster.Extra{
		Records: nfsPrograms(t), Modules: []string{"nfsd", "nfsv4"}, Load: []string{"nfsd", "nfsv4"}, Times: 2, Memory: nodeMemory, Boot: bootNFS,
	})}
	if out, err := exec.Command("mkfs.ext4", "-q", "-F", s.Data.Path()).CombinedOutput(); err != nil {
		t.Fatalf("mkfs.ext4 (package e2fsprogs; test/setup.sh installs it): %v: %s", err, out)
	}
	ctx := s.Context(14 * time.Minute)
	if err := s.ApplyServices(ctx, twoServices); err != nil {
		t.Fatal(err)
	}
	client, server := s.runs(ctx, "client"), s.runs(ctx, "files")
	count, _ := s.grows(ctx, server, 20, time.Now())

	next := s.Nodes[2-server.Number]
	at := time.Now()
	if out, err := client.Holdfast(ctx, "service", "move", "files", "--to", next.Name, "--wait", "2m"); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	count, took := s.grows(ctx, next, count, at)
	t.Logf("moved: the client writes %v after the order, record %d", took, count)
	count, _ = s.grows(ctx, next, count+50, time.Now())

	at = time.Now()
	if err := next.PowerOff(); err != nil {
		t.Fatal(err)
	}
	count, took = s.grows(ctx, server, count, at)
	t.Logf("power lost: the client writes %v after it, record %d", took, count)
	count, _ = s.grows(ctx, server, count+50, time.Now())

	s.unfailed(ctx, client)
	s.audit(ctx, client, count)
}

// unfailed checks that the client's service never failed for what befell its server: a check that waits for a server tells
// nothing of the service.
func (s *nfs) unfailed(ctx context.Context, client *vmcluster.Node) {
	s.t.Helper()
	out, err := client.Holdfast(ctx, "events", "--local", "--json")
	if err != nil {
		s.t.Fatal(err)
	}
	seen := 0
	for lines := json.NewDecoder(strings.NewReader(out)); ; seen++ {
		var e api.Event
		if err := lines.Decode(&e); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			s.t.Fatalf("%v in %s", err, out)
		}
		if e.Service == "client" && e.Kind == "failed" {
			s.t.Errorf("the client failed: %s", e.Text)
		}
	}
	if seen == 0 {
		s.t.Error("no events")
	}
}

// audit stops both services and looks at what stands in the file: all records from the first on, with none left out.
func (s *nfs) audit(ctx context.Context, n *vmcluster.Node, least int) {
	s.t.Helper()
	for _, service := range []string{"client", "files"} {
		if out, err := n.Holdfast(ctx, "service", "stop", service, "--wait", "2m"); err != nil {
			s.t.Fatalf("%v: %s", err, out)
		}
	}
	if out, err := exec.CommandContext(ctx, "fsck.ext4", "-fn", s.Data.Path()).CombinedOutput(); err != nil {
		s.t.Errorf("the file system is not clean: fsck.ext4 -fn: %v: %s", err, out)
	}
	text, err := exec.CommandContext(ctx, "debugfs", "-R", "cat /log", s.Data.Path()).Output()
	if err != nil {
		s.t.Fatalf("debugfs (package e2fsprogs): %v", err)
	}
	list, whole := account.Records(text)
	if !whole || len(list) < least {
		s.t.Errorf("%d records stand in the file without a gap, of %d bytes; %d were seen before", len(list), len(text), least)
	}
	for _, r := range list {
		if r.Run != list[0].Run {
			s.t.Errorf("record %d is of another run than the first: the client's program was restarted", r.Number)
			break
		}
	}
	s.t.Logf("%d records", len(list))
}
