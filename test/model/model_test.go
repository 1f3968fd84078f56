package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestModels runs the short part of the table: every model once as it was built,
// and broken at least once.
func TestModels(t *testing.T) {
	if testing.Short() {
		t.Skip("searches for a minute; make test and make model do it")
	}
	if err := tools(); err != nil {
		if os.Geteuid() == 0 {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	s := search{folder: ".", out: &strings.Builder{}, limit: 5 * time.Minute}
	var list []run
	for _, r := range table() {
		if r.Short {
			list = append(list, r)
		}
	}
	for _, r := range s.all(t.Context(), list, 2) {
		t.Log(r.line())
		if !r.good() {
			t.Errorf("%s: %s, want %s", r.run, r.Got, r.Want)
		}
	}
}

// TestTable: every switch that breaks a model is used, and every model is
// searched as it was built and broken, also in the short part.
func TestTable(t *testing.T) {
	type seen struct{ safe, broken, shortSafe, shortBroken bool }
	models, flags, names := map[string]*seen{}, map[string]string{}, map[string]bool{}
	for _, r := range table() {
		m := models[r.Model]
		if m == nil {
			m = &seen{}
			models[r.Model] = m
		}
		m.safe = m.safe || r.Want == safe
		m.broken = m.broken || r.Want == violated
		m.shortSafe = m.shortSafe || r.Short && r.Want == safe
		m.shortBroken = m.shortBroken || r.Short && r.Want == violated
		flags[r.Model] += " " + r.Flags + " "
		if names[r.String()] {
			t.Errorf("%s is there twice", r)
		}
		names[r.String()] = true
	}
	files, _ := filepath.Glob("*.pml")
	if len(files) != len(models) {
		t.Errorf("%d models, %d in the table", len(files), len(models))
	}
	for _, f := range files {
		name := strings.TrimSuffix(f, ".pml")
		if m := models[name]; m == nil || *m != (seen{true, true, true, true}) {
			t.Errorf("%s: as built and broken, short or not: %+v", name, m)
		}
		text, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		for _, word := range strings.FieldsFunc(string(text), func(r rune) bool { return r != '_' && (r < 'A' || r > 'Z') }) {
			if strings.HasPrefix(word, "BUG_") && !strings.Contains(flags[name], "-D"+word+" ") {
				t.Errorf("%s: nothing runs it with -D%s", f, word)
			}
		}
	}
}

// TestRead: a search that was cut short proves nothing, whatever it says.
func TestRead(t *testing.T) {
	for log, want := range map[string]verdict{
		"State-vector 44 byte, depth reached 1404, errors: 0\n  2730205 states, stored\n":                                     safe,
		"error: max search depth too small\nState-vector 44 byte, depth reached 9, errors: 0\n 5 states, stored":              unfinished,
		"pan: reached -DMEMLIM bound\nState-vector 44 byte, depth reached 9, errors: 0\n 5 states, stored":                    unfinished,
		"Warning: Search not completed\nState-vector 44 byte, depth reached 9, errors: 0\n 5 states, stored":                  unfinished,
		"pan:1: assertion violated !(up) (at depth 17)\nState-vector 44 byte, depth reached 18, errors: 1\n 7 states, stored": violated,
		"": unfinished,
	} {
		r := result{Got: unfinished}
		if r.read(log); r.Got != want {
			t.Errorf("%q: %s, want %s", log, r.Got, want)
		}
	}
	r := result{}
	if r.read("pan:1: assertion violated (x) (at depth 17)\n depth reached 18, errors: 1\n 7 states, stored"); r.Depth != 17 || r.States != 7 {
		t.Errorf("depth %d, %g states", r.Depth, r.States)
	}
}

// TestPage: a row of a search that was not run stays, without its time; one whose
// search is not in the table any more goes.
func TestPage(t *testing.T) {
	all := []run{{Model: "a", What: "one", Flags: "-DX"}, {Model: "a", What: "two"}}
	old := rows([]byte("| model | what | flags | verdict | states | depth | time |\n|---|---|---|---|---|---|---|\n" +
		"| a | one | -DX | safe | 12 | 3 | 1s |\n| a | two |  | safe | 13 | 3 | 1s |\n| a | gone |  | safe | 14 | 3 | 1s |\n"))
	page := string(tableOf(all, []result{{run: all[1], Got: violated, States: 5, Depth: 2, Took: time.Second}}, old))
	for _, want := range []string{"| a | one | -DX | safe | 12 | 3 | |\n", "| a | two |  | **violated**, 2 steps | 5 | 2 | 1s |\n", "2 runs, 0.0 million states; 1 of them in the latest run, in 1s"} {
		if !strings.Contains(page, want) {
			t.Errorf("the page lacks %q:\n%s", want, page)
		}
	}
	if strings.Contains(page, "gone") {
		t.Errorf("a search that there is no more:\n%s", page)
	}
}
