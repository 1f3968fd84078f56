package stage

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/holdfast-ha/holdfast/internal/config"
)

// newStage is a stage that was not raised.
func newStage(root bool) *Stage {
	s := &Stage{Options: Options{Bin: "/opt/bin", Root: root, ClusterName: "demo", Within: 5 * time.Second}, id: "hfdemo-1-0", base: "/run/hfdemo-1-0"}
	for i, v := range []Service{
		{Name: "orders", Prefer: []string{"alpha", "beta"}, Witness: true}, {Name: "reports"},
	} {
		v.index, v.stage = i, s
		s.Services = append(s.Services, &v)
	}
	return s
}

// TestConfiguration: what the stage applies is a configuration that Holdfast
// reads, with the members in their order.
func TestConfiguration(t *testing.T) {
	for _, c := range []struct {
		root bool
		want []string
	}{
		{true, []string{"exec", "filesystem", "ip", "exec"}},
		{false, []string{"exec", "exec"}},
	} {
		s := newStage(c.root)
		conf, err := config.ParseCluster("services.yaml", []byte(s.configuration()))
		if err != nil {
			t.Fatalf("root %v: %v\n%s", c.root, err, s.configuration())
		}
		if conf.FailoverWithin != s.Within || len(conf.Services) != 2 {
			t.Errorf("root %v: %+v", c.root, conf)
		}
		var kinds []string
		for _, m := range conf.Services[0].Stack {
			kinds = append(kinds, m.Kind)
		}
		if !slices.Equal(kinds, c.want) {
			t.Errorf("root %v: members %v, want %v", c.root, kinds, c.want)
		}
	}
}

// TestAddresses: no two services, and no service and node, share an address.
func TestAddresses(t *testing.T) {
	for _, root := range []bool{true, false} {
		s := newStage(root)
		seen := map[string]bool{}
		for id := 1; id <= 3; id++ {
			n := &Node{ID: id, stage: s}
			for link := range 2 {
				seen[n.link(link)] = true
			}
		}
		for _, v := range s.Services {
			seen[v.Address()] = true
		}
		if len(seen) != 8 {
			t.Errorf("root %v: %d distinct addresses of 8: %v", root, len(seen), seen)
		}
	}
}

// TestSweep: what a dead driver has left is removed, processes too; what a living
// one holds is not touched.
func TestSweep(t *testing.T) {
	root := t.TempDir()
	dead, living := filepath.Join(root, prefix+"0-0"), filepath.Join(root, prefix+"0-1")
	for _, base := range []string{dead, living} {
		if err := os.MkdirAll(filepath.Join(base, "log"), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(base+".lock", nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	lock, err := claim(living + ".lock")
	if err != nil || lock == nil {
		t.Fatalf("the lock was not free: %v", err)
	}
	defer lock.Close()
	orphan := exec.Command("sleep", "600")
	orphan.Env = []string{stageMark + "=" + filepath.Base(dead)}
	if err := orphan.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- orphan.Wait() }() // ends with the process
	swept, err := sweep(root)
	if err != nil || !slices.Contains(swept, filepath.Base(dead)) || slices.Contains(swept, filepath.Base(living)) {
		t.Errorf("swept %v, %v", swept, err)
	}
	select {
	case <-ended:
	case <-time.After(10 * time.Second):
		_ = orphan.Process.Kill()
		t.Error("a process of the dead stage was left running")
	}
	for path, want := range map[string]bool{dead: false, dead + ".lock": false, living: true, living + ".lock": true} {
		if _, err := os.Stat(path); (err == nil) != want {
			t.Errorf("%s is there: %v, want %v", path, err == nil, want)
		}
	}
}

// TestAwait: it says what was missing, and gives up on what never comes.
func TestAwait(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	missing := errors.New("still missing")
	if err := Await(ctx, "it", func() error { return missing }); !errors.Is(err, missing) || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v", err)
	}
	tries := 0
	err := Await(t.Context(), "it", func() error { tries++; return Giveup(missing) })
	if !errors.Is(err, missing) || tries != 1 {
		t.Errorf("%d tries: %v", tries, err)
	}
}
