package san

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/holdfast-ha/holdfast/test/vm/machine"
	"github.com/holdfast-ha/holdfast/test/vm/wire"
)

// Initiate makes a machine an initiator of its own name, without a session.
func Initiate(ctx context.Context, m *machine.Machine) error {
	err := steps(ctx, m, []wire.Request{
		mkdir("/run/lock/iscsi", "/var/lib/iscsi"),
		set("/etc/iscsi/initiatorname.iscsi", "InitiatorName="+initiator(m)+"\n"),
	})
	if err == nil {
		err = m.Start(ctx, "iscsid", "/sbin/iscsid", "-f")
	}
	return err
}

// Login makes a machine an initiator and logs it in, and returns the disk that it has then, as /dev/sda. A path that is
// gone fails its requests after five seconds.
func Login(ctx context.Context, m *machine.Machine, address string) (string, error) {
	if err := Initiate(ctx, m); err != nil {
		return "", err
	}
	portal := Portal(address)
	if err := poll(ctx, func() error {
		_, err := m.Run(ctx, "/sbin/iscsiadm", "-m", "discovery", "-t", "sendtargets", "-p", portal)
		return err
	}); err != nil {
		return "", err
	}
	node := []string{"/sbin/iscsiadm", "-m", "node", "-T", Target, "-p", portal}
	for name, value := range map[string]string{
		"node.session.timeo.replacement_timeout": "5", "node.conn[0].timeo.noop_out_interval": "10", "node.conn[0].timeo.noop_out_timeout": "10",
	} {
		if _, err := m.Run(ctx, append(node, "-o", "update", "-n", name, "-v", value)...); err != nil {
			return "", err
		}
	}
	if _, err := m.Run(ctx, append(node, "--login")...); err != nil {
		return "", err
	}
	return "/dev/sda", poll(ctx, func() error {
		size, err := m.Read(ctx, "/sys/block/sda/size")
		if err == nil && strings.TrimSpace(size) == "0" {
			err = errors.New("/dev/sda is empty")
		}
		return err
	})
}

// poll repeats until it is done or the time is over.
func poll(ctx context.Context, try func() error) error {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		err := try()
		if err == nil {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("not in time: %w", err)
		}
	}
}
