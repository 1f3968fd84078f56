package outcomes

import (
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/holdfast-ha/holdfast/bmc/bmctest"
)

var write = flag.Bool("write", false, "write docs/FENCING-OUTCOMES.md")

func TestMain(m *testing.M) {
	bmctest.Main()
	flag.Parse()
	os.Exit(m.Run())
}

// TestOutcomes holds every cell of the table.
func TestOutcomes(t *testing.T) {
	devices, ways := Devices(), Ways()
	for i := range ways {
		w := &ways[i]
		t.Run(w.Name, func(t *testing.T) {
			needed(t, w)
			for j := range devices {
				d := &devices[j]
				want, _, ok := w.Expect(d)
				if !ok {
					continue
				}
				t.Run(d.Name, func(t *testing.T) {
					t.Parallel()
					m := bmctest.NewMachine(t, d.Fault)
					if d.Scene == OffBefore {
						m.Set(false)
					}
					way, controller := reach(t, w, d, m)
					r := newRig(t, m, way, controller)
					if w.Slow {
						r.silent = silentSlow
					}
					r.saysOff = d.Fault == bmctest.SaysOff || d.Fault == bmctest.SaysDone || d.Scene == TwoUnnamed && w.Agent
					if d.Fault == bmctest.SaysOff {
						r.check()
					}
					if got := r.fence(want); got != want {
						t.Errorf("%v, want %v", got, want)
					}
					if r.saysOff && r.readings.Load() < r.enough {
						t.Errorf("%d readings: the lie was not heard out", r.readings.Load())
					}
				})
			}
		})
	}
}

// needed skips a way whose program is not there.
func needed(t *testing.T, w *Way) {
	t.Helper()
	if w.Slow && testing.Short() {
		t.Skip("-short: the way starts programs for each question; run without -short")
	}
	if w.Needs == "" {
		return
	}
	for _, dir := range append(filepath.SplitList(os.Getenv("PATH")), "/usr/sbin", "/usr/bin") {
		if _, err := exec.LookPath(filepath.Join(dir, w.Needs)); err == nil {
			return
		}
	}
	t.Skipf("%s is not installed: test/setup.sh as root installs it", w.Needs)
}

// TestTable: the table says of every fault what becomes of it, promises no proof of
// a machine that runs, and a proof of every honest device over every way.
func TestTable(t *testing.T) {
	devices, ways := Devices(), Ways()
	seen := faults(devices)
	for f := bmctest.Honest; f <= bmctest.ByCard; f++ {
		if !seen[f] {
			t.Errorf("fault %d of bmctest stands in no row", f)
		}
	}
	runsOn := map[bmctest.Fault]bool{bmctest.Lying: true, bmctest.SaysOff: true, bmctest.SaysDone: true, bmctest.ComesBack: true, bmctest.Refusing: true}
	for i := range devices {
		d := &devices[i]
		asked := 0
		for j := range ways {
			want, why, ok := ways[j].Expect(d)
			if !ok {
				continue
			}
			asked++
			if why == "" || want == proven && runsOn[d.Fault] {
				t.Errorf("%s over %s: %v, %q", d.Name, ways[j].Name, want, why)
			}
			if d.Fault == bmctest.Honest && (d.Scene == Plain || d.Scene == OffBefore) && want != proven {
				t.Errorf("%s over %s: an honest device is worth %v", d.Name, ways[j].Name, want)
			}
		}
		if asked == 0 {
			t.Errorf("%s: no way is asked", d.Name)
		}
		for name := range d.But {
			if !hasWay(ways, name) {
				t.Errorf("%s: an exception for %s, which is no way", d.Name, name)
			}
		}
	}
}

func hasWay(ways []Way, name string) bool {
	for i := range ways {
		if ways[i].Name == name {
			return true
		}
	}
	return false
}

// TestDocument: the page in docs is the table.
func TestDocument(t *testing.T) {
	path := filepath.Join("..", "..", "docs", "FENCING-OUTCOMES.md")
	want := Markdown(Devices(), Ways())
	if *write {
		if err := os.WriteFile(path, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	have, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if string(have) != want {
		t.Errorf("%s is not what the table says: go test ./test/outcomes -run TestDocument -write", path)
	}
}
