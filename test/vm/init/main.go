// Command init is the first process of a machine of the rig. It mounts what a kernel offers, loads modules, sets addresses,
// and then collects the processes that nobody waits for, while a second process of the same program is the agent that the
// rig talks to. As "init witness" it is the writer of package witness, as "init keys" package
// keys, as "init account" the writer of package account, as "init trouble" what package trouble makes.
package main

import (
	"errors"
	"fmt"
	"os"

	"github.com/holdfast-ha/holdfast/test/vm/account"
	"github.com/holdfast-ha/holdfast/test/vm/init/agent"
	"github.com/holdfast-ha/holdfast/test/vm/init/boot"
	"github.com/holdfast-ha/holdfast/test/vm/keys"
	"github.com/holdfast-ha/holdfast/test/vm/trouble"
	"github.com/holdfast-ha/holdfast/test/vm/witness"
)

func main() {
	err := errors.New("this is the first process of a virtual machine; do not start it elsewhere")
	switch {
	case len(os.Args) > 1 && os.Args[1] == boot.AgentArgument:
		err = agent.Run()
	case len(os.Args) > 1 && os.Args[1] == "witness":
		err = witness.Run(os.Args[2:], os.Stdout)
	case len(os.Args) > 1 && os.Args[1] == "keys":
		err = keys.Run(os.Args[2:], os.Stdout)
	case len(os.Args) > 1 && os.Args[1] == "account":
		err = account.Run(os.Args[2:], os.Stdout)
	case len(os.Args) > 1 && os.Args[1] == "trouble":
		err = trouble.Run(os.Args[2:], os.Stdout)
	case os.Getpid() == 1:
		err = boot.Run()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "init:", err)
		os.Exit(1)
	}
}
