// Package timing derives every timeout of the cluster from one number and proves
// the result. The number is failover_within (B): the time from a fault to the
// permission to start the services elsewhere. What it has to pay for is
//
//	F       how old a node's disk lease may be while it still feeds its watchdogs
//	m*TMax  how long the watchdogs may take, after the last feed, to reset it
//	Tz      how long a write of the reset host may still arrive at the disks
//	V       how long a hypervisor may stop the node, its watchdog included
//
// and the sum, with the clock error rho charged on both sides, is W: the time an
// observer waits after the last beat it saw before it may call a node dead.
// What is left of B after the fixed parts becomes F, so that a larger B buys
// tolerance of slow disks, not slower takeovers of healthy hardware.
//
// An input that cannot be made safe is refused with an *Unsafe that holds the
// inequality, the smallest value that is safe, and what would lower it.
//
// The package is pure: no clock, no I/O, and the same input gives the same table
// on every node.
package timing
