// Command holdfast is the administrator's tool: see internal/ctl, or holdfast --help.
package main

import (
	"os"

	"github.com/holdfast-ha/holdfast/internal/ctl"
)

func main() {
	os.Exit(ctl.Main(os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}
