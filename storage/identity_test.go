package storage

import (
	"encoding/hex"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// fakeSysfs makes a sysfs of attributes, path below devices/ to content, and
// numbers, directory below devices/ to device number.
func fakeSysfs(t *testing.T, numbers, attributes map[string]string) sysfs {
	t.Helper()
	root := t.TempDir()
	put := func(path, content string) {
		path = filepath.Join(root, "devices", path)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, links := range []string{"dev/block", "class/block"} {
		if err := os.MkdirAll(filepath.Join(root, links), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for dir, n := range numbers {
		put(filepath.Join(dir, "dev"), n+"\n")
		for _, link := range []string{"dev/block/" + n, "class/block/" + filepath.Base(dir)} {
			if err := os.Symlink(filepath.Join(root, "devices", dir), filepath.Join(root, link)); err != nil {
				t.Fatal(err)
			}
		}
	}
	for path, content := range attributes {
		put(path, content)
	}
	return sysfs(root)
}

// page83 builds a Device Identification page of descriptors in hex.
func page83(descriptors ...string) string {
	body, err := hex.DecodeString(strings.ReplaceAll(strings.Join(descriptors, ""), " ", ""))
	if err != nil {
		panic(err)
	}
	return string([]byte{0, 0x83, byte(len(body) >> 8), byte(len(body))}) + string(body)
}

const (
	t10Descriptor  = "02 01 00 08 4c494f2d4f524700"                 // vendor "LIO-ORG"
	naaDescriptor  = "01 03 00 10 60014051234567890abcdef012345678" // NAA 6
	naa5Descriptor = "01 03 00 08 5000c5001234abcd"
	portDescriptor = "61 93 00 10 60000000000000000000000000000000" // of the target port
	euiDescriptor  = "01 02 00 08 0025385b71b0a1c2"
	lunName        = "60014051234567890abcdef012345678"
)

func TestIdentityFromSysfs(t *testing.T) {
	sys := fakeSysfs(t,
		map[string]string{
			"a/sda": "8:0", "a/sda/sda1": "8:1", "b/sdb": "8:16", "c/sdc": "8:32", "c/sdd": "8:48", "c/sde": "8:64",
			"d/dm-0": "253:0", "d/dm-1": "253:1", "d/dm-2": "253:2", "d/dm-3": "253:3",
			"n/nvme0n1": "259:0", "n/nvme0n1/nvme0n1p2": "259:1", "n/nvme1n1": "259:2", "n/nvme2n1": "259:3",
			"v/vda": "254:0", "v/vdb": "254:16", "v/vdb/vdb1": "254:17",
		},
		map[string]string{
			"a/sda/device/vpd_pg83":         page83(t10Descriptor, naa5Descriptor, portDescriptor, naaDescriptor, euiDescriptor),
			"a/sda/device/wwid":             "t10.something else\n",
			"a/sda/sda1/partition":          "1\n",
			"b/sdb/device/wwid":             "naa." + strings.ToUpper(lunName) + "\n",
			"c/sdc/device/vpd_pg83":         page83(t10Descriptor),
			"c/sdc/device/wwid":             "t10.ATA     QEMU HARDDISK    QM00001 \n",
			"c/sdd/device/vpd_pg83":         page83(euiDescriptor, t10Descriptor),
			"c/sde/device/vpd_pg83":         page83(naaDescriptor)[:12], // cut off
			"d/dm-0/dm/uuid":                "mpath-3" + lunName + "\n",
			"d/dm-1/dm/uuid":                "part1-mpath-3" + lunName + "\n",
			"d/dm-2/dm/uuid":                "LVM-abcdefVGxyzLV\n",
			"d/dm-3/dm/uuid":                "mpath-eui.0025385b71b0a1c20025385b71b0a1c3\n",
			"n/nvme0n1/wwid":                "eui.0025385B71B0A1C2\n",
			"n/nvme0n1/nvme0n1p2/partition": "2\n",
			"n/nvme1n1/wwid":                "eui.0025385b71b0a1c20025385b71b0a1c3\n",
			"n/nvme2n1/wwid":                "uuid.8FB0E1C2-1111-2222-3333-444455556666\n",
			"v/vda/serial":                  "QDISK01",
			"v/vdb/serial":                  "",
			"v/vdb/vdb1/partition":          "1\n",
		})
	for dev, want := range map[[2]uint32]string{
		{8, 0}:    "naa:" + lunName,
		{8, 1}:    "naa:" + lunName + "-part1",
		{8, 16}:   "naa:" + lunName,
		{8, 32}:   "t10:ATA QEMU HARDDISK QM00001",
		{8, 48}:   "eui:0025385b71b0a1c2",
		{8, 64}:   "dev:8:64",
		{253, 0}:  "naa:" + lunName,
		{253, 1}:  "naa:" + lunName + "-part1",
		{253, 2}:  "dm:LVM-abcdefVGxyzLV",
		{253, 3}:  "nguid:0025385b71b0a1c20025385b71b0a1c3",
		{259, 0}:  "eui:0025385b71b0a1c2",
		{259, 1}:  "eui:0025385b71b0a1c2-part2",
		{259, 2}:  "nguid:0025385b71b0a1c20025385b71b0a1c3",
		{259, 3}:  "uuid:8fb0e1c2-1111-2222-3333-444455556666",
		{254, 0}:  "serial:QDISK01",
		{254, 16}: "dev:254:16",
		{254, 17}: "dev:254:17",
		{99, 1}:   "dev:99:1",
	} {
		if got := sys.identity(unix.Mkdev(dev[0], dev[1]), maxNesting).String(); got != want {
			t.Errorf("%d:%d is %s, want %s", dev[0], dev[1], got, want)
		}
	}
	if got := sys.fileIdentity(unix.Mkdev(8, 1), 77, 4096, maxNesting).String(); got != "file:77@naa:"+lunName+"-part1+4096" {
		t.Errorf("a file on sda1: %s", got)
	}
}

func TestMapperIdentity(t *testing.T) {
	for uuid, want := range map[string]string{
		"mpath-":                              "dm:mpath-",
		"mpath-3":                             "dm:mpath-3",
		"mpath-3zz":                           "dm:mpath-3zz",
		"mpath-1ATA_disk":                     "dm:mpath-1ATA_disk",
		"mpath-20025385b71b0a1c2":             "eui:0025385b71b0a1c2",
		"part3-mpath-1ATA":                    "dm:part3-mpath-1ATA",
		"CRYPT-LUKS2-part1-mpath-3" + lunName: "dm:CRYPT-LUKS2-part1-mpath-3" + lunName,
	} {
		if got := mapperIdentity(uuid).String(); got != want {
			t.Errorf("%s is %s, want %s", uuid, got, want)
		}
	}
}

func FuzzDesignator(f *testing.F) {
	f.Add([]byte(page83(t10Descriptor, naaDescriptor)))
	f.Add([]byte{0, 0x83, 0xff, 0xff, 1, 3, 0, 200})
	f.Fuzz(func(t *testing.T, page []byte) {
		id := designator(page)
		if (id.Kind == "") != (id.Value == "") {
			t.Errorf("half an identity: %+v", id)
		}
	})
}

func TestHoldersInWords(t *testing.T) {
	sys := fakeSysfs(t,
		map[string]string{"a/sda": "8:0", "a/sda/sda1": "8:1", "d/dm-0": "253:0", "d/dm-1": "253:1", "m/md127": "9:127"},
		map[string]string{
			"a/sda/sda1/partition":     "1",
			"a/sda/holders/dm-0":       "",
			"a/sda/sda1/holders/dm-1":  "",
			"a/sda/sda1/holders/md127": "",
			"d/dm-0/dm/uuid":           "mpath-3600",
			"d/dm-0/dm/name":           "mpatha",
			"d/dm-1/dm/uuid":           "LVM-xyz",
			"d/dm-1/dm/name":           "vg-data",
			"m/md127/md/level":         "raid1",
		})
	disk := []string{
		"it is a path of the multipath device /dev/mapper/mpatha: name that one instead",
		"its partition sda1 holds the LVM volume vg-data",
		"its partition sda1 is a member of the RAID array md127",
	}
	part := []string{
		"it holds the LVM volume vg-data",
		"it is a member of the RAID array md127",
		"its whole disk sda is a path of the multipath device /dev/mapper/mpatha: name that one instead",
	}
	for minor, want := range map[uint32][]string{0: disk, 1: part} {
		nodes, err := sys.family(unix.Mkdev(8, minor))
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, n := range nodes {
			got = append(got, n.holders(sys)...)
		}
		if !slices.Equal(got, want) {
			t.Errorf("8:%d:\n got %q\nwant %q", minor, got, want)
		}
	}
}

func TestSwapFiles(t *testing.T) {
	path := filepath.Join(t.TempDir(), "swaps")
	table := "Filename\t\t\t\tType\t\tSize\n/dev/sdb2      partition\t100\n/swap\\040file file\t100\n"
	if err := os.WriteFile(path, []byte(table), 0o600); err != nil {
		t.Fatal(err)
	}
	got, err := swapFiles(path)
	if err != nil || !slices.Equal(got, []string{"/dev/sdb2", "/swap file"}) {
		t.Errorf("got %q, %v", got, err)
	}
	if got, err := swapFiles(path + "-none"); err != nil || len(got) != 0 {
		t.Errorf("a kernel without swap: %q, %v", got, err)
	}
}

func TestDescribe(t *testing.T) {
	for export, want := range map[string][]string{
		"DEVNAME=/dev/x\nLABEL=my\\ data\nUUID=12\nTYPE=xfs\nUSAGE=filesystem\n": {`a file system (xfs), label "my data", UUID 12`},
		"TYPE=LVM2_member\nUSAGE=raid\n":                                         {"an LVM physical volume"},
		"PTUUID=1\nPTTYPE=gpt\n":                                                 {"a partition table (GPT)"},
		"TYPE=vfat\nUSAGE=filesystem\nPTTYPE=dos\n":                              {"a file system (vfat)", "a partition table (MBR)"},
		"PART_ENTRY_SCHEME=gpt\nPART_ENTRY_NUMBER=1\n":                           nil,
		"TYPE=newthing\nUSAGE=other\n":                                           {"data of type newthing"},
	} {
		if got := describe([]byte(export)); !slices.Equal(got, want) {
			t.Errorf("%q: got %q, want %q", export, got, want)
		}
	}
}
