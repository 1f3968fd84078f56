// Package outcomes is the table of what every kind of power switch is worth: for
// each behaviour of a device and each way to reach it, whether a fencing of a node
// ends as proven, failed or unknown, and why. The table is data, written down
// before the code that has to fulfil it; docs/FENCING-OUTCOMES.md is made of it.
//
// The tests give a machine each device, reach it over each way, through the same
// code that the daemon runs, and compare. The devices are the fakes of bmc/bmctest,
// Debian's ipmi_sim, and unchanged fence agents; the machine goes on beating for as
// long as it has power, as a node's guard does, so that what only the sum of all
// evidence can find out is found out here too.
package outcomes
