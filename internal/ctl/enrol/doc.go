// Package enrol makes a machine a node: the first one of a new cluster (Found),
// or one more of a cluster that gave a token (Join). It checks everything that
// can be checked before it changes anything, says of each refusal what to do,
// and writes the three files that a node lives on: the cluster key, node.yaml
// for people and the daemon, and guard.conf for the guard.
//
// Nothing here arms a watchdog, starts a daemon or talks to one that runs on
// this machine.
package enrol
