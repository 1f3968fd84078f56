package play

import (
	"context"
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/holdfast-ha/holdfast/test/demo/stage"
)

// How long an idle node is watched, how often it is asked for its status, and
// the kernel's clock ticks per second in /proc/PID/stat (always 100; see proc(5)).
const (
	idleFor    = 10 * time.Second
	statusRuns = 100
	clockTicks = 100
)

// benchIdle prints, in the format of Go's benchmarks, what a node that owns
// nothing costs: memory and processor of both processes, and how long a status
// takes.
func benchIdle(ctx context.Context, s *stage.Stage, out io.Writer) error {
	n := s.Nodes[len(s.Nodes)-1]
	pids := map[string]int{"Guard": n.GuardPID(), "Daemon": n.DaemonPID()}
	before := map[string]time.Duration{}
	for name, pid := range pids {
		used, err := processorTime(pid)
		if err != nil {
			return err
		}
		before[name] = used
	}
	began := time.Now()
	select {
	case <-time.After(idleFor):
	case <-ctx.Done():
		return ctx.Err()
	}
	took := time.Since(began)
	for _, name := range []string{"Guard", "Daemon"} {
		used, err := processorTime(pids[name])
		if err != nil {
			return err
		}
		resident, err := residentMemory(pids[name])
		if err != nil {
			return err
		}
		used -= before[name]
		fmt.Fprintf(out, "BenchmarkIdle%s-%d\t1\t%d ns/op\t%.3f cpu-percent\t%.1f resident-MiB\n", name, runtime.GOMAXPROCS(0),
			took.Nanoseconds(), 100*used.Seconds()/took.Seconds(), float64(resident)/(1<<20))
	}
	return benchStatus(ctx, n, out)
}

func benchStatus(ctx context.Context, n *stage.Node, out io.Writer) error {
	c, err := n.API()
	if err != nil {
		return err
	}
	defer c.Close()
	var all []time.Duration
	var sum time.Duration
	for range statusRuns {
		began := time.Now()
		if _, err := c.Status(ctx); err != nil {
			return err
		}
		all = append(all, time.Since(began))
		sum += all[len(all)-1]
	}
	slices.Sort(all)
	fmt.Fprintf(out, "BenchmarkStatus-%d\t%d\t%d ns/op\t%.3f p50-ms\t%.3f max-ms\n", runtime.GOMAXPROCS(0), len(all),
		sum.Nanoseconds()/int64(len(all)), all[len(all)/2].Seconds()*1000, all[len(all)-1].Seconds()*1000)
	return nil
}

// processorTime is the user and system time that a process has used so far:
// fields 14 and 15 of /proc/PID/stat, counted behind the name in brackets.
func processorTime(pid int) (time.Duration, error) { return statTime(pid, 11, 12) }

// childrenTime is that of all its children that have ended: fields 16 and 17.
func childrenTime(pid int) (time.Duration, error) { return statTime(pid, 13, 14) }

func statTime(pid int, of ...int) (time.Duration, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	fields := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
	var ticks int64
	for _, i := range of {
		v, err := strconv.ParseInt(fields[i], 10, 64)
		if err != nil {
			return 0, fmt.Errorf("/proc/%d/stat: %w", pid, err)
		}
		ticks += v
	}
	return time.Duration(ticks) * time.Second / clockTicks, nil
}

// residentMemory is VmRSS of /proc/PID/status, in bytes.
func residentMemory(pid int) (int64, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			var kib int64
			if _, err := fmt.Sscan(rest, &kib); err != nil {
				return 0, fmt.Errorf("/proc/%d/status: %w", pid, err)
			}
			return kib << 10, nil
		}
	}
	return 0, fmt.Errorf("/proc/%d/status has no VmRSS", pid)
}
