// Package config turns the two YAML files of a cluster into valid values, or
// says everything that is wrong with them at once.
//
// The cluster's configuration (ParseCluster) is one file that the admin edits;
// its truth lives on the quorum disks. A node's own file (ParseNode, nodefile.Write)
// names its disks, links and watchdogs, and is written by init and join.
//
// Parsing is strict, because a key that is silently ignored is a service that is
// not protected: an unknown or repeated key, a wrong type, a reference to
// something that does not exist, a missing or impossible value are each a
// Problem with file, line, column, the line itself with the place marked, and
// the nearest valid name or another remedy. Anchors, aliases, merge keys and tags
// are refused: what a line says shall stand on it.
//
// What a file may contain stands once, in tables of keys (a shape): they drive
// the reader, the messages and the JSON Schema for editors (ClusterSchema,
// NodeSchema).
package config
