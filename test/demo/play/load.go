package play

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"strings"
	"time"

	"github.com/holdfast-ha/holdfast/test/demo/stage"
)

// What one node may cost with all its services: the share of one processor, in
// percent, and the memory of both processes, in bytes.
const (
	mostLoad   = 2.0
	mostMemory = 64 << 20
)

// loaded is a cluster of one node with many services, each a program that stays.
func loaded(o stage.Options, services int) stage.Options {
	var text strings.Builder
	o.Names, o.Services, o.ClusterName = []string{"alpha"}, nil, "load"
	if o.Within == 0 {
		o.Within = besideWithin
	}
	fmt.Fprintf(&text, "cluster: {name: %s, failover_within: %s}\nservices:\n", o.ClusterName, o.Within)
	for i := range services {
		v := stage.Service{Name: fmt.Sprintf("s%03d", i+1)}
		o.Services = append(o.Services, v)
		fmt.Fprintf(&text, "  %s:\n    stack:\n      - exec: {run: [sleep, infinity]}\n", v.Name)
	}
	o.Scenery = &stage.Scenery{Configuration: text.String()}
	return o
}

// used is what a process has cost.
type used struct {
	own, children time.Duration // of processor, since its start; the latter of children that have ended
	resident      int64         // bytes
}

func usedBy(pid int) (u used, err error) {
	var errs [3]error
	u.own, errs[0] = processorTime(pid)
	u.children, errs[1] = childrenTime(pid)
	u.resident, errs[2] = residentMemory(pid)
	return u, errors.Join(errs[:]...)
}

// load prints, in the format of Go's benchmarks, what the node costs while it checks
// its services for a time, and fails where that is more than it may be, or where a
// service has not run all the time.
func load(ctx context.Context, s *stage.Stage, watched time.Duration, out io.Writer) error {
	n := s.Nodes[0]
	names := []string{"Guard", "Daemon"}
	pids := map[string]int{"Guard": n.GuardPID(), "Daemon": n.DaemonPID()}
	before := map[string]used{}
	began := time.Now()
	for _, name := range names {
		var err error
		if before[name], err = usedBy(pids[name]); err != nil {
			return err
		}
	}
	select {
	case <-time.After(watched):
	case <-ctx.Done():
		return ctx.Err()
	}
	var share, children float64
	var memory int64
	percent := func(d time.Duration) float64 { return 100 * d.Seconds() / time.Since(began).Seconds() }
	for _, name := range names {
		u, err := usedBy(pids[name])
		if err != nil {
			return err
		}
		own := percent(u.own - before[name].own)
		share, children, memory = share+own, children+percent(u.children-before[name].children), memory+u.resident
		fmt.Fprintf(out, "BenchmarkServices%s-%d\t%d\t%d ns/op\t%.3f cpu-percent\t%.1f resident-MiB\n", name, runtime.GOMAXPROCS(0),
			len(s.Services), time.Since(began).Nanoseconds(), own, float64(u.resident)/(1<<20))
	}
	fmt.Fprintf(out, "BenchmarkServicesBoth-%d\t%d\t%d ns/op\t%.3f cpu-percent\t%.3f agents-cpu-percent\t%.1f resident-MiB\n", runtime.GOMAXPROCS(0),
		len(s.Services), time.Since(began).Nanoseconds(), share, children, float64(memory)/(1<<20))
	return errors.Join(within(share, memory), undisturbed(ctx, s, watched))
}

// within says what is more than it may be.
func within(share float64, memory int64) error {
	var errs []error
	if share > mostLoad {
		errs = append(errs, fmt.Errorf("guard and daemon take %.2f %% of one processor, want %.0f at most", share, mostLoad))
	}
	if memory > mostMemory {
		errs = append(errs, fmt.Errorf("guard and daemon take %.1f MiB, want %d at most", float64(memory)/(1<<20), mostMemory>>20))
	}
	return errors.Join(errs...)
}

// undisturbed says which of the services has not run all the time.
func undisturbed(ctx context.Context, s *stage.Stage, watched time.Duration) error {
	if err := s.AwaitRunning(ctx); err != nil {
		return err
	}
	for _, e := range s.Recent(ctx, watched) {
		if e.Kind == "failed" || e.Kind == "stopped" {
			return fmt.Errorf("%s: %s %s", e.Service, e.Kind, e.Text)
		}
	}
	return nil
}
