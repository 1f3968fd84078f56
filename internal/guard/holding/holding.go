// Package holding is the process that only holds the watchdogs' descriptors, for
// machines whose service manager has no descriptor store: holdfast-guard -hold.
// It runs apart from the guard, in a cgroup of its own, so that what ends the guard
// spares it.
package holding

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"

	"golang.org/x/sys/unix"

	"github.com/holdfast-ha/holdfast/internal/guard/realtime"
	"github.com/holdfast-ha/holdfast/sbd/watchdog/holder"
)

// Exit codes.
const (
	exitOK      = 0
	exitFailure = 1
)

// Main listens on the Unix socket path and holds what it is given, until a SIGTERM
// or SIGINT comes while it holds nothing, or ctx ends. While it holds something it
// does not obey: its end could be the close that feeds a watchdog once more. It
// returns the exit code.
func Main(ctx context.Context, path string, stdout, stderr io.Writer) int {
	told := make(chan os.Signal, 1)
	signal.Ignore(unix.SIGHUP, unix.SIGPIPE, unix.SIGUSR1, unix.SIGUSR2)
	signal.Notify(told, unix.SIGTERM, unix.SIGINT)
	defer signal.Stop(told)
	h, err := listen(path)
	if err != nil {
		fmt.Fprintf(stderr, "holdfast-guard: %v\n", err)
		return exitFailure
	}
	if refused := realtime.Take(); refused != "" {
		fmt.Fprintf(stderr, "holdfast-guard: not everything was granted that keeps this process from being ended: %s\n", refused)
	}
	fmt.Fprintf(stdout, "holds watchdog descriptors at %s\n", path)
	for {
		select {
		case <-ctx.Done():
		case <-told:
			if held := h.Held(); len(held) > 0 {
				fmt.Fprintf(stderr, "holdfast-guard: holds %v and stays: end the guard first\n", held)
				continue
			}
		}
		if err := h.Close(); err != nil {
			fmt.Fprintf(stderr, "holdfast-guard: %v\n", err)
			return exitFailure
		}
		return exitOK
	}
}

// listen makes way for the socket where nobody listens on what an earlier boot or
// life has left; only its owner may speak to it.
func listen(path string) (*holder.Holder, error) {
	if c, err := net.DialUnix("unixpacket", nil, &net.UnixAddr{Name: path, Net: "unixpacket"}); err == nil {
		return nil, errors.Join(fmt.Errorf("hold: somebody listens on %s already", path), c.Close())
	}
	if st, err := os.Lstat(path); err == nil && st.Mode()&os.ModeSocket != 0 {
		if err := os.Remove(path); err != nil {
			return nil, fmt.Errorf("hold: %w", err)
		}
	}
	before := unix.Umask(0o077)
	defer unix.Umask(before)
	return holder.Start(path)
}
