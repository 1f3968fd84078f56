package play

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/holdfast-ha/holdfast/internal/ctl/live"
	"github.com/holdfast-ha/holdfast/test/demo/stage"
)

// Between two looks at the status, on a terminal and elsewhere.
const (
	refresh      = 500 * time.Millisecond
	slowRefresh  = 5 * time.Second
	statusWithin = 2 * time.Second
)

// screen is where the demo shows itself: on a terminal the status is drawn over
// the last one, elsewhere it is printed now and then.
type screen struct {
	out      io.Writer
	terminal bool
	live     *live.Screen
	drawn    bool      // what stands there was drawn, and the cursor is in its last line
	last     time.Time // of the status
}

func newScreen(out io.Writer) *screen {
	s := &screen{out: out, live: live.New(out)}
	if f, ok := out.(*os.File); ok {
		info, err := f.Stat()
		s.terminal = err == nil && info.Mode()&os.ModeCharDevice != 0
	}
	return s
}

func (s *screen) say(format string, args ...any) {
	if s.drawn {
		s.drawn = false
		fmt.Fprintln(s.out)
	}
	fmt.Fprintf(s.out, format+"\n", args...)
}

// status shows what `holdfast status` prints on the first of the nodes that
// answers, if it is time for that; now says that it is.
func (s *screen) status(ctx context.Context, nodes []*stage.Node, title string, now bool) {
	pause := slowRefresh
	if s.terminal {
		pause = refresh
	}
	if !now && time.Since(s.last) < pause {
		return
	}
	s.last = time.Now()
	ctx, cancel := context.WithTimeout(ctx, statusWithin)
	defer cancel()
	for _, n := range nodes {
		text, err := n.Holdfast(ctx, "status")
		// The exit code is the health; a status that was printed is good.
		if err != nil && strings.TrimSpace(text) == "" {
			continue
		}
		frame := fmt.Sprintf("--- %s --- %s# holdfast status\n%s", title, n.Name, strings.TrimRight(text, "\n"))
		if !s.terminal {
			s.say("%s", frame)
			return
		}
		s.drawn = s.live.Show(frame) == nil // a terminal that is gone is looked at by nobody
		return
	}
	s.say("--- %s --- no node answers", title)
}

// watch shows the status until met returns nil, or ctx ends.
func (s *screen) watch(ctx context.Context, nodes []*stage.Node, title string, met func() error) error {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		err := met()
		if err == nil {
			return nil
		}
		s.status(ctx, nodes, title, false)
		select {
		case <-ctx.Done():
			return errors.Join(err, ctx.Err())
		case <-tick.C:
		}
	}
}
