// Package volatile is a disk whose write cache forgets: what was written since the
// last flush is lost when its process is killed, all of it or, as with a cache that
// writes down what it likes in the order that it likes, some of it. It is how a
// node of a stage loses its power with everything that no fsync has asked for.
//
// The disk is one file in a file system of its own (FUSE), on which a loop device
// with direct I/O is made. The kernel passes on every flush that a file system on
// the loop device issues as a FUSE_FSYNC; until then a block exists in the memory
// of the process alone. Killing the process ends the connection: requests that are
// under way fail, and so does every later one.
package volatile
