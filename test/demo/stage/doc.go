// Package stage puts up a whole cluster on this machine, with the real programs
// and nothing of them replaced: a power emulator (package power) plays firmware,
// watchdogs and reset lines, and the kernel's own means keep the nodes apart.
//
// As root each node has
//
//   - a room: a process that sleeps in a mount namespace and a network namespace
//     of its own, and keeps both for the node across its power losses;
//   - three network cards, which are veth pairs into three bridges: hb0 and hb1
//     for the heartbeats, lan for the clients. The bridges live in a room of their
//     own, "outside", as do the clients; nothing touches this machine's network;
//   - loop devices of its own, with direct I/O, on the shared files: one for each
//     quorum disk, one for each data disk. No kernel cache is shared between
//     nodes, and no superblock could hide a double mount;
//   - a cgroup of version 2, which is what loses its power.
//
// Not root, a node is a set of processes that carry a mark in their environment,
// its links are loopback addresses, its quorum disks are the shared files, and a
// service is a plain process at a loopback address.
//
// Everything has a name that begins with hfdemo-, and is gone after Close. What a
// killed run has left is found by that name and removed by the next one.
package stage
