package rounds

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/holdfast-ha/holdfast/test/demo/stage"
)

// idleFor is how long a node is watched that has nothing to do.
const idleFor = time.Minute

// clockTicks per second in /proc/PID/stat (always 100; see proc(5)).
const clockTicks = 100

// Cost is what the second machine pays, which carries nothing.
type Cost struct {
	Processes int     `json:"processes"`
	PSS       float64 `json:"pss_mib"`       // proportional share of its memory
	RSS       float64 `json:"rss_mib"`       // resident memory
	CPU       float64 `json:"cpu_percent"`   // of one processor, the daemons alone
	Machine   float64 `json:"machine_cpu"`   // of one processor, everything on the machine: agents too
	Reads     float64 `json:"disk_reads_s"`  // of the quorum disk, per second
	Writes    float64 `json:"disk_writes_s"` // of the quorum disk, per second
}

// sample is one look.
type sample struct {
	at            time.Time
	used          time.Duration // processor time of the daemons
	machine       time.Duration // and of the whole machine
	reads, writes int
}

func cost(ctx context.Context, s *stage.Stage, daemons []string) (*Cost, error) {
	n := s.Nodes[1]
	before, err := look(n, daemons, nil)
	if err != nil {
		return nil, err
	}
	select {
	case <-time.After(idleFor):
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	c := &Cost{}
	after, err := look(n, daemons, c)
	if err != nil {
		return nil, err
	}
	seconds := after.at.Sub(before.at).Seconds()
	c.CPU = 100 * (after.used - before.used).Seconds() / seconds
	c.Machine = 100 * (after.machine - before.machine).Seconds() / seconds
	c.Reads, c.Writes = float64(after.reads-before.reads)/seconds, float64(after.writes-before.writes)/seconds
	return c, nil
}

// look counts what the daemons have used so far; into c, if set, what they hold.
func look(n *stage.Node, daemons []string, c *Cost) (sample, error) {
	at := sample{at: time.Now()}
	var errs []error
	for _, pid := range n.PIDs() {
		dir := fmt.Sprintf("/proc/%d/", pid)
		name, err := os.ReadFile(dir + "comm")
		if err != nil || !slices.ContainsFunc(daemons, func(d string) bool { return strings.HasPrefix(string(name), d[:min(len(d), 15)]) }) {
			continue
		}
		used, err := processorTime(dir)
		errs = append(errs, err)
		at.used += used
		if c == nil {
			continue
		}
		pss, err1 := kib(dir+"smaps_rollup", "Pss:")
		rss, err2 := kib(dir+"smaps_rollup", "Rss:")
		errs = append(errs, err1, err2)
		c.Processes++
		c.PSS += pss / 1024
		c.RSS += rss / 1024
	}
	usec, err := field(filepath.Join(n.Cgroup(), "cpu.stat"), "usage_usec")
	at.machine = time.Duration(usec) * time.Microsecond
	errs = append(errs, err, at.disk(n))
	return at, errors.Join(errs...)
}

// disk reads the counters of the node's quorum disk (Documentation/block/stat).
func (at *sample) disk(n *stage.Node) error {
	text, err := os.ReadFile(filepath.Join("/sys/block", filepath.Base(n.Device("quorum")), "stat"))
	f := strings.Fields(string(text))
	if err != nil || len(f) < 5 {
		return fmt.Errorf("the counters of the quorum disk: %q, %w", text, err)
	}
	var err1, err2 error
	at.reads, err1 = strconv.Atoi(f[0])
	at.writes, err2 = strconv.Atoi(f[4])
	return errors.Join(err1, err2)
}

// processorTime is fields 14 and 15 of /proc/PID/stat, counted behind the name in
// brackets.
func processorTime(dir string) (time.Duration, error) {
	text, err := os.ReadFile(dir + "stat")
	if err != nil {
		return 0, err
	}
	f := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
	user, err1 := strconv.Atoi(f[11])
	system, err2 := strconv.Atoi(f[12])
	return time.Duration(user+system) * time.Second / clockTicks, errors.Join(err1, err2)
}

func kib(path, name string) (float64, error) {
	v, err := field(path, name)
	return float64(v), err
}

// field is the number behind a name at the beginning of a line.
func field(path, name string) (int64, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(text)) {
		if f := strings.Fields(line); len(f) > 1 && f[0] == name {
			return strconv.ParseInt(f[1], 10, 64)
		}
	}
	return 0, fmt.Errorf("%s has no %s", path, name)
}
