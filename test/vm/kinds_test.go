package vm_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-ha/holdfast/test/vm/disk"
	"github.com/holdfast-ha/holdfast/test/vm/image"
	"github.com/holdfast-ha/holdfast/test/vm/lab"
	"github.com/holdfast-ha/holdfast/test/vm/machine"
	"github.com/holdfast-ha/holdfast/test/vm/network"
	"github.com/holdfast-ha/holdfast/test/vm/san"
	"github.com/holdfast-ha/holdfast/test/vm/wire"
)

// The disks of the machine that has everything.
const (
	lunDisk    = "/dev/disk/by-id/virtio-ARRAY1" // behind the target
	groupDisk  = "/dev/disk/by-id/virtio-GROUP1"
	exportDisk = "/dev/disk/by-id/virtio-EXPORT1"
)

// realModules are what its kernel needs: a device mapper, an initiator and a target, an NFS server and a client.
func realModules() []string {
	return append(append([]string{"crc32c_generic", "ext4", "dm_mod", "dm_multipath", "dm_service_time", "scsi_dh_alua", "nfsd", "nfsv4"}, san.TargetModules()...), san.InitiatorModules()...)
}

// openRealThings boots one machine with a whole Debian, an iSCSI target of its own and an NFS server, with the tests of packages
// in /tests.
func openRealThings(t *testing.T, packages ...string) *machine.Machine {
	t.Helper()
	cache, err := image.OpenCache()
	if err != nil {
		t.Fatal(err)
	}
	root, err := cache.Root("lvm2", "multipath-tools", "open-iscsi", "nfs-kernel-server", "nfs-common")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for _, pkg := range packages {
		if _, err := image.TestProgram(t.Context(), dir, pkg); err != nil {
			t.Fatal(err)
		}
	}
	l := lab.Open(t, image.Content{Modules: realModules()})
	tests := l.Disk("TESTS1", 160<<20)
	if err := image.Files(dir, tests.Path(), "160M"); err != nil {
		t.Fatal(err)
	}
	m := l.Machine(lab.Plan{
		Name: "n1", Number: 1, Root: root, Memory: 768, Modules: realModules(), Networks: []*network.Switch{l.Network("san")},
		Disks: []*disk.Disk{tests, l.Disk("ARRAY1", 64<<20), l.Disk("GROUP1", 64<<20), l.Disk("EXPORT1", 64<<20)},
	})
	l.PowerOn(m)
	ctx := l.Context(5 * time.Minute)
	if err := await(ctx, func() error {
		_, err := m.Run(ctx, "/bin/sh", "-c", "systemctl is-system-running | grep -E 'running|degraded' && udevadm settle -t 60")
		return err
	}); err != nil {
		t.Fatal(err)
	}
	if _, err := m.Ask(ctx, wire.Request{Op: wire.Mkdir, Args: []string{"/tests"}}); err != nil {
		t.Fatal(err)
	}
	if _, err := m.Ask(ctx, wire.Request{Op: wire.Mount, Args: []string{"ext4", "/tests", "/dev/disk/by-id/virtio-TESTS1"}}); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(san.Serve(ctx, m, lunDisk, "0.0.0.0", m), san.Initiate(ctx, m), serveNFS(ctx, m)); err != nil {
		t.Fatal(err)
	}
	return m
}

// real is a kind's suite, as a test of its package, against the real thing inside the machine.
type real struct {
	pkg, test string
	env       []string
	before    func(ctx context.Context, m *machine.Machine) error // may be nil
}

// TestKindsOnRealThings runs the suites of the kinds that take what this machine's kernel does not have, or nobody may touch
// here: on a whole Debian with a device mapper, an iSCSI target, multipathd, an NFS server, and its systemd.
func TestKindsOnRealThings(t *testing.T) {
	whole(t)
	suites := []real{
		{pkg: "resources/lvm", test: "TestReal", env: []string{"HOLDFAST_LVM_DISK=" + groupDisk}},
		{pkg: "resources/iscsi", test: "TestReal", env: []string{"HOLDFAST_ISCSI_TARGET=" + san.Target, "HOLDFAST_ISCSI_PORTALS=" + san.Portal("127.0.0.1") + " " + san.Portal(lab.Address(0, 1))}},
		{pkg: "resources/multipath", test: "TestReal", env: []string{"HOLDFAST_MULTIPATH_MAP=orders"}, before: func(ctx context.Context, m *machine.Machine) error {
			return twoPaths(ctx, m, "127.0.0.1", lab.Address(0, 1))
		}},
		{pkg: "resources/export", test: "TestReal", env: []string{"HOLDFAST_EXPORT_DISK=" + exportDisk}},
		{pkg: "resources/filesystem", test: "TestReal", env: []string{"HOLDFAST_NFS_EXPORT=127.0.0.1:/srv"}, before: func(ctx context.Context, m *machine.Machine) error {
			_, err := m.Run(ctx, "exportfs", "-o", "rw,no_subtree_check,no_root_squash,insecure,fsid=1", "127.0.0.1:/srv")
			return err
		}},
		{pkg: "resources/systemd", test: "TestRealSystemd", env: []string{"HOLDFAST_SYSTEMD=this"}},
	}
	var packages []string
	for _, s := range suites {
		packages = append(packages, s.pkg)
	}
	m := openRealThings(t, packages...)
	for _, s := range suites {
		t.Run(filepath.Base(s.pkg), func(t *testing.T) {
			began := time.Now()
			ctx, cancel := context.WithTimeout(t.Context(), 12*time.Minute)
			defer cancel()
			if s.before != nil {
				if err := s.before(ctx, m); err != nil {
					t.Fatal(err)
				}
			}
			w, err := m.Ask(ctx, wire.Request{
				Op: wire.Run, Env: append(s.env, "PATH=/usr/sbin:/usr/bin:/sbin:/bin"), Timeout: 10 * time.Minute,
				Args: []string{"/tests/" + filepath.Base(s.pkg) + ".test", "-test.v", "-test.run", "^" + s.test},
			})
			if err != nil || w.Code != 0 || !strings.Contains(string(w.Output), "--- PASS: "+s.test) || strings.Contains(string(w.Output), "--- SKIP") {
				t.Errorf("exit status %d, %v", w.Code, err)
			}
			t.Logf("%v\n%s", time.Since(began).Round(time.Second), w.Output)
		})
	}
}

// twoPaths logs the machine in to its target over two portals, and has multipathd make a map of the two disks that it has then.
func twoPaths(ctx context.Context, m *machine.Machine, portals ...string) error {
	conf := "defaults {\n  find_multipaths no\n  polling_interval 1\n  max_polling_interval 2\n  path_checker tur\n  no_path_retry fail\n}\n" +
		"blacklist {\n  devnode \"^vd\"\n}\nmultipaths {\n  multipath {\n    wwid WWID\n    alias orders\n  }\n}\n"
	if err := m.Write(ctx, "/etc/multipath.conf.in", conf); err != nil {
		return err
	}
	script := "set -e\n"
	for _, p := range portals {
		script += fmt.Sprintf("iscsiadm -m discovery -t sendtargets -p %[1]s\niscsiadm -m node -T %[2]s -p %[1]s --login\n", p, san.Target)
	}
	script += `udevadm settle -t 60
disk=$(ls /sys/class/iscsi_session/*/device/target*/*/block | grep -m1 ^sd)
wwid=$(/lib/udev/scsi_id -g -u -d /dev/$disk)
sed "s/WWID/$wwid/" /etc/multipath.conf.in >/etc/multipath.conf
systemctl restart multipathd.service
for i in $(seq 100); do [ ! -L /dev/mapper/orders ] || break; sleep 0.3; done
multipath -ll
`
	_, err := m.Run(ctx, "/bin/sh", "-c", script)
	return err
}

// serveNFS starts the NFS server as Debian starts it.
func serveNFS(ctx context.Context, m *machine.Machine) error {
	_, err := m.Run(ctx, "/bin/sh", "-c", "mkdir -p /srv; systemctl start nfs-server.service")
	return err
}
