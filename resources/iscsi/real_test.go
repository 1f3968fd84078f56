package iscsi_test

import (
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-ha/holdfast/resources"
	"github.com/holdfast-ha/holdfast/resources/agenttest"
	"github.com/holdfast-ha/holdfast/resources/iscsi"
)

// The promises of every kind, of real sessions: iscsid, the kernel's initiator and a
// target that answers on two portals.
func TestRealLives(t *testing.T) {
	target, portals := os.Getenv("HOLDFAST_ISCSI_TARGET"), strings.Fields(os.Getenv("HOLDFAST_ISCSI_PORTALS"))
	if target == "" || len(portals) != 2 {
		t.Skip("HOLDFAST_ISCSI_TARGET and HOLDFAST_ISCSI_PORTALS name no target with two portals: it takes one, iscsid, and a kernel with iscsi_tcp; make vm RUN=TestKindsOnRealThings has them")
	}
	spec := map[string]any{"target": target, "portal": portals[0], "discover": true}
	agenttest.Run(t, iscsi.Agent{}, spec)
	agenttest.Lives(t, agenttest.Case{Kind: "iscsi", Spec: spec, Brief: true, Lose: func(t *testing.T) {
		if out, err := exec.Command("iscsiadm", "-m", "node", "-T", target, "--logout").CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}})
	both, err := json.Marshal(map[string]any{"target": target, "portals": portals, "discover": true})
	if err != nil {
		t.Fatal(err)
	}
	for _, step := range []struct {
		verb     func(context.Context, resources.Request) resources.Report
		sessions int
	}{{iscsi.Agent{}.Start, 2}, {iscsi.Agent{}.Stop, 0}} {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		r := step.verb(ctx, resources.Request{Service: "suite", Member: "m", Spec: both, Timeout: time.Minute})
		left, err := filepath.Glob("/sys/class/iscsi_session/*")
		if err != nil || r.Outcome != resources.OK || len(left) != step.sessions {
			t.Errorf("%v: %s; sessions %v, %v; want %d", r.Outcome, r.Text, left, err, step.sessions)
		}
	}
}
