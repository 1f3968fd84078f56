package daemon

import (
	"slices"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/holdfast-ha/holdfast/internal/config"
)

// TestWaitLess: only a node of a power emulator can be made to believe a proof
// too early, however the environment of a real one is poisoned.
func TestWaitLess(t *testing.T) {
	for _, c := range []struct {
		emulated bool
		text     string
		want     time.Duration
	}{
		{true, "2300ms", 2300 * time.Millisecond},
		{true, "", 0},
		{true, "much", 0},
		{false, "2300ms", 0},
	} {
		t.Setenv(waitLessEnv, c.text)
		node := &config.Node{Platform: config.Platform{Emulated: c.emulated}}
		if got := waitLess(node, zerolog.Nop()); got != c.want {
			t.Errorf("emulated %v, %q: %v, want %v", c.emulated, c.text, got, c.want)
		}
	}
}

// TestAgentEnv: an operation learns its node's name, and inherits nothing of the
// daemon's environment but on an emulated node.
func TestAgentEnv(t *testing.T) {
	t.Setenv("A_MARK_OF_THE_NODE", "1")
	for _, emulated := range []bool{false, true} {
		env := agentEnv(&config.Node{Name: "beta", Platform: config.Platform{Emulated: emulated}})
		if !slices.Contains(env, "HOLDFAST_NODE=beta") {
			t.Errorf("emulated %v: %v does not name the node", emulated, env)
		}
		if slices.Contains(env, "A_MARK_OF_THE_NODE=1") != emulated {
			t.Errorf("emulated %v: inherited: %v", emulated, !emulated)
		}
	}
}
