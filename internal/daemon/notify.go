package daemon

import (
	"context"
	"time"

	"github.com/holdfast-ha/holdfast/cluster"
)

// statusEvery is how often the service manager is told the status.
const statusEvery = 5 * time.Second

// say tells the service manager something (sd_notify(3)).
func (d *Daemon) say(state string) {
	if d.deps.Notify != nil {
		d.deps.Notify(state)
	}
}

// notify is the task that tells the service manager that the daemon is ready,
// how it is doing, and, for as long as the loop answers, that it lives.
func (d *Daemon) notify(ctx context.Context) error {
	every := statusEvery
	if d.deps.Interval > 0 {
		every = min(every, d.deps.Interval/3)
	}
	tick := time.NewTicker(every)
	defer tick.Stop()
	for prefix := "READY=1\n"; ; prefix = "WATCHDOG=1\n" {
		v, err := d.loop.view(ctx)
		if err != nil {
			d.say("STOPPING=1\nSTATUS=ending; services are left running")
			return nil
		}
		d.say(prefix + "STATUS=" + summary(&v))
		select {
		case <-tick.C:
		case <-ctx.Done():
		}
	}
}

// summary is the status in one line.
func summary(v *cluster.View) string {
	text := v.Stage
	if v.Waiting != "" {
		text += ": " + v.Waiting
	}
	return text
}
