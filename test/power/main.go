package power

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/holdfast-ha/holdfast/sbd/watchdog/holder"
)

// Ready is the line that EmulatorMain and HolderMain print once they listen.
const Ready = "ready"

// EmulatorMain runs the emulator until SIGTERM or SIGINT:
//
//	-socket PATH   where to listen; a leftover of an earlier run is replaced
//	-log FILE      append every event as one line of JSON
//	-stdin         end when standard input ends, as the starter's death makes it
//
// It raises its own priority as far as it may: chips do not wait for a busy machine.
func EmulatorMain(args []string) error {
	flags := flag.NewFlagSet("power-emulator", flag.ContinueOnError)
	socket := flags.String("socket", "", "Unix socket to listen on")
	logPath := flags.String("log", "", "file for events")
	stdin := flags.Bool("stdin", false, "end at the end of standard input")
	if err := parse(flags, args, socket); err != nil {
		return err
	}
	var log io.Writer
	if *logPath != "" {
		f, err := os.OpenFile(*logPath, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
		if err != nil {
			return err
		}
		defer f.Close()
		log = f
	}
	raisePriority()
	e, err := Start(*socket, log)
	if err != nil {
		return err
	}
	return untilTold(*stdin, e.Close)
}

// HolderMain runs a holder.Holder until SIGTERM or SIGINT, with -socket and -stdin as
// EmulatorMain has them.
func HolderMain(args []string) error {
	flags := flag.NewFlagSet("descriptor-holder", flag.ContinueOnError)
	socket := flags.String("socket", "", "Unix socket to listen on")
	stdin := flags.Bool("stdin", false, "end at the end of standard input")
	if err := parse(flags, args, socket); err != nil {
		return err
	}
	h, err := holder.Start(*socket)
	if err != nil {
		return err
	}
	return untilTold(*stdin, h.Close)
}

// MarkMain makes one mark: -socket PATH NODE TEXT... It is for the programs of a
// node that bear witness, such as the one that begins to mount.
func MarkMain(args []string) error {
	flags := flag.NewFlagSet("power-mark", flag.ContinueOnError)
	socket := flags.String("socket", "", "Unix socket of the emulator")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if *socket == "" || flags.NArg() < 2 {
		return errors.New("power-mark: want -socket PATH NODE TEXT")
	}
	c, err := DialControl(*socket)
	if err != nil {
		return err
	}
	return errors.Join(c.Mark(flags.Arg(0), strings.Join(flags.Args()[1:], " ")), c.Close())
}

// parse reads the flags and makes way for the socket.
func parse(flags *flag.FlagSet, args []string, socket *string) error {
	if err := flags.Parse(args); err != nil {
		return err
	}
	if *socket == "" || flags.NArg() > 0 {
		return fmt.Errorf("%s: want -socket PATH and no arguments", flags.Name())
	}
	if st, err := os.Lstat(*socket); err == nil && st.Mode()&os.ModeSocket != 0 {
		return os.Remove(*socket)
	}
	return nil
}

func untilTold(stdin bool, end func() error) error {
	told := make(chan os.Signal, 1)
	signal.Notify(told, unix.SIGTERM, unix.SIGINT)
	defer signal.Stop(told)
	over := make(chan struct{})
	if stdin {
		go func() { // ends with the process at the latest
			_, _ = io.Copy(io.Discard, os.Stdin)
			close(over)
		}()
	}
	fmt.Println(Ready)
	select {
	case <-told:
	case <-over:
	}
	return end()
}

// raisePriority applies to the threads there are; new ones inherit it. Without
// the privilege it does nothing.
func raisePriority() {
	tasks, _ := filepath.Glob("/proc/self/task/*")
	for _, t := range tasks {
		if tid, err := strconv.Atoi(filepath.Base(t)); err == nil {
			_ = unix.Setpriority(unix.PRIO_PROCESS, tid, -20)
		}
	}
}
