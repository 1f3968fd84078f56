package resources_test

import (
	"errors"
	"os/exec"
	"reflect"
	"testing"
	"time"

	"github.com/holdfast-ha/holdfast/resources"
	"github.com/holdfast-ha/holdfast/resources/groups"
)

var (
	_ resources.Groups = (*groups.Cgroups)(nil)
	_ resources.Groups = (*groups.ProcessGroups)(nil)
)

// startIn runs a shell line in a group and reaps it in the background.
func startIn(t *testing.T, keeper resources.Groups, g resources.Group, line string) {
	t.Helper()
	cmd := exec.Command("/bin/sh", "-c", line)
	if err := keeper.Launch(g, cmd); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { defer close(ended); _ = cmd.Wait() }()
	t.Cleanup(func() { _ = cmd.Process.Kill(); <-ended })
}

func pidsIn(t *testing.T, keeper resources.Groups, g resources.Group) []int {
	t.Helper()
	held, err := keeper.List(resources.Group{})
	if err != nil {
		t.Fatal(err)
	}
	for _, h := range held {
		if h.Group == g {
			return h.PIDs
		}
	}
	return nil
}

// TestGroups is the suite that every implementation of Groups passes.
func TestGroups(t *testing.T) {
	groupsUnderTest(t, func(outer *testing.T, keeper resources.Groups) {
		op := resources.Group{Service: "orders", Term: 7, Part: "op-1-start-web"}
		run := resources.Group{Service: "orders", Term: 7, Part: "run/web"}

		outer.Run("a group that does not exist is empty", func(t *testing.T) {
			if err := keeper.Kill(op, time.Second); err != nil {
				t.Error(err)
			}
			if held, err := keeper.List(resources.Group{}); err != nil || len(held) != 0 {
				t.Errorf("list: %v, %v; want nothing", held, err)
			}
		})
		outer.Run("children stay in, also in a session of their own", func(t *testing.T) {
			startIn(outer, keeper, op, "sleep 1000 & setsid sleep 1000 & wait")
			await(t, "three processes are listed", func() bool { return len(pidsIn(t, keeper, op)) == 3 })
		})
		outer.Run("an existing group is not entered", func(t *testing.T) {
			err := keeper.Launch(op, exec.Command("/bin/true"))
			if !errors.Is(err, groups.ErrGroupExists) {
				t.Errorf("launch: %v, want ErrGroupExists", err)
			}
		})
		outer.Run("move takes everybody along", func(t *testing.T) {
			before := pidsIn(t, keeper, op)
			if err := keeper.Move(op, run); err != nil {
				t.Fatal(err)
			}
			if after := pidsIn(t, keeper, run); !reflect.DeepEqual(after, before) || len(after) != 3 {
				t.Errorf("%v after the move, %v before; want three, the same", after, before)
			}
			if held, _ := keeper.List(resources.Group{}); len(held) != 1 {
				t.Errorf("%v; want only %v", held, run)
			}
		})
		outer.Run("kill ends all and removes the group", func(t *testing.T) {
			pids := pidsIn(t, keeper, run)
			if err := keeper.Kill(resources.Group{Service: "orders", Term: 7}, 10*time.Second); err != nil {
				t.Fatal(err)
			}
			for _, pid := range pids {
				await(t, "the process is gone", func() bool { return gone(pid) })
			}
			if held, _ := keeper.List(resources.Group{}); len(held) != 0 {
				t.Errorf("%v is left", held)
			}
		})
		outer.Run("an empty run group stays as the sign of a term", func(t *testing.T) {
			startIn(outer, keeper, op, "true")
			await(t, "the command is over", func() bool { return len(pidsIn(t, keeper, op)) == 0 })
			if err := keeper.Move(op, run); err != nil {
				t.Fatal(err)
			}
			held, err := keeper.List(resources.Group{})
			if err != nil || len(held) != 1 || held[0].Group != run || len(held[0].PIDs) != 0 {
				t.Errorf("list: %v, %v; want %v, empty", held, err, run)
			}
		})
		outer.Run("a command that cannot be started leaves nothing", func(t *testing.T) {
			other := resources.Group{Service: "other", Term: 1, Part: "op-1-start-x"}
			if err := keeper.Launch(other, exec.Command("/does/not/exist")); err == nil {
				t.Error("it was started")
			}
			if held, _ := keeper.List(resources.Group{}); len(held) != 1 {
				t.Errorf("%v; want only %v", held, run)
			}
		})
		outer.Run("a list has what was asked for alone", func(t *testing.T) {
			longer := resources.Group{Service: "orders2", Term: 1, Part: "op-1-start-x"}
			startIn(outer, keeper, longer, "sleep 1000")
			await(t, "the other service has a process", func() bool { return len(pidsIn(t, keeper, longer)) > 0 })
			none := resources.Group{Service: "orders", Term: 7, Part: "run/we"}
			for _, c := range []struct {
				of   resources.Group
				want []resources.Group
			}{
				{resources.Group{Service: "orders"}, []resources.Group{run}},
				{resources.Group{Service: "orders2"}, []resources.Group{longer}},
				{resources.Group{Service: "order"}, nil},
				{resources.Group{}, []resources.Group{run, longer}},
				{longer, []resources.Group{longer}},
				{none, nil},
			} {
				held, err := keeper.List(c.of)
				var got []resources.Group
				for _, h := range held {
					got = append(got, h.Group)
				}
				if err != nil || !reflect.DeepEqual(got, c.want) {
					t.Errorf("list of %v: %v, %v; want %v", c.of, got, err, c.want)
				}
			}
			if err := keeper.Kill(longer, 10*time.Second); err != nil {
				t.Error(err)
			}
		})
	})
}

// A service that forks as fast as it can must still end.
func TestKillOutrunsForks(t *testing.T) {
	keeper := newCgroups(t)
	g := resources.Group{Service: "storm", Term: 1, Part: "op-1-start-x"}
	startIn(t, keeper, g, "while :; do sleep 0.01 & done")
	await(t, "the storm has begun", func() bool { return len(pidsIn(t, keeper, g)) > 3 })
	if err := keeper.Kill(g, 20*time.Second); err != nil {
		t.Fatal(err)
	}
}
