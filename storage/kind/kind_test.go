package kind_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/holdfast-ha/holdfast/storage/kind"
	"github.com/holdfast-ha/holdfast/storage/storagetest"
)

// tree is a sysfs made of files. A key is the directory of a device below
// /sys/devices; its number is the order.
type tree struct {
	t   *testing.T
	sys string
	n   uint32
}

// add makes a device; attributes are "file=content".
func (s *tree) add(dir string, attributes ...string) uint64 {
	s.t.Helper()
	s.n++
	dev := unix.Mkdev(8, s.n)
	at := filepath.Join(s.sys, "devices", dir)
	must(s.t, os.MkdirAll(at, 0o755))
	for _, a := range attributes {
		name, text, _ := strings.Cut(a, "=")
		must(s.t, os.MkdirAll(filepath.Dir(filepath.Join(at, name)), 0o755))
		must(s.t, os.WriteFile(filepath.Join(at, name), []byte(text+"\n"), 0o644))
	}
	for _, d := range []string{"dev/block", "class/block"} {
		must(s.t, os.MkdirAll(filepath.Join(s.sys, d), 0o755))
	}
	must(s.t, os.Symlink(at, filepath.Join(s.sys, "dev/block", "8:"+itoa(s.n))))
	must(s.t, os.Symlink(at, filepath.Join(s.sys, "class/block", filepath.Base(dir))))
	return dev
}

func itoa(n uint32) string {
	if n < 10 {
		return string(rune('0' + n))
	}
	return itoa(n/10) + itoa(n%10)
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// TestVerdicts is the table of what a quorum disk may stand on, on a sysfs that
// is made up: the kernel of a build machine has none of these devices.
func TestVerdicts(t *testing.T) {
	s := &tree{t: t, sys: t.TempDir()}
	for _, c := range []struct {
		name    string
		dev     uint64
		kind    kind.Kind
		refused string // a part of the reason; empty: accepted
		notes   string
	}{
		{"scsi disk", s.add("pci/sda", "size=1"), kind.Disk, "", ""},
		{"nvme disk", s.add("pci/nvme0n1", "ro=0"), kind.Disk, "", ""},
		{"virtio disk", s.add("pci/vda"), kind.Disk, "", ""},
		{"usb stick", s.add("usb/sdb", "removable=1"), kind.Disk, "", "is that a LUN?"},
		{"read-only lun", s.add("pci/sdc", "ro=1"), kind.Disk, "read-only here", ""},
		{"partition", s.add("pci/sda/sda1", "partition=1"), kind.Partition, "", "--gpt on the whole device"},
		{"multipath map", s.add("virtual/dm-0", "dm/uuid=mpath-3600508b", "dm/name=mpatha", "slaves/sdd/x=", "slaves/sde/x="), kind.Multipath, "", ""},
		{"multipath with one path", s.add("virtual/dm-1", "dm/uuid=mpath-3600509b", "dm/name=mpathb", "slaves/sdf/x="), kind.Multipath, "", "one path only, sdf"},
		{"path", s.add("pci/sdd", "holders/dm-0/x="), kind.Path, "name that device", ""},
		{"partition of a path", s.add("pci/sdd/sdd1", "partition=1"), kind.Path, "/dev/mapper/mpatha", ""},
		{"kpartx", s.add("virtual/dm-2", "dm/uuid=part1-mpath-3600508b", "dm/name=mpatha1"), kind.Partition, "", "kpartx"},
		{"lv", s.add("virtual/dm-3", "dm/uuid=LVM-abc", "dm/name=vg-lv"), kind.LV, "pvmove", ""},
		{"luks", s.add("virtual/dm-4", "dm/uuid=CRYPT-LUKS2-abc", "dm/name=secret"), kind.Crypt, "encrypted mapping", ""},
		{"other dm", s.add("virtual/dm-5", "dm/name=flakey"), kind.Mapper, "without uuid", ""},
		{"thin snapshot", s.add("virtual/dm-6", "dm/uuid=STRATIS-1-x", "dm/name=thin"), kind.Mapper, "STRATIS-1-x", ""},
		{"md", s.add("virtual/md0", "md/level=raid1"), kind.RAID, "which of its members", ""},
		{"named md", s.add("virtual/md127", "md/level=raid5"), kind.RAID, "one or three", ""},
		{"partition of md", s.add("virtual/md0/md0p1", "partition=1"), kind.RAID, "a partition", ""},
		{"drbd", s.add("virtual/drbd0"), kind.DRBD, "replicas are apart", ""},
		{"loop", s.add("virtual/loop7"), kind.Loop, "no other host sees", ""},
		{"zram", s.add("virtual/zram0"), kind.Memory, "memory of this host", ""},
		{"bcache", s.add("virtual/bcache0"), kind.Cache, "cache on this host", ""},
		{"cd", s.add("pci/sr0"), kind.Removable, "taken out", ""},
		{"rbd", s.add("virtual/rbd0"), kind.NetworkBD, "", "rather than queue"},
	} {
		t.Run(c.name, func(t *testing.T) {
			v, err := kind.In(s.sys, c.dev)
			must(t, err)
			notes := strings.Join(v.Notes, "; ")
			if v.Kind != c.kind || (v.Refused == "") != (c.refused == "") || !strings.Contains(v.Refused, c.refused) ||
				(notes == "") != (c.notes == "") || !strings.Contains(notes, c.notes) {
				t.Errorf("%+v", v)
			}
		})
	}
	if _, err := kind.In(s.sys, unix.Mkdev(9, 9)); err == nil {
		t.Error("a device that is not there was judged")
	}
}

// TestHere looks at what this machine has.
func TestHere(t *testing.T) {
	file := storagetest.File(t, 1<<20)
	v, err := kind.Of(file)
	if err != nil || v.Kind != kind.File || !v.Local || v.Refused == "" {
		t.Errorf("%+v, %v", v, err)
	}
	v, err = kind.Of(storagetest.Loop(t, file, 512))
	if err != nil || v.Kind != kind.Loop || !v.Local || v.Refused == "" {
		t.Errorf("%+v, %v", v, err)
	}
	for _, path := range []string{"/dev/null", t.TempDir(), "/nowhere"} {
		if v, err := kind.Of(path); err == nil {
			t.Errorf("%s: %+v", path, v)
		}
	}
}
