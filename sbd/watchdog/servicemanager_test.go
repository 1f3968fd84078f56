package watchdog

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// manager plays systemd's side of $NOTIFY_SOCKET: it keeps what is stored, as
// links below a /proc of its own, unless its store has no room.
type manager struct {
	conn *net.UnixConn
	proc string
	room bool
	said chan string
}

func startManager(t *testing.T, room bool) (*manager, serviceManager) {
	t.Helper()
	dir := t.TempDir()
	socket := filepath.Join(dir, "notify")
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: socket, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	m := &manager{conn: conn, proc: filepath.Join(dir, "proc"), room: room, said: make(chan string, 16)}
	if err := os.MkdirAll(filepath.Join(m.proc, "1/fd"), 0o755); err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() { defer close(done); m.serve() }()
	t.Cleanup(func() { conn.Close(); <-done })
	return m, serviceManager{socket: socket, proc: m.proc, pid: 1}
}

func (m *manager) serve() {
	defer close(m.said)
	var kept []int
	defer func() { closeAll(kept) }()
	buf, oob := make([]byte, 4096), make([]byte, unix.CmsgSpace(4))
	for {
		n, oobn, _, _, err := m.conn.ReadMsgUnix(buf, oob)
		if err != nil {
			return
		}
		fds, _ := rightsOf(oob[:oobn])
		text := string(buf[:n])
		m.said <- text
		if m.room && strings.HasPrefix(text, "FDSTORE=1") {
			kept = append(kept, fds...)
			for _, fd := range fds {
				os.Symlink(fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), fd), filepath.Join(m.proc, fmt.Sprintf("1/fd/%d", fd)))
			}
			continue
		}
		closeAll(fds) // the barrier's answer, or a store that is full
	}
}

func (m *manager) next(t *testing.T) string {
	t.Helper()
	select {
	case s := <-m.said:
		return s
	case <-time.After(10 * time.Second):
		t.Fatal("no message to the service manager")
		return ""
	}
}

func TestServiceManagerKeeps(t *testing.T) {
	m, s := startManager(t, true)
	device := mustOpen(t, os.DevNull)
	if err := s.Keep(Named{Name: "watchdog0", FD: int(device.Fd())}); err != nil {
		t.Fatal(err)
	}
	if got := m.next(t); got != "FDSTORE=1\nFDPOLL=0\nFDNAME=watchdog0" {
		t.Errorf("said %q", got)
	}
	if got := m.next(t); got != "BARRIER=1" {
		t.Errorf("said %q, want a barrier", got)
	}
	if err := s.Drop("watchdog0"); err != nil {
		t.Fatal(err)
	}
	if got := m.next(t); got != "FDSTOREREMOVE=1\nFDNAME=watchdog0" {
		t.Errorf("said %q", got)
	}
}

// systemd drops what does not fit into the store and says nothing.
func TestAStoreWithoutRoomIsNoticed(t *testing.T) {
	_, s := startManager(t, false)
	device := mustOpen(t, os.DevNull)
	err := s.Keep(Named{Name: "watchdog0", FD: int(device.Fd())})
	if err == nil || !strings.Contains(err.Error(), "FileDescriptorStoreMax") {
		t.Errorf("got %v, want an error that names the setting", err)
	}
}

func TestKeeperNames(t *testing.T) {
	_, s := startManager(t, true)
	if err := s.Keep(Named{Name: "a:b", FD: 0}); err == nil {
		t.Error("a name with a colon was taken; it splits LISTEN_FDNAMES")
	}
}

func TestFindKeeper(t *testing.T) {
	t.Setenv("NOTIFY_SOCKET", "")
	if _, err := FindKeeper(""); err != ErrNoKeeper {
		t.Errorf("got %v, want ErrNoKeeper", err)
	}
	if err := StoreInServiceManager(); err != ErrNoKeeper {
		t.Errorf("got %v, want ErrNoKeeper", err)
	}
	t.Setenv("NOTIFY_SOCKET", "/run/systemd/notify")
	for socket, want := range map[string]string{"": "descriptor store", "/run/h": "holder process at /run/h"} {
		k, err := FindKeeper(socket)
		if err != nil || !strings.Contains(k.String(), want) {
			t.Errorf("FindKeeper(%q) = %v, %v, want the %s", socket, k, err, want)
		}
	}
}
