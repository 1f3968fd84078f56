package shutdown_test

import (
	"context"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/godbus/dbus/v5"
	"github.com/rs/zerolog"

	"github.com/holdfast-ha/holdfast/cluster/ident"
	"github.com/holdfast-ha/holdfast/internal/api"
	"github.com/holdfast-ha/holdfast/internal/daemon/shutdown"
)

const patience = 20 * time.Second

// logind is as much of systemd-logind as the watch speaks with, on a bus of its own.
type logind struct {
	conn *dbus.Conn
	held chan inhibitor
	ways chan [4]string
}

// inhibitor is a pipe whose reading end tells when the last writing end is closed.
type inhibitor struct{ read, write *os.File }

// Inhibit is the method of that name.
func (l *logind) Inhibit(what, who, why, mode string) (dbus.UnixFD, *dbus.Error) {
	r, w, err := os.Pipe()
	if err != nil {
		return 0, dbus.MakeFailedError(err)
	}
	l.ways <- [4]string{what, who, why, mode}
	l.held <- inhibitor{r, w}
	return dbus.UnixFD(w.Fd()), nil
}

// newBus starts a bus in the place of the system's.
func newBus(t *testing.T) (socket string) {
	t.Helper()
	if _, err := exec.LookPath("dbus-daemon"); err != nil {
		t.Skip("dbus-daemon is not installed: apt-get install dbus-daemon, or run test/setup.sh")
	}
	dir, err := os.MkdirTemp("", "hf-login-") // a socket's path is at most 107 bytes long
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	socket = filepath.Join(dir, "bus")
	conf := filepath.Join(dir, "bus.conf")
	text := `<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN" "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig><listen>unix:path=` + socket + `</listen><auth>EXTERNAL</auth>
<policy context="default"><allow send_destination="*" eavesdrop="true"/><allow eavesdrop="true"/><allow own="*"/><allow user="*"/></policy></busconfig>`
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("dbus-daemon", "--nofork", "--config-file="+conf)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	t.Setenv("DBUS_SYSTEM_BUS_ADDRESS", "unix:path="+socket)
	deadline := time.Now().Add(patience)
	for {
		c, err := net.Dial("unix", socket)
		if err == nil {
			c.Close()
			return socket
		}
		if time.Now().After(deadline) {
			t.Fatalf("the bus does not listen: %v", err)
		}
		<-time.After(10 * time.Millisecond)
	}
}

// newLogind puts the fake on the bus.
func newLogind(t *testing.T, socket string) *logind {
	t.Helper()
	conn, err := dbus.Connect("unix:path=" + socket)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	l := &logind{conn: conn, held: make(chan inhibitor, 10), ways: make(chan [4]string, 10)}
	if err := conn.Export(l, "/org/freedesktop/login1", "org.freedesktop.login1.Manager"); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.RequestName("org.freedesktop.login1", dbus.NameFlagDoNotQueue); err != nil {
		t.Fatal(err)
	}
	return l
}

func (l *logind) prepare(t *testing.T, down bool) {
	t.Helper()
	if err := l.conn.Emit("/org/freedesktop/login1", "org.freedesktop.login1.Manager.PrepareForShutdown", down); err != nil {
		t.Fatal(err)
	}
}

// watch runs a Watch until the test ends, and gives what it tells.
func watch(t *testing.T) <-chan api.Event {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	events, ended := make(chan api.Event, 10), make(chan error, 1)
	w := shutdown.Watch{
		Node: "alpha", Tell: func(e api.Event) { events <- e }, Now: func() ident.Instant { return 7 },
		Log: zerolog.Nop(), Retry: 20 * time.Millisecond,
	}
	go func() { ended <- w.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := next(t, ended); err != nil {
			t.Error(err)
		}
	})
	return events
}

func next[T any](t *testing.T, from <-chan T) (v T) {
	t.Helper()
	select {
	case v = <-from:
	case <-time.After(patience):
		t.Fatalf("nothing came within %v", patience)
	}
	return v
}

// released waits for the end of an inhibitor.
func released(t *testing.T, i inhibitor) {
	t.Helper()
	defer i.read.Close()
	_ = i.write.Close() // it has been sent long ago
	_ = i.read.SetReadDeadline(time.Now().Add(patience))
	if n, err := i.read.Read(make([]byte, 1)); n != 0 || os.IsTimeout(err) {
		t.Fatalf("the inhibitor is still held: %v", err)
	}
}

// TestAnnounced: a shutdown is told of, and then held up no longer; one that is
// called off is told of, and the next one is held up again.
func TestAnnounced(t *testing.T) {
	l := newLogind(t, newBus(t))
	events := watch(t)
	for range 2 {
		if got := next(t, l.ways); got[0] != "shutdown" || got[3] != "delay" {
			t.Errorf("an inhibitor of %q", got)
		}
		held := next(t, l.held)
		l.prepare(t, true)
		if e := next(t, events); e.Kind != shutdown.KindShutdown || e.Level != "warning" || e.Node != "alpha" || e.At != 7 {
			t.Errorf("announced as %+v", e)
		}
		released(t, held)
		l.prepare(t, false)
		if e := next(t, events); e.Level != "info" {
			t.Errorf("called off: %+v", e)
		}
	}
}

// TestNoLogind: nothing fails without it, and it is found when it comes.
func TestNoLogind(t *testing.T) {
	socket := newBus(t)
	watch(t)
	l := newLogind(t, socket)
	next(t, l.held)
}

// TestNoBus: nothing fails without a bus.
func TestNoBus(t *testing.T) {
	t.Setenv("DBUS_SYSTEM_BUS_ADDRESS", "unix:path="+filepath.Join(t.TempDir(), "none"))
	watch(t)
}
