// Package ledger is the service that the demo and the acceptance tests make
// highly available, and the client that holds it to its word.
//
// The service appends lines to one file on the shared disk and answers a write
// only after fsync. The client is a process of its own, outside of every node: it
// writes one numbered line after another, notes every one that was acknowledged,
// and at the end reads everything back through the service. A line that was
// acknowledged and is not there is the one thing that must never happen. A line
// that was not acknowledged may be there or not.
//
//	POST /append   the body is one line; 200 once it is on the disk
//	GET  /read     every line, in the order in which they were written
//
// Both name the node that answers in the header X-Node.
package ledger
