package drills

import (
	"errors"
	"fmt"
	"io"
	"os/exec"
	"os/signal"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// FreezeVerb is the first argument by which the daemon's program is the helper that
// freezes a node: FreezeVerb DURATION PID...
const FreezeVerb = "drill-freeze"

// freeze starts the helper, in a session of its own: it has to wake the daemon again,
// and so must not be frozen with it.
func (d *Drills) freeze(length time.Duration) error {
	g, is := d.Machine.Guard().(interface{ PID() (int, error) })
	if !is {
		return errors.New("which process the guard is cannot be told: there is no connection to it")
	}
	guard, err := g.PID()
	if err != nil {
		return err
	}
	program, err := d.Program()
	if err != nil {
		return err
	}
	cmd := exec.Command(program, FreezeVerb, length.String(), strconv.Itoa(unix.Getpid()), strconv.Itoa(guard))
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start the helper that freezes this node: %w", err)
	}
	go func() { _ = cmd.Wait() }() // ends with the helper, which ends by itself
	return nil
}

// FreezeMain is the helper: it stops processes, as a machine that executes nothing
// would, and wakes them after a time that only matters where no watchdog has reset the
// machine before. It returns its exit code.
func FreezeMain(args []string, stderr io.Writer) int {
	// Whoever ends it would leave stopped what it has to wake.
	signal.Ignore(syscall.SIGHUP, syscall.SIGINT, syscall.SIGTERM)
	if err := freezeFor(args); err != nil {
		fmt.Fprintf(stderr, "holdfastd %s: %v\n", FreezeVerb, err)
		return 1
	}
	return 0
}

// freezeFor keeps processes stopped. They are held by descriptors, so that a number
// which is given away meanwhile is nobody else's.
func freezeFor(args []string) error {
	if len(args) < 2 {
		return errors.New("want a duration and processes")
	}
	length, err := time.ParseDuration(args[0])
	if err != nil || length <= 0 || length > most {
		return fmt.Errorf("%s is no duration up to %s", args[0], most)
	}
	var held []int
	for _, a := range args[1:] {
		pid, err := strconv.Atoi(a)
		if err != nil {
			return err
		}
		fd, err := unix.PidfdOpen(pid, 0)
		if err != nil {
			return fmt.Errorf("process %d: %w", pid, err)
		}
		held = append(held, fd)
	}
	var errs []error
	for _, fd := range held {
		errs = append(errs, unix.PidfdSendSignal(fd, unix.SIGSTOP, nil, 0))
	}
	if err := errors.Join(errs...); err == nil {
		time.Sleep(length)
	}
	for _, fd := range held {
		if err := unix.PidfdSendSignal(fd, unix.SIGCONT, nil, 0); !errors.Is(err, unix.ESRCH) { // it has ended meanwhile
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}
