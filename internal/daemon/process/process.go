// Package process is what holdfastd is as a process of its node: the only one, and
// heard in the node's log.
package process

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/coreos/go-systemd/v22/journal"
	"github.com/rs/zerolog"
	"github.com/rs/zerolog/journald"
	"golang.org/x/sys/unix"
)

// lockName is the file in the run directory that the daemon has locked.
const lockName = "daemon.lock"

// LogSink is the journal where standard error goes there, with fields and
// priorities, and else text on standard error.
func LogSink(stderr io.Writer) io.Writer {
	if here, err := journal.StderrIsJournalStream(); err == nil && here {
		return journald.NewJournalDWriter()
	}
	return zerolog.ConsoleWriter{Out: stderr, NoColor: true, TimeFormat: "15:04:05.000"}
}

// LogLevel is from which level on the log is written: info, or what the environment
// says in HOLDFAST_LOG. Every check that finds all well is worth a line of level debug:
// with hundreds of services that is more work than the checks.
func LogLevel() zerolog.Level {
	if level, err := zerolog.ParseLevel(os.Getenv("HOLDFAST_LOG")); err == nil && level != zerolog.NoLevel {
		return level
	}
	return zerolog.InfoLevel
}

// Lock makes this process the one daemon of its node, for life: two would tell
// the guard contradicting things.
func Lock(dir string) (*os.File, error) {
	path := filepath.Join(dir, lockName)
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock: %w", err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return nil, errors.Join(fmt.Errorf("lock %s: another holdfastd runs for this node: %w", path, err), f.Close())
	}
	return f, nil
}
