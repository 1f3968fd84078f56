// Package machine is what runs inside of emulated machines: a room, which keeps the
// mounts and links of one; whoever enters it; and the first process of a whole
// system, systemd on a Debian tree, in namespaces of its own and at native speed.
// Such a system shares the kernel and the clock with this machine, and can change
// neither.
package machine
