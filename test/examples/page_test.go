package examples

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/holdfast-ha/holdfast/cluster"
	"github.com/holdfast-ha/holdfast/internal/config"
)

// page is the manual's.
const page = "../../docs/manual/examples.md"

// written is one example as the page has it.
type written struct {
	title  string
	blocks map[string][]string // by what stands behind the three back quotes
}

// examples reads the page.
func examples(t *testing.T) []written {
	t.Helper()
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	var all []written
	for _, section := range strings.Split(string(text), "\n## ")[1:] {
		title, body, _ := strings.Cut(section, "\n")
		w := written{title: title, blocks: map[string][]string{}}
		for _, b := range regexp.MustCompile("(?s)```([a-z]+)\n(.*?)```").FindAllStringSubmatch(body, -1) {
			w.blocks[b[1]] = append(w.blocks[b[1]], b[2])
		}
		all = append(all, w)
	}
	return all
}

// example is the one whose title has a word in it.
func example(t *testing.T, word string) written {
	t.Helper()
	all := examples(t)
	i := slices.IndexFunc(all, func(w written) bool { return strings.Contains(w.title, word) })
	if i < 0 {
		t.Fatalf("%s has no example with %q in its title", page, word)
	}
	return all[i]
}

// block is the only block of a kind, or the one of that number.
func (w written) block(t *testing.T, kind string, number int) string {
	t.Helper()
	if number >= len(w.blocks[kind]) {
		t.Fatalf("%s: %q has %d blocks of %s", page, w.title, len(w.blocks[kind]), kind)
	}
	return w.blocks[kind][number]
}

// configuration is what the page applies.
func (w written) configuration(t *testing.T) (string, *cluster.Config) {
	t.Helper()
	text := w.block(t, "yaml", 0)
	conf, err := config.ParseCluster(filepath.Base(page), []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return text, conf
}

// TestPage: there are three examples, each with a configuration of its own that is
// accepted, and no address or disk is in two of them.
func TestPage(t *testing.T) {
	all := examples(t)
	if len(all) != 3 {
		t.Fatalf("%s has %d examples, want three", page, len(all))
	}
	seen := map[string]string{}
	for _, w := range all {
		_, conf := w.configuration(t)
		for i := range conf.Services {
			for _, sole := range conf.Services[i].Soles() {
				if other := seen[sole]; other != "" {
					t.Errorf("%s is in %q and in %q", sole, other, w.title)
				}
				seen[sole] = w.title
			}
		}
	}
	if len(seen) != 7 {
		t.Errorf("%d addresses and file systems, want 4 and 3: %v", len(seen), seen)
	}
}
