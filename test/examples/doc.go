// Package examples puts the three clusters of docs/manual/examples.md to work: the
// page's own commands make the data, its configurations are applied as they stand,
// and the services are taken over. Under the database a client writes, on a disk
// that forgets what was not flushed, and every transaction that was acknowledged
// has to be there at the end (make soak: twenty takeovers).
//
// A node is a network and mount namespace (package stage), so whatever only a whole
// machine has is left out and said: systemd, and an NFS server in the kernel of each.
package examples
