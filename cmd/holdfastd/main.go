// Command holdfastd owns meaning on a node: it talks to the other nodes, decides with them what runs where, and starts, stops
// and checks services. "holdfastd -h" lists its flags.
package main

import (
	"os"
	"runtime/debug"

	"github.com/holdfast-ha/holdfast/internal/daemon"
)

// garbage is how much the heap may grow between two collections, in percent of what is in use: twice Go's own measure. What is in
// use is a few MiB even with hundreds of services, and looking through it is a tenth of the daemon's work.
const garbage = 200

func main() {
	debug.SetGCPercent(garbage)
	os.Exit(daemon.Main(os.Args[1:], os.Stdout, os.Stderr))
}
