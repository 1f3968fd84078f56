package daemon

import (
	"os"
	"time"

	"github.com/rs/zerolog"

	"github.com/holdfast-ha/holdfast/internal/config"
)

// waitLessEnv names an entry of the environment that shortens every wait of a
// proof by time. The tests that must see a proof come too early set it; on
// anything but a node of a power emulator it means nothing.
const waitLessEnv = "HOLDFAST_TEST_WAIT_LESS"

// waitLess is by how much the waits are shortened: 0 but in such a test.
func waitLess(node *config.Node, log zerolog.Logger) time.Duration {
	text := os.Getenv(waitLessEnv)
	if !node.Platform.Emulated || text == "" {
		return 0
	}
	d, err := time.ParseDuration(text)
	if err != nil {
		log.Error().Err(err).Msg(waitLessEnv + " is not understood, and not used")
		return 0
	}
	log.Warn().Dur("by", d).Msg("UNSAFE: every proof by time is made too early, for a test")
	return d
}
