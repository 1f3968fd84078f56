package main

import (
	"bytes"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"
)

// begin and end enclose the generated table.
const (
	begin = "<!-- table: make model -->\n"
	end   = "<!-- end of table -->\n"
)

// write puts the table between the marks of a page. The rows of searches that were not
// run now stay what they are, without their time.
func write(path string, list []result) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	head, rest, ok := bytes.Cut(text, []byte(begin))
	old, foot, ended := bytes.Cut(rest, []byte(end))
	if !ok || !ended {
		return fmt.Errorf("%s has no place for the table: it needs the lines %q and %q", path, strings.TrimSpace(begin), strings.TrimSpace(end))
	}
	return os.WriteFile(path, bytes.Join([][]byte{head, []byte(begin), tableOf(table(), list, rows(old)), []byte(end), foot}, nil), 0o644)
}

// row is a line of the table up to its time, and the states that it tells of.
type row struct {
	text   string
	states float64
}

// rows are those that a page has, by what they begin with.
func rows(page []byte) map[string]row {
	all := map[string]row{}
	for line := range strings.Lines(string(page)) {
		cells := strings.Split(line, " | ")
		if len(cells) != 7 {
			continue
		}
		n, err := strconv.ParseFloat(cells[4], 64)
		if err != nil {
			continue // the head
		}
		all[strings.Join(cells[:3], " | ")] = row{strings.Join(cells[:6], " | "), n}
	}
	return all
}

// key is what the row of a run begins with.
func (r run) key() string { return fmt.Sprintf("| %s | %s | %s", r.Model, r.What, r.Flags) }

// tableOf is the table of all runs, of which some were run now.
func tableOf(all []run, now []result, old map[string]row) []byte {
	var b bytes.Buffer
	var states float64
	var took time.Duration
	fmt.Fprint(&b, "| model | what is searched, or which condition is dropped | flags | verdict | states | depth | processor |\n|---|---|---|---|---|---|---|\n")
	for _, r := range all {
		i := slices.IndexFunc(now, func(n result) bool { return n.run == r })
		if i < 0 {
			if o, ok := old[r.key()]; ok {
				fmt.Fprintf(&b, "%s | |\n", o.text)
				states += o.states
			}
			continue
		}
		n := &now[i]
		got := string(n.Got)
		if n.Got == violated {
			got = fmt.Sprintf("**violated**, %d steps", n.Depth)
		}
		states += n.States
		took += n.Took
		fmt.Fprintf(&b, "%s | %s | %.0f | %d | %s |\n", r.key(), got, n.States, n.Depth, n.Took.Round(100*time.Millisecond))
	}
	fmt.Fprintf(&b, "\n%d runs, %.1f million states; %d of them in the latest run, in %s of one processor's time.\n", len(all), states/1e6, len(now), took.Round(time.Second))
	return b.Bytes()
}
