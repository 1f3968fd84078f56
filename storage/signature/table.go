package signature

import "encoding/binary"

// mark is what a format writes at a place that its specification fixes.
type mark struct {
	what  string
	magic string
	at    []int64 // bytes from the start; negative: from the end of the device
}

// le and be are numbers as formats write them.
func le(n uint32) string { return string(binary.LittleEndian.AppendUint32(nil, n)) }
func be(n uint32) string { return string(binary.BigEndian.AppendUint32(nil, n)) }

// marks is what is looked for. The offsets are those of the formats' own headers
// and of util-linux's libblkid, which lists most of them.
func marks() []mark {
	var all []mark
	for _, group := range [][]mark{tables(), fileSystems(), moreFileSystems(), members(), clusters(), images()} {
		all = append(all, group...)
	}
	return all
}

func tables() []mark {
	return []mark{
		{"a partition table (GPT)", "EFI PART", []int64{512, 4096}},
		{"the second copy of a partition table (GPT)", "EFI PART", []int64{-512, -4096}},
		{"a partition table (Apple)", "PM\x00\x00", []int64{512, 2048}},
		{"a partition table (BSD)", le(0x82564557), []int64{0, 64, 512}},
		{"a partition table (Sun)", "\xda\xbe", []int64{508}},
	}
}

func fileSystems() []mark {
	return []mark{
		{"a file system (ext2, ext3 or ext4)", "\x53\xef", []int64{1080}},
		{"a file system (xfs)", "XFSB", []int64{0}},
		{"a file system (btrfs)", "_BHRfS_M", []int64{65600}},
		{"a file system (ntfs)", "NTFS    ", []int64{3}},
		{"a file system (exfat)", "EXFAT   ", []int64{3}},
		{"a file system (ReFS)", "ReFS\x00\x00\x00\x00", []int64{3}},
		{"a file system (vfat)", "FAT32   ", []int64{82}},
		{"a file system (vfat)", "FAT16   ", []int64{54}},
		{"a file system (vfat)", "FAT12   ", []int64{54}},
		{"a file system (iso9660)", "CD001", []int64{32769}},
		{"a file system (udf)", "BEA01", []int64{32769}},
		{"a file system (jfs)", "JFS1", []int64{32768}},
		{"a file system (reiserfs)", "ReIsErFs", []int64{65588}},
		{"a file system (reiserfs)", "ReIsEr2Fs", []int64{65588}},
	}
}

func moreFileSystems() []mark {
	return []mark{
		{"a file system (f2fs)", "\x10\x20\xf5\xf2", []int64{1024}},
		{"a file system (erofs)", le(0xe0f5e1e2), []int64{1024}},
		{"a file system (nilfs2)", "\x34\x34", []int64{1030}},
		{"a file system (squashfs)", "hsqs", []int64{0}},
		{"a file system (hfsplus)", "H+\x00\x04", []int64{1024}},
		{"a file system (apfs)", "NXSB", []int64{32}},
		{"a file system (minix)", "\x68\x24", []int64{1040}},
		{"a file system (gfs2)", be(0x01161970), []int64{65536}},
		{"a file system (ocfs2)", "OCFSV2", []int64{1024, 2048, 4096, 8192}},
		{"a file system (bcachefs) or a bcache device", "\xc6\x85\x73\xf6\x4e\x1a\x45\xca\x82\x65\xf5\x7f\x48\xba\x6d\x81", []int64{4120}},
		{"a file system (VMFS)", le(0x2fabf15e), []int64{2 << 20}},
		{"a file system (VMFS), as one of its volumes", le(0xc001d00d), []int64{1 << 20}},
	}
}

func members() []mark {
	return []mark{
		{"swap space", "SWAPSPACE2", []int64{4086, 8182, 16374, 65526}},
		{"swap space", "SWAP-SPACE", []int64{4086, 8182, 16374, 65526}},
		{"the memory image of a suspended host", "S1SUSPEND", []int64{4086, 8182, 16374, 65526}},
		{"the memory image of a suspended host", "LINHIB0001", []int64{4086, 8182, 16374, 65526}},
		{"an LVM physical volume", "LABELONE", []int64{0, 512, 1024, 1536}},
		{"an LVM physical volume (of LVM 1)", "HM\x01\x00", []int64{0}},
		{"an LVM physical volume (of LVM 1)", "HM\x02\x00", []int64{0}},
		{"a member of a Linux RAID array", le(0xa92b4efc), []int64{0, 4096}},
		{"a member of a RAID array (DDF)", be(0xde11de11), []int64{-512}},
		{"a member of a RAID array (Intel)", "Intel Raid ISM Cfg Sig. ", []int64{-1024}},
		{"an encrypted volume (LUKS)", "LUKS\xba\xbe", []int64{0}},
		{"the second header of an encrypted volume (LUKS)", "SKUL\xba\xbe", []int64{16 << 10, 32 << 10, 64 << 10, 128 << 10, 256 << 10, 512 << 10, 1 << 20, 2 << 20, 4 << 20}},
		{"an encrypted volume (BitLocker)", "-FVE-FS-", []int64{3}},
		{"a member of a Stratis pool", "!Stra0tis\x86\xff\x02^\x41rh", []int64{528, 4624}},
		{"a VDO volume", "dmvdo001", []int64{0}},
		{"a disk of Oracle ASM", "ORCLDISK", []int64{32}},
		{"a Ceph OSD (bluestore)", "bluestore block device", []int64{0}},
	}
}

// clusters are quorum disks, ours and others'.
func clusters() []mark {
	return []mark{
		{"a Holdfast quorum disk", Holdfast, []int64{4 << 20, -512, -4096}},
		{"a Holdfast quorum disk in a partition", Holdfast, []int64{5 << 20}},
		{"an SBD device", "SBD_SBD_", []int64{0}},
		{"an SBD device in a partition", "SBD_SBD_", []int64{1 << 20}},
		{"a sanlock lockspace", le(0x12212010), []int64{0, 1 << 20}},
		{"a sanlock resource", le(0x06152010), []int64{0, 1 << 20}},
		{"a quorum disk of cman (qdiskd)", le(0x00debb1e), []int64{0, 4096}},
	}
}

func images() []mark {
	return []mark{
		{"a disk image (qcow2)", "QFI\xfb", []int64{0}},
		{"a disk image (vmdk)", "KDMV", []int64{0}},
		{"a disk image (vhdx)", "vhdxfile", []int64{0}},
	}
}
