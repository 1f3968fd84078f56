package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"

	"github.com/holdfast-ha/holdfast/test/peer/rounds"
)

// group is what is put into one cell.
type group struct{ manager, setting, event string }

// tables prints medians, ranges and ratios of a record, as Markdown.
func tables(record string, w io.Writer) error {
	f, err := os.Open(record)
	if err != nil {
		return err
	}
	defer f.Close()
	all, err := read(f)
	if err != nil {
		return fmt.Errorf("%s: %w", record, err)
	}
	times(all, w)
	costs(all, w)
	return nil
}

func read(r io.Reader) ([]rounds.Result, error) {
	var all []rounds.Result
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		var one rounds.Result
		if err := json.Unmarshal(lines.Bytes(), &one); err != nil {
			return nil, err
		}
		all = append(all, one)
	}
	return all, lines.Err()
}

func times(all []rounds.Result, w io.Writer) {
	seconds := map[group][]float64{}
	failed := map[group]int{}
	for _, r := range all {
		g := group{r.Manager, r.Setting, r.Event}
		switch {
		case r.Error != "":
			failed[g]++
		case r.Cost == nil:
			seconds[g] = append(seconds[g], r.Seconds)
		}
	}
	fmt.Fprintf(w, "\n| event | setting | Pacemaker | Holdfast | ratio |\n|---|---|---|---|---|\n")
	for _, event := range []string{rounds.Kill, rounds.Freeze, rounds.Cut, rounds.Move} {
		for _, setting := range settingNames() {
			theirs, ours := group{"Pacemaker", setting, event}, group{"Holdfast", setting, event}
			a, b := seconds[theirs], seconds[ours]
			if len(a) == 0 && len(b) == 0 {
				continue
			}
			ratio := "-"
			if len(a) > 0 && len(b) > 0 && median(a) > 0 {
				ratio = fmt.Sprintf("%.2f", median(b)/median(a))
			}
			fmt.Fprintf(w, "| %s | %s | %s | %s | %s |\n", event, setting, cell(a, failed[theirs]), cell(b, failed[ours]), ratio)
		}
	}
}

// cell is the median and the range, and how many rounds failed.
func cell(v []float64, failed int) string {
	text := "-"
	if len(v) > 0 {
		text = fmt.Sprintf("%.2f s (%.2f to %.2f, %d)", median(v), slices.Min(v), slices.Max(v), len(v))
	}
	if failed > 0 {
		text += fmt.Sprintf(", %d failed", failed)
	}
	return text
}

// median of a list that is not empty.
func median(v []float64) float64 {
	s := slices.Sorted(slices.Values(v))
	if n := len(s); n%2 == 0 {
		return (s[n/2-1] + s[n/2]) / 2
	}
	return s[len(s)/2]
}

func costs(all []rounds.Result, w io.Writer) {
	fmt.Fprintf(w, "\n| idle node | processes | PSS MiB | RSS MiB | daemons, %% of a CPU | machine, %% of a CPU | disk reads/s | disk writes/s |\n|---|---|---|---|---|---|---|---|\n")
	for _, r := range all {
		if c := r.Cost; c != nil {
			fmt.Fprintf(w, "| %s, %s | %d | %.1f | %.1f | %.2f | %.2f | %.1f | %.1f |\n", r.Manager, r.Setting, c.Processes, c.PSS, c.RSS, c.CPU, c.Machine, c.Reads, c.Writes)
		}
	}
}
