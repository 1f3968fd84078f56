// Package machine runs one virtual machine: QEMU without acceleration, its control socket (QMP), and the line to the agent
// inside.
//
// Instants are those of this machine's clock, never a guest's: an emulated clock stands still with its machine.
// Instruction counting (-icount) is off, because it would couple the guest's clock to the speed of the emulation.
package machine
