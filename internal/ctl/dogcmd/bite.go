package dogcmd

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/holdfast-ha/holdfast/sbd/watchdog"
	"github.com/holdfast-ha/holdfast/sbd/watchdog/beacon"
)

const (
	feeds      = 10 // before the last one, spread over half a timeout
	biteFactor = 4  // timeouts that a device is waited for
	// beforeBite is how long before the nominal bite the feeding process is killed:
	// as late as a guard may die, and early enough to be before the bite.
	beforeBite = 100 * time.Millisecond
	// feederVariable makes this program the process that feeds a device for another.
	feederVariable = "HOLDFAST_WATCHDOG_FEEDER"
	feederFD       = 3
)

// letItBite feeds the device for a while, and lets it reset the machine in the way
// of the run. It returns beacon.ErrSurvived if that has not happened.
func letItBite(s *beacon.Sender, d watchdog.Device, kind watchdog.RunKind) error {
	timeout := d.Info().Timeout
	if kind != watchdog.RunGuardDeath {
		if err := feedAWhile(s, timeout, d.Feed); err != nil {
			return err
		}
		return s.Starve(biteFactor*timeout, 0, nil)
	}
	f, err := startFeeder(d)
	if err != nil {
		return err
	}
	defer f.kill() // does nothing once it is dead
	if err := feedAWhile(s, timeout, f.feed); err != nil {
		return err
	}
	if err := f.cmd.Process.Signal(unix.SIGSTOP); err != nil {
		return fmt.Errorf("stop the feeding process: %w", err)
	}
	return s.Starve(biteFactor*timeout, timeout-beforeBite, f.kill)
}

// feedAWhile shows that feeding holds the machine up.
func feedAWhile(s *beacon.Sender, timeout time.Duration, feed func() error) error {
	tick := time.NewTicker(timeout / 2 / feeds)
	defer tick.Stop()
	for range feeds {
		if err := s.Feed(feed); err != nil {
			return err
		}
		<-tick.C
	}
	return s.Feed(feed)
}

// feeder is a process that has a duplicate of the device and feeds it when told,
// as a guard would; this process holds the other, as the second holder does.
type feeder struct {
	cmd    *exec.Cmd
	orders io.WriteCloser
	done   io.Reader
	dead   bool
}

func startFeeder(d watchdog.Device) (*feeder, error) {
	kept, err := watchdog.NameOf(d)
	if err != nil {
		return nil, err
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	dup, err := unix.FcntlInt(uintptr(kept.FD), unix.F_DUPFD_CLOEXEC, feederFD)
	if err != nil {
		return nil, fmt.Errorf("duplicate the device's descriptor: %w", err)
	}
	file := os.NewFile(uintptr(dup), kept.Name)
	defer file.Close() // the child has its own
	f := &feeder{cmd: exec.Command(self, "watchdog", "qualify")}
	f.cmd.Env = append(os.Environ(), feederVariable+"="+kept.Name)
	f.cmd.ExtraFiles, f.cmd.Stderr = []*os.File{file}, os.Stderr
	if f.orders, err = f.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	if f.done, err = f.cmd.StdoutPipe(); err != nil {
		return nil, err
	}
	if err := f.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start the feeding process: %w", err)
	}
	return f, nil
}

// feed has the process feed the device, and waits until it has.
func (f *feeder) feed() error {
	var b [1]byte
	if _, err := f.orders.Write(b[:]); err != nil {
		return fmt.Errorf("the feeding process: %w", err)
	}
	if _, err := io.ReadFull(f.done, b[:]); err != nil {
		return fmt.Errorf("the feeding process did not feed: %w", err)
	}
	return nil
}

// kill ends the process with its descriptor: a close that must not feed.
func (f *feeder) kill() error {
	if f.dead {
		return nil
	}
	f.dead = true
	if err := f.cmd.Process.Kill(); err != nil {
		return fmt.Errorf("kill the feeding process: %w", err)
	}
	_ = f.cmd.Wait() // that it was killed is no news
	return nil
}

// feedForParent is what the feeding process does, until it is killed.
func feedForParent() error {
	d, err := watchdog.Adopt(feederFD, "/dev/"+strings.TrimPrefix(os.Getenv(feederVariable), "/dev/"))
	if err != nil {
		return err
	}
	var b [1]byte
	for {
		if _, err := os.Stdin.Read(b[:]); err != nil {
			return errors.New("the process that measures is gone")
		}
		if err := d.Feed(); err != nil {
			return err
		}
		if _, err := os.Stdout.Write(b[:]); err != nil {
			return err
		}
	}
}
