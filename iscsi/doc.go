// Package iscsi is for the initiator sessions of a service's own disks: discover targets, log in and out, read a session's
// state, and set the timeouts that decide how long the kernel holds back I/O when a target is gone.
//
// Sessions are made by open-iscsi's daemon, which also recovers them; the package is to drive it and to check from sysfs
// what it says. A logout counts as done only when the session and its disks are gone from sysfs, because a session left
// behind goes on writing.
//
// The package does not act yet: nothing imports it. A service whose disk is reached by iSCSI needs sessions that the system
// logs in at boot.
package iscsi
