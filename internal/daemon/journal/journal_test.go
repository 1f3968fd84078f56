package journal

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/holdfast-ha/holdfast/cluster"
	"github.com/holdfast-ha/holdfast/cluster/ident"
	"github.com/holdfast-ha/holdfast/internal/api"
	"github.com/holdfast-ha/holdfast/quorumdisk/statecodec"
)

// openStory opens a story whose writer ends with the returned function.
func openStory(t *testing.T, dir string, clock func() time.Time) (*Story, func()) {
	t.Helper()
	s, err := OpenStory(dir, zerolog.Nop(), clock)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	return s, func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
}

func ids(t *testing.T, s *Story, q api.EventQuery) string {
	t.Helper()
	var list []uint64
	if err := s.Events(t.Context(), q, func(e api.Event) error { list = append(list, e.ID); return nil }); err != nil {
		t.Fatal(err)
	}
	return strings.Trim(fmt.Sprint(list), "[]")
}

// The wall clock may step by years: the order of the story, and what was
// measured, do not care.
func TestWallClockIsForPeopleOnly(t *testing.T) {
	year := 2030
	jumps := func() time.Time { year -= 3; return time.Date(year, 1, 1, 0, 0, 0, 0, time.UTC) }
	s, stop := openStory(t, t.TempDir(), jumps)
	defer stop()
	state := &cluster.State{Nodes: []cluster.NodeState{{ID: 1, Name: "alpha"}, {ID: 2, Name: "beta"}}}
	for _, n := range []cluster.Note{
		{Kind: cluster.NoteLastBeat, Node: 2, At: 10 * 1e9},
		{Kind: cluster.NoteFencing, Node: 2, At: 12 * 1e9},
		{Kind: cluster.NoteGrant, Node: 1, Service: "orders", Term: 4, Proof: cluster.ProofTime, At: 19 * 1e9},
		{Kind: cluster.NoteStarted, Node: 1, Service: "orders", Term: 4, At: 20 * 1e9},
		{Kind: cluster.NoteStarted, Node: 1, Service: "orders", Term: 4, At: 90 * 1e9}, // restarted later
	} {
		s.Note(n, state)
	}
	m := s.LastTakeover()
	if m == nil || m.From != "beta" || m.To != "alpha" || m.Granted != 9 || m.Started != 10 || m.Proof != cluster.ProofTime.String() {
		t.Errorf("measured %+v", m)
	}
	if got := ids(t, s, api.EventQuery{}); got != "1 2 3 4 5" {
		t.Errorf("order %s", got)
	}
	s.Add(api.Event{Kind: KindBegan})
	if m := s.LastTakeover(); m != nil {
		t.Errorf("instants of another life were compared: %+v", m)
	}
}

func TestStoryOutlivesTheDaemon(t *testing.T) {
	dir := t.TempDir()
	first, stop := openStory(t, dir, time.Now)
	for _, service := range []string{"a", "b", "a"} {
		first.Add(api.Event{Kind: "started", Service: service, Level: "info"})
	}
	stop()
	// A crash leaves half a line.
	f, err := os.OpenFile(filepath.Join(dir, eventFile), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString(`{"id":99,"ti` + "\n"); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	second, stop := openStory(t, dir, time.Now)
	defer stop()
	second.Add(api.Event{Kind: "stopped", Service: "a"})
	for want, q := range map[string]api.EventQuery{
		"1 2 3 4": {},
		"1 3 4":   {Service: "a"},
		"3 4":     {Service: "a", Limit: 2},
		"4":       {Kind: "stopped"},
		"3 4 ":    {After: 2},
		"":        {Since: time.Now().Add(time.Hour)},
	} {
		if got := ids(t, second, q); got != strings.TrimSpace(want) {
			t.Errorf("%+v: %q, want %q", q, got, want)
		}
	}
}

func TestFollow(t *testing.T) {
	s, stop := openStory(t, t.TempDir(), time.Now)
	defer stop()
	s.Add(api.Event{Text: "old"})
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	enough := errors.New("enough")
	var texts []string
	err := s.Events(ctx, api.EventQuery{Follow: true, Limit: 1}, func(e api.Event) error {
		texts = append(texts, e.Text)
		if len(texts) == 3 {
			return enough
		}
		s.Add(api.Event{Text: fmt.Sprint("new ", len(texts))})
		return nil
	})
	if !errors.Is(err, enough) || strings.Join(texts, ", ") != "old, new 1, new 2" {
		t.Errorf("%v, %v", texts, err)
	}
}

func TestRotation(t *testing.T) {
	r := rotated{dir: t.TempDir(), name: "x", size: 100, keep: 2}
	defer r.close()
	for i := range 50 {
		if err := r.write([]byte(fmt.Sprintf("%09d\n", i))); err != nil {
			t.Fatal(err)
		}
	}
	var all string
	for i := 2; i >= 0; i-- {
		b, err := os.ReadFile(numbered(filepath.Join(r.dir, "x"), i))
		if err != nil {
			t.Fatal(err)
		}
		all += string(b)
	}
	if want := 300; len(all) != want || !strings.HasPrefix(all, "000000020") || !strings.HasSuffix(all, "000000049\n") {
		t.Errorf("%d bytes are kept, want %d: %.20q to %q", len(all), want, all, all[max(0, len(all)-10):])
	}
	if _, err := os.Stat(filepath.Join(r.dir, "x.3")); err == nil {
		t.Error("an old file was kept")
	}
}

const sample = `cluster:
  name: hospital
  failover_within: 10s
`

func TestCache(t *testing.T) {
	dir := t.TempDir()
	c, err := OpenCache(dir, zerolog.Nop())
	if err != nil {
		t.Fatal(err)
	}
	if c.Last() != nil {
		t.Error("an empty cache has a configuration")
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- c.Run(ctx) }()
	for ver := range uint64(3) {
		c.Keep(&cluster.State{Ver: ver + 1, ConfigRev: 1, Config: []byte(sample)})
	}
	newest := &cluster.State{Ver: 9, ConfigRev: 2, Config: []byte(sample + "services: {}\n")}
	cancel()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	if err := c.write(newest); err != nil {
		t.Fatal(err)
	}
	list, err := c.Versions()
	if err != nil || len(list) != 2 || list[0].Config != 1 || list[1].Config != 2 {
		t.Errorf("kept %+v, %v", list, err)
	}
	if b, err := c.Version(1); err != nil || string(b) != sample {
		t.Errorf("version 1: %q, %v", b, err)
	}
	dated, err := filepath.Glob(filepath.Join(dir, versionDir, "0001-20*Z.yaml"))
	if err != nil || len(dated) != 1 {
		t.Errorf("version 1 is kept in %v, %v", dated, err)
	} else if err := os.Rename(dated[0], filepath.Join(dir, versionDir, "0001.yaml")); err != nil {
		t.Error(err)
	}
	if b, err := c.Version(1); err != nil || string(b) != sample {
		t.Errorf("version 1, kept without a date: %q, %v", b, err)
	}
	if _, err := c.Version(7); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("version 7: %v", err)
	}
	again, err := OpenCache(dir, zerolog.Nop())
	if err != nil {
		t.Fatal(err)
	}
	if conf := again.Last(); conf == nil || conf.Name != "hospital" {
		t.Errorf("the kept configuration: %+v", conf)
	}
	body, err := os.ReadFile(filepath.Join(dir, StateFile))
	if err != nil {
		t.Fatal(err)
	}
	if s, err := statecodec.Decode(body); err != nil || s.Ver != 9 {
		t.Errorf("the kept state: %+v, %v", s, err)
	}
	mine, foreign := ident.UUID{1}, ident.UUID{2}
	if err := Put(dir, &cluster.State{Ver: 12, Cluster: mine, Config: []byte(sample)}); err != nil {
		t.Fatal(err)
	}
	if of, other := again.Floor(mine), again.Floor(foreign); of != 12 || other != 0 {
		t.Errorf("the floor is %d, and %d for another cluster", of, other)
	}
	if err := os.WriteFile(filepath.Join(dir, StateFile), body[:len(body)/2], 0o600); err != nil {
		t.Fatal(err)
	}
	if again.Last() != nil {
		t.Error("half a state was believed")
	}
}
