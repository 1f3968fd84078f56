package quorumdisk_test

import (
	"fmt"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/holdfast-ha/holdfast/cluster/ident"
	q "github.com/holdfast-ha/holdfast/quorumdisk"
)

func TestLayoutIsPinned(t *testing.T) {
	var b strings.Builder
	for _, sector := range []int{512, 4096} {
		for _, n := range []int{1, 16, 64, 255} {
			l := q.Layout{SectorSize: sector, Nmax: n}
			if err := l.Check(); err != nil {
				t.Fatal(err)
			}
			last := ident.NodeID(n)
			fmt.Fprintf(&b, "S=%d Nmax=%d: beats %d..%d (table %d), probes %d..%d, headers %d..%d (%d), bodies %d..%d, blobs %d..%d, end %d, smallest %d MiB, B of 1 GiB %d\n",
				sector, n, l.BeatOffset(1), l.BeatOffset(last), l.TableSize(), l.ProbeOffset(1), l.ProbeOffset(last),
				l.HeaderOffset(1, 0), l.HeaderOffset(last, 15), l.HeadersSize(), l.BodyOffset(1, 0), l.BodyOffset(last, 15),
				l.BlobOffset(1, 0), l.BlobOffset(last, 1), l.End(), l.MinSize()>>20, l.BackupOffset(1<<30))
		}
	}
	golden(t, "layout.txt", b.String())
}

func TestLayoutCheck(t *testing.T) {
	for _, l := range []q.Layout{{}, {SectorSize: 1024, Nmax: 16}, {SectorSize: 512}, {SectorSize: 512, Nmax: 256}, {SectorSize: 512, Nmax: -1}} {
		if l.Check() == nil {
			t.Errorf("%+v accepted", l)
		}
	}
}

// docs/formats/quorumdisk.md lists every field where the code has it.
func TestDocumentedFields(t *testing.T) {
	text, err := os.ReadFile("../docs/formats/quorumdisk.md")
	if err != nil {
		t.Fatal(err)
	}
	headings := map[string]string{
		"What every record has in common": "frame", "Superblock": "superblock", "Beat": "beat", "Register: header and body": "header",
		"Status blob": "blob", "Probe": "probe",
	}
	row, section := regexp.MustCompile(`^\| (\d+) \| (\d+) \|`), ""
	got := map[string][]q.Span{}
	for _, line := range strings.Split(string(text), "\n") {
		if h, ok := strings.CutPrefix(line, "## "); ok {
			section = headings[h]
		}
		if strings.HasPrefix(line, "| offset | bytes | field of the payload") {
			section = "payload"
		}
		if m := row.FindStringSubmatch(line); m != nil {
			off, _ := strconv.Atoi(m[1])
			n, _ := strconv.Atoi(m[2])
			got[section] = append(got[section], q.Span{Off: off, Len: n})
		}
	}
	for name, want := range q.Fields() {
		if fmt.Sprint(got[name]) != fmt.Sprint(want) {
			t.Errorf("%s: documented %v, the code has %v", name, got[name], want)
		}
	}
	if len(got) != len(q.Fields()) {
		t.Errorf("documented are %d records, the code has %d", len(got), len(q.Fields()))
	}
}
