package packaging_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-ha/holdfast/internal/api"
	"github.com/holdfast-ha/holdfast/quorumdisk"
	"github.com/holdfast-ha/holdfast/test/demo/ledger"
)

// town is two servers with Debian, what they share, and somebody outside who
// asks their service.
type town struct {
	ground
	site
	t     *testing.T
	nodes []*server
	began time.Time
}

// site is what servers are called with, on one ground or the other.
type site struct {
	flags    func(s *server) string // of holdfast init and join
	quorum   string                 // path of the quorum disk on every server
	data     string                 // path of the disk for data
	served   string                 // address of the service, with the length of its network
	packages string                 // folder with the folders old and newer, and the program demo
	within   time.Duration          // failover_within
	patience time.Duration          // bounds every wait
	udev     bool                   // the servers have a udev of their own
}

// ground is what servers stand on: emulated hardware, or this machine's kernel.
type ground interface {
	ask(ctx context.Context, url string) error // has a client outside write to the service
	records() ([]ledger.Record, error)         // what it has told so far
	verdict(ctx context.Context) (*ledger.Verdict, error)
	superblock() ([]byte, error) // of the quorum disk
}

// server is one of the two.
type server struct {
	host
	name   string
	number int
	boots  int // how often it was found up
}

// host is a server as its ground sees it.
type host interface {
	run(ctx context.Context, command string) (string, error)
	boot(ctx context.Context, n int) error // waits for its boot number n, from 1, and has it if need be
	furnish(ctx context.Context) error     // what the test needs after each boot, once it is up
	dogs(ctx context.Context) (string, error)
	disarmed(ctx context.Context) (int, error) // how often a watchdog was stopped, or closed, since the boot
	crash(ctx context.Context) error           // its kernel stands still
	ends() ([]string, error)                   // of its lives so far; one that it ended by itself begins with "own"
}

// versions builds packages of two versions. Whoever works on this test keeps them,
// in the folder that HOLDFAST_PACKAGES names.
func versions(t *testing.T) (old, newer string) {
	t.Helper()
	dir := os.Getenv("HOLDFAST_PACKAGES")
	if dir == "" {
		dir = t.TempDir()
	}
	old, newer = filepath.Join(dir, "old"), filepath.Join(dir, "newer")
	for _, v := range []struct{ dir, version string }{{old, "0.9.0"}, {newer, "0.9.1"}} {
		if _, err := os.Stat(filepath.Join(v.dir, "SHA256SUMS")); err != nil {
			script(t, []string{"KINDS=deb", "COMPRESSION=none", "OUT=" + v.dir, "SOURCE_DATE_EPOCH=1763800000", "PACKAGE_VERSION=" + v.version}, "packaging/build.sh", "amd64")
		}
	}
	return old, newer
}

// superblock is the sector of a quorum disk that says what it is.
func superblock(disk io.ReaderAt) ([]byte, error) {
	b := make([]byte, 512)
	_, err := disk.ReadAt(b, quorumdisk.SuperOffset)
	return b, err
}

// step says in the test's log what begins, and when.
func (w *town) step(format string, args ...any) {
	w.t.Helper()
	w.t.Logf("%4.0f s  %s", time.Since(w.began).Seconds(), fmt.Sprintf(format, args...))
}

// sh runs a shell command on the server.
func (s *server) sh(ctx context.Context, command string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 15*time.Minute)
	defer cancel()
	out, err := s.run(ctx, command)
	return strings.TrimSpace(out), err
}

// must runs a shell command that has to be done, and says so where it took long.
func (w *town) must(s *server, command string) string {
	w.t.Helper()
	began := time.Now()
	out, err := s.sh(w.t.Context(), command)
	if err != nil {
		w.t.Fatal(err)
	}
	if took := time.Since(began); took > 10*time.Second {
		w.step("%s took %v: %.120s", s.name, took.Round(time.Second), command)
	}
	return out
}

// refuses runs a command that has to be refused with words.
func (w *town) refuses(s *server, command, words string) {
	w.t.Helper()
	out, err := s.sh(w.t.Context(), command)
	if err == nil || !strings.Contains(out+err.Error(), words) {
		w.t.Errorf("%s: %s: want a refusal with %q: %v, %s", s.name, command, words, err, out)
	}
}

// await polls until met returns nil.
func (w *town) await(what string, met func() error) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), w.patience)
	defer cancel()
	tick := time.NewTicker(w.patience / 200)
	defer tick.Stop()
	for {
		err := met()
		if err == nil {
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			w.t.Fatalf("%s: not in %v: %v", what, w.patience, err)
		}
	}
}

// up waits until a server has booted once more, and systemd has started everything
// that is enabled.
func (w *town) up(s *server) {
	w.t.Helper()
	s.boots++
	ctx, cancel := context.WithTimeout(w.t.Context(), w.patience)
	defer cancel()
	if err := s.boot(ctx, s.boots); err != nil {
		w.t.Fatal(err)
	}
	w.await(s.name+" is up", func() error {
		out, _ := s.sh(ctx, "systemctl is-system-running")
		if out != "running" && out != "degraded" {
			return fmt.Errorf("it is %q", out)
		}
		return nil
	})
	if out, _ := s.sh(ctx, "systemctl --failed --no-legend --plain"); out != "" {
		w.t.Errorf("%s: units that failed: %s", s.name, out)
	}
	if err := s.furnish(ctx); err != nil {
		w.t.Fatal(err)
	}
	// The tree has logind masked, for no other test wants it; from the second boot on it starts by itself.
	w.must(s, "rm -f /etc/systemd/system/systemd-logind.service && systemctl daemon-reload && systemctl start systemd-logind")
}

// status asks the server's daemon.
func (s *server) status(ctx context.Context) (*api.Status, error) {
	out, err := s.sh(ctx, "holdfast status --json")
	var st api.Status
	if bad := json.Unmarshal([]byte(out), &st); bad != nil {
		return nil, errors.Join(err, bad)
	}
	return &st, nil
}

// lastWords says what the servers have noted, if the test has failed.
func (w *town) lastWords() {
	if !w.t.Failed() {
		return
	}
	for _, s := range w.nodes {
		out, err := s.sh(w.t.Context(), "journalctl --no-pager -o short-monotonic -n 300 -u 'holdfast*'; holdfast status; holdfast events | tail -30; systemctl --failed --no-legend")
		w.t.Logf("%s: %v\n%s", s.name, err, out)
	}
}
