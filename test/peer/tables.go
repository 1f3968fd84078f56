package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"

	"github.com/holdfast-ha/holdfast/test/peer/rounds"
)

// group is what is put into one cell.
type group struct{ manager, setting, event string }

// tables prints medians, ranges and ratios of what all records have, as Markdown.
func tables(records []string, w io.Writer) error {
	var all []rounds.Result
	for _, record := range records {
		f, err := os.Open(record)
		if err != nil {
			return err
		}
		part, err := read(f)
		if err = errors.Join(err, f.Close()); err != nil {
			return fmt.Errorf("%s: %w", record, err)
		}
		all = append(all, part...)
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

// taken are the seconds of a group, and how many of its rounds failed.
type taken struct {
	seconds []float64
	failed  int
}

func byGroup(all []rounds.Result) map[group]taken {
	groups := map[group]taken{}
	for _, r := range all {
		g := group{r.Manager, r.Setting, r.Event}
		t := groups[g]
		switch {
		case r.Error != "":
			t.failed++
		case r.Cost == nil:
			t.seconds = append(t.seconds, r.Seconds)
		}
		groups[g] = t
	}
	return groups
}

func times(all []rounds.Result, w io.Writer) {
	groups := byGroup(all)
	fmt.Fprintf(w, "\n| event | setting | Pacemaker | Holdfast | ratio |\n|---|---|---|---|---|\n")
	for _, event := range []string{rounds.Kill, rounds.Freeze, rounds.Cut, rounds.Move} {
		for _, setting := range settingNames() {
			theirs, ours := groups[group{"Pacemaker", setting, event}], groups[group{"Holdfast", setting, event}]
			lease := groups[group{"sanlock", setting, event}]
			ratio := "-"
			if a, b := theirs.seconds, ours.seconds; len(a) > 0 && len(b) > 0 && median(a) > 0 {
				ratio = fmt.Sprintf("%.2f", median(b)/median(a))
			}
			if theirs.some() || ours.some() {
				fmt.Fprintf(w, "| %s | %s | %s | %s | %s |\n", event, setting, theirs.cell(), ours.cell(), ratio)
			}
			if lease.some() {
				fmt.Fprintf(w, "| %s | %s | %s | | |\n", event, setting, lease.cell())
			}
		}
	}
}

func (t taken) some() bool { return len(t.seconds) > 0 || t.failed > 0 }

// cell is the median and the range, and how many rounds failed.
func (t taken) cell() string {
	text, v := "-", t.seconds
	if len(v) > 0 {
		text = fmt.Sprintf("%.2f s (%.2f to %.2f, %d)", median(v), slices.Min(v), slices.Max(v), len(v))
	}
	if t.failed > 0 {
		text += fmt.Sprintf(", %d failed", t.failed)
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
