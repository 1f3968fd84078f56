// Package kind says what a block device is made of, and whether a quorum disk may
// stand on it. A quorum disk has to be the same bytes for every node, in the order
// in which they were written; so what a host puts between itself and the LUN is
// refused where each host keeps a state of its own there: a mirror, a volume
// manager, a replica.
//
// It reads sysfs and nothing of the device itself.
package kind

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// Kind is what a device is.
type Kind string

// The kinds of devices that are told apart.
const (
	Disk      Kind = "whole disk"
	Partition Kind = "partition"
	Multipath Kind = "multipath device"
	Path      Kind = "path of a multipath device"
	LV        Kind = "LVM volume"
	Crypt     Kind = "encrypted device"
	Mapper    Kind = "device-mapper device"
	RAID      Kind = "Linux RAID array"
	DRBD      Kind = "DRBD replica"
	Loop      Kind = "loop device"
	Memory    Kind = "memory"
	NetworkBD Kind = "network block device"
	Cache     Kind = "bcache device"
	Removable Kind = "drive with media that can be taken out"
	File      Kind = "regular file"
)

// Verdict is what a device is and whether a quorum disk may stand on it.
type Verdict struct {
	Kind Kind `json:"kind"`
	// Refused says why a quorum disk must not stand here, and what to name
	// instead; empty: it may.
	Refused string `json:"refused,omitempty"`
	// Local says that no other host can see the device. It is refused then, but
	// for what is emulated or tried out on one host.
	Local bool `json:"local,omitempty"`
	// Notes are about what may stand here, but could stand better.
	Notes []string `json:"notes,omitempty"`
}

// Of looks at the block device or regular file at path.
func Of(path string) (Verdict, error) {
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		return Verdict{}, fmt.Errorf("%s: %w", path, err)
	}
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFREG:
		return Verdict{Kind: File, Local: true, Refused: "it is a file of this host: a quorum disk is a LUN that all nodes see; files are for emulated nodes"}, nil
	case unix.S_IFBLK:
	default:
		return Verdict{}, fmt.Errorf("%s: neither a block device nor a regular file", path)
	}
	return In("/sys", uint64(st.Rdev))
}

// In is Of for a device number, and with the directory where sysfs is.
func In(sys string, dev uint64) (Verdict, error) {
	dir, err := filepath.EvalSymlinks(filepath.Join(sys, "dev/block", fmt.Sprintf("%d:%d", unix.Major(dev), unix.Minor(dev))))
	if err != nil {
		return Verdict{}, fmt.Errorf("no block device %d:%d in sysfs: %w", unix.Major(dev), unix.Minor(dev), err)
	}
	l := looker{sys: sys}
	v := l.judge(dir)
	if attribute(dir, "ro") == "1" && v.Refused == "" {
		v.Refused = "it is read-only here: every node has to write to it; look at the array's mapping, and at blockdev --getro"
	}
	return v, nil
}

type looker struct{ sys string }

// judge looks at the device in a directory of sysfs.
func (l looker) judge(dir string) Verdict {
	if attribute(dir, "partition") != "" {
		return l.partition(dir)
	}
	if uuid := attribute(dir, "dm/uuid"); uuid != "" || attribute(dir, "dm/name") != "" {
		return l.mapper(dir, uuid)
	}
	if v := byName(filepath.Base(dir)); v.Kind != "" {
		return v
	}
	if attribute(dir, "md/level") != "" {
		return arrayVerdict()
	}
	if name := l.multipathAbove(dir); name != "" {
		return Verdict{Kind: Path, Refused: "it is one path of the multipath device /dev/mapper/" + name + ": when this path fails the node would lose the disk although others lead to it; name that device"}
	}
	v := Verdict{Kind: Disk}
	if attribute(dir, "removable") == "1" {
		v.Notes = append(v.Notes, "the kernel calls it removable: is that a LUN?")
	}
	return v
}

// partition takes the verdict of the disk that it is a part of.
func (l looker) partition(dir string) Verdict {
	whole := l.judge(filepath.Dir(dir))
	if whole.Refused != "" {
		whole.Refused = "it is a partition, and of the disk below: " + whole.Refused
		return whole
	}
	return Verdict{Kind: Partition, Notes: append(whole.Notes, partitionNote)}
}

const partitionNote = "it is a partition: what stands beside it on the same LUN delays its beats, and every node's kernel has to know the partition table; a LUN of its own, or --gpt on the whole device, needs neither"

// mapper judges by the uuid that whoever made the device gave it.
func (l looker) mapper(dir, uuid string) Verdict {
	before, _, part := strings.Cut(uuid, "-mpath-")
	switch {
	case strings.HasPrefix(uuid, "mpath-"):
		return Verdict{Kind: Multipath, Notes: l.paths(dir)}
	case part && strings.HasPrefix(before, "part"):
		return Verdict{Kind: Partition, Notes: []string{partitionNote, "partitions of multipath devices appear only where kpartx made them"}}
	case strings.HasPrefix(uuid, "LVM-"):
		return Verdict{Kind: LV, Refused: "it is an LVM volume: each host maps it by its own copy of the volume group's metadata, so that pvmove, a snapshot, or a mirror leg on one host sends the others' writes elsewhere; name the LUN below it"}
	case strings.HasPrefix(uuid, "CRYPT-"):
		return Verdict{Kind: Crypt, Refused: "it is an encrypted mapping, which each host makes for itself and may have made with another key or offset; the quorum disk seals what it holds: name the device below it"}
	}
	return Verdict{Kind: Mapper, Refused: "it is a device-mapper device that is no multipath device (" + orUnnamed(uuid) + "): hosts that map it differently would not see the same bytes; name the LUN below it"}
}

func orUnnamed(uuid string) string {
	if uuid == "" {
		return "without uuid"
	}
	return uuid
}

// paths notes a multipath device that has one path only.
func (l looker) paths(dir string) []string {
	entries, err := os.ReadDir(filepath.Join(dir, "slaves"))
	if err != nil || len(entries) != 1 {
		return nil
	}
	return []string{"the multipath device has one path only, " + entries[0].Name() + ": multipath -ll"}
}

// byName judges the drivers that are known by the names of their devices.
func byName(name string) Verdict {
	prefix := strings.TrimRight(name, "0123456789")
	switch prefix {
	case "md", "md_d":
		return arrayVerdict()
	case "drbd":
		return Verdict{Kind: DRBD, Refused: "it is a DRBD replica: while the replicas are apart each host writes to its own, and both would have a quorum; name a LUN that all nodes see"}
	case "loop":
		return Verdict{Kind: Loop, Local: true, Refused: "it is a loop device, which no other host sees; loop devices are for emulated nodes"}
	case "ram", "zram", "pmem":
		return Verdict{Kind: Memory, Refused: "it is memory of this host, which no other host sees"}
	case "bcache":
		return Verdict{Kind: Cache, Refused: "it is a cache on this host: other hosts would not see what stands in it; name the device below it"}
	case "sr", "fd", "st":
		return Verdict{Kind: Removable, Refused: "its medium can be taken out"}
	case "nbd", "rbd":
		return Verdict{Kind: NetworkBD, Notes: []string{"it comes over the network: when that fails both heartbeats fail together; use another network than that of the links, and let requests fail rather than queue"}}
	}
	return Verdict{}
}

func arrayVerdict() Verdict {
	return Verdict{Kind: RAID, Refused: "it is a RAID array of this host: hosts do not agree which of its members hold the newest data, so that two of them could each see a majority; give the members as quorum disks, one or three"}
}

// multipathAbove names the multipath device that a disk is a path of.
func (l looker) multipathAbove(dir string) string {
	entries, err := os.ReadDir(filepath.Join(dir, "holders"))
	if err != nil {
		return ""
	}
	for _, e := range entries {
		above := filepath.Join(l.sys, "class/block", e.Name())
		if strings.HasPrefix(attribute(above, "dm/uuid"), "mpath-") {
			return attribute(above, "dm/name")
		}
	}
	return ""
}

// attribute returns a file of sysfs without white space, and "" where it cannot
// be read: whether an attribute exists is how kinds of devices are told apart.
func attribute(dir, name string) string {
	b, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		return ""
	}
	return strings.Trim(string(b), " \t\n\x00")
}
