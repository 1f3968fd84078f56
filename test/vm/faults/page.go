package faults

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
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
	if r.Gap > 0 {
		gap = fmt.Sprintf("%.1f", r.Gap.Seconds())
	}
	if r.Next != 0 {
		proof = r.Proof
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
	for _, f := range listed() {
		table += rows[f.Name]
	}
	return os.WriteFile(page, fmt.Appendf(nil, "%s%s%s%s%s", before, begin, table, end, behind), 0o644)
}

// listed is every fault that has a row, in the order of the table.
func listed() []Fault { return slices.Concat(All(), OnArray()) }

// Missing lists the faults that have no row in the table of a page, or one that says not what was measured: a row has the time
// from the fault to the first block of who began, unless the owner went on, and the time until all was as before.
func Missing(page string) (names []string, err error) {
	text, err := os.ReadFile(page)
	if err != nil {
		return nil, err
	}
	_, rest, _ := bytes.Cut(text, []byte(begin))
	table, _, _ := bytes.Cut(rest, []byte(end))
	rows := map[string][]string{}
	for line := range strings.Lines(string(table)) {
		cells := strings.Split(strings.Trim(line, "| \n"), " | ")
		rows[cells[0]] = cells
	}
	for _, f := range listed() {
		if !f.measured(rows[f.Name]) {
			names = append(names, f.Name)
		}
	}
	return names, nil
}

// measured says whether the cells of a row are those of the fault, and hold what was measured.
func (f Fault) measured(cells []string) bool {
	if len(cells) != strings.Count(head[:strings.IndexByte(head, '\n')], "|")-1 || cells[1] != f.Does || cells[2] != string(f.Want) {
		return false
	}
	number := func(text string) bool {
		_, err := strconv.ParseFloat(text, 64)
		return err == nil
	}
	came := Outcome(cells[3])
	return (f.Want == Either || came == f.Want) && number(cells[len(cells)-1]) && (number(cells[4]) || came == Stays && cells[4] == "-")
}
