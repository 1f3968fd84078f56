// Command mutants breaks the program on purpose, one line at a time, and says
// which test notices it. A simulator that has never found anything proves nothing;
// this one has to find every break in the table (table.go), and most of them by an
// oracle of safety.
//
// The source is not touched: each break is a copy of one file, which the go
// command is told to take instead (go build -overlay).
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
	"strings"
)

func main() {
	root := flag.String("root", ".", "the folder of go.mod")
	only := flag.String("only", "", "only mutants with this in their name")
	seeds := flag.Int("seeds", 400, "how many seeds to try")
	doc := flag.String("doc", "", "write the table to this file")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	var rows []row
	missed := 0
	for _, m := range table() {
		if !strings.Contains(m.Name, *only) {
			continue
		}
		r, err := hunt(ctx, *root, m, *seeds)
		if err != nil {
			fmt.Fprintf(os.Stderr, "%s: %v\n", m.Name, err)
			os.Exit(2)
		}
		fmt.Println(r)
		if rows = append(rows, r); !r.good() {
			missed++
		}
	}
	if *doc != "" {
		if err := os.WriteFile(*doc, page(rows), 0o644); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(2)
		}
	}
	if missed > 0 {
		fmt.Fprintf(os.Stderr, "%d of %d mutants were not caught as they should be\n", missed, len(rows))
		os.Exit(1)
	}
	fmt.Printf("all %d mutants were caught\n", len(rows))
}
