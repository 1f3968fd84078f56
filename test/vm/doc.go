// Package vm is the rig: whole machines with kernels, disks, watchdogs and networks of their own, under emulation, for what
// no process on one kernel can show.
//
// The parts are packages below: image makes what machines boot, machine runs one, network and disk are what they share and
// what can be broken, lab puts them together for a test. The tests here are of two kinds: a short set, which runs with
// "make test", and the whole one, which runs with "make vm". docs/VM.md says what each shows, and what is needed.
package vm
