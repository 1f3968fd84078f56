// Package config turns the two YAML files of a cluster into valid values, or
// says everything that is wrong with them at once.
//
// The cluster's configuration (ParseCluster) is one file that the admin edits;
// its truth lives on the quorum disks. A node's own file (ParseNode, nodefile.Write)
// names its disks, links and watchdogs, and is written by init and join.
//
// How strictly a file is read, and how a problem is shown, is package form's; what
// may stand in a stack is package members'. Both files have a JSON Schema for
// editors (ClusterSchema, NodeSchema), made of the tables that the reader uses.
package config

import "github.com/holdfast-ha/holdfast/internal/config/form"

// Problem is one thing that is wrong in a file.
type Problem = form.Problem

// Problems are all the problems of a file, in the order of its lines. It is the
// error that ParseCluster and ParseNode return.
type Problems = form.Problems

// ClusterSchema is the JSON Schema (draft 2020-12) of the cluster's
// configuration.
func ClusterSchema() []byte { return clusterShape().Schema("Holdfast cluster configuration") }

// NodeSchema is the JSON Schema (draft 2020-12) of node.yaml.
func NodeSchema() []byte { return nodeShape().Schema("Holdfast node configuration") }
