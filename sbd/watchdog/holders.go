package watchdog

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// holders lists the processes that have the device at path open: those with a
// descriptor of the same device number. Asking for the number through /proc does
// not open the device.
func (h host) holders(path string) []Holder {
	want, err := h.rdev(path)
	if err != nil {
		return nil
	}
	var out []Holder
	seen := 0
	fds, _ := filepath.Glob(filepath.Join(h.proc, "[0-9]*/fd/*"))
	for _, fd := range fds {
		link, err := os.Readlink(fd)
		if err != nil || !strings.HasPrefix(link, "/dev/watchdog") {
			continue
		}
		if got, err := h.rdev(fd); err != nil || got != want {
			continue
		}
		dir := filepath.Dir(filepath.Dir(fd))
		pid, err := strconv.Atoi(filepath.Base(dir))
		if err != nil || pid == seen {
			continue
		}
		seen = pid
		out = append(out, Holder{PID: pid, Name: readLine(dir, "comm")})
	}
	return out
}

// describeHolders is the part of a message that says who holds a busy device.
func (h host) describeHolders(path string) string {
	holders := h.holders(path)
	if len(holders) == 0 {
		return "no process that we may look at has it open; run as root, or look in other containers"
	}
	names := make([]string, 0, len(holders))
	for _, p := range holders {
		if p.PID == 1 {
			names = append(names, p.Name+" (process 1: set RuntimeWatchdogSec=off in system.conf and restart the machine)")
			continue
		}
		names = append(names, fmt.Sprintf("%s (process %d)", p.Name, p.PID))
	}
	return "held by " + strings.Join(names, ", ")
}
