package machine

import (
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
		if got := WaitLess(node, zerolog.Nop()); got != c.want {
			t.Errorf("emulated %v, %q: %v, want %v", c.emulated, c.text, got, c.want)
		}
	}
}
