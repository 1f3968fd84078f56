package stage

import (
	"context"
	"errors"
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
