// Command mutants breaks the program on purpose, one rule at a time, and says
// which test notices it. A simulator that has never found anything proves nothing;
// this one has to find every break in the table (table.go and its neighbours), and
// most of them by an oracle of safety.
//
// The source is not touched: each break is a copy of one file, which the go
// command is told to take instead (go build -overlay). A simulated break is hunted
// with a focus (test/sim, TestHunt) on the faults that it needs; the program as it
// is has to survive the very story that shows the break.
//
//	make mutants
//	go run ./test/mutants -only "the drain" -seeds 500
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"regexp"
	"sync"
	"time"
)

func main() {
	root := flag.String("root", ".", "the folder of go.mod")
	only := flag.String("only", "", "only mutants whose name matches this regular expression")
	seeds := flag.Int("seeds", 400, "how many seeds to try")
	limit := flag.Duration("for", 2*time.Minute, "how long to try seeds of one mutant")
	jobs := flag.Int("jobs", 2, "how many mutants at a time")
	doc := flag.String("doc", "", "write the table to this file")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	h, err := newHunter(*root, *seeds, *limit)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	list, err := chosen(*only)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	rows := hunt(ctx, h, list, *jobs)
	if err := h.close(); err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
	os.Exit(report(rows, *doc))
}

func chosen(only string) (list []Mutant, err error) {
	name, err := regexp.Compile(only)
	if err != nil {
		return nil, err
	}
	for _, m := range table() {
		if name.MatchString(m.Name) {
			list = append(list, m)
		}
	}
	return list, nil
}

// hunt hunts jobs mutants at a time and returns what became of each, in order.
func hunt(ctx context.Context, h *hunter, list []Mutant, jobs int) []row {
	rows, next := make([]row, len(list)), make(chan int)
	var wait sync.WaitGroup
	for range jobs {
		wait.Go(func() {
			for i := range next {
				begun := time.Now()
				rows[i] = h.hunt(ctx, list[i])
				fmt.Printf("%s [%s]\n", rows[i], time.Since(begun).Round(time.Second))
			}
		})
	}
	for i := range list {
		next <- i
	}
	close(next)
	wait.Wait()
	return rows
}

// report writes the table and says how it went, for the shell.
func report(rows []row, doc string) int {
	missed, safety := 0, 0
	for _, r := range rows {
		switch {
		case !r.good():
			missed++
		case r.By != "":
			safety++
		}
	}
	if doc != "" {
		if err := os.WriteFile(doc, page(rows), 0o644); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 2
		}
	}
	if missed > 0 {
		fmt.Fprintf(os.Stderr, "%d of %d mutants were not caught as they should be\n", missed, len(rows))
		return 1
	}
	fmt.Printf("all %d mutants were caught, %d of them by an oracle of safety\n", len(rows), safety)
	return 0
}
