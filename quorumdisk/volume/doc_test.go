package volume_test

import (
	"fmt"
	"os"
	"strings"
	"testing"

	q "github.com/holdfast-ha/holdfast/quorumdisk"
	"github.com/holdfast-ha/holdfast/quorumdisk/volume"
)

// docs/formats/quorumdisk.md has the table of regions that the code computes.
func TestDocumentedRegions(t *testing.T) {
	text, err := os.ReadFile("../../docs/formats/quorumdisk.md")
	if err != nil {
		t.Fatal(err)
	}
	small := volume.Regions(q.Layout{SectorSize: 512, Nmax: q.DefaultNodes}, 1<<30)
	large := volume.Regions(q.Layout{SectorSize: 4096, Nmax: q.DefaultNodes}, 1<<30)
	for i, s := range small {
		l := large[i]
		row := fmt.Sprintf("| %s | %d | %d | %d | %d | %d |\n", s.Name, s.Offset, l.Offset, s.Count, s.Each, l.Each)
		if !strings.Contains(string(text), row) {
			t.Errorf("docs/formats/quorumdisk.md lacks the row\n%s", row)
		}
	}
	for nodes, mib := range map[int]int64{16: 67, 64: 169, 255: 574} {
		if got := (q.Layout{SectorSize: 512, Nmax: nodes}).MinSize() >> 20; got != mib {
			t.Errorf("%d MiB for %d nodes, documented are %d", got, nodes, mib)
		}
	}
}
