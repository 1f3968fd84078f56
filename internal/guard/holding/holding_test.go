package holding

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/holdfast-ha/holdfast/sbd/watchdog"
)

// safe is a buffer that another goroutine writes to.
type safe struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *safe) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *safe) has(text string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.Contains(s.b.String(), text)
}

func waitFor(t *testing.T, what string, done func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !done(); <-time.After(2 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("waited for: " + what)
		}
	}
}

// A holder that holds something does not end when it is told to, for its end might
// feed a watchdog; once it holds nothing it obeys.
func TestHoldsUntilItHoldsNothing(t *testing.T) {
	dir, err := os.MkdirTemp("", "hfh")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	socket := filepath.Join(dir, "holder.sock")
	// What an earlier life has left makes way.
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_SEQPACKET, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.Bind(fd, &unix.SockaddrUnix{Name: socket}); err != nil {
		t.Fatal(err)
	}
	unix.Close(fd)
	ended := make(chan int, 1)
	var out, errs safe
	go func() { ended <- Main(context.Background(), socket, &out, &errs) }()
	waitFor(t, "it listens", func() bool { return out.has(socket) })
	if st, err := os.Stat(socket); err != nil || st.Mode().Perm()&0o077 != 0 {
		t.Errorf("socket %v, %v: others may speak to it", st.Mode(), err)
	}
	if code := Main(context.Background(), socket, &safe{}, &errs); code != 1 || !errs.has("already") {
		t.Errorf("a second one ended with %d", code)
	}
	null, err := unix.Open("/dev/null", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(null)
	keeper, err := watchdog.FindKeeper(socket)
	if err != nil {
		t.Fatal(err)
	}
	if err := keeper.Keep(watchdog.Named{Name: "watchdog0", FD: null}); err != nil {
		t.Fatal(err)
	}
	if err := unix.Kill(os.Getpid(), unix.SIGTERM); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "it says why it stays", func() bool { return errs.has("[watchdog0] and stays") })
	if err := keeper.Drop("watchdog0"); err != nil {
		t.Fatal(err)
	}
	if err := unix.Kill(os.Getpid(), unix.SIGTERM); err != nil {
		t.Fatal(err)
	}
	select {
	case code := <-ended:
		if code != 0 {
			t.Errorf("ended with %d", code)
		}
	case <-time.After(20 * time.Second):
		t.Error("it holds nothing, and does not end")
	}
}
