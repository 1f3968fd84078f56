// Package handover is how a guard replaces itself. A guard that is bound is never
// stopped to be upgraded: it executes the new program, as the same process with
// the same descriptors, so that no watchdog is closed, opened or set, each of
// which would feed it. What it knows passes in a file in memory: one Snapshot
// packet.
package handover

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/holdfast-ha/holdfast/internal/guardwire"
	"github.com/holdfast-ha/holdfast/sbd/watchdog"
)

// environment carries the descriptors: "memory,lock,name=fd,name=fd".
const environment = "HOLDFAST_GUARD_HANDOVER"

// Bundle is what one guard leaves to the program that replaces it.
type Bundle struct {
	Snapshot *guardwire.Snapshot
	Dogs     []watchdog.Named
	Lock     int // the descriptor of the lock that makes it the only guard
}

// Replace executes the program at path, or
// this program's own file, with the same arguments.
func Replace(path string, h Bundle) error {
	if path == "" {
		path = os.Args[0]
	}
	memory, err := unix.MemfdCreate("holdfast-guard", 0)
	if err != nil {
		return fmt.Errorf("upgrade: %w", err)
	}
	defer unix.Close(memory)
	packet := guardwire.AppendMessage(nil, 0, 0, h.Snapshot)
	if _, err := unix.Pwrite(memory, packet, 0); err != nil {
		return fmt.Errorf("upgrade: %w", err)
	}
	pass := []string{strconv.Itoa(memory), strconv.Itoa(h.Lock)}
	keep := []int{h.Lock}
	for _, d := range h.Dogs {
		pass, keep = append(pass, d.Name+"="+strconv.Itoa(d.FD)), append(keep, d.FD)
	}
	for _, fd := range keep {
		if _, err := unix.FcntlInt(uintptr(fd), unix.F_SETFD, 0); err != nil {
			return fmt.Errorf("upgrade: %w", err)
		}
		defer unix.CloseOnExec(fd) // reached only if the program was not replaced
	}
	env := append(os.Environ(), environment+"="+strings.Join(pass, ","))
	return fmt.Errorf("upgrade: execute %s: %w", path, unix.Exec(path, os.Args, env))
}

// TakeOver reads what the program before left; nil after an ordinary start.
func TakeOver() (*Bundle, error) {
	text := os.Getenv(environment)
	if text == "" {
		return nil, nil
	}
	if err := os.Unsetenv(environment); err != nil {
		return nil, err
	}
	h, err := parse(text)
	if err != nil {
		return nil, fmt.Errorf("%s=%q: %w", environment, text, err)
	}
	return h, nil
}

func parse(text string) (*Bundle, error) {
	h := &Bundle{}
	parts := strings.Split(text, ",")
	if len(parts) < 2 {
		return nil, errors.New("want two descriptors or more")
	}
	memory, err := strconv.Atoi(parts[0])
	if err != nil {
		return nil, err
	}
	if h.Lock, err = strconv.Atoi(parts[1]); err != nil {
		return nil, err
	}
	unix.CloseOnExec(h.Lock)
	for _, p := range parts[2:] {
		name, number, _ := strings.Cut(p, "=")
		fd, err := strconv.Atoi(number)
		if err != nil {
			return nil, err
		}
		h.Dogs = append(h.Dogs, watchdog.Named{Name: name, FD: fd})
	}
	packet := make([]byte, guardwire.MaxPacket)
	n, err := unix.Pread(memory, packet, 0)
	if err = errors.Join(err, unix.Close(memory)); err != nil {
		return nil, err
	}
	_, m, err := guardwire.DecodeMessage(packet[:n])
	if err != nil {
		return nil, err
	}
	var ok bool
	if h.Snapshot, ok = m.(*guardwire.Snapshot); !ok {
		return nil, guardwire.ErrKind
	}
	return h, nil
}
