package diskcmd

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/holdfast-ha/holdfast/cluster"
	"github.com/holdfast-ha/holdfast/internal/ctl/live"
	"github.com/holdfast-ha/holdfast/internal/ctl/screen"
	"github.com/holdfast-ha/holdfast/internal/ctl/shell"
	"github.com/holdfast-ha/holdfast/storage"
)

// leastInterval keeps a watcher from being load itself.
const leastInterval = 50 * time.Millisecond

func (a *app) watch() *cobra.Command {
	var every, whole time.Duration
	c := a.looks("watch [PATH...]", cobra.ArbitraryArgs, func(args []string) error {
		if every < leastInterval {
			return shell.Usage(fmt.Errorf("--interval=%s: want %s or more", every, leastInterval))
		}
		list, err := a.targets(args)
		if err != nil {
			return err
		}
		for i := range list {
			list[i].want.AnyDevice = true
		}
		if a.JSON && whole == 0 {
			return shell.Usage(errors.New("watch --json prints one document at its end: give --for"))
		}
		return a.watchAll(list, every, whole)
	})
	c.Flags().DurationVar(&every, "interval", time.Second, "`time` between two reads of each disk")
	c.Flags().DurationVar(&whole, "for", 0, "end after this `time` (default: go on until interrupted)")
	return c
}

// gauge is what watching has shown of one disk.
type gauge struct {
	Path    string       `json:"path"`
	Reads   int          `json:"reads"`
	Last    float64      `json:"last_seconds"`
	Worst   float64      `json:"worst_seconds"`
	Buckets [buckets]int `json:"histogram"` // reads that took up to 1, 2, 4 ... ms; the last: all longer
	Error   string       `json:"error,omitempty"`
	Slots   []slot       `json:"slots"`
	asked   time.Time    // when the request without an answer was made; zero: none is out
}

// slot is what watching has shown of one node. Its age is measured with this
// host's clock, from the read that showed the last change.
type slot struct {
	Node    int     `json:"node"`
	Seq     uint64  `json:"seq"`
	Changes int     `json:"changes"`
	Age     float64 `json:"age_seconds"`
	Longest float64 `json:"longest_silence_seconds"`
	Error   string  `json:"error,omitempty"`
	changed time.Time
	sector  []byte
}

// buckets of the histogram: up to 1 ms, and each twice the one before.
const buckets = 14

func bucket(d time.Duration) int {
	for i := range buckets - 1 {
		if d <= time.Millisecond<<i {
			return i
		}
	}
	return buckets - 1
}

// look takes one read of the table into account.
func (g *gauge) look(beats []cluster.SeenBeat, took time.Duration, now time.Time) {
	g.Reads++
	g.Last, g.Error, g.Worst = took.Seconds(), "", max(g.Worst, took.Seconds())
	g.Buckets[bucket(took)]++
	for i := range beats {
		b := &beats[i]
		at, known := slices.BinarySearchFunc(g.Slots, int(b.Node), func(s slot, n int) int { return cmp.Compare(s.Node, n) })
		if !known {
			if b.Beat == nil && b.Err == "" {
				continue // nobody ever wrote here
			}
			g.Slots = slices.Insert(g.Slots, at, slot{Node: int(b.Node), changed: now, sector: bytes.Clone(b.Sector)})
		}
		s := &g.Slots[at]
		if s.Error = b.Err; b.Beat != nil {
			s.Seq = b.Beat.Seq
		}
		if !bytes.Equal(s.sector, b.Sector) {
			s.Changes++
			s.changed, s.sector = now, bytes.Clone(b.Sector)
		}
		s.Age = now.Sub(s.changed).Seconds()
		s.Longest = max(s.Longest, s.Age)
	}
}

// board is what the readers of all disks and the one that draws share.
type board struct {
	mu     sync.Mutex
	gauges []gauge // guarded by mu
}

func (b *board) change(i int, f func(*gauge)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	f(&b.gauges[i])
}

// copied is the board for the screen.
func (b *board) copied() []gauge {
	b.mu.Lock()
	defer b.mu.Unlock()
	out := slices.Clone(b.gauges)
	for i := range out {
		out[i].Slots = slices.Clone(out[i].Slots)
	}
	return out
}

// watchAll reads each disk at its own pace and draws at the pace of the clock: a
// disk that hangs shows how long it has not answered.
func (a *app) watchAll(list []target, every, whole time.Duration) error {
	b := &board{gauges: make([]gauge, len(list))}
	stop := make(chan struct{})
	defer close(stop)
	for i, t := range list {
		b.gauges[i] = gauge{Path: t.path, asked: time.Now(), Slots: []slot{}}
		go a.read(t, every, stop, func(f func(*gauge)) { b.change(i, f) }) // ends after stop, with the disk's answer
	}
	on := live.New(a.Out)
	tick := time.NewTicker(every)
	defer tick.Stop()
	var end <-chan time.Time
	if whole > 0 {
		limit := time.NewTimer(whole)
		defer limit.Stop()
		end = limit.C
	}
	for {
		last := false
		select {
		case <-end:
			last = true
		case <-tick.C:
		}
		shown := b.copied()
		switch {
		case last && a.JSON:
			return errors.Join(a.PrintJSON(shown), silent(shown))
		case !a.JSON:
			if err := a.draw(on, shown, time.Now()); err != nil {
				return err
			}
		}
		if last {
			return silent(shown)
		}
	}
}

// silent names the disks that did not answer at the end.
func silent(shown []gauge) error {
	var errs []error
	for _, g := range shown {
		switch {
		case g.Error != "":
			errs = append(errs, errors.New(g.Error))
		case g.Reads == 0:
			errs = append(errs, fmt.Errorf("%s: %w", g.Path, storage.ErrTimeout))
		}
	}
	return errors.Join(errs...)
}

// read reads the beat table of one disk again and again.
func (a *app) read(t target, every time.Duration, stop <-chan struct{}, change func(func(*gauge))) {
	v, err := a.open(t, storage.Options{ReadOnly: true})
	if err != nil {
		change(func(g *gauge) { g.Error = err.Error() })
		return
	}
	defer func() { _ = v.whole.Close() }() // nothing was written
	table := make([]byte, v.Layout().TableSize())
	disk := v.whole.(*impatient)
	for {
		start := time.Now()
		change(func(g *gauge) { g.asked = start })
		disk.hung = nil // here it is asked again: it may come back
		err := v.ReadTable(table, a.patience)
		now := time.Now()
		beats := v.Codec().OpenTable(table)
		change(func(g *gauge) {
			if g.asked = (time.Time{}); err != nil {
				g.Error = fmt.Sprintf("%s: %v", t.path, err)
				return
			}
			g.look(beats, now.Sub(start), now)
		})
		select {
		case <-stop:
			return
		case <-time.After(max(every-now.Sub(start), 0)):
		}
	}
}

// draw shows all disks: on a terminal in place, line over line, so that nothing
// flickers; else as lines that follow each other.
func (a *app) draw(on *live.Screen, shown []gauge, now time.Time) error {
	var b bytes.Buffer
	for _, g := range shown {
		g.text(&b, now)
	}
	if !shell.IsTerminal(a.Out) {
		_, err := b.WriteTo(a.Out)
		return err
	}
	return on.Show(b.String())
}

// text is one disk: its reads, their histogram, and a line for each slot.
func (g *gauge) text(w io.Writer, now time.Time) {
	fmt.Fprintf(w, "%s  %s", g.Path, screen.Plural(g.Reads, "read"))
	if g.Reads > 0 {
		fmt.Fprintf(w, ", last %s, worst %s", duration(g.Last), duration(g.Worst))
	}
	fmt.Fprintln(w)
	if late := now.Sub(g.asked); !g.asked.IsZero() && late > time.Second {
		fmt.Fprintf(w, "  NO ANSWER for %s\n", screen.Seconds(late.Truncate(time.Second)))
	}
	if g.Error != "" {
		fmt.Fprintf(w, "  %s\n", screen.Wrap(g.Error, screen.Width-2, "    "))
	}
	if g.Reads > 0 {
		fmt.Fprintf(w, "  %s\n", g.histogram())
	}
	if len(g.Slots) == 0 {
		return
	}
	t := screen.NewTable(w)
	t.Row("  SLOT", "AGE", "LONGEST", "CHANGES", "SEQ")
	for _, s := range g.Slots {
		t.Row("  "+strconv.Itoa(s.Node), duration(s.Age), duration(s.Longest), strconv.Itoa(s.Changes), strconv.FormatUint(s.Seq, 10))
	}
	t.Done()
	for _, s := range g.Slots {
		if s.Error != "" {
			fmt.Fprintf(w, "  slot %d: %s\n", s.Node, screen.Wrap(s.Error, screen.Width-12, "    "))
		}
	}
}

func duration(seconds float64) string {
	return screen.Seconds(time.Duration(seconds * float64(time.Second)))
}

// histogram is how many reads took how long, without what never happened.
func (g *gauge) histogram() string {
	var parts []string
	for i, n := range g.Buckets {
		if n == 0 {
			continue
		}
		limit := "more"
		if i < buckets-1 {
			limit = screen.Seconds(time.Millisecond << i)
		}
		parts = append(parts, fmt.Sprintf("<=%s: %d", limit, n))
	}
	return strings.Join(parts, "  ")
}
