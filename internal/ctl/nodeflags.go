package ctl

import (
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/holdfast-ha/holdfast/internal/ctl/enrol"
)

// bindNode adds the flags that init and join share: everything about this node.
func (a *app) bindNode(c *cobra.Command, o *enrol.Options) {
	fs := c.Flags()
	etc := ""
	fs.StringVar(&o.Name, "name", "", "this node's `name` (default: the host name)")
	fs.StringArrayVar(&o.Disks, "disk", nil, "quorum disk: `path` of a block device, by a name that does not change; give one or three")
	fs.StringArrayVar(&o.Links, "link", nil, "this node's own `address` (IP or IP:port) on a heartbeat network; give two or more (default: one of every network card)")
	fs.BoolVar(&o.SingleLink, "single-link", false, "accept that there is one heartbeat network only")
	fs.StringArrayVar(&o.Watchdogs, "watchdog", nil, "watchdog `device`, as /dev/watchdog0, /dev/watchdog0:5s or softdog; repeatable (default: all that nobody uses)")
	fs.BoolVar(&o.AcceptSoftdog, "accept-softdog", false, "accept takeover by lease with softdog alone, which is weak")
	fs.BoolVar(&o.PowerOff, "mail-off-powers-off", false, "the message off of sbd(8) switches the node off at the boot after, instead of only keeping it out of the cluster")
	fs.StringVar(&o.Key, "key", "", "`file` for the cluster key (default: cluster.key beside node.yaml)")
	fs.StringVar(&o.Power.URL, "bmc", "", "this machine's management controller: redfish://user@host or ipmi://user@host, a `reference`; it is verified, and the other nodes are told")
	fs.StringVar(&o.Power.PasswordFile, "bmc-password", "", "`file` of mode 0600 with its password, or credential:NAME (default: bmc.secret beside the cluster key)")
	fs.DurationVar(&o.Pause.Bound, "pause-bound", 0, "`time` for which a hypervisor may stop this machine (default: 0s, in guests 10s)")
	fs.BoolVar(&o.Emulation.On, "emulated", false, "a node of a power emulator, for the demo and for tests: no device of this machine is used")
	fs.StringVar(&o.Emulation.Emulator, "emulator", "", "`socket` of the power emulator")
	fs.StringVar(&o.Emulation.Holder, "holder", "", "`socket` of the process that holds the watchdogs' descriptors as well (default: the service manager)")
	fs.StringVar(&etc, "etc", "", "`directory` for node.yaml, guard.conf and the key (default: that of --config)")
	fs.StringVar(&o.Dirs.Run, "run", "", "`directory` for sockets (default: /run/holdfast/NAME)")
	fs.StringVar(&o.Dirs.State, "state", "", "`directory` for the cache and the events (default: /var/lib/holdfast)")
	fs.StringVar(&o.Dirs.Cgroup, "cgroup", "", "cgroup v2 `directory` for the services (default: the daemon's own)")
	c.PreRun = func(c *cobra.Command, _ []string) {
		o.Pause.Set = c.Flags().Changed("pause-bound")
		if etc != "" {
			a.Config = filepath.Join(etc, "node.yaml")
		}
		o.Config = a.Config
	}
}
