package cluster_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/holdfast-ha/holdfast/cluster/clustertest"
	"github.com/holdfast-ha/holdfast/cluster/ident"
	"github.com/holdfast-ha/holdfast/cluster/scripttest"
	"github.com/holdfast-ha/holdfast/internal/daemon/held"
)

// leastScripts is how many stories there are at least: a story that is lost with
// a file that is renamed is missed.
const leastScripts = 166

// TestScripts tells every story of testdata, with one and with three disks and
// with several seeds.
func TestScripts(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) < leastScripts {
		t.Fatalf("%d stories, %v; there are at least %d", len(files), err, leastScripts)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		s, err := scripttest.Parse(filepath.Base(file), string(text))
		if err != nil {
			t.Error(err)
			continue
		}
		s.Held = func(self ident.NodeID, ver uint64, count int) clustertest.Decider {
			return held.New(held.Record{Ver: ver, Count: count, Build: "told", Text: "told to"}, self)
		}
		for _, disks := range s.Disks {
			seeds := s.Seeds
			if testing.Short() {
				seeds = 1
			}
			for seed := range seeds {
				t.Run(fmt.Sprintf("%s/disks=%d/seed=%d", s.Name, disks, seed), func(t *testing.T) {
					t.Parallel()
					s.Run(t, uint64(seed), disks)
				})
			}
		}
	}
}
