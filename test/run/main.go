// Command run is the driver behind make test: it runs every test of the module, passes on what go test says, and ends with
// a list of the tests that did not run and why.
//
// The list is the reason for the driver. A test that needs root, a kernel feature or a program skips itself where that is
// missing, and go test says nothing about it unless asked; a run that leaves out all tests with real disks would look like
// a full one.
//
//	go run ./test/run [-timeout 20m] [-race] [packages]
//
// The exit status is 0 when all tests that ran passed and at least one ran, 1 otherwise.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"time"
)

func main() {
	timeout := flag.Duration("timeout", 20*time.Minute, "time limit for the tests of one package")
	race := flag.Bool("race", false, "run with the race detector (needs cgo)")
	flag.Parse()
	packages := flag.Args()
	if len(packages) == 0 {
		packages = []string{"./..."}
	}
	args := []string{"test", "-json", "-count=1", "-timeout", timeout.String()}
	if *race {
		args = append(args, "-race")
	}
	if err := run(append(args, packages...), os.Stdout, os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "test/run:", err)
		os.Exit(1)
	}
}

// run starts the go command with args, which make it print test events, and reports on them to out.
func run(args []string, out, errOut io.Writer) error {
	if os.Geteuid() != 0 {
		fmt.Fprintln(out, rootNote)
	}
	cmd := exec.Command("go", args...)
	cmd.Stderr = errOut
	events, err := cmd.StdoutPipe()
	if err != nil {
		return fmt.Errorf("pipe from go test: %w", err)
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start go test: %w", err)
	}
	r := newReport(out)
	readErr := r.read(events)
	waitErr := cmd.Wait()
	r.finish()
	if os.Geteuid() != 0 {
		fmt.Fprintln(out, rootNote)
	}
	return errors.Join(readErr, verdict(r, waitErr))
}

const rootNote = "*** NOT ROOT: the tests that mount, make block devices, cgroups or network namespaces are left out. " +
	"Run make test as root to run all."

func verdict(r *report, waitErr error) error {
	switch {
	case waitErr != nil:
		return fmt.Errorf("go test: %w", waitErr)
	case len(r.failed) > 0:
		return fmt.Errorf("%d tests failed", len(r.failed))
	case r.passed == 0:
		return errors.New("no test ran: nothing is known")
	}
	return nil
}
