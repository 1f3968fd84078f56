// Command holdfastd owns meaning on a node: it talks to the other nodes, decides with them what runs where, and starts, stops
// and checks services. "holdfastd -h" lists its flags.
package main

import (
	"os"

	"github.com/holdfast-ha/holdfast/internal/daemon"
)

func main() {
	os.Exit(daemon.Main(os.Args[1:], os.Stdout, os.Stderr))
}
