package signature_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/holdfast-ha/holdfast/storage"
	"github.com/holdfast-ha/holdfast/storage/signature"
	"github.com/holdfast-ha/holdfast/storage/storagetest"
)

const patience = 10 * time.Second

func find(t *testing.T, path string) string {
	t.Helper()
	d, err := storage.Open(path, storage.Options{ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	found, err := signature.Find(d, patience)
	if err := errors.Join(err, d.Close()); err != nil {
		t.Fatal(err)
	}
	return fmt.Sprint(found)
}

// TestRealTools: what the tools themselves make is found, at the offset that
// their formats publish.
func TestRealTools(t *testing.T) {
	for _, c := range []struct {
		pkg, want string
		tool      []string
	}{
		{"e2fsprogs", "ext4), at offset 1080", []string{"mkfs.ext4", "-q", "-F"}},
		{"xfsprogs", "(xfs), at offset 0", []string{"mkfs.xfs", "-q", "-f"}},
		{"btrfs-progs", "(btrfs), at offset 65600", []string{"mkfs.btrfs", "-q", "-f"}},
		{"dosfstools", "(vfat), at offset", []string{"mkfs.vfat"}},
		{"ntfs-3g", "(ntfs), at offset 3", []string{"mkfs.ntfs", "-F", "-Q", "-q"}},
		{"util-linux", "swap space, at offset 4086", []string{"mkswap"}},
		{"cryptsetup", "(LUKS), at offset 0", []string{"cryptsetup", "luksFormat", "-q", "--pbkdf-force-iterations=4", "--pbkdf-memory=64", "--key-file=/proc/version"}},
		{"lvm2", "an LVM physical volume, at offset 512", []string{"pvcreate", "-q", "-ff", "-y"}},
		{"sbd", "an SBD device, at offset 0", []string{"sbd", "create", "-d"}},
	} {
		t.Run(c.tool[0], func(t *testing.T) {
			t.Parallel()
			tool, err := exec.LookPath(c.tool[0])
			if err != nil {
				t.Skipf("%s is not installed, its bytes are made by hand in TestMarks; to use the tool: apt-get install %s", c.tool[0], c.pkg)
			}
			path := storagetest.File(t, 320<<20)
			args := append(c.tool[1:], path)
			switch c.tool[0] {
			case "sbd": // takes no files
				path = storagetest.Loop(t, path, 512)
				args = []string{"-d", path, "create"}
			case "pvcreate": // neither
				path = storagetest.Loop(t, path, 512)
				args = append(c.tool[1:], path)
			}
			if out, err := exec.Command(tool, args...).CombinedOutput(); err != nil {
				t.Fatalf("%s: %v: %s", c.tool[0], err, out)
			}
			if got := find(t, path); !strings.Contains(got, c.want) {
				t.Errorf("found %s, want %q", got, c.want)
			}
		})
	}
}

// TestMarks: each mark alone is found, with its offset, and nothing else is.
func TestMarks(t *testing.T) {
	const size = 16 << 20
	for _, c := range []struct {
		want  string
		off   int64
		bytes string
	}{
		{"a partition table (GPT)", 512, "EFI PART"},
		{"a partition table (GPT)", 4096, "EFI PART"},
		{"the second copy of a partition table (GPT)", size - 512, "EFI PART"},
		{"a partition table (MBR)", 510, ""},
		{"a file system (ext2, ext3 or ext4)", 1080, "\x53\xef"},
		{"a file system (xfs)", 0, "XFSB"},
		{"a file system (btrfs)", 65600, "_BHRfS_M"},
		{"a file system (ntfs)", 3, "NTFS    "},
		{"a file system (vfat)", 82, "FAT32   "},
		{"swap space", 65526, "SWAPSPACE2"},
		{"a member of a ZFS pool", 131072 + 5*1024, "\x0c\xb1\xba\x00\x00\x00\x00\x00"},
		{"a member of a ZFS pool", 131072 + 127*1024, "\x00\x00\x00\x00\x00\xba\xb1\x0c"},
		{"a file system (iso9660)", 32769, "CD001"},
		{"an encrypted volume (LUKS)", 0, "LUKS\xba\xbe"},
		{"the second header of an encrypted volume (LUKS)", 16384, "SKUL\xba\xbe"},
		{"an LVM physical volume", 512, "LABELONE"},
		{"a member of a Linux RAID array", 4096, "\xfc\x4e\x2b\xa9"},
		{"a member of a Linux RAID array", size - 8192, "\xfc\x4e\x2b\xa9"},
		{"a member of a Linux RAID array", size - 65536, "\xa9\x2b\x4e\xfc"},
		{"an SBD device", 0, "SBD_SBD_"},
		{"a Holdfast quorum disk", 4 << 20, signature.Holdfast},
		{"a Holdfast quorum disk", size - 512, signature.Holdfast},
		{"a Holdfast quorum disk in a partition", 5 << 20, signature.Holdfast},
		{"a DRBD replica", size - 4096 + 60, "\x83\x74\x02\x6b"},
		{"a DRBD replica", size - 4096 + 60, "\x83\x74\x02\x6d"},
		{"a file system (VMFS)", 2 << 20, "\x5e\xf1\xab\x2f"},
		{"a file system (VMFS), as one of its volumes", 1 << 20, "\x0d\xd0\x01\xc0"},
		{"a disk of Oracle ASM", 32, "ORCLDISK"},
		{"a Ceph OSD (bluestore)", 0, "bluestore block device"},
		{"a sanlock lockspace", 0, "\x10\x20\x21\x12"},
	} {
		t.Run(c.want, func(t *testing.T) {
			t.Parallel()
			h := storagetest.NewMemory(size, 512).Open("a")
			if c.bytes == "" { // an MBR has two marks
				put(t, h, 446, "\x80\x00\x02\x00\x83\x00\x00\x00\x00\x08\x00\x00\x00\x00\x01\x00")
				c.bytes = "\x55\xaa"
			}
			put(t, h, c.off, c.bytes)
			got, err := signature.Find(h, patience)
			if err != nil || len(got) != 1 || got[0] != (signature.Found{What: c.want, Off: c.off}) {
				t.Errorf("found %v, %v", got, err)
			}
		})
	}
}

func put(t *testing.T, d storage.Disk, off int64, text string) {
	t.Helper()
	from := off / 512 * 512
	b := make([]byte, (off+int64(len(text))+511)/512*512-from)
	if err := d.Read(b, from, patience); err != nil {
		t.Fatal(err)
	}
	copy(b[off-from:], text)
	if err := d.Write(b, from, patience); err != nil {
		t.Fatal(err)
	}
}

// TestNothing: an empty disk, and one too small for most marks, carry nothing; a
// disk that cannot be read does not count as empty.
func TestNothing(t *testing.T) {
	for _, size := range []int64{512, 4096, 1 << 20, 8 << 20} {
		h := storagetest.NewMemory(size, 512).Open("a")
		if got, err := signature.Find(h, patience); err != nil || len(got) > 0 {
			t.Errorf("%d bytes: %v, %v", size, got, err)
		}
	}
	h := storagetest.NewMemory(8<<20, 512).Open("a")
	h.Inject(storagetest.Fault{Op: storagetest.Reads, Off: 4 << 20, Len: 512, Err: syscall.EIO})
	if got, err := signature.Find(h, patience); !errors.Is(err, syscall.EIO) {
		t.Errorf("%v, %v", got, err)
	}
}

// TestFileSystemBootSector: the two bytes at the end of a boot sector are no
// partition table.
func TestFileSystemBootSector(t *testing.T) {
	path := storagetest.File(t, 8<<20)
	if err := os.WriteFile(path, append(make([]byte, 510), 0x55, 0xaa), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(path, 8<<20); err != nil {
		t.Fatal(err)
	}
	if got := find(t, path); got != "[]" {
		t.Errorf("found %s", got)
	}
}
