package storage

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// maxNesting bounds how many devices are followed down from a file to its file
// system's device, to the file behind that, and so on.
const maxNesting = 8

// Identify returns the identity of the block device or regular file at path
// without opening or reading it (a loop device is opened and asked for its
// file, but not read). It runs no other program.
func Identify(path string) (Identity, error) {
	var stat unix.Stat_t
	err := retry(func() error { return unix.Stat(path, &stat) })
	if err == nil {
		_, err = kindOf(&stat)
	}
	if err != nil {
		return Identity{}, &OpError{Op: "identify", Path: path, Err: err}
	}
	return identify(sysfs("/sys"), &stat), nil
}

// identify works on a block device or a regular file.
func identify(sys sysfs, stat *unix.Stat_t) Identity {
	if stat.Mode&unix.S_IFMT == unix.S_IFBLK {
		return sys.identity(uint64(stat.Rdev), maxNesting)
	}
	return sys.fileIdentity(uint64(stat.Dev), stat.Ino, 0, maxNesting)
}

// sysfs is where sysfs is mounted; tests have one of their own.
type sysfs string

// device returns the directory of the block device with a device number, with
// all links resolved: for a partition it lies in its disk's.
func (s sysfs) device(dev uint64) (string, error) {
	link := filepath.Join(string(s), "dev/block", number(dev))
	dir, err := filepath.EvalSymlinks(link)
	if err != nil {
		return "", fmt.Errorf("no block device %s in sysfs: %w", number(dev), err)
	}
	return dir, nil
}

// attribute returns a file of sysfs without surrounding white space and NULs,
// and "" where it cannot be read: whether an attribute exists is how kinds of
// devices are told apart.
func attribute(dir, name string) string {
	b, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		return ""
	}
	return strings.Trim(string(b), " \t\n\x00")
}

// number renders a device number the way sysfs does.
func number(dev uint64) string {
	return fmt.Sprintf("%d:%d", unix.Major(dev), unix.Minor(dev))
}

// identity returns the identity of a block device. Without any it is the
// device number.
func (s sysfs) identity(dev uint64, nesting int) Identity {
	unnamed := Identity{Kind: "dev", Value: number(dev)}
	dir, err := s.device(dev)
	if err != nil {
		return unnamed
	}
	if part := attribute(dir, "partition"); part != "" {
		disk := s.diskIdentity(filepath.Dir(dir), nesting)
		if disk.Kind == "" || disk.Kind == "dev" {
			return unnamed
		}
		disk.Value += "-part" + part
		return disk
	}
	if id := s.diskIdentity(dir, nesting); id.Kind != "" {
		return id
	}
	return unnamed
}

// diskIdentity returns the identity of the whole disk in a sysfs directory, or
// none.
func (s sysfs) diskIdentity(dir string, nesting int) Identity {
	if uuid := attribute(dir, "dm/uuid"); uuid != "" {
		return mapperIdentity(uuid)
	}
	if attribute(dir, "loop/backing_file") != "" {
		return s.loopIdentity(filepath.Base(dir), nesting)
	}
	if page, err := os.ReadFile(filepath.Join(dir, "device/vpd_pg83")); err == nil {
		if id := designator(page); id.Kind != "" {
			return id
		}
	}
	for _, name := range []string{"wwid", "device/wwid"} {
		if id := wwidIdentity(attribute(dir, name)); id.Kind != "" {
			return id
		}
	}
	if serial := attribute(dir, "serial"); serial != "" {
		return Identity{Kind: "serial", Value: serial}
	}
	return Identity{}
}

// mapperIdentity reads a device-mapper uuid. Multipath devices (mpath-, and
// partN-mpath- for partitions by kpartx) carry the identity of the LUN, in the
// form of scsi_id: a digit for the type of designator, then its hex. They are
// given that identity, so that a host that sees one path agrees with one that
// sees many.
func mapperIdentity(uuid string) Identity {
	lun, part := uuid, ""
	if before, after, found := strings.Cut(uuid, "-mpath-"); found && strings.HasPrefix(before, "part") {
		lun, part = "mpath-"+after, "-"+before
	}
	if wwid, ok := strings.CutPrefix(lun, "mpath-"); ok {
		id := wwidIdentity(wwid)
		if hexDigits(wwid[min(1, len(wwid)):]) {
			switch wwid[0] {
			case '3':
				id = Identity{Kind: "naa", Value: strings.ToLower(wwid[1:])}
			case '2':
				id = Identity{Kind: "eui", Value: strings.ToLower(wwid[1:])}
			}
		}
		if id.Kind != "" {
			id.Value += part
			return id
		}
	}
	return Identity{Kind: "dm", Value: uuid}
}

// hexDigits says if s is hex of 8, 12 or 16 bytes, the lengths of NAA and EUI
// designators.
func hexDigits(s string) bool {
	_, err := hex.DecodeString(s)
	return err == nil && (len(s) == 16 || len(s) == 24 || len(s) == 32)
}

// wwidIdentity reads the wwid attribute of SCSI and NVMe devices
// (drivers/scsi/scsi_lib.c scsi_vpd_lun_id, drivers/nvme/host/sysfs.c
// wwid_show). NVMe writes an NGUID as an EUI of 16 bytes.
func wwidIdentity(wwid string) Identity {
	kind, value, found := strings.Cut(wwid, ".")
	value = strings.Join(strings.Fields(value), " ")
	if !found || value == "" {
		return Identity{}
	}
	switch kind {
	case "naa", "uuid":
		value = strings.ToLower(value)
	case "eui":
		value = strings.ToLower(value)
		if len(value) == 32 {
			kind = "nguid"
		}
	case "t10", "nvme":
	default:
		return Identity{}
	}
	return Identity{Kind: kind, Value: value}
}

// designator finds the logical unit's name in a Device Identification VPD page
// (SPC-4, 7.8.6): a header of four bytes, then descriptors, each with code set,
// association and type, and length in its first four bytes. The longest NAA
// wins, then the longest EUI-64, in the order that multipath uses too.
func designator(page []byte) Identity {
	if len(page) < 4 || page[1] != 0x83 {
		return Identity{}
	}
	const (
		typeEUI = 2
		typeNAA = 3
	)
	var naa, eui string
	end := min(len(page), 4+int(binary.BigEndian.Uint16(page[2:])))
	for rest := page[4:end]; len(rest) >= 4; {
		n := 4 + int(rest[3])
		if n > len(rest) {
			break
		}
		unit := rest[1]>>4&3 == 0 // association: the unit, not the port or target
		name := hex.EncodeToString(rest[4:n])
		switch {
		case unit && rest[1]&15 == typeNAA && len(name) > len(naa):
			naa = name
		case unit && rest[1]&15 == typeEUI && len(name) > len(eui):
			eui = name
		}
		rest = rest[n:]
	}
	switch {
	case naa != "":
		return Identity{Kind: "naa", Value: naa}
	case eui != "":
		return Identity{Kind: "eui", Value: eui}
	}
	return Identity{}
}

// loopIdentity asks a loop device (loop(4), LOOP_GET_STATUS64) for the file
// behind it.
func (s sysfs) loopIdentity(name string, nesting int) Identity {
	fd, err := unix.Open("/dev/"+name, unix.O_RDONLY|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return Identity{}
	}
	defer func() { _ = unix.Close(fd) }()
	status, err := unix.IoctlLoopGetStatus64(fd)
	if err != nil {
		return Identity{}
	}
	return s.fileIdentity(status.Device, status.Inode, status.Offset, nesting)
}

// fileIdentity names a file by its inode and by the device of its file system:
// what both the file itself and a loop device on it can tell. File systems
// without a device of their own (btrfs, NFS, overlay) have a device number that
// may change at a mount.
func (s sysfs) fileIdentity(dev, inode, offset uint64, nesting int) Identity {
	on := Identity{Kind: "dev", Value: number(dev)}
	if nesting > 0 {
		on = s.identity(dev, nesting-1)
	}
	value := strconv.FormatUint(inode, 10) + "@" + on.String()
	if offset != 0 {
		value += "+" + strconv.FormatUint(offset, 10)
	}
	return Identity{Kind: "file", Value: value}
}
