// Package power emulates what a cluster on one machine has not got: firmware,
// watchdog chips, a reset line and a power supply for every node. It is one
// process with its own clock, apart from every node, so that what it measures
// depends on nobody's word. The demo and the tests use it; nothing that ships
// for production imports it.
//
// An emulated reset loses power, it does not tidy up. In this order the emulator
//
//  1. stops every process of the node (SIGSTOP), and kills the caches of its
//     disks, if those are processes,
//  2. shuts the node's file systems down without flushing the log
//     (FS_IOC_SHUTDOWN), in every mount namespace of the node,
//  3. makes the node's disks read-only for whoever still has them open,
//  4. kills every process of the node,
//  5. unmounts, lazily if a process was spared,
//  6. detaches the loop devices,
//  7. takes the links down and removes the addresses that the node had added.
//
// File systems go before the kill: a killed process can no longer write, but its
// kernel would write back what it had dirtied. The processes stop before that: an
// fsync that is under way while ext4 is shut down may return success for data that
// is lost, and a machine without power does not live to tell.
//
// # Protocol
//
// The emulator listens on one SOCK_SEQPACKET Unix socket. A packet is one JSON
// object, but for the raw bytes of a watchdog connection. The first packet says
// who is calling:
//
//	{"role":"watchdog","node":"alpha","device":"hw"}   opens the device, as open(2) of /dev/watchdog
//	{"role":"platform","node":"alpha"}                 the node's firmware and reset line
//	{"role":"observer"}                                all events from the first, and marks
//	{"role":"control"}                                 registration and the power button
//
// Answers carry "error", empty for success. Times are nanoseconds.
//
// A watchdog connection then takes a packet that does not begin with '{' as a
// write to the device: each pets it, and 'V' as the last one before the close
// allows the close to stop it. It takes {"op":"settimeout","timeout_ns":N}, a
// pet, and {"op":"info"} and {"op":"setpretimeout","timeout_ns":N}, none. The end of the connection is the close of the
// device: the kernel delivers it when the last duplicate of the descriptor is
// closed, which is what a real driver sees too. Without 'V' before it, the close
// is a pet and the device runs on. Opening a stopped device starts it with its
// default timeout; opening a running one changes nothing; a device that is open
// is busy ("busy":true).
//
// A platform connection hears {"boot_id","host_uuid","clock_zero_ns"}: the last is
// the machine's clock at which the node's own clock stood at zero. It takes
// {"op":"reset","why":...}.
//
// An observer hears one Event per packet and may send
// {"op":"mark","node":...,"text":...}, which becomes an Event stamped with the
// emulator's clock. The distance between a mark and a bite is measured by one
// clock alone.
//
// A control connection takes {"op":...} register, power-on, power-off, reset,
// state, mark and qualify; see Control.
package power
