// Command holdfast-guard owns time on a node: it writes the node's beat to the quorum disks, keeps the lease, feeds the
// watchdogs inside the lease only, and resets the node. "holdfast-guard -h" lists its flags.
package main

import (
	"os"

	"github.com/holdfast-ha/holdfast/internal/guard"
)

func main() {
	os.Exit(guard.Main(os.Args[1:], os.Stdout, os.Stderr))
}
