package sim

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/holdfast-ha/holdfast/cluster"
	"github.com/holdfast-ha/holdfast/cluster/core"
	"github.com/holdfast-ha/holdfast/internal/decisions"
)

var (
	_ = flag.Duration("night", 0, "how long the recorded night is; 0: as long as belongs to the test")
	_ = flag.String("logs", "", "keep the decision logs of the night in this folder")
)

// TestNight tells the same night twice and demands the same decision logs, byte for
// byte; then every node's log is read back and replayed into fresh cores, which
// must do what the recorded ones did.
//
//	go test ./test/sim -run TestNight -night 24h -timeout 0 -v
func TestNight(t *testing.T) {
	length := value[time.Duration]("night")
	switch {
	case length > 0:
	case testing.Short():
		length = 3 * time.Minute
	default:
		length = 3 * Chapter
	}
	dir := value[string]("logs")
	if dir == "" {
		dir = t.TempDir()
	}
	defer debug.SetGCPercent(debug.SetGCPercent(400))
	p, begun := MakeNight(value[uint64]("seed"), length), time.Now()
	dirs := [2]string{filepath.Join(dir, "first"), filepath.Join(dir, "second")}
	var told [2]Result
	var wait sync.WaitGroup
	for i := range told {
		wait.Go(func() { told[i] = Night(p, dirs[i]) })
	}
	wait.Wait()
	for _, r := range told {
		if r.Failed != "" {
			for _, line := range r.Lines[max(0, len(r.Lines)-200):] {
				t.Log(line)
			}
			t.Fatalf("broken: %s\n%s\nagain: go test ./test/sim -run TestNight -night %s -seed %d", r.Failed, r.Text, length, p.Seed)
		}
	}
	if told[0].Tally.Digest() != told[1].Tally.Digest() {
		t.Error("the second telling was another story")
	}
	sum := Sum{}
	sum.add(told[0], told[1])
	size := compareLogs(t, dirs[0], dirs[1])
	t.Logf("%.1f simulated hours of %d nodes, %d disks and %d services, told twice in %s: %d faults of %d kinds, %d takeovers, %d moves, %d resets, %d versions; proofs: %s; the logs are the same, byte for byte: %d MiB compressed",
		told[0].At.Hours(), p.Nodes, p.Disks, len(p.Services), time.Since(begun).Round(time.Second), len(p.Strikes), struck(p), sum.Total(), sum.Takeovers[cluster.ProofReleased],
		sum.Resets, sum.Versions, sum.Proofs(), size>>20)
	if length >= time.Hour && float64(sum.Total()) < length.Hours() { // a check tells minutes of it
		t.Errorf("%d takeovers in %s: the night is too quiet", sum.Total(), length)
	}
	replay(t, dirs[0])
}

// struck is how many kinds of fault strike.
func struck(p Plan) int {
	own := map[string]bool{}
	for _, s := range p.Strikes {
		own[s.Kind] = true
	}
	return len(own)
}

// compareLogs demands that two folders hold the same files.
func compareLogs(t *testing.T, a, b string) (size int64) {
	t.Helper()
	first, second := logs(t, a), logs(t, b)
	if len(first) == 0 || !slices.Equal(first, second) {
		t.Fatalf("the first telling left %d files, the second %d: %v, %v", len(first), len(second), first, second)
	}
	for _, name := range first {
		x, err := os.ReadFile(filepath.Join(a, name))
		y, err2 := os.ReadFile(filepath.Join(b, name))
		if err := errors.Join(err, err2); err != nil {
			t.Fatal(err)
		}
		if size += int64(len(x)); !bytes.Equal(x, y) {
			t.Errorf("%s is another one the second time: %s", name, firstDifference(t, filepath.Join(a, name), filepath.Join(b, name)))
		}
	}
	return size
}

// logs lists the files below a folder.
func logs(t *testing.T, dir string) (list []string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*", decisions.Folder, "*"+decisions.Ending))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		name, err := filepath.Rel(dir, f)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, name)
	}
	return list
}

// firstDifference is the first record in which two files differ.
func firstDifference(t *testing.T, a, b string) string {
	t.Helper()
	x, y := bytes.Split(plain(t, a), []byte("\n")), bytes.Split(plain(t, b), []byte("\n"))
	for i := range min(len(x), len(y)) {
		if !bytes.Equal(x[i], y[i]) {
			return fmt.Sprintf("record %d:\n%.2000s\n%.2000s", i+1, x[i], y[i])
		}
	}
	return fmt.Sprintf("%d records and %d", len(x), len(y))
}

func plain(t *testing.T, path string) []byte {
	t.Helper()
	r, err := (&decisions.File{Path: path}).Open()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	b, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// replay plays the logs of all nodes.
func replay(t *testing.T, dir string) {
	t.Helper()
	nodes, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var wait sync.WaitGroup
	for _, n := range nodes {
		wait.Go(func() { replayNode(t, n.Name(), filepath.Join(dir, n.Name(), decisions.Folder)) })
	}
	wait.Wait()
}

func replayNode(t *testing.T, name, dir string) {
	begun := time.Now()
	files, err := decisions.Files(dir)
	if err != nil {
		t.Error(err)
		return
	}
	p := decisions.Replay{Fresh: func(s core.Settings) decisions.Core { return core.New(s) }}
	if err := p.ReadFiles(files); err != nil {
		t.Errorf("%s: %v", name, err)
		return
	}
	d := p.Done
	if d.Lives != len(files) || d.Skip > 0 || d.Steps == 0 || d.Marks == 0 && d.Steps > 2048 || len(d.Notes) > 0 {
		t.Errorf("%s: %d files with %d lives, %d steps played and %d passed over, %d digests; %q", name, len(files), d.Lives, d.Steps, d.Skip, d.Marks, d.Notes)
	}
	t.Logf("%s: %d lives of the daemon, %d steps and %d digests of its memory replayed in %s: the same", name, d.Lives, d.Steps, d.Marks, time.Since(begun).Round(time.Second))
}
