// Package accept holds the acceptance tests of the whole: real programs, whole
// clusters on this machine (package stage), faults, and what a client saw of them.
// There is nothing in it but tests; they need root, and say so where it is missing.
//
// What they compare are instants of one clock: that of the power emulator for the
// order of a watchdog's bite and a mount elsewhere, that of this machine for what
// clients record.
package accept
