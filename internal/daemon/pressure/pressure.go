// Package pressure says whether a node has stalled: how long its tasks stood still
// for want of I/O, memory or processors, by the kernel's pressure stall information
// (Documentation/accounting/psi.rst). A check of a service that gives no answer
// in such a time says something of the node, and nothing of the service.
package pressure

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Dir is where the kernel tells.
const Dir = "/proc/pressure"

// What share of a time tasks have to have stood still for the node to have stalled,
// in percent. I/O and memory: every task that was not idle waited at once ("full").
// Processors: at least one task that could run did not ("some"), which a busy
// node shows all day, so nearly all of the time has to be like that.
const (
	ioShare     = 40
	memoryShare = 20
	cpuShare    = 95
)

// least is the shortest time that says anything.
const least = 100 * time.Millisecond

// Sample is how long tasks have stood still since the node booted, for want of each
// resource. A node whose kernel does not count that has zeros.
type Sample struct {
	At           time.Duration // when it was taken, on a clock that only differences are taken of
	IO, Mem, CPU time.Duration
}

// Files reads the kernel's files.
type Files struct {
	Dir string               // "": Dir
	Now func() time.Duration // any clock that goes evenly
}

// Read takes a sample. What cannot be read counts as no stall: it excuses nothing.
func (f Files) Read() Sample {
	dir := f.Dir
	if dir == "" {
		dir = Dir
	}
	return Sample{
		At: f.Now(), IO: total(filepath.Join(dir, "io"), "full"),
		Mem: total(filepath.Join(dir, "memory"), "full"), CPU: total(filepath.Join(dir, "cpu"), "some"),
	}
}

// keep is how old a sample may be that is to be recent.
const keep = time.Second

// Kept reads the kernel's files, and keeps what it has read for a moment: hundreds of
// checks begin every few seconds, and nearly all of them need no second sample.
type Kept struct {
	Files
	mu   sync.Mutex
	last Sample // under mu
	read bool   // under mu: there is one
}

// Recent returns a sample of the latest second.
func (k *Kept) Recent() Sample {
	k.mu.Lock()
	defer k.mu.Unlock()
	if !k.read || k.Now()-k.last.At >= keep {
		k.last, k.read = k.Read(), true
	}
	return k.last
}

// total is the time that the line of this kind has counted: "full avg10=0.00
// avg60=0.00 avg300=0.00 total=67482002", in microseconds.
func total(path, kind string) time.Duration {
	file, err := os.Open(path)
	if err != nil {
		return 0
	}
	defer file.Close()
	for lines := bufio.NewScanner(file); lines.Scan(); {
		words := strings.Fields(lines.Text())
		if len(words) == 0 || words[0] != kind {
			continue
		}
		for _, w := range words[1:] {
			if text, ok := strings.CutPrefix(w, "total="); ok {
				n, _ := strconv.ParseInt(text, 10, 64)
				return time.Duration(n) * time.Microsecond
			}
		}
	}
	return 0
}

// Between says what stalled between two samples, in words; empty if nothing did.
func Between(a, b Sample) string {
	span := b.At - a.At
	if span < least {
		return ""
	}
	share := func(d time.Duration) int { return int(min(100*d/span, 100)) }
	var text []string
	if p := share(b.IO - a.IO); p >= ioShare {
		text = append(text, fmt.Sprintf("all its tasks waited for I/O %d%% of the time", p))
	}
	if p := share(b.Mem - a.Mem); p >= memoryShare {
		text = append(text, fmt.Sprintf("all its tasks waited for memory %d%% of the time", p))
	}
	if p := share(b.CPU - a.CPU); p >= cpuShare {
		text = append(text, fmt.Sprintf("tasks waited for a processor %d%% of the time", p))
	}
	return strings.Join(text, "; ")
}
