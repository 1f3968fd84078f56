package main

import (
	"bytes"
	"fmt"
	"os"
	"strings"
	"time"
)

// begin and end enclose the generated table.
const (
	begin = "<!-- table: make model -->\n"
	end   = "<!-- end of table -->\n"
)

// write puts the table between the marks of a page.
func write(path string, list []result) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	head, rest, ok := bytes.Cut(text, []byte(begin))
	_, foot, ended := bytes.Cut(rest, []byte(end))
	if !ok || !ended {
		return fmt.Errorf("%s has no place for the table: it needs the lines %q and %q", path, strings.TrimSpace(begin), strings.TrimSpace(end))
	}
	return os.WriteFile(path, bytes.Join([][]byte{head, []byte(begin), tableOf(list), []byte(end), foot}, nil), 0o644)
}

func tableOf(list []result) []byte {
	var b bytes.Buffer
	var states float64
	fmt.Fprint(&b, "| model | what is searched, or which condition is dropped | flags | verdict | states | depth | time |\n|---|---|---|---|---|---|---|\n")
	for i := range list {
		r := &list[i]
		got := string(r.Got)
		if r.Got == violated {
			got = fmt.Sprintf("**violated**, %d steps", r.Depth)
		}
		states += r.States
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %.0f | %d | %s |\n", r.Model, r.What, r.Flags, got, r.States, r.Depth, r.Took.Round(100*time.Millisecond))
	}
	fmt.Fprintf(&b, "\n%d runs, %.1f million states.\n", len(list), states/1e6)
	return b.Bytes()
}
