// Command model has spin search the Promela models of the protocol in this folder:
// each as it was built, which has to be safe, and with one condition at a time
// dropped, which has to break it. A condition whose loss breaks nothing would be
// one that nobody needs, or a model that does not see it.
//
//	make model
//	go run ./test/model -only ring -trace
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"time"
)

func main() {
	s := search{out: os.Stdout}
	flag.StringVar(&s.folder, "folder", "test/model", "where the models are")
	flag.BoolVar(&s.trace, "trace", false, "print the steps of every violation")
	flag.DurationVar(&s.limit, "limit", 10*time.Minute, "bound of one run")
	only := flag.String("only", "", "only runs with this in \"model: what\"")
	doc := flag.String("doc", "", "write the table into this file")
	jobs := flag.Int("jobs", 2, "how many runs at a time; each may take 4 GiB")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := tools(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	var list []run
	for _, r := range table() {
		if strings.Contains(r.String(), *only) {
			list = append(list, r)
		}
	}
	started := time.Now()
	results := s.all(ctx, list, *jobs)
	if wrong := wrongs(results); wrong > 0 || len(results) == 0 {
		fmt.Fprintf(os.Stderr, "%d of %d runs did not end as they should\n", wrong, len(results))
		os.Exit(1)
	}
	var took time.Duration
	for i := range results {
		took += results[i].Took
	}
	fmt.Printf("all %d runs ended as they should, in %s, and %s of one processor's time\n", len(results), time.Since(started).Round(time.Second), took.Round(time.Second))
	if *doc != "" {
		if err := write(*doc, results); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(2)
		}
	}
}
