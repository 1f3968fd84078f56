// Command demo is the driver behind make demo: it puts a three-node cluster up on this machine, shows its status, strikes
// the node that runs the service, and ends with the timeline of the takeover. "demo -h" lists its flags.
//
// The other programs that a demo consists of are the same file, by their first argument: emulator and holder (package
// power), room and enter (package room), boot (package machine), volatile (of that name), serve, write and client (package ledger), mark.
package main

import (
	"fmt"
	"os"

	"github.com/holdfast-ha/holdfast/test/demo/ledger"
	"github.com/holdfast-ha/holdfast/test/demo/machine"
	"github.com/holdfast-ha/holdfast/test/demo/play"
	"github.com/holdfast-ha/holdfast/test/demo/room"
	"github.com/holdfast-ha/holdfast/test/demo/volatile"
	"github.com/holdfast-ha/holdfast/test/power"
)

func main() {
	parts := map[string]func([]string) error{
		"emulator": power.EmulatorMain, "holder": power.HolderMain, "mark": power.MarkMain,
		"room": room.Main, "enter": room.EnterMain, "volatile": volatile.Main, "boot": machine.BootMain,
		"serve": ledger.ServeMain, "write": ledger.WriteMain, "client": ledger.ClientMain,
	}
	if len(os.Args) > 1 {
		if part, ok := parts[os.Args[1]]; ok {
			if err := part(os.Args[2:]); err != nil {
				fmt.Fprintf(os.Stderr, "demo %s: %v\n", os.Args[1], err)
				os.Exit(1)
			}
			return
		}
	}
	os.Exit(play.Main(os.Args[1:], os.Stdout, os.Stderr))
}
