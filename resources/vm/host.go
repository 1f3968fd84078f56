package vm

import (
	"context"
	"fmt"
	"os"
	"strings"

	"github.com/holdfast-ha/holdfast/storage/program"
)

// host is one libvirt: this node's own, or another one's.
type host struct {
	virsh program.Runner
	at    string // its address
}

func (h host) call(ctx context.Context, args ...string) (program.Result, error) {
	return h.virsh(ctx, program.Command{Argv: append([]string{"virsh", "--quiet", "--connect", h.at}, args...), Env: []string{"HOME=" + os.TempDir()}})
}

// do is call of what has to succeed.
func (h host) do(ctx context.Context, args ...string) error {
	res, err := h.call(ctx, args...)
	if err == nil && res.Code != 0 {
		err = fmt.Errorf("%s: %s", args[0], res.Said())
	}
	return err
}

// say is what a call prints.
func (h host) say(ctx context.Context, args ...string) (string, error) {
	res, err := h.call(ctx, args...)
	if err == nil && res.Code != 0 {
		err = fmt.Errorf("%s: %s", args[0], res.Said())
	}
	return strings.TrimSpace(res.Stdout), err
}

// state is what virsh calls it: running, idle, paused, in shutdown, shut off,
// crashed, pmsuspended, no state; empty if there is no such machine.
func (h host) state(ctx context.Context, domain string) (string, error) {
	state, _, err := h.stateAndReason(ctx, domain)
	return state, err
}

// stateAndReason also says why: "paused" and "user".
func (h host) stateAndReason(ctx context.Context, domain string) (state, reason string, err error) {
	res, err := h.call(ctx, "domstate", domain, "--reason")
	switch {
	case err != nil:
		return "", "", err
	case res.Code == 0:
		state, reason, _ = strings.Cut(strings.TrimSpace(res.Stdout), " (")
		return state, strings.TrimSuffix(reason, ")"), nil
	case strings.Contains(res.Stderr, "failed to get domain"):
		return "", "", nil
	}
	return "", "", fmt.Errorf("libvirt (%s) does not answer: %s", h.at, res.Said())
}

// down says that nothing of the machine runs. A crashed one may be kept, with its
// disks open, and has to be destroyed.
func down(state string) bool { return state == "" || state == "shut off" }

func runs(state string) bool { return state == "running" || state == "idle" }

func word(state string) string {
	if state == "" {
		return "not known to libvirt"
	}
	return state
}

// end destroys a machine and verifies that: nil only if it is down.
func (h host) end(ctx context.Context, domain string) error {
	failed := h.do(ctx, "destroy", domain)
	switch state, err := h.state(ctx, domain); {
	case err != nil:
		return err
	case down(state):
		return nil
	case failed != nil:
		return failed
	default:
		return fmt.Errorf("%s was destroyed, and is %s", domain, state)
	}
}
