package faults

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strings"
)

// The marks between which the table stands.
const (
	begin = "<!-- generated: matrix -->\n"
	end   = "<!-- end: matrix -->\n"
)

// head is the head of the table.
const head = "| fault | what happens | wanted | what came of it | seconds | proof | its machine | all back |\n|---|---|---|---|---|---|---|---|\n"

// row is a row of the table.
func (r Result) row() string {
	gap, proof, told := "-", "-", "-"
	if r.Next != 0 {
		gap, proof = fmt.Sprintf("%.1f", r.Gap.Seconds()), r.Proof
	}
	if len(r.Told) > 0 {
		told = strings.Join(r.Told, ", ")
	}
	return fmt.Sprintf("| %s | %s | %s | %s | %s | %s | %s | %.0f |\n", r.Name, r.Does, r.Want, r.Outcome(), gap, proof, told, r.Settled.Seconds())
}

// Write puts what came of faults into the table of a page, which stands between its marks. Rows of other faults stay as they
// are, those of faults that there are no more go.
func Write(page string, results []Result) error {
	text, err := os.ReadFile(page)
	if err != nil {
		return err
	}
	before, rest, found := bytes.Cut(text, []byte(begin))
	old, behind, closed := bytes.Cut(rest, []byte(end))
	if !found || !closed {
		return errors.New(page + " has no marks for the table")
	}
	rows := map[string]string{}
	for line := range strings.Lines(string(old)) {
		if cells := strings.Split(line, " | "); strings.HasPrefix(line, "| ") {
			rows[strings.TrimPrefix(cells[0], "| ")] = line
		}
	}
	for _, r := range results {
		rows[r.Name] = r.row()
	}
	table := head
	for _, f := range All() {
		table += rows[f.Name]
	}
	return os.WriteFile(page, fmt.Appendf(nil, "%s%s%s%s%s", before, begin, table, end, behind), 0o644)
}

// Missing lists the faults that have no row in the table of a page.
func Missing(page string) (names []string, err error) {
	text, err := os.ReadFile(page)
	if err != nil {
		return nil, err
	}
	for _, f := range All() {
		if !bytes.Contains(text, []byte("\n| "+f.Name+" | "+f.Does+" | "+string(f.Want)+" | ")) {
			names = append(names, f.Name)
		}
	}
	return names, nil
}
