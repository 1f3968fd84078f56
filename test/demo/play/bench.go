package play

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"slices"
	"time"

	"github.com/holdfast-ha/holdfast/test/demo/stage"
)

// bench kills the active node, lets it boot and join again, and so on. It prints
// one line in the format of Go's benchmarks (golang.org/design/14313) for the
// time to the permission to start elsewhere, which is what is predicted, and
// one for the time to the first answer.
func bench(ctx context.Context, s *stage.Stage, runs int, out io.Writer) error {
	quiet := &screen{out: io.Discard}
	p := &scene{stage: s, set: settings{fault: "kill"}, show: quiet}
	c, err := s.Client(s.Services[0], writeEvery)
	if err != nil {
		return err
	}
	p.clients = append(p.clients, c)
	p.service, p.client = s.Services[0], c
	var all []failover
	var typical, worst float64
	for i := range runs {
		if err := p.settle(ctx); err != nil {
			return err
		}
		if err := p.strike(ctx); err != nil {
			return fmt.Errorf("run %d: %w", i+1, err)
		}
		f := p.measured(ctx)
		if f.permission == 0 {
			return fmt.Errorf("run %d: no node has noted the permission to start", i+1)
		}
		all = append(all, f)
		expected, err := p.predicted(ctx)
		if err != nil {
			return err
		}
		for _, e := range expected {
			if e.Proof == f.proof {
				typical, worst = float64(e.Typical), float64(e.Worst)
			}
		}
		fmt.Fprintf(out, "run %d: %s to %s, permission after %.2f s (%s), first answer after %.2f s\n", i+1,
			p.owner.Name, p.heir.Name, f.permission.Seconds(), f.proof, f.answer.Seconds())
		if err := rejoin(ctx, s, p.owner); err != nil {
			return fmt.Errorf("run %d: %w", i+1, err)
		}
	}
	fmt.Fprintf(out, "goos: %s\ngoarch: %s\npkg: github.com/holdfast-ha/holdfast/test/demo\n", runtime.GOOS, runtime.GOARCH)
	printBench(out, "FailoverPermission", all, func(f failover) time.Duration { return f.permission },
		fmt.Sprintf("\t%.3f predicted-s\t%.3f predicted-max-s", typical, worst))
	printBench(out, "FailoverFirstAnswer", all, func(f failover) time.Duration { return f.answer }, "")
	if err := benchIdle(ctx, s, out); err != nil {
		return err
	}
	return p.verify()
}

func rejoin(ctx context.Context, s *stage.Stage, n *stage.Node) error {
	ctx, cancel := context.WithTimeout(ctx, 2*patience)
	defer cancel()
	return errors.Join(n.Boot(ctx), s.AwaitMembers(ctx, s.Nodes...))
}

func printBench(out io.Writer, name string, all []failover, of func(failover) time.Duration, more string) {
	var times []time.Duration
	var sum time.Duration
	for _, f := range all {
		times = append(times, of(f))
		sum += of(f)
	}
	slices.Sort(times)
	fmt.Fprintf(out, "Benchmark%s-%d\t%d\t%d ns/op\t%.3f p50-s\t%.3f max-s%s\n", name, runtime.GOMAXPROCS(0), len(times),
		sum.Nanoseconds()/int64(len(times)), times[len(times)/2].Seconds(), times[len(times)-1].Seconds(), more)
}
