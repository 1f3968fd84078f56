package process_test

import (
	"testing"

	"github.com/rs/zerolog"

	"github.com/holdfast-ha/holdfast/internal/daemon/process"
)

func TestLogLevel(t *testing.T) {
	for said, want := range map[string]zerolog.Level{"": zerolog.InfoLevel, "debug": zerolog.DebugLevel, "warn": zerolog.WarnLevel, "loud": zerolog.InfoLevel} {
		t.Setenv("HOLDFAST_LOG", said)
		if got := process.LogLevel(); got != want {
			t.Errorf("HOLDFAST_LOG=%q: %v, want %v", said, got, want)
		}
	}
}
