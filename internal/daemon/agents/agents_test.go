package agents_test

import (
	"slices"
	"testing"

	"github.com/holdfast-ha/holdfast/internal/config"
	"github.com/holdfast-ha/holdfast/internal/daemon/agents"
)

// TestEnvironment: an operation learns its node's name, and inherits nothing of the
// daemon's environment but on an emulated node.
func TestEnvironment(t *testing.T) {
	t.Setenv("A_MARK_OF_THE_NODE", "1")
	for _, emulated := range []bool{false, true} {
		env := agents.Environment(&config.Node{Name: "beta", Platform: config.Platform{Emulated: emulated}})
		if !slices.Contains(env, "HOLDFAST_NODE=beta") {
			t.Errorf("emulated %v: %v does not name the node", emulated, env)
		}
		if slices.Contains(env, "A_MARK_OF_THE_NODE=1") != emulated {
			t.Errorf("emulated %v: inherited: %v", emulated, !emulated)
		}
	}
}
