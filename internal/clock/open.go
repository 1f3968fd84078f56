package clock

import (
	"errors"
	"os"
)

// Config says which platform a process lives on.
type Config struct {
	// Emulator is the Unix socket of a power emulator; empty: the real machine.
	Emulator string
	// Node is this node's name at the emulator.
	Node string
	// OpenReset opens the real machine's reset line (OpenSysrq). It is not
	// called on an emulated platform; nil: this process never resets.
	OpenReset func() (*os.File, error)
}

// Open returns the platform that c names.
func Open(c Config) (Platform, error) {
	if c.Emulator == "" {
		return OpenLinux(c.OpenReset)
	}
	if c.Node == "" {
		return nil, errors.New("an emulated platform needs the node's name")
	}
	return DialEmulator(c.Emulator, c.Node)
}
