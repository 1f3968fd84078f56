package sessions_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-ha/holdfast/cluster"
	"github.com/holdfast-ha/holdfast/internal/daemon/sessions"
)

const target = "iqn.2026-11.example:orders"

// admin stands in for iscsiadm: a login waits while $DIR/slow is there, fails while
// $DIR/refuse is there, and else makes a session in sysfs.
const admin = `#!/bin/sh
S=$HOLDFAST_SYSFS/class/iscsi_session
case "$*" in
*--login)
  echo login >>$DIR/calls
  while [ -e $DIR/slow ]; do sleep 0.02; done
  [ ! -e $DIR/refuse ] || exit 24
  mkdir -p $S/session1.new/device/target1:0:0/1:0:0:0/block/sdz
  echo iqn.2026-11.example:orders >$S/session1.new/targetname; echo LOGGED_IN >$S/session1.new/state
  mv $S/session1.new $S/session1;;
esac
exit 0
`

func service(guarded bool) *cluster.Service {
	return &cluster.Service{Name: "orders", Stack: []cluster.Member{
		{ID: "iscsi", Kind: "iscsi", Storage: true, Guarded: guarded, Spec: fmt.Appendf(nil, `{"target":%q,"portal":"192.0.2.1"}`, target)},
		{ID: "filesystem", Kind: "filesystem", Storage: true, Guarded: guarded, Spec: []byte(`{"device":"/dev/x"}`)},
	}}
}

// TestAttach: a registration gets its answer at once or soon, whatever a login does,
// and one login at a time is under way.
func TestAttach(t *testing.T) {
	dir := t.TempDir()
	for _, d := range []string{"bin", "sys/class/iscsi_session"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	write := func(name, text string) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	remove := func(name string) {
		if err := os.Remove(filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	write("bin/iscsiadm", admin)
	t.Setenv("PATH", dir+"/bin:"+os.Getenv("PATH"))
	t.Setenv("DIR", dir)
	t.Setenv("HOLDFAST_SYSFS", dir+"/sys")
	var h sessions.Holder
	if err := h.Attach(service(false)); err != nil {
		t.Errorf("a service that makes its own sessions: %v", err)
	}
	write("refuse", "")
	if err := h.Attach(service(true)); err == nil || !strings.Contains(err.Error(), "refuses the user or the password") {
		t.Errorf("a refused login: %v", err)
	}
	remove("refuse")
	write("slow", "")
	for range 2 {
		if err := h.Attach(service(true)); err == nil || !strings.Contains(err.Error(), "iscsi: logging in") {
			t.Errorf("a login that takes long: %v", err)
		}
	}
	if calls, err := os.ReadFile(filepath.Join(dir, "calls")); err != nil || strings.Count(string(calls), "login") != 2 {
		t.Errorf("%v: %s; want the refused login, and one that is waited for twice", err, calls)
	}
	remove("slow")
	for end := time.Now().Add(20 * time.Second); ; {
		err := h.Attach(service(true))
		if err == nil {
			return
		}
		if time.Now().After(end) {
			t.Fatal(err)
		}
	}
}
