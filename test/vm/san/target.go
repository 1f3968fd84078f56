// Package san makes a storage array of one machine, an iSCSI target of the kernel's own (LIO) with persistent reservations,
// and lets other machines log in to it with open-iscsi.
package san

import (
	"context"
	"fmt"
	"path"
	"strings"

	"github.com/holdfast-ha/holdfast/test/vm/machine"
	"github.com/holdfast-ha/holdfast/test/vm/wire"
)

// Target is the name of the target.
const Target = "iqn.2026-01.test.holdfast:array"

const port = 3260

// TargetModules are what the kernel of the storage machine needs. Without the plain crc32c the target refuses logins.
func TargetModules() []string {
	return []string{"crc32c_generic", "target_core_mod", "target_core_iblock", "iscsi_target_mod"}
}

// InitiatorModules are what the kernel of a machine that logs in needs.
func InitiatorModules() []string {
	return []string{"crc32c_generic", "iscsi_tcp", "sd_mod", "sg"}
}

// configuration is the kernel's folder of targets.
const configuration = "/sys/kernel/config/target"

// steps carries out requests until one fails.
func steps(ctx context.Context, m *machine.Machine, list []wire.Request) error {
	for _, r := range list {
		if _, err := m.Ask(ctx, r); err != nil {
			return err
		}
	}
	return nil
}

func mkdir(names ...string) wire.Request { return wire.Request{Op: wire.Mkdir, Args: names} }

func set(name, value string) wire.Request {
	return wire.Request{Op: wire.Write, Args: []string{name}, Data: []byte(value)}
}

// Serve makes a machine offer its disk as LUN 1 to initiators, at an address of its own. Registrations outlive a restart of
// the target, in files of the machine: the folders for that have to be there. An initiator that is silent for three seconds
// is asked, and its session ended when it has not answered after another four; the kernel's own numbers are 15 and 30.
func Serve(ctx context.Context, m *machine.Machine, disk, address string, initiators ...*machine.Machine) error {
	store := path.Join(configuration, "core/iblock_0/lun")
	group := path.Join(configuration, "iscsi", Target, "tpgt_1")
	lun := path.Join(group, "lun/lun_1")
	list := []wire.Request{
		{Op: wire.Mount, Args: []string{"configfs", "/sys/kernel/config", "configfs"}},
		mkdir("/var/target/pr", "/etc/target/pr", "/var/target/alua", store),
		set(path.Join(store, "control"), "udev_path="+disk),
		set(path.Join(store, "wwn/vpd_unit_serial"), "HOLDFASTLUN1"),
		set(path.Join(store, "enable"), "1"),
		mkdir(lun),
		{Op: wire.Symlink, Args: []string{store, path.Join(lun, "lun")}},
		set(path.Join(group, "attrib/authentication"), "0"),
		mkdir(path.Join(group, "np", fmt.Sprintf("%s:%d", address, port))),
		set(path.Join(group, "enable"), "1"),
	}
	for _, i := range initiators {
		acl := path.Join(group, "acls", initiator(i))
		list = append(list,
			mkdir(path.Join(acl, "lun_1")),
			wire.Request{Op: wire.Symlink, Args: []string{lun, path.Join(acl, "lun_1/lun")}},
			set(path.Join(acl, "attrib/nopin_timeout"), "3"),
			set(path.Join(acl, "attrib/nopin_response_timeout"), "4"))
	}
	return steps(ctx, m, list)
}

// initiator is the name by which a machine logs in.
func initiator(m *machine.Machine) string { return "iqn.2026-01.test.holdfast:" + m.Name }

// Enable starts or stops the target of a machine that serves already. Stopped, it ends its sessions and refuses new ones.
func Enable(ctx context.Context, m *machine.Machine, on bool) error {
	value := "0"
	if on {
		value = "1"
	}
	return steps(ctx, m, []wire.Request{set(path.Join(configuration, "iscsi", Target, "tpgt_1", "enable"), value)})
}

// ISID is the part of an initiator's name that is its session's, as the target knows it.
func ISID(ctx context.Context, m, i *machine.Machine) (string, error) {
	info := path.Join(configuration, "iscsi", Target, "tpgt_1", "acls", initiator(i), "info")
	text, err := m.Read(ctx, info)
	if err != nil {
		return "", err
	}
	_, behind, _ := strings.Cut(text, "ISID: ")
	words := strings.Fields(behind)
	if len(words) == 0 || strings.HasPrefix(words[0], "TSIH") {
		return "", fmt.Errorf("%s has no session: %s", i.Name, text)
	}
	return strings.Join(words[:min(6, len(words))], " "), nil
}
