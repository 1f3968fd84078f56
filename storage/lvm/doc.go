// Package lvm is for volume groups that belong to a service: activate one on the node that owns the service, deactivate it
// before another may have it, and say whether something else (auto-activation at boot, a second host's system ID) would
// activate it behind the cluster's back.
//
// A volume group is released when no logical volume of it is in the device mapper any more, not when a command returned.
//
// The package does not act yet: nothing imports it, and a service's file system has to be on a plain disk or partition.
package lvm
