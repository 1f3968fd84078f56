package san

import (
	"context"
	"fmt"
	"path"

	"github.com/holdfast-ha/holdfast/test/vm/machine"
	"github.com/holdfast-ha/holdfast/test/vm/wire"
)

// Protect makes an array that serves already want a user and a password of those initiators, for its list of targets and
// for each login.
func Protect(ctx context.Context, m *machine.Machine, user, password string, initiators ...*machine.Machine) error {
	group := path.Join(configuration, "iscsi", Target, "tpgt_1")
	discovery := path.Join(configuration, "iscsi/discovery_auth")
	list := []wire.Request{set(path.Join(group, "attrib/authentication"), "1")}
	places := []string{discovery}
	for _, i := range initiators {
		places = append(places, path.Join(group, "acls", initiator(i), "auth"))
	}
	for _, p := range places {
		list = append(list, set(path.Join(p, "userid"), user), set(path.Join(p, "password"), password))
	}
	return steps(ctx, m, append(list, set(path.Join(discovery, "enforce_discovery_auth"), "1")))
}

// Portal is where an array at an address listens.
func Portal(address string) string { return fmt.Sprintf("%s:%d", address, port) }

// Sessions lists the iSCSI sessions of a machine.
func Sessions(ctx context.Context, m *machine.Machine) (string, error) {
	w, err := m.Ask(ctx, wire.Request{Op: wire.Run, Args: []string{"/sbin/iscsiadm", "-m", "session"}})
	return string(w.Output), err // 21 without any
}
