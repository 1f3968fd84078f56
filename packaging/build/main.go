// Command build makes what the packages need beside the programs: "build scripts DIRECTORY" writes the packages' scripts,
// "build sbom VERSION PROGRAM..." prints the bill of materials of programs. SOURCE_DATE_EPOCH is its date.
package main

import (
	"fmt"
	"os"
	"strconv"
	"time"

	"github.com/holdfast-ha/holdfast/packaging/sbom"
	"github.com/holdfast-ha/holdfast/packaging/scripts"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "packaging:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	switch {
	case len(args) == 2 && args[0] == "scripts":
		return scripts.Write(args[1])
	case len(args) > 2 && args[0] == "sbom":
		seconds, err := strconv.ParseInt(os.Getenv("SOURCE_DATE_EPOCH"), 10, 64)
		if err != nil {
			return fmt.Errorf("SOURCE_DATE_EPOCH=%q is no number of seconds since 1970", os.Getenv("SOURCE_DATE_EPOCH"))
		}
		text, err := sbom.Write(args[1], time.Unix(seconds, 0), args[2:]...)
		if err != nil {
			return err
		}
		_, err = os.Stdout.Write(text)
		return err
	}
	return fmt.Errorf("%q: want scripts DIRECTORY, or sbom VERSION PROGRAM and more programs", args)
}
