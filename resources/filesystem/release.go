package filesystem

import (
	"context"
	"fmt"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/holdfast-ha/holdfast/resources"
	"github.com/holdfast-ha/holdfast/storage/mount"
)

const (
	defaultGrace = 2 * time.Second
	firstPause   = 10 * time.Millisecond
	longestPause = 200 * time.Millisecond
)

// release is one attempt to give a device back.
type release struct {
	spec  Spec
	dev   mount.Device
	grace time.Duration
	kill  bool
	// asked is when a process was first told to end, by number and start time;
	// ended are those that were told, for the report.
	asked map[string]time.Time
	ended []string
}

func newRelease(spec Spec, dev mount.Device, emergency bool) *release {
	r := &release{
		spec: spec, dev: dev, kill: spec.KillHolders == nil || *spec.KillHolders,
		grace: spec.Grace.Or(defaultGrace), asked: make(map[string]time.Time),
	}
	if emergency {
		r.grace, r.kill = 0, true
	}
	return r
}

// run unmounts, removes whoever is in the way, and tries again until the device
// is released or the time is up. Every round looks afresh: holders come and go.
func (r *release) run(ctx context.Context) resources.Report {
	for pause := firstPause; ; pause = min(2*pause, longestPause) {
		why := r.unmount()
		released := r.dev.Released()
		if released == nil {
			return resources.Done("%s", r.epitaph())
		}
		holders, err := r.dev.Holders()
		if err == nil && r.kill {
			r.press(holders)
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return r.failure(released, why, holders)
		}
		if !r.kill && len(holders) > 0 && pause == longestPause {
			return r.failure(released, fmt.Errorf("kill_holders is false: %w", why), holders)
		}
	}
}

// unmount tries in every namespace and returns the first thing that went wrong.
func (r *release) unmount() error {
	mounted, err := r.dev.Mounted()
	if err != nil {
		return err
	}
	for _, ns := range mounted {
		if e := r.dev.Unmount(ns); e != nil && err == nil {
			err = e
		}
	}
	return err
}

// press tells the users of the file system to end, and kills those whose grace
// is over. Processes that merely live in a namespace where it is mounted come
// last: they get their turn when there is no user left and it still could not be
// unmounted there.
func (r *release) press(holders []mount.Holder) {
	users := 0
	for _, h := range holders {
		if !h.Namespace && !h.Protected() {
			users++
		}
	}
	for _, h := range holders {
		if h.Protected() || h.Namespace && users > 0 {
			continue
		}
		key := fmt.Sprintf("%d %s", h.PID, h.Began)
		since, known := r.asked[key]
		if !known {
			since = time.Now()
			r.asked[key] = since
			r.ended = append(r.ended, h.String())
		}
		switch {
		case time.Since(since) >= r.grace:
			_ = h.Signal(unix.SIGKILL)
		case !known:
			_ = h.Signal(unix.SIGTERM)
		}
	}
}

func (r *release) epitaph() string {
	text := r.spec.At + " is unmounted and " + r.dev.Path + " released"
	if len(r.ended) > 0 {
		text += "; ended for it: " + strings.Join(r.ended, ", ")
	}
	return text
}

func (r *release) failure(released, why error, holders []mount.Holder) resources.Report {
	report := resources.Failure("%v", released)
	if why != nil {
		report.Text = fmt.Sprintf("%v (%v)", released, why)
	}
	for _, h := range holders {
		line := h.String()
		if h.Protected() {
			line += " [not killed: Holdfast itself depends on it]"
		}
		report.Holders = append(report.Holders, line)
	}
	return report
}
