// Package guardfaults does to holdfastd and holdfast-guard, the real programs on an
// emulated machine, what happens to processes: they are killed, stopped and starved,
// each alone and both; the disk fills up; the quorum disk and the root file system
// hang. The power emulator alone is asked what came of it: the machine goes on, or
// it is reset, at the time and in the way that the lease allows.
package guardfaults
