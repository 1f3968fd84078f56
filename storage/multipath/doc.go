// Package multipath is for the paths below a device: how many there are, which of them work, and how long the device
// mapper holds back I/O when none does.
//
// The quorum disk has to fail quickly instead of queueing: a write held back for a minute and then let through is worse than
// an error. The package is to read the state from multipathd and sysfs, to say which settings of a device break the
// cluster's timing, and to write the section of multipath.conf that does not.
//
// The package does not act yet: nothing imports it. A quorum disk on several paths needs no_path_retry fail in
// multipath.conf, set by hand.
package multipath
